"""The distribution through given quantiles.

A standard normal variable through a piecewise linear curve: between two given quantiles, and
beyond the outermost ones, the distribution is a stretched piece of a normal one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["QuantileCurve", "interpolated"]

Array = NDArray[np.float64]


def interpolated(quantiles: Array, levels: Sequence[float], at: Sequence[float]) -> Array:
    """Quantiles at other probabilities; NaN stays NaN.

    Parameters
    ----------
    quantiles
        In ascending order, (..., Q), Q >= 2.
    levels
        Their probabilities, ascending, (Q,).
    at
        Probabilities, (n,).

    Returns
    -------
    array
        (..., n).
    """
    curve, z = QuantileCurve(quantiles, levels), norm.ppf(at)
    which = np.searchsorted(curve.knots, z)
    return curve.a[..., which] + curve.b[..., which] * z


class QuantileCurve:
    """Pieces x = a + b z of the curve, with b >= 0; the first and the last go on for ever.

    Parameters
    ----------
    quantiles, levels
        See `interpolated`.
    """

    def __init__(self, quantiles: Array, levels: Sequence[float]) -> None:
        z = norm.ppf(levels)
        self.b = np.diff(quantiles) / np.diff(z)
        self.a = quantiles[..., :-1] - self.b * z[:-1]
        self.knots, self.joints = z[1:-1], quantiles[..., 1:-1]

    def value(self, z: Array) -> Array:
        """Return a + b z, a value for each curve, (...)."""
        a, b = self._take(np.searchsorted(self.knots, z))
        return a + b * z

    def piece(self, x: Array) -> tuple[Array, Array]:
        """Return a and b of the pieces on which values (...) lie."""
        return self._take((x[..., None] >= self.joints).sum(-1))

    def _take(self, which: NDArray[np.int64]) -> tuple[Array, Array]:
        a, b = (np.take_along_axis(part, which[..., None], -1)[..., 0] for part in (self.a, self.b))
        return a, b

    def score(self, x: Array) -> Array:
        """Return z with a + b z = x; infinite where the curve does not rise."""
        a, b = self.piece(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(b > 0, (x - a) / b, np.where(x >= a, np.inf, -np.inf))

    def moments(self) -> tuple[Array, Array]:
        """Return mean and variance, from those of the pieces of a standard normal variable."""
        ends = np.concatenate([[-np.inf], self.knots, [np.inf]])
        mass, density = np.diff(norm.cdf(ends)), norm.pdf(ends)
        first = density[:-1] - density[1:]  # E[z] over each piece
        moment = np.nan_to_num(ends) * density
        second = mass + moment[:-1] - moment[1:]  # E[z^2]
        mean = (self.a * mass + self.b * first).sum(-1)
        a = self.a - mean[..., None]  # squares of levels would cancel
        return mean, (a**2 * mass + 2 * a * self.b * first + self.b**2 * second).sum(-1)
