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
    heads: int, key_size: int, value_size: int, position: LayerPosition
) -> dict[str, Tensor | float]:
    """Return the vectors of a layer for its place in the stack, or one number for a whole one.

    They are of the keys of all heads, (heads * key_size,), and ``value_residual`` of the values.
    """
    from_0_to_1 = position.index / max(1, position.depth - 1)  # guards one layer
    ramp, of_values = (
        torch.arange(n, dtype=torch.float64)
        / max(1, n - 1)  # 0 to 1 over the channels of all heads
        for n in (heads * key_size, heads * value_size)
    )
    linear = ramp - 0.5
    place = torch.arange(heads * key_size, dtype=torch.float64) % key_size
    zigzag = 2 * place / max(1, key_size - 1) - 1  # -1 to 1 over a head
    zigzag = zigzag * zigzag.abs()
    return {
        "decay.up.bias": -5.5 + 6 * ramp ** (1 + from_0_to_1**0.3) + 2.5 * zigzag,
        "learning_rate.up.bias": -0.19 + 0.3 * zigzag + 0.4 * linear,
        "value_residual.up.bias": 0.73 - 0.4 * (of_values - 0.5),
        "removal": 0.71 - 0.1 * linear,
        "replacement": 1.02,
        "bonus": -0.04,
        "norm.weight": ((position.index + 1) / position.depth) ** 0.7,
        "second_read": 0.0,
    }
