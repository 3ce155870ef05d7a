"""Draws for linear layers that take a generator, so that a fit in a thread disturbs no other."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["uniform_linear"]


def uniform_linear(
    linear: nn.Linear, generator: torch.Generator | None, *, gain: float = 1.0
) -> None:
    """Draw the weight from U(-g, g), g = gain / sqrt(fan in), and set the bias to zero."""
    bound = gain / linear.in_features**0.5
    nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
