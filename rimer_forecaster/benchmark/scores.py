"""Errors of forecasts, added up block by block, so that no test part is too long for memory.

Letters: B forecasts, H horizon, C components, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PanelScores", "Scores"]

Array = NDArray[np.float64]

_CONSTANT = 1e-9
"""Share of the squares that the variation of a constant can have, by rounding."""


class Scores:
    """Sums over forecasts, and the errors that they make.

    Missing true values are left out. Errors are those of z-scored values unless the task has one
    component: then MSE, MAE and RMSE are in its own units. MAPE and WQL are always in them. MASE,
    R2 and WQL are means over the components for which they are defined: MASE divides by the error
    of seasonal naive in the training part, R2 by the variance of the true values, and WQL, twice
    the pinball loss, by their mean size.

    Parameters
    ----------
    mean, deviation
        Of each component in the training part, (C,).
    naive_error
        Mean absolute error of seasonal naive in the training part, in units of the deviation, (C,).
    quantiles
        Probabilities of the outputs, 0.5 among them; None for point forecasts. Where there are
        some, a point counts as every quantile, and covers nothing that can be told.
    """

    def __init__(
        self, mean: Array, deviation: Array, naive_error: Array, quantiles: Sequence[float] | None
    ) -> None:
        self.mean, self.deviation, self.naive_error = mean, deviation, naive_error
        self.quantiles = None if quantiles is None else np.asarray(quantiles)
        nothing = np.zeros(1)  # takes the shape of the first block
        self.count = self.absolute = self.squared = nothing  # (H, C)
        self.total = self.total_squared = nothing  # (C,)
        self.pinball = self.size = nothing  # (C,)
        self.percentage = self.inside = 0.0

    def add(self, own: Array, forecast: Array) -> None:
        """Add true values in their own units, (B, H, C), and z-scored forecasts.

        Parameters
        ----------
        own
            (B, H, C).
        forecast
            (B, H, C, Q), or points, (B, H, C, 1).
        """
        actual = (own - self.mean) / self.deviation
        point = forecast[..., 0]
        if self.quantiles is not None and forecast.shape[-1] > 1:
            point = forecast[..., int(np.flatnonzero(self.quantiles == 0.5)[0])]
        known = ~np.isnan(actual)
        error = np.where(known, point - actual, 0.0)
        self.count = self.count + known.sum(0)
        self.absolute = self.absolute + np.abs(error).sum(0)
        self.squared = self.squared + (error**2).sum(0)
        filled = np.where(known, actual, 0.0)
        self.total = self.total + filled.sum((0, 1))
        self.total_squared = self.total_squared + (filled**2).sum((0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):  # without MAPE then, see mape_remark
            self.percentage = self.percentage + np.abs(error * self.deviation / own)[known].sum()
        if self.quantiles is not None:
            distance = np.where(known[..., None], actual[..., None] - forecast, 0.0)
            losses = np.maximum(self.quantiles * distance, (self.quantiles - 1) * distance)
            self.pinball = self.pinball + self.deviation * losses.mean(-1).sum((0, 1))
            self.size = self.size + np.nansum(np.abs(own), (0, 1))
            low, high = forecast[..., 0], forecast[..., -1]
            inside = ((low <= actual) & (actual <= high))[known].sum()
            self.inside += inside if forecast.shape[-1] > 1 else np.nan

    def table(self) -> dict[str, float]:
        """Return the errors over everything that was added, by their names."""
        n = self.count.sum()
        unit = self.deviation[0] if len(self.deviation) == 1 else 1.0
        variation = self.total_squared - self.total**2 / np.maximum(self.count.sum(0), 1)
        variation = np.where(variation > _CONSTANT * self.total_squared, variation, 0.0)
        scores = {
            "MSE": unit**2 * self.squared.sum() / n,
            "MAE": unit * self.absolute.sum() / n,
            "RMSE": unit * np.sqrt(self.squared.sum() / n),
            "MAPE, %": 100 * self.percentage / n,
            "MASE": _mean_ratio(self.absolute.sum(0), self.count.sum(0) * self.naive_error),
            "R2": 1 - _mean_ratio(self.squared.sum(0), variation),
        }
        if self.quantiles is not None:
            scores["WQL"] = 2 * self.weighted()
            scores["coverage"] = self.inside / n
        return {name: float(value) for name, value in scores.items()}

    def weighted(self) -> float:
        """Return pinball losses over the size of the true values, a mean over components."""
        return _mean_ratio(self.pinball, self.size)

    def by_step(self) -> Array:
        """Mean absolute error of each step of the horizon, z-scored, (H,)."""
        return self.absolute.sum(1) / self.count.sum(1)


class PanelScores(Scores):
    """Of series for components: WQL is of all values together, as small ones make ratios wild."""

    def weighted(self) -> float:
        """Return the sum of pinball losses over that of the sizes, in own units."""
        return float(self.pinball.sum() / self.size.sum())


def _mean_ratio(numerators: Array, denominators: Array) -> float:
    """Mean over components, without those that have nothing to divide by."""
    defined = denominators > 0
    return float((numerators[defined] / denominators[defined]).mean()) if defined.any() else np.nan
