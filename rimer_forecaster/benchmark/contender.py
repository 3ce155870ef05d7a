"""What a model has to do to be compared, and the naive ones.

Letters: B forecasts, H horizon, C components, Q quantiles or 1.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
        """Forecast the horizons that begin at these steps, (B, H, C, Q)."""

    def parameters(self) -> int:
        """Return the number of weights."""

    def streamed_network(self) -> RimerNetwork | None:
        """Return the fitted network if it can be carried on from a state, else None."""


class Naive:
    """Repeats the last value, or the last season."""

    validation_loss: float | None = None
    reads_covariates = False

    def __init__(self, task: Task, budget: Budget, seed: int, *, season: int) -> None:
        self.values = task.z_scored().values(copy=False).astype(float)
        self.filled = pd.DataFrame(self.values).ffill().to_numpy()
        steps = np.arange(1, task.horizon + 1)
        self.back = steps - season * np.ceil(steps / season).astype(int)

    def fit(self) -> None:
        """Nothing to learn."""

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        return self.filled[origins[:, None] - 1 + self.back][..., None]

    def parameters(self) -> int:
        """None."""
        return 0

    def streamed_network(self) -> None:
        """None."""
