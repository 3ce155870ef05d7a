"""The loss of quantiles."""

from __future__ import annotations

from torch import Tensor

__all__ = ["pinball"]


def pinball(errors: Tensor, levels: Tensor) -> Tensor:
    """Return the loss of errors, values less quantiles, at probabilities; broadcast shapes.

    Source: Koenker and Bassett (1978), Regression quantiles.
    """
    return (levels * errors).maximum((levels - 1) * errors)
