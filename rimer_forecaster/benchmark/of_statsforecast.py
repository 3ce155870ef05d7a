"""Models that are fitted anew to what comes before each forecast, series by series."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..zero_shot.evaluate import statsforecast_quantiles
from .budget import Budget
from .contender import Array
from .panel import Panel
from .task import Task

__all__ = ["STATSFORECAST", "Anew", "Statsforecast"]

STATSFORECAST = ("AutoETS", "AutoTheta", "AutoARIMA")

_MOST = 2048
"""Values that are read, as many as the weights of the package read."""


class Anew:
    """Quantiles of a function of probabilities, pasts, horizon and season, (n, H, Q)."""

    validation_loss: float | None = None
    reads_covariates = False

    def __init__(
        self, task: Task | Panel, budget: Budget, seed: int, *, quantiles_of: Callable[..., Array]
    ) -> None:
        self.task, self.quantiles_of = task, quantiles_of
        self.quantiles = budget.quantiles or (0.5,)

    def fit(self) -> None:
        """Nothing: see above."""

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        task, (mean, deviation) = self.task, self.task.scale()
        pasts = [values[-_MOST:] for values in task.pasts(origins)]
        found = self.quantiles_of(self.quantiles, pasts, task.horizon, task.season)
        found = found.reshape(len(origins), len(mean), task.horizon, -1)  # (B, C, H, Q)
        values: Array = (found.swapaxes(1, 2) - mean[:, None]) / deviation[:, None]
        return values

    def weights(self) -> tuple[Tensor, ...]:
        """None."""
        return ()

    def streamed_network(self) -> None:
        """None."""


class Statsforecast(Anew):
    """A model of statsforecast, which reads at most 2,048 values and seasons of at most 24."""

    def __init__(self, task: Task | Panel, budget: Budget, seed: int, *, model: str) -> None:
        super().__init__(task, budget, seed, quantiles_of=partial(statsforecast_quantiles, model))
