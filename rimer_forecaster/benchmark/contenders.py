"""The models that can be compared, by name, all with the same windows and budget.

Letters: B forecasts, H horizon, C components, Q quantiles or 1.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
import torch
from darts.models import (
    BlockRNNModel,
    DLinearModel,
    NLinearModel,
    RNNModel,
    TiDEModel,
    TransformerModel,
    TSMixerModel,
)
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from sktime.base import BaseObject
from sktime.forecasting.base import BaseForecaster
from sktime.registry import craft

from ..darts.base import NetworkModel
from ..darts.model import RimerModel
from ..layers import check_layers
from ..network import RimerNetwork
from .budget import Budget
from .task import Task

__all__ = ["ALWAYS", "NAMES", "OPTIONS", "Contender", "Model", "make_contender"]

Array = NDArray[np.float64]

ALWAYS = ("last value", "seasonal naive", "rlinear")
"""Rows that no table is without; the last is the linear skip of `RimerModel` alone."""

TIMER = "attention*12"


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


class Darts:
    """A torch model of darts."""

    validation_loss: float | None = None

    def __init__(
        self,
        task: Task,
        budget: Budget,
        seed: int,
        *,
        make: Callable[..., TorchForecastingModel],
        theirs: bool = True,
        validates_forecasts: bool = True,
    ) -> None:
        self.task, self.budget = task, budget
        self.validates_forecasts = validates_forecasts
        self.series, self.covariates = task.z_scored(), task.z_scored_covariates()
        if theirs:  # they cannot read missing values
            filled = pd.DataFrame(self.series.values(copy=False)).ffill().bfill()
            self.series = self.series.with_values(filled.to_numpy())
        self.folder = tempfile.TemporaryDirectory(prefix="rimer-benchmark-")
        options: dict[str, Any] = {
            "output_chunk_length": task.horizon,
            "batch_size": budget.batch_size,
            "n_epochs": budget.epochs,
            "random_state": seed,
            "save_checkpoints": True,
            "model_name": "model",
            "work_dir": self.folder.name,
            "force_reset": True,
            "pl_trainer_kwargs": {
                "accelerator": "auto",
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "callbacks": [EarlyStopping("val_loss", patience=budget.patience)],
                **({} if budget.seconds is None else {"max_time": _clock(budget.seconds)}),
            },
        }
        if budget.quantiles is None:
            options["loss_fn"] = torch.nn.L1Loss()
        else:
            options["likelihood"] = QuantileRegression(list(budget.quantiles))
        if theirs:
            options["optimizer_cls"] = torch.optim.AdamW
            options["optimizer_kwargs"] = {"lr": budget.learning_rate}
        self.model = make(task.look_back, **options)

    @property
    def reads_covariates(self) -> bool:
        """See `Contender`."""
        return bool(self.model.supports_future_covariates)

    def fit(self) -> None:
        """See `Contender`."""
        task = self.task
        validation = self.series[task.train_end - task.look_back : task.validation_end]
        known = {}
        if self.covariates is not None and self.reads_covariates:
            known = {"future_covariates": self.covariates, "val_future_covariates": self.covariates}
        self.model.fit(
            self.series[: task.train_end],
            val_series=validation,
            stride=self.budget.train_stride,
            **known,
        )
        if self.validates_forecasts:
            self.validation_loss = float(self.model.trainer.early_stopping_callback.best_score)
        kind = type(self.model)
        best = kind.load_from_checkpoint("model", self.folder.name, best=True)
        best.trainer_params = self.model.trainer_params
        self.model = best

    def forecast(self, origins: NDArray[np.int64]) -> Array:
        """See `Contender`."""
        task, quantiles = self.task, self.budget.quantiles
        first, last = int(origins[0]), int(origins[-1])
        known = {}
        if self.covariates is not None and self.reads_covariates:
            known = {"future_covariates": self.covariates}
        forecasts = self.model.historical_forecasts(
            self.series[first - task.look_back : last + task.horizon],
            start=task.look_back,
            start_format="position",
            forecast_horizon=task.horizon,
            stride=task.stride,
            retrain=False,
            last_points_only=False,
            predict_likelihood_parameters=quantiles is not None,
            verbose=False,
            **known,
        )
        values = np.stack([one.values(copy=False) for one in forecasts]).astype(float)
        return values.reshape(*values.shape[:2], self.series.n_components, -1)

    def parameters(self) -> int:
        """See `Contender`."""
        return sum(weights.numel() for weights in self.model.model.parameters())

    def streamed_network(self) -> RimerNetwork | None:
        """See `Contender`."""
        return self.model.network if isinstance(self.model, NetworkModel) else None


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
        target = task.series if self.as_it_is else task.z_scored()
        self.frame = target.to_dataframe().astype(float)
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

    def parameters(self) -> int:
        """See `Contender`; 0 where there is no network."""
        network = _network(self.forecaster, *_UPDATED, *_FITTED_AGAIN)
        return 0 if network is None else sum(one.numel() for one in network.parameters())

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


def _rimer(**options: Any) -> Callable[..., Contender]:
    return partial(Darts, make=partial(RimerModel, **options), theirs=False)


def _theirs(
    make: Callable[..., TorchForecastingModel], *, validates_forecasts: bool = True, **options: Any
) -> Callable[..., Contender]:
    return partial(Darts, make=partial(make, **options), validates_forecasts=validates_forecasts)


def _rnn(look_back: int, *, output_chunk_length: int, cell: str, **options: Any) -> RNNModel:
    """Darts' recursive model, which is trained on as many steps as it is to forecast."""
    length = look_back + output_chunk_length
    return RNNModel(look_back, model=cell, hidden_dim=64, training_length=length, **options)


_NORMALISED = {"use_reversible_instance_norm": True}
"""As Rimer does; without it these models fail where the level moves."""

_TABLE: dict[str, Callable[..., Contender]] = {
    "rlinear": _rimer(layers=None),
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
    "nlinear": _theirs(NLinearModel, shared_weights=True),
    "tide": _theirs(TiDEModel, **_NORMALISED),
    "tsmixer": _theirs(TSMixerModel, **_NORMALISED),
}

NAMES = ("last value", "seasonal naive", *_TABLE)
"""Names that stand for models; anything else is read as a layer string."""

OPTIONS = (
    "layers",
    "width",
    "head_size",
    "patch_length",
    "dropout",
    "layers_rate",
    "initial_state",
    "components",
    "covariates",
    "streaming",
)
"""Arguments of `RimerModel` that a comparison does not set itself."""

Model: TypeAlias = str | Mapping[str, Any] | BaseForecaster
"""A name or layer string, `OPTIONS` of `RimerModel`, or a forecaster of sktime."""


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


def make_contender(model: Model, task: Task, budget: Budget, seed: int) -> Contender:
    """Return a model that `check_model` has nothing against."""
    if isinstance(model, BaseForecaster):
        return Sktime(task, budget, seed, forecaster=model)
    if isinstance(model, Mapping):
        return _rimer(**model)(task, budget, seed)
    if model == "last value":
        return Naive(task, budget, seed, season=1)
    if model == "seasonal naive":
        return Naive(task, budget, seed, season=task.season)
    if model in _TABLE:
        return _TABLE[model](task, budget, seed)
    return _rimer(layers=model)(task, budget, seed)


def check_model(model: Model, task: Task, budget: Budget) -> None:
    """Raise a ValueError for what cannot be made or trained, before anything is."""
    if isinstance(model, BaseForecaster):
        if budget.quantiles is not None and not model.get_tag("capability:pred_int"):
            raise ValueError(
                f"{type(model).__name__} forecasts no quantiles. Leave it out, or quantiles=."
            )
        return
    if model == "nlinear" and budget.quantiles is not None:
        raise ValueError(
            "darts' NLinearModel forecasts no quantiles where it subtracts the last value, which "
            "is what it is known for. Leave out 'nlinear', or quantiles=."
        )
    validation = task.validation_end - task.train_end
    if model in ("rnn-lstm", "rnn-gru") and validation <= task.horizon:
        raise ValueError(
            f"the validation part has {validation} steps, but {model!r} needs at least "
            f"{task.horizon + 1}: darts' RNNModel reads one more. Give another split."
        )
    if model in NAMES:
        return
    if isinstance(model, Mapping):
        unknown = sorted(set(model) - set(OPTIONS))
        if unknown:
            raise ValueError(
                f"{unknown} is not what a comparison leaves to a RimerModel, which is "
                f"{', '.join(OPTIONS)}; what is the same for all are arguments of compare()."
            )
        RimerModel(task.look_back, task.horizon, **model)
        return
    try:
        check_layers(model, width=32, head_size=16)
    except ValueError as error:
        raise ValueError(
            f"{model!r} is neither a model ({', '.join(NAMES)}) nor a layer string: {error}"
        ) from error


def _clock(seconds: float) -> dict[str, float]:
    return {"seconds": math.ceil(seconds)}
