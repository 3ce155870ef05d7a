"""RimerForecaster: the network as an sktime forecaster."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from scipy.interpolate import make_interp_spline
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sktime.datatypes import get_cutoff, update_data
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from torch import Tensor
from torch.nn import functional as F

from .layers import State
from .network import RimerNetwork
from .network_arguments import check_network_arguments, check_sizes
from .recipe import LEARNING_RATE, WEIGHT_DECAY
from .training import Windows, forecast, train

__all__ = ["RimerForecaster"]

Key = tuple[Hashable, ...]
"""Place of a series in a panel or hierarchy; () for a single series."""

Instances = dict[Key, pd.DataFrame]


class RimerForecaster(BaseForecaster):
    """RWKV-7 forecaster for sktime.

    One network forecasts every series and component from its own last `input_chunk_length` time
    points. Series are standardised inside, each by itself, and so is X: no scaler is needed.
    Series of a panel or hierarchy train one global model. Short series are padded.

    Parameters
    ----------
    input_chunk_length : int
        Look-back, in time points.
    output_chunk_length : int, optional
        Time points forecast at once; further ones feed forecasts back. By default the end of the
        horizon given to ``fit``, or 24 without one.
    layers : str or None
        Layer string, for example ``"rwkv7*2"``; None leaves only the linear skip.
    width, head_size : int
        Channels of a token and of a head; the second must divide the first.
    patch_length : int, optional
        Time points per token. By default 16, or 24 beyond a look-back of 128; a quarter of short
        windows.
    dropout : float
        Probability of zeroing an element of what a layer adds, in [0, 1).
    initial_state : {"zero", "learned"}
        What RWKV-7 layers start from: nothing, or one learned state for all series.
    streaming : bool
        Whether to forecast from a state that is carried over the whole history, and not from the
        last `input_chunk_length` time points. ``update`` then costs the same however long history
        and look-back are. After an ``update`` that trains, or that goes back in time, the state
        begins anew from the time points that are remembered.
    quantiles : sequence of float
        Probabilities to train on, 0.5 among them: the point forecast is the median. Others are
        interpolated, and extrapolated, on the scale of a normal distribution.
    n_epochs : int, optional
        Passes over the training windows. By default as many as make about 2,000 optimiser steps,
        between 5 and 100. ``update`` makes one pass over the new windows at a tenth of the
        learning rate.
    batch_size : int
        Windows per optimiser step.
    learning_rate, weight_decay : float
        Of AdamW, on a cosine schedule to zero; weight decay is on matrices only.
    trainer_kwargs : dict, optional
        Arguments of `pytorch_lightning.Trainer`, for example ``{"enable_progress_bar": True}``.
        Training is silent and writes nothing by default.
    random_state : int, numpy RandomState or None
        Seed of initial weights, window order and dropout. The process's own generators are left
        alone.

    Attributes
    ----------
    network_ : RimerNetwork
        The fitted network.

    Raises
    ------
    ValueError
        In ``fit``, ``update`` and ``predict``, if an argument is out of range, a series is too
        short, holds infinite values or has nothing observed where it is forecast from, or X does
        not cover the time points of y or of the horizon, with the place and the remedy.

    References
    ----------
    Peng et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv:2503.14456.
    Li and Liu (2025), "BlackGoose Rimer", arXiv:2503.06121.

    Examples
    --------
    >>> from rimer_forecaster import RimerForecaster
    >>> from sktime.datasets import load_airline
    >>> y = load_airline()
    >>> forecaster = RimerForecaster(input_chunk_length=24, n_epochs=1, random_state=0)
    >>> y_pred = forecaster.fit(y, fh=range(1, 13)).predict()
    >>> len(y_pred)
    12
    """

    _tags = {  # noqa: RUF012  # sktime's way to declare tags
        "authors": ["The rimer_forecaster developers"],
        "maintainers": ["The rimer_forecaster developers"],
        "python_version": ">=3.11",
        "python_dependencies": ["torch>=2.10", "pytorch-lightning>=2.6.6"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
        "property:randomness": "derandomized",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": False,
        "capability:missing_values": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:random_state": True,
        "capability:unequal_length": True,
        "capability:update": True,
    }

    _config = {"remember_data": False}  # noqa: RUF012  # the context below is all that is kept

    def __init__(
        self,
        input_chunk_length: int = 96,
        output_chunk_length: int | None = None,
        layers: str | None = "rwkv7*1",
        width: int = 32,
        head_size: int = 16,
        patch_length: int | None = None,
        dropout: float = 0.1,
        initial_state: str = "zero",
        streaming: bool = False,
        quantiles: Sequence[float] = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975),
        n_epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = LEARNING_RATE,
        weight_decay: float = WEIGHT_DECAY,
        trainer_kwargs: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.input_chunk_length = input_chunk_length
        self.output_chunk_length = output_chunk_length
        self.layers = layers
        self.width = width
        self.head_size = head_size
        self.patch_length = patch_length
        self.dropout = dropout
        self.initial_state = initial_state
        self.streaming = streaming
        self.quantiles = quantiles
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    def __post_init__(self) -> None:
        """Declare the data memory that sktime's own methods look for, empty."""
        self._y = self._X = None

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> RimerForecaster:
        horizon = self.output_chunk_length
        if horizon is None:
            horizon = 24 if fh is None else int(max(fh.to_relative(self.cutoff)))
        self._check_parameters(horizon)
        series = _instances(y)
        for key, one in series.items():
            if len(one) < 2:
                raise ValueError(
                    f"y{_of(key)} has {len(one)} time point, but training needs at least 2: one to "
                    "forecast from and one to compare with. Give a longer series or leave it out."
                )
            _check_observed(f"y{_of(key)}", one)
        self._level_names, self._y_columns = list(y.index.names), y.columns
        self._scalers = {key: StandardScaler().fit(one.to_numpy()) for key, one in series.items()}
        self._X_columns: list[Hashable] | None = None
        self._X_scaler: StandardScaler | None = None
        covariates: Instances = {}
        if X is not None:
            self._X_columns = list(X.columns)
            given = _instances(X)
            covariates = {key: _rows(given.get(key), one.index, key) for key, one in series.items()}
            every = pd.concat(covariates.values())
            _check_observed("X", every)
            self._X_scaler = StandardScaler().fit(every.to_numpy())

        generator = torch.Generator()
        if self.random_state is None:
            generator.seed()
        else:
            generator.manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        self._generator = generator
        self.network_ = RimerNetwork(
            self.input_chunk_length,
            horizon,
            future_covariates=0 if X is None else X.shape[1],
            outputs=self.quantiles,
            layers=self.layers,
            width=self.width,
            head_size=self.head_size,
            patch_length=self.patch_length,
            dropout=self.dropout,
            initial_state=self.initial_state,
            generator=generator,
        )
        self._train(series, covariates, n_epochs=self.n_epochs, lr=self.learning_rate)
        self._context: dict[Key, tuple[pd.DataFrame, pd.DataFrame | None]] = {}
        self._remember(series, covariates)
        self._states: dict[Key, State] = {}
        if self.streaming:
            for key, one in series.items():
                self._observe(key, one, covariates.get(key))
        return self

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> RimerForecaster:
        if list(y.columns) != list(self._y_columns):
            raise ValueError(
                f"y has columns {list(y.columns)}, but RimerForecaster was fitted with "
                f"{list(self._y_columns)}. Give the same ones in the same order."
            )
        given = self._instances_of_X(X)
        series, covariates, first_origins = {}, {}, {}
        went_on = {}
        for key, new in _instances(y).items():
            past, past_covariates = self._context.get(key, (None, None))
            # The present may also move back, and new windows may overlap what is known.
            one = update_data(past, new).loc[: new.index[-1]]
            series[key] = one
            if key not in self._scalers:
                _check_observed(f"y{_of(key)}", one)
                self._scalers[key] = StandardScaler().fit(one.to_numpy())
            if self._X_scaler is not None:
                covariates[key] = _rows(
                    update_data(past_covariates, given.get(key)), one.index, key
                )
            known = 0 if past is None else int((one.index <= past.index[-1]).sum())
            went_on[key] = past is not None and np.array_equal(
                one.iloc[:known], past.iloc[-known:], equal_nan=True
            )
            if known < len(one) > 1:  # train from the first horizon that reaches into the new
                first_origins[key] = max(1, known - self.network_.output_chunk_length + 1)
        if update_params and first_origins:
            self._train(
                {key: series[key] for key in first_origins},
                {key: covariates[key] for key in first_origins if key in covariates},
                n_epochs=1,
                lr=self.learning_rate / 10,
                first_origins=list(first_origins.values()),
            )
        trained = update_params and bool(first_origins)
        ends = {key: one.index[-1] for key, (one, _) in self._context.items()}
        self._remember(series, covariates)
        if self.streaming:
            # Weights that moved read everything anew, and so does a past that was revised.
            for key in self._context if trained else series:
                rows, own = self._context[key]
                if key in series:
                    rows, own = series[key], covariates.get(key)
                state = None
                if not trained and went_on[key]:
                    state, new = self._states[key], rows.index > ends[key]
                    rows, own = rows[new], None if own is None else own[new]
                if len(rows):
                    self._observe(key, rows, own, state)
        return self

    def _observe(
        self, key: Key, y: pd.DataFrame, X: pd.DataFrame | None, state: State | None = None
    ) -> None:
        """Carry a state of a series over these rows; None begins a new one."""
        target = _tensor(self._scalers[key], y)[None]
        known = None if X is None else _tensor(self._X_scaler, X)[None]
        with torch.no_grad():
            if state is None:
                state = self.network_.init_state(1, target.shape[2])
            self._states[key] = self.network_.update(state, target, future_covariates=known)

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        index, forecasts = self._forecast(fh, X)
        median = forecasts[..., self.network_.middle]
        return pd.DataFrame(median, index=index, columns=self._y_columns)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        if len(self.quantiles) == 1 and list(alpha) != [0.5]:
            raise ValueError(
                f"alpha={alpha} cannot be forecast from quantiles={self.quantiles}: there is "
                "nothing to interpolate between. Fit with more quantiles."
            )
        index, forecasts = self._forecast(fh, X)
        if len(self.quantiles) > 1:
            curve = make_interp_spline(norm.ppf(self.quantiles), forecasts, k=1, axis=-1)
            forecasts = curve(norm.ppf(alpha))  # (rows, C, Q) -> (rows, C, number of alpha)
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)
        return pd.DataFrame(forecasts.reshape(len(index), -1), index=index, columns=columns)

    def _train(
        self,
        series: Instances,
        covariates: Instances,
        *,
        n_epochs: int | None,
        lr: float,
        first_origins: Sequence[int] | None = None,
    ) -> None:
        windows = Windows(
            [_tensor(self._scalers[key], one) for key, one in series.items()],
            [_tensor(self._X_scaler, covariates[key]) for key in series] if covariates else None,
            input_chunk_length=self.input_chunk_length,
            output_chunk_length=self.network_.output_chunk_length,
            first_origins=first_origins,
        )
        train(
            self.network_,
            windows,
            batch_size=self.batch_size,
            n_epochs=n_epochs,
            lr=lr,
            weight_decay=self.weight_decay,
            generator=self._generator,
            trainer_kwargs=self.trainer_kwargs,
        )

    def _remember(self, series: Instances, covariates: Instances) -> None:
        """Keep the end of each series: what forecasts read, and what updates train on."""
        length = self.input_chunk_length + self.network_.output_chunk_length
        for key, one in series.items():
            rows = covariates.get(key)
            self._context[key] = (one.iloc[-length:], None if rows is None else rows.iloc[-length:])

    def _forecast(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[pd.Index, np.ndarray]:
        """Forecast all series in one batch: the index, and quantiles (rows, C, Q)."""
        given = self._instances_of_X(X)
        L = self.input_chunk_length
        cutoffs = {key: get_cutoff(y, return_index=True) for key, (y, _) in self._context.items()}
        ahead = {key: fh.to_relative(cutoff).to_numpy() for key, cutoff in cutoffs.items()}
        most = int(max(steps.max() for steps in ahead.values()))
        if self.streaming:
            return self._forecast_streams(fh, cutoffs, ahead, given)
        past, known = [], []
        for key, (y, covariates) in self._context.items():
            window = y.iloc[-L:]
            _check_observed(f"y{_of(key)}", window, remedy="Choose a longer input_chunk_length.")
            lead = L - len(window)
            past.append(_padded(_tensor(self._scalers[key], window), lead, L, fill=float("nan")))
            if self._X_scaler is not None:
                coming = ForecastingHorizon(range(1, int(ahead[key].max()) + 1))
                labels = window.index.append(coming.to_absolute_index(cutoffs[key]))
                rows = _rows(update_data(covariates, given.get(key)), labels, key)
                known.append(_padded(_tensor(self._X_scaler, rows), lead, L + most, fill=0.0))
        quantiles = forecast(
            self.network_,
            torch.stack(past),
            torch.stack(known) if known else None,
            steps=most,
        )  # (series, steps, C, Q)
        return self._in_units_of_y(fh, cutoffs, ahead, quantiles.double().numpy())

    def _forecast_streams(
        self,
        fh: ForecastingHorizon,
        cutoffs: dict[Key, pd.Index],
        ahead: dict[Key, np.ndarray],
        given: Instances,
    ) -> tuple[pd.Index, np.ndarray]:
        """Forecast each series from the state that it carries."""
        quantiles = []
        for key, cutoff in cutoffs.items():
            most = int(ahead[key].max())
            known = None
            if self._X_scaler is not None:
                coming = ForecastingHorizon(range(1, most + 1))
                labels = coming.to_absolute_index(cutoff)
                known = _tensor(self._X_scaler, _rows(given.get(key), labels, key))[None]
            with torch.inference_mode():
                output = self.network_.forecast(self._states[key], most, future_covariates=known)
            quantiles.append(output[0].double().numpy())
        return self._in_units_of_y(fh, cutoffs, ahead, quantiles)

    def _in_units_of_y(
        self,
        fh: ForecastingHorizon,
        cutoffs: dict[Key, pd.Index],
        ahead: dict[Key, np.ndarray],
        quantiles: Iterable[np.ndarray],
    ) -> tuple[pd.Index, np.ndarray]:
        """Select the steps of the horizon and undo the scaling: the index, and (rows, C, Q)."""
        indices, values = [], []
        for (key, cutoff), one in zip(cutoffs.items(), quantiles, strict=True):
            scaler = self._scalers[key]
            own = one[ahead[key] - 1]
            values.append(own * scaler.scale_[:, None] + scaler.mean_[:, None])
            indices.append(fh.to_absolute_index(cutoff))
        if len(self._level_names) == 1:
            return indices[0], values[0]
        tuples = [
            (*key, time)
            for key, times in zip(self._context, indices, strict=True)
            for time in times
        ]
        return pd.MultiIndex.from_tuples(tuples, names=self._level_names), np.concatenate(values)

    def _check_parameters(self, output_chunk_length: Any) -> None:
        check_network_arguments(
            input_chunk_length=self.input_chunk_length,
            output_chunk_length=output_chunk_length,
            layers=self.layers,
            width=self.width,
            head_size=self.head_size,
            patch_length=self.patch_length,
            dropout=self.dropout,
            initial_state=self.initial_state,
        )
        check_sizes(batch_size=self.batch_size)
        if self.n_epochs is not None:
            check_sizes(n_epochs=self.n_epochs)
        levels = list(self.quantiles)
        if (
            0.5 not in levels
            or levels != sorted(set(levels))
            or not 0 < levels[0] <= levels[-1] < 1
        ):
            raise ValueError(
                f"quantiles={self.quantiles!r} must be ascending probabilities between 0 and 1, "
                "0.5 among them: the point forecast is the median."
            )

    def _check_X_y(self, X: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Name the first infinite value before sktime's own checks convert it."""
        for name, data in (("y", y), ("X", X)):
            _check_values(name, data)
        return super()._check_X_y(X, y, *args, **kwargs)

    def _check_fh(self, fh: Any, pred_int: bool = False) -> Any:
        try:
            return super()._check_fh(fh, pred_int)
        except NotImplementedError as error:
            raise InSampleHorizonError(
                f"fh={fh} reaches back to what was observed, but RimerForecaster can not perform "
                "in-sample prediction: all steps must be at least 1. To see how it would have "
                "forecast the past, use sktime.forecasting.model_evaluation.evaluate."
            ) from error

    def _instances_of_X(self, X: pd.DataFrame | None) -> Instances:
        """Split X by series, if it has the columns of the X given to fit."""
        if (X is None) != (self._X_columns is None):
            given, fitted = ("no X", "with") if X is None else ("X", "without")
            raise ValueError(
                f"got {given}, but RimerForecaster was fitted {fitted} X. Do the same."
            )
        if X is not None and list(X.columns) != self._X_columns:
            raise ValueError(
                f"X has columns {list(X.columns)}, but RimerForecaster was fitted with "
                f"{self._X_columns}. Give the same ones in the same order."
            )
        return _instances(X)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return tiny settings for sktime's conformity suite."""
        tiny = {"n_epochs": 1, "width": 8, "head_size": 4, "random_state": 0}
        return [
            {"input_chunk_length": 6, **tiny},
            {
                "input_chunk_length": 12,
                "output_chunk_length": 2,
                "layers": "rwkv7*2",
                "patch_length": 3,
                "quantiles": (0.1, 0.5, 0.9),
                **tiny,
            },
            {"input_chunk_length": 8, "layers": None, **tiny},
            {"input_chunk_length": 6, "streaming": True, "initial_state": "learned", **tiny},
        ]


class InSampleHorizonError(NotImplementedError, ValueError):
    """The horizon is not in the future: a wrong value, and by sktime's contract not implemented."""


def _instances(data: pd.DataFrame | None) -> Instances:
    """Split a panel or hierarchy into its series."""
    if data is None:
        return {}
    if not isinstance(data.index, pd.MultiIndex):
        return {(): data}
    levels: list[Hashable] = list(range(data.index.nlevels - 1))
    return {
        key if isinstance(key, tuple) else (key,): one.droplevel(levels)
        for key, one in data.groupby(level=levels, sort=False)
    }


def _of(key: Key) -> str:
    """Name a series in a message; a single one needs no name."""
    return f" of series {key}" if key else ""


def _rows(X: pd.DataFrame | None, labels: pd.Index, key: Key) -> pd.DataFrame:
    """Select rows of X by label."""
    absent = labels if X is None else labels.difference(X.index)
    if X is None or len(absent):
        raise ValueError(
            f"X{_of(key)} has no row for {len(absent)} of {len(labels)} time points that the "
            f"forecast or the training needs, the first being {absent[0]}. X must cover the time "
            "points of y, and every step up to the end of the horizon."
        )
    return X.loc[labels]


def _tensor(scaler: StandardScaler, frame: pd.DataFrame) -> Tensor:
    """Standardise a frame, (n, columns)."""
    return torch.from_numpy(scaler.transform(frame.to_numpy()).astype(np.float32))


def _padded(x: Tensor, before: int, length: int, *, fill: float) -> Tensor:
    """Fill up along time to a length, with some of it before."""
    return F.pad(x, (0, 0, before, length - before - len(x)), value=fill)


def _check_values(name: str, data: Any) -> None:
    """Raise a ValueError that names the first infinite value of a pandas object."""
    frame = data.to_frame() if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame) or not all(map(is_numeric_dtype, frame.dtypes)):
        return  # sktime converts other containers, and says so where it cannot
    values = frame.to_numpy(dtype=float, na_value=np.nan)
    unusable = np.abs(values) >= np.sqrt(np.finfo(float).max)  # they are squared; False for NaN
    if unusable.any():
        row, column = np.argwhere(unusable)[0]
        raise ValueError(
            f"{name} has {unusable.sum()} infinite or overlarge values, the first in column "
            f"{frame.columns[column]!r} at {frame.index[row]}: {values[row, column]}. Correct "
            "them, or mark them as missing by NaN."
        )


def _check_observed(
    name: str, frame: pd.DataFrame, *, remedy: str = "Leave it out, or give values."
) -> None:
    """Raise a ValueError that names the first column in which nothing was observed."""
    empty = frame.columns[frame.isna().all()]
    if len(empty):
        raise ValueError(
            f"{name} has no value in column {empty[0]!r} from {frame.index[0]} to "
            f"{frame.index[-1]}. {remedy}"
        )
