"""Dropout that can draw from a generator of its own, so that fits in threads stay reproducible."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Dropout"]


class Dropout(nn.Module):
    """Like `torch.nn.Dropout`; draws from `generator` where one is set.

    Parameters
    ----------
    p
        Probability of zeroing an element in training, in [0, 1).
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements and scale the others by 1 / (1 - p), in training only."""
        if self.generator is None or not self.training or not self.p:
            return F.dropout(x, self.p, self.training)
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
