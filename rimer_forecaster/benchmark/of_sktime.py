"""Forecasters of sktime as contenders."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import numpy as np
import torch
from numpy.typing import NDArray
from sktime.base import BaseObject
from sktime.forecasting.base import BaseForecaster
from torch import Tensor

from ..network import RimerNetwork
from .budget import Budget
from .contender import Array
from .task import Task

__all__ = ["Sktime"]

_UPDATED = ("network_", "network")
"""Where forecasters of sktime keep a network that reads what an update brings."""

_FITTED_AGAIN = ("model", "_forecaster.models")
"""Where others do (XLSTM, NeuralForecast), whose updates are lost or wrong in sktime 1.2.0."""


def _network(forecaster: BaseForecaster, *places: str) -> torch.nn.Module | None:
    """Return the network inside a fitted forecaster, or inside the last step of a pipeline."""
    forecaster = getattr(forecaster, "forecaster_", forecaster)
    for place in places:
        try:
            found = attrgetter(place)(forecaster)
        except AttributeError:
            continue
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, torch.nn.Module):
            return found
    return None


def _is_network(forecaster: BaseForecaster) -> bool:
    """Whether a forecaster, or a part of it, is made with torch."""
    parts = [
        x for x in (forecaster, *forecaster.get_params().values()) if isinstance(x, BaseObject)
    ]
    needs = str([part.get_tag("python_dependencies", raise_error=False) for part in parts])
    return "torch" in needs or "neuralforecast" in needs


class Sktime:
    """A forecaster of sktime.

    One with a network keeps its weights, and is updated for every forecast. Any other is fitted
    again for each, as its users do, to the target as it is: multiplicative seasons need its level.
    """

    validation_loss: float | None = None

    def __init__(
        self, task: Task, budget: Budget, seed: int, *, forecaster: BaseForecaster
    ) -> None:
        self.task, self.quantiles = task, budget.quantiles
        self.mean, self.deviation = task.scale()
        self.as_it_is = not _is_network(forecaster)
        self.frame = task.frame(z_scored=not self.as_it_is)
        self.forecaster = forecaster.clone()
        known = task.z_scored_covariates()
        self.known = None if known is None else known.to_dataframe().loc[self.frame.index]
        names = [name for name in forecaster.get_params() if name.endswith("random_state")]
        self.forecaster.set_params(**dict.fromkeys(names, seed))
        self.end = 0

    @property
    def reads_covariates(self) -> bool:
        """See `Contender`."""
        return bool(self.forecaster.get_tag("capability:exogenous"))

    def fit(self) -> None:
        """See `Contender`; there is no validation part."""
        self._read(self.task.train_end)

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        forecasts = []
        for origin in origins:
            self._read(int(origin))
            if self.quantiles is None:
                one = self.forecaster.predict(X=self.known).to_numpy()[..., None]
            else:
                alpha = list(self.quantiles)
                one = self.forecaster.predict_quantiles(X=self.known, alpha=alpha).to_numpy()
            forecasts.append(one.reshape(self.task.horizon, self.frame.shape[1], -1))
        values = np.stack(forecasts)
        if self.as_it_is:
            values = (values - self.mean[:, None]) / self.deviation[:, None]
        return values

    def weights(self) -> Iterable[Tensor]:
        """See `Contender`."""
        network = _network(self.forecaster, *_UPDATED, *_FITTED_AGAIN)
        return () if network is None else network.parameters()

    def streamed_network(self) -> RimerNetwork | None:
        """See `Contender`."""
        network = _network(self.forecaster, *_UPDATED)
        return network if isinstance(network, RimerNetwork) else None

    def _read(self, end: int) -> None:
        """Bring the forecaster to the time before a step."""
        known = None if self.known is None else self.known.iloc[:end]
        if _network(self.forecaster, *_UPDATED) is not None:
            if end > self.end:
                new = slice(self.end, end)
                X = None if known is None else known.iloc[new]
                self.forecaster.update(self.frame.iloc[new], X=X, update_params=False)
        else:
            fh = range(1, self.task.horizon + 1)
            self.forecaster.fit(self.frame.iloc[:end], X=known, fh=fh)
        self.end = end
