"""What a model has to do to be compared, and the naive ones.

Letters: B forecasts, H horizon, C components, Q quantiles or 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from ..network import RimerNetwork
from .budget import Budget
from .task import Task

__all__ = ["Array", "Contender", "Naive"]

Array = NDArray[np.float64]


class Contender(Protocol):
    """What a model has to do; values are z-scored by the training part.

    Attributes
    ----------
    validation_loss
        Lowest one while it was fitted; None where nothing is validated, or another loss than that
        of the forecasts.
    reads_covariates
        Whether future covariates are read where the task has some.
    """

    validation_loss: float | None

    @property
    def reads_covariates(self) -> bool:
        """See above."""

    def fit(self) -> None:
        """Train on the training part, with the validation part to stop early."""

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """Forecast the horizons that begin at these steps, (B, H, C, Q) or (B, H, C, 1)."""

    def weights(self) -> Iterable[Tensor]:
        """Return what was learnt, as it is kept; nothing where there is no network."""

    def streamed_network(self) -> RimerNetwork | None:
        """Return the fitted network if it can be carried on from a state, else None."""


class Naive:
    """Repeats the last value, or the last season.

    Quantiles are normal, of the deviation of its errors in the training part, which grows as the
    root of the seasons that are repeated.
    """

    validation_loss: float | None = None
    reads_covariates = False

    def __init__(self, task: Task, budget: Budget, seed: int, *, season: int | None = None) -> None:
        season = task.season if season is None else season
        values = task.z_scored().values(copy=False).astype(float)
        place = np.arange(len(values)) % season  # where one is missing, that of the season before
        self.filled = pd.DataFrame(values).groupby(place).ffill().to_numpy()
        steps = np.arange(1, task.horizon + 1)
        seasons = np.ceil(steps / season)
        self.back = steps - season * seasons.astype(int)
        train = values[: task.train_end]
        squares = pd.DataFrame(np.square(train[season:] - train[:-season])).mean().to_numpy()
        deviations = np.array([NormalDist().inv_cdf(x) for x in budget.quantiles or (0.5,)])
        self.around = np.sqrt(seasons[:, None] * squares)[..., None] * deviations  # (H, C, Q)

    def fit(self) -> None:
        """Nothing to learn."""

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        return self.filled[origins[:, None] - 1 + self.back][..., None] + self.around

    def weights(self) -> tuple[Tensor, ...]:
        """None."""
        return ()

    def streamed_network(self) -> None:
        """None."""
