"""Errors of forecasts, added up block by block, so that no test part is too long for memory.

Letters: B forecasts, H horizon, C components, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..diagnostics import mape_remark

__all__ = ["Scores"]

Array = NDArray[np.float64]


class Scores:
    """Sums over forecasts, and the errors that they make.

    Missing true values are left out. Errors are those of z-scored values unless the task has one
    component: then MSE, MAE and RMSE are in its own units. MAPE is always in them.

    Parameters
    ----------
    mean, deviation
        Of each component in the training part, (C,).
    naive_error
        Mean absolute error of seasonal naive in the training part, in units of the deviation, (C,).
    quantiles
        Probabilities of the outputs, 0.5 among them; None for point forecasts.
    """

    def __init__(
        self, mean: Array, deviation: Array, naive_error: Array, quantiles: Sequence[float] | None
    ) -> None:
        self.mean, self.deviation, self.naive_error = mean, deviation, naive_error
        self.quantiles = None if quantiles is None else np.asarray(quantiles)
        nothing = np.zeros(1)  # takes the shape of the first block
        self.count = self.absolute = self.squared = nothing  # (H, C)
        self.total = self.total_squared = nothing  # (C,)
        self.percentage = self.pinball = self.size = self.inside = 0.0
        self.actual: list[Array] = []

    def add(self, actual: Array, forecast: Array) -> None:
        """Add z-scored true values, (B, H, C), and forecasts of them, (B, H, C, Q)."""
        point = forecast[..., 0]
        if self.quantiles is not None:
            point = forecast[..., int(np.flatnonzero(self.quantiles == 0.5)[0])]
        known = ~np.isnan(actual)
        error = np.where(known, point - actual, 0.0)
        self.count = self.count + known.sum(0)
        self.absolute = self.absolute + np.abs(error).sum(0)
        self.squared = self.squared + (error**2).sum(0)
        filled = np.where(known, actual, 0.0)
        self.total = self.total + filled.sum((0, 1))
        self.total_squared = self.total_squared + (filled**2).sum((0, 1))
        own = (actual * self.deviation + self.mean)[known]
        with np.errstate(divide="ignore"):
            shares = np.abs((error * self.deviation)[known] / own)
        self.percentage = self.percentage + shares.sum()
        self.actual.append(np.unique(own))
        if self.quantiles is not None:
            distance = np.where(known[..., None], actual[..., None] - forecast, 0.0)
            losses = np.maximum(self.quantiles * distance, (self.quantiles - 1) * distance)
            self.pinball = self.pinball + losses.sum((0, 1, 2)).mean()
            self.size = self.size + np.abs(filled).sum()
            low, high = forecast[..., 0], forecast[..., -1]
            self.inside = self.inside + ((low <= actual) & (actual <= high))[known].sum()

    def table(self) -> dict[str, float]:
        """Return the errors over everything that was added, by their names."""
        n = self.count.sum()
        unit = self.deviation[0] if len(self.deviation) == 1 else 1.0
        variation = self.total_squared - self.total**2 / self.count.sum(0)
        scores = {
            "MSE": unit**2 * self.squared.sum() / n,
            "MAE": unit * self.absolute.sum() / n,
            "RMSE": unit * np.sqrt(self.squared.sum() / n),
            "MAPE, %": np.nan if self.mape_remark() else 100 * self.percentage / n,
            "MASE": float((self.absolute.sum(0) / self.count.sum(0) / self.naive_error).mean()),
            "R2": float((1 - self.squared.sum(0) / variation).mean()),
        }
        if self.quantiles is not None:
            scores["WQL"] = 2 * self.pinball / self.size
            scores["coverage"] = self.inside / n
        return {name: float(value) for name, value in scores.items()}

    def mape_remark(self) -> str | None:
        """Say why there is no MAPE, if there is none."""
        return mape_remark(np.concatenate(self.actual))

    def by_step(self) -> Array:
        """Mean absolute error of each step of the horizon, z-scored, (H,)."""
        return self.absolute.sum(1) / self.count.sum(1)
