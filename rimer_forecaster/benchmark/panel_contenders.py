"""The models that can be compared on a panel, by the names that they have on one series."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sktime.forecasting.base import BaseForecaster

from ..zero_shot.scores import naive_quantiles
from .budget import Budget
from .contender import Array, Contender
from .contenders import NAMES, Model, check_options, factory_of, resolved
from .of_darts import Darts
from .of_neuralforecast import Neuralforecast
from .of_package import Zero, ZeroAdapted, ZeroFineTuned
from .of_sktime import Sktime
from .of_statsforecast import Anew, Statsforecast
from .panel import Panel

__all__ = ["check_panel_model", "make_panel_contender"]


class _DartsOfPanel(Darts):
    """One model of all series."""

    def parts(self) -> tuple[Any, Any]:
        """See `Darts`."""
        H, L = self.task.horizon, self.task.look_back
        return [one[:-H] for one in self.series], [one[-L - H :] for one in self.series]

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        forecasts = self.model.predict(
            self.task.horizon,
            series=[one[-self.task.look_back :] for one in self.series],
            predict_likelihood_parameters=self.quantiles is not None,
            verbose=False,
        )
        return np.stack([one.values() for one in forecasts], 1).astype(float)[None]


class _OfPanel(Sktime):
    """A forecaster of sktime that reads all series at once."""

    def _read(self, end: int) -> None:
        self.forecaster.fit(self.frame, fh=range(1, self.task.horizon + 1))

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        alpha = list(self.quantiles or (0.5,))
        found = self.forecaster.predict_quantiles(alpha=alpha).to_numpy()
        values: Array = found.reshape(-1, self.task.horizon, len(alpha)).swapaxes(0, 1)[None]
        return values


class _ZeroOfPanel(_OfPanel, Zero):
    """The weights of the package as they are."""


class _ZeroAdaptedOfPanel(_OfPanel, ZeroAdapted):
    """With a state of each series."""


class _ZeroFineTunedOfPanel(_OfPanel, ZeroFineTuned):
    """With all weights trained on."""


def _naive(
    quantiles: tuple[float, ...], past: list[Array], horizon: int, season: int, *, last: bool
) -> Array:
    return naive_quantiles(quantiles, past, horizon, 1 if last else season)


_OWN: Mapping[str, partial[Any]] = {
    "last value": partial(Anew, quantiles_of=partial(_naive, last=True)),
    "seasonal naive": partial(Anew, quantiles_of=partial(_naive, last=False)),
    "zero": partial(_ZeroOfPanel),
    "zero+adapt": partial(_ZeroAdaptedOfPanel),
    "zero+fine-tuned": partial(_ZeroFineTunedOfPanel),
}


def _factory_of(model: Model) -> partial[Any] | None:
    """Return what makes a contender of a panel, a budget and a seed; None if nothing does."""
    if isinstance(model, str) and model in _OWN:
        return _OWN[model]
    factory = factory_of(model)
    if factory.func is Darts and factory.keywords.get("validates_forecasts", True):
        return partial(_DartsOfPanel, **factory.keywords)
    return factory if factory.func in (Statsforecast, Neuralforecast) else None


def check_panel_model(model: Model, panel: Panel) -> None:
    """Raise a ValueError for what cannot be compared on a panel."""
    model = resolved(model)
    if not isinstance(model, BaseForecaster):
        check_options(model, panel.look_back, panel.horizon)
    if _factory_of(model) is None:
        known = [name for name in NAMES if _factory_of(name) is not None]
        raise ValueError(
            f"{model!r} is not compared on panels; what is: {', '.join(known)}, layer strings, and "
            "arguments of RimerModel."
        )


def make_panel_contender(model: Model, panel: Panel, budget: Budget, seed: int) -> Contender:
    """Return a model that `check_panel_model` has nothing against."""
    factory = _factory_of(model)
    assert factory is not None
    return factory(panel, budget, seed)
