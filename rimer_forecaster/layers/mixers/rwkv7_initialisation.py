"""The published start of an RWKV-7 time mix: what is not drawn at random.

Source: the authors' training code (RWKV-LM, RWKV-v7).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..protocol import LayerPosition

__all__ = ["published_lerps", "published_vectors"]


def published_lerps(width: int, position: LayerPosition) -> Tensor:
    """Return how much of the token before goes into r, w, k, v, a and g, (6, width)."""
    channel = torch.arange(width, dtype=torch.float64)
    from_1_to_0 = 1.0 - position.index / position.depth
    exponents = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
    return torch.stack([1.0 - (channel / width) ** (x * from_1_to_0) for x in exponents])


def published_vectors(
    width: int, head_size: int, position: LayerPosition
) -> dict[str, Tensor | float]:
    """Return the vectors of a layer for its place in the stack, (width,) or one number for all."""
    from_0_to_1 = position.index / max(1, position.depth - 1)  # guards one layer
    channel = torch.arange(width, dtype=torch.float64)
    ramp = channel / max(1, width - 1)  # 0 to 1 over the width
    linear = ramp - 0.5
    zigzag = 2 * (channel % head_size) / max(1, head_size - 1) - 1  # -1 to 1 over a head
    zigzag = zigzag * zigzag.abs()
    return {
        "decay.up.bias": -5.5 + 6 * ramp ** (1 + from_0_to_1**0.3) + 2.5 * zigzag,
        "learning_rate.up.bias": -0.19 + 0.3 * zigzag + 0.4 * linear,
        "value_residual.up.bias": 0.73 - 0.4 * linear,
        "removal": 0.71 - 0.1 * linear,
        "replacement": 1.02,
        "bonus": -0.04,
        "norm.weight": ((position.index + 1) / position.depth) ** 0.7,
        "second_read": 0.0,
    }
