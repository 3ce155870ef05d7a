"""Draws in training that can come from a generator: fits in threads stay reproducible."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Dropout", "RandomModule"]


class RandomModule(nn.Module):
    """A module that draws in training, from `generator` or else from the process's own."""

    generator: torch.Generator | None = None

    def device_of_draws(self, default: torch.device | None = None) -> torch.device | None:
        """Return where to draw: a generator draws on its own device alone."""
        return default if self.generator is None else self.generator.device


class Dropout(RandomModule):
    """Like `torch.nn.Dropout`, and if wanted in evaluation too: Monte Carlo dropout.

    Parameters
    ----------
    p
        Probability of zeroing an element in training, in [0, 1).

    Attributes
    ----------
    in_evaluation
        Whether to zero elements in evaluation as in training (Gal and Ghahramani 2016, "Dropout as
        a Bayesian Approximation").
    """

    in_evaluation: bool = False

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements and scale the others by 1 / (1 - p)."""
        active = self.training or self.in_evaluation
        if self.generator is None or not active or not self.p:
            return F.dropout(x, self.p, active)
        kept = torch.empty(x.shape, dtype=x.dtype, device=self.device_of_draws())
        kept.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)
        return x * kept.to(x.device)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
