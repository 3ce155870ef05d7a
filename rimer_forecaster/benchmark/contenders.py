"""The models that can be compared, by name, all with the same windows and budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from darts.models import (
    BlockRNNModel,
    DLinearModel,
    NHiTSModel,
    NLinearModel,
    RNNModel,
    TFTModel,
    TiDEModel,
    TransformerModel,
    TSMixerModel,
)
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from sktime.forecasting.base import BaseForecaster
from sktime.registry import craft

from ..darts.model import RimerModel
from ..layers import check_layers
from ..network.config import OF_MODELS
from .budget import Budget
from .contender import Contender, Naive
from .of_darts import Darts
from .of_neuralforecast import NEURALFORECAST, Neuralforecast
from .of_package import Compressed, Zero, ZeroAdapted, ZeroFineTuned
from .of_sktime import Sktime
from .of_statsforecast import STATSFORECAST, Statsforecast
from .of_stream import Streamed
from .task import Task

__all__ = ["ALWAYS", "NAMES", "OF_PACKAGE", "Model", "by_label", "factory_of", "make_contender"]

ALWAYS = ("last value", "seasonal naive", "rlinear")
"""Rows that no table is without; the last is the linear skip of `RimerModel` alone."""

SEEDLESS = (*ALWAYS[:2], "zero", *map(str.lower, STATSFORECAST))
"""Rows that are the same with every seed."""

TIMER = "attention*12"


def _rimer(**options: Any) -> partial[Any]:
    return partial(Darts, make=partial(RimerModel, **options), theirs=False)


def _theirs(
    make: Callable[..., TorchForecastingModel],
    *,
    validates_forecasts: bool = True,
    forecasts_quantiles: bool = True,
    **options: Any,
) -> partial[Any]:
    return partial(
        Darts,
        make=partial(make, **options),
        validates_forecasts=validates_forecasts,
        forecasts_quantiles=forecasts_quantiles,
    )


def _rnn(look_back: int, *, output_chunk_length: int, cell: str, **options: Any) -> RNNModel:
    """Darts' recursive model, which is trained on as many steps as it is to forecast."""
    length = look_back + output_chunk_length
    return RNNModel(look_back, model=cell, hidden_dim=64, training_length=length, **options)


_NORMALISED = {"use_reversible_instance_norm": True}
"""As Rimer does; without it these models fail where the level moves."""

OF_PACKAGE: Mapping[str, partial[Any]] = {
    "zero": partial(Zero),
    "zero+adapt": partial(ZeroAdapted),
    "zero+fine-tuned": partial(ZeroFineTuned),
    "compressed": partial(Compressed),
}
"""Contenders that begin with the weights of the package."""

_TABLE: Mapping[str, partial[Any]] = {
    "last value": partial(Naive, season=1),
    "seasonal naive": partial(Naive),
    "rlinear": _rimer(layers=None),
    **OF_PACKAGE,
    "rwkv7-streamed": partial(
        Streamed, make=partial(RimerModel, layers="rwkv7", streaming=True), theirs=False
    ),
    "rwkv7-cross": _rimer(layers="rwkv7", components="cross"),
    "rwkv7-cross-covariates": _rimer(layers="rwkv7", covariates="cross"),
    "timer": _rimer(layers=TIMER),
    "transformer": _theirs(TransformerModel, **_NORMALISED),
    "blockrnn-lstm": _theirs(BlockRNNModel, model="LSTM", hidden_dim=64, **_NORMALISED),
    "blockrnn-gru": _theirs(BlockRNNModel, model="GRU", hidden_dim=64, **_NORMALISED),
    # Trained and validated one step ahead over true values, so by another loss than the others;
    # darts does not normalise the windows of this model.
    "rnn-lstm": _theirs(_rnn, cell="LSTM", validates_forecasts=False),
    "rnn-gru": _theirs(_rnn, cell="GRU", validates_forecasts=False),
    # As published: one linear map for all channels. With darts' default each reads all others.
    "dlinear": _theirs(DLinearModel, shared_weights=True),
    # Quantiles would need it without the subtraction of the last value, which it is known for.
    "nlinear": _theirs(NLinearModel, shared_weights=True, forecasts_quantiles=False),
    "tide": _theirs(TiDEModel, **_NORMALISED),
    "nhits": _theirs(NHiTSModel, **_NORMALISED),
    "tft": _theirs(TFTModel, add_relative_index=True, **_NORMALISED),
    "tsmixer": _theirs(TSMixerModel, **_NORMALISED),
    **{name.lower(): partial(Statsforecast, model=name) for name in STATSFORECAST},
    **{name.lower(): partial(Neuralforecast, model=name) for name in NEURALFORECAST},
}

NAMES = tuple(_TABLE)
"""Names that stand for models; anything else is read as a layer string."""

Model: TypeAlias = str | Mapping[str, Any] | BaseForecaster
"""A name or layer string, arguments of `RimerModel` (`OF_MODELS`), or a forecaster of sktime."""


def by_label(models: Sequence[str] | Mapping[str, Model]) -> dict[str, Model]:
    """Return models by their labels, which are their names where none are given."""
    if isinstance(models, str):
        raise ValueError(f"models={models!r} must be a list of names: [{models!r}].")
    return dict(models) if isinstance(models, Mapping) else {name: name for name in models}


def resolved(model: Model) -> Model:
    """Make the forecaster of sktime that a string with a capital letter describes.

    Parameters
    ----------
    model
        A model; or a specification as `sktime.registry.craft` reads it, of constructors and
        operators alone: ``"ThetaForecaster(sp=12)"``, ``"Deseasonalizer() * NaiveForecaster()"``.

    Raises
    ------
    ValueError
        If there is no such forecaster.
    """
    if not isinstance(model, str) or not model[:1].isupper():
        return model
    try:
        made = craft(model, safe=True)
        made = made() if isinstance(made, type) else made
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{model!r} is read as a forecaster of sktime, because it begins with a capital "
            f"letter, but cannot be made: {error.__cause__ or error}"
        ) from error
    if not isinstance(made, BaseForecaster):
        raise ValueError(f"{model!r} is a {type(made).__name__}, not a forecaster.")
    return made


def factory_of(model: Model) -> partial[Any]:
    """Return what makes a contender of a task, a budget and a seed."""
    if isinstance(model, BaseForecaster):
        return partial(Sktime, forecaster=model)
    if isinstance(model, Mapping):
        return _rimer(**model)
    return _TABLE[model] if model in _TABLE else _rimer(layers=model)


def make_contender(model: Model, task: Task, budget: Budget, seed: int) -> Contender:
    """Return a model that `check_model` has nothing against."""
    return factory_of(model)(task, budget, seed)


def check_model(model: Model, task: Task, budget: Budget) -> None:
    """Raise a ValueError for what cannot be made or trained, before anything is."""
    if isinstance(model, BaseForecaster):
        if budget.quantiles is not None and not model.get_tag("capability:pred_int"):
            raise ValueError(
                f"{type(model).__name__} forecasts no quantiles. Leave it out, or quantiles=."
            )
        return
    validation = task.validation_end - task.train_end
    if model in ("rnn-lstm", "rnn-gru") and validation <= task.horizon:
        raise ValueError(
            f"the validation part has {validation} steps, but {model!r} needs at least "
            f"{task.horizon + 1}: darts' RNNModel reads one more. Give another split."
        )
    check_options(model, task.look_back, task.horizon)


def check_options(model: Model, look_back: int, horizon: int) -> None:
    """Raise a ValueError for what is neither a name, nor a layer string, nor `OF_MODELS`."""
    if model in NAMES:
        return
    if isinstance(model, Mapping):
        unknown = sorted(set(model) - set(OF_MODELS))
        if unknown:
            raise ValueError(
                f"{unknown} is not what a comparison leaves to a RimerModel, which is "
                f"{', '.join(OF_MODELS)}; what is the same for all are arguments of compare()."
            )
        RimerModel(look_back, horizon, **model)
        return
    try:
        check_layers(model, width=32, head_size=16)
    except ValueError as error:
        raise ValueError(
            f"{model!r} is neither a model ({', '.join(NAMES)}) nor a layer string: {error}"
        ) from error
