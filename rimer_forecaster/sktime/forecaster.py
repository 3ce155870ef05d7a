"""RimerForecaster: the network as an sktime forecaster."""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from torch import Tensor
from torch.nn import functional as F

from ..network.config import check_finite_forecast, check_sizes, warn_of_unprepared
from ..network.network import RimerNetwork
from ..training.recipe import LEARNING_RATE, WEIGHT_DECAY
from ..training.windows import Windows, forecast, train
from .pretrained import Pretrained
from .quantile_curve import interpolated
from .series import (
    Instances,
    Key,
    as_scaled,
    check_grid,
    check_observed,
    check_values,
    cutoff_of,
    freq_of,
    instances,
    joined,
    name_of,
    on_grid,
    rows,
)
from .stream_bank import StreamBank

__all__ = ["RimerForecaster"]

_TRAINING_ON = 0.1
"""Learning rate where weights are trained on that were trained before, times the first one."""

_LENGTHS = ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "callbacks")
"""Arguments of the trainer that are not for the one pass of an update."""


class _Scaling(NamedTuple):
    """What the series and their covariates are standardised by."""

    of_y: dict[Key, StandardScaler]
    X_columns: list[Hashable] | None = None
    of_X: StandardScaler | None = None

    def y(self, key: Key, frame: pd.DataFrame) -> Tensor:
        return as_scaled(self.of_y[key], frame)

    def X(self, frame: pd.DataFrame) -> Tensor:
        return as_scaled(self.of_X, frame)

    def with_weights(self, network: RimerNetwork) -> Pretrained:
        names = None if self.X_columns is None else tuple(map(str, self.X_columns))
        return Pretrained(network, names, self.of_X)

    def apply(
        self, series: Instances, covariates: Instances
    ) -> tuple[dict[Key, Tensor], dict[Key, Tensor] | None]:
        """Standardise series and covariates, (n, columns) each."""
        return (
            {key: self.y(key, one) for key, one in series.items()},
            {key: self.X(one) for key, one in covariates.items()} if covariates else None,
        )


class RimerForecaster(BaseForecaster):
    """RWKV-7 forecaster for sktime.

    One network forecasts every series and component from its own last `input_chunk_length` time
    points. Series are standardised inside, each by itself, and so is X: no scaler is needed.
    Series of a panel or hierarchy train one global model. Short series are padded.

    In-sample forecasts (steps of `fh` at or before the cutoff) are each made one step ahead, from
    the `input_chunk_length` time points before, by the fitted weights; NaN where nothing was
    observed there. They reach back over what ``fit`` was given; after an ``update``, and in a file,
    only the last `input_chunk_length` + `output_chunk_length` time points are remembered.

    Parameters
    ----------
    input_chunk_length : int
        Look-back, in time points.
    output_chunk_length : int, optional
        Time points forecast at once; further ones feed forecasts back. By default that of the
        pretrained weights, the end of the horizon given to ``fit``, or 24 without one.
    layers : str or None
        Layer string, for example ``"rwkv7*2"``; None leaves only the linear skip.
    width, head_size : int
        Channels of a token and of a head; the second must divide the first.
    patch_length : int, optional
        Time points per token. By default 16, or 24 beyond a look-back of 128; a quarter of short
        windows.
    dropout : float
        Probability of zeroing an element of what a layer adds, in [0, 1).
    layers_rate : float
        Factor of the learning rates of all but the linear skips. Try 0.1 where series are short or
        noisy and a linear map does well: see docs/benchmarks.md.
    initial_state : {"zero", "learned"}
        What RWKV-7 layers start from: nothing, or one learned state for all series.
    streaming : bool
        Whether to forecast from a state that is carried over the whole history, and not from the
        last `input_chunk_length` time points; training prepares for it. ``update`` then costs the
        same however long history and look-back are. After an ``update`` that trains, or that goes
        back in time, the state begins anew from the time points that are remembered.
    quantiles : sequence of float
        Probabilities to train on, 0.5 among them: the point forecast is the median. Others are
        interpolated, and extrapolated, on the scale of a normal distribution.
    n_epochs : int, optional
        Passes over the training windows. By default as many as make about 2,000 optimiser steps,
        between 5 and 100. ``update`` makes one pass over the new windows at a tenth of the
        learning rate. With pretrained weights, 0 forecasts by them as they are, after updates too.
    batch_size : int
        Windows per optimiser step.
    learning_rate, weight_decay : float
        Of AdamW, on a cosine schedule to zero; weight decay is on matrices only.
    validation_fraction : float, optional
        Share of the end of each series, in (0, 1), that is not trained on but gives a ``val_loss``
        after every epoch. The weights with the lowest one are kept, and callbacks such as early
        stopping can read it. Series of which nothing would be left to train on are trained on as a
        whole.
    pretrained : path or Pretrained, optional
        Weights to begin with: a file of ``save_weights``, or the attribute `pretrained_` of another
        forecaster. ``fit`` trains a copy of them on, at a tenth of the learning rate. As a
        parameter it survives ``clone``, ``set_params`` and searches, which ``pretrain`` does not.
    trainer_kwargs : dict, optional
        Arguments of `pytorch_lightning.Trainer`, for example ``{"enable_progress_bar": True}``.
        Training is silent and writes nothing by default. Callbacks are copied for every training,
        and not called in ``update``.
    random_state : int, numpy RandomState or None
        Seed of initial weights, window order and dropout. The process's own generators are left
        alone.

    Attributes
    ----------
    network_ : RimerNetwork
        The fitted network.
    pretrained_ : Pretrained
        What ``pretrain`` learnt; ``fit`` and ``update`` leave it as it is.

    Raises
    ------
    ValueError
        In ``fit``, ``update`` and ``predict``, if an argument is out of range, a series is too
        short, has uneven time points, holds infinite values or has nothing observed where it is
        forecast from, X does not cover the time points of y or of the horizon, or the horizon
        reaches back beyond what is remembered, with the place and the remedy.

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
        "capability:non_contiguous_X": True,
        "capability:missing_values": True,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:pretrain": True,
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
        layers_rate: float = 1.0,
        initial_state: str = "zero",
        streaming: bool = False,
        quantiles: Sequence[float] = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975),
        n_epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = LEARNING_RATE,
        weight_decay: float = WEIGHT_DECAY,
        validation_fraction: float | None = None,
        pretrained: str | PathLike[str] | Pretrained | None = None,
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
        self.layers_rate = layers_rate
        self.initial_state = initial_state
        self.streaming = streaming
        self.quantiles = quantiles
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.pretrained = pretrained
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    def __post_init__(self) -> None:
        """Declare the data memory that sktime's own methods look for, empty."""
        self._y = self._X = None

    # --- training -----------------------------------------------------------------------------

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> RimerForecaster:
        """Learn from a panel, and from what was learnt before if anything was."""
        if self.n_epochs == 0:
            raise ValueError("n_epochs=0 pretrains nothing: give at least 1, or None.")
        *_, scaling, network = self._learn(y, X, fh, self._new_generator())
        self.pretrained_ = scaling.with_weights(network)
        return self

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> RimerForecaster:
        self._generator = self._new_generator()
        series, covariates, self._scaling, self.network_ = self._learn(y, X, fh, self._generator)
        self._level_names, self._y_columns = list(y.index.names), y.columns
        self._freq = freq_of(max((one.index for one in series.values()), key=len))
        self._context: dict[Key, tuple[pd.DataFrame, pd.DataFrame | None]] = {}
        self._remember(series, covariates)
        self._begins = {key: one.index[0] for key, one in series.items()}
        self._history = {key: (one, covariates.get(key)) for key, one in series.items()}
        self._streams: StreamBank[Key] = StreamBank()
        if self.streaming:
            self._streams.begin(self.network_, *self._scaling.apply(series, covariates))
        return self

    def _learn(
        self,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        fh: ForecastingHorizon | None,
        generator: torch.Generator,
    ) -> tuple[Instances, Instances, _Scaling, RimerNetwork]:
        """Train a new network, or a copy of the pretrained one: series, covariates and both."""
        prior = self._prior()
        known = {} if prior is None else prior.network.arguments
        horizon, patch_length = (
            known.get(name) if getattr(self, name) is None else getattr(self, name)
            for name in ("output_chunk_length", "patch_length")
        )
        if horizon is None:
            ahead = 0 if fh is None else int(max(fh.to_relative(self.cutoff)))
            horizon = ahead if ahead >= 1 else 24
        self._check_parameters(prior)
        series, covariates, scaling = self._prepare(y, X, prior)
        streaming = self.streaming  # what the weights are prepared for
        if prior is not None and self.n_epochs == 0:
            streaming = prior.network.arguments["streaming"]
        network = RimerNetwork(
            self.input_chunk_length,
            horizon,
            future_covariates=0 if X is None else X.shape[1],
            outputs=self.quantiles,
            layers=self.layers,
            width=self.width,
            head_size=self.head_size,
            patch_length=patch_length,
            dropout=self.dropout,
            layers_rate=self.layers_rate,
            initial_state=self.initial_state,
            streaming=streaming,
            generator=generator,
        )
        lr = self.learning_rate
        if prior is not None:
            prior.give_weights(network)
            lr *= _TRAINING_ON
            if self.streaming and self.n_epochs == 0:
                warn_of_unprepared("the pretrained weights were", prior.network.arguments)
        if self.n_epochs == 0:  # so that there is a prior: the parameters are checked
            network.eval()
        else:
            self._train(network, generator, series, covariates, scaling, lr=lr)
        return series, covariates, scaling, network

    def _prior(self) -> Pretrained | None:
        """Return what to begin with: what ``pretrain`` left, or else the parameter."""
        if hasattr(self, "pretrained_"):
            return self.pretrained_
        if self.pretrained is None or isinstance(self.pretrained, Pretrained):
            return self.pretrained
        return Pretrained.load(self.pretrained)

    def _new_generator(self) -> torch.Generator:
        generator = torch.Generator()
        if self.random_state is None:
            generator.seed()
        else:
            generator.manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        return generator

    def _prepare(
        self, y: pd.DataFrame, X: pd.DataFrame | None, prior: Pretrained | None
    ) -> tuple[Instances, Instances, _Scaling]:
        """Split y and X into series, and measure their scales."""
        series = instances(y)
        for key, one in series.items():
            if len(one) < 2 and self.n_epochs != 0:
                raise ValueError(
                    f"y{name_of(key)} has {len(one)} time point, but training needs at least 2: "
                    "one to forecast from and one to compare with. Give a longer series or leave "
                    "it out."
                )
            check_observed(f"y{name_of(key)}", one)
        of_y = {key: StandardScaler().fit(one.to_numpy()) for key, one in series.items()}
        if prior is not None:
            prior.check_X(None if X is None else X.columns)
        if X is None:
            return series, {}, _Scaling(of_y)
        given = instances(X)
        covariates = {key: rows(given.get(key), one.index, key) for key, one in series.items()}
        of_X = None if prior is None else prior.X_scaler
        if of_X is None:
            every = pd.concat(covariates.values())
            check_observed("X", every)
            of_X = StandardScaler().fit(every.to_numpy())
        return series, covariates, _Scaling(of_y, list(X.columns), of_X)

    def _train(
        self,
        network: RimerNetwork,
        generator: torch.Generator,
        series: Instances,
        covariates: Instances,
        scaling: _Scaling,
        *,
        lr: float,
        first_origins: Mapping[Key, int] | None = None,
    ) -> None:
        """Train in place; from given first time points to forecast on, it is an update."""
        targets, known = scaling.apply(series, covariates)

        def windows(ends: Mapping[Key, int], first_origins: Mapping[Key, int] | None) -> Windows:
            return Windows(
                [targets[key][:end] for key, end in ends.items()],
                None if known is None else [known[key][:end] for key, end in ends.items()],
                input_chunk_length=network.input_chunk_length,
                output_chunk_length=network.output_chunk_length,
                first_origins=None if first_origins is None else [first_origins[k] for k in ends],
            )

        ends = {key: len(target) for key, target in targets.items()}
        validation, n_epochs, options = None, self.n_epochs, dict(self.trainer_kwargs or {})
        if first_origins is not None:
            n_epochs = 1
            options = {name: value for name, value in options.items() if name not in _LENGTHS}
        elif self.validation_fraction is not None:
            left = {
                key: end - math.ceil(self.validation_fraction * end) for key, end in ends.items()
            }
            left = {key: end for key, end in left.items() if end >= 2}
            if not left:
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} leaves no series with 2 time "
                    "points to train on. Lower it, or give longer series."
                )
            validation = windows({key: ends[key] for key in left}, left)
            ends |= left
        train(
            network,
            windows(ends, first_origins),
            validation=validation,
            batch_size=self.batch_size,
            n_epochs=n_epochs,
            lr=lr,
            weight_decay=self.weight_decay,
            generator=generator,
            trainer_kwargs=options,
        )

    def _remember(self, series: Instances, covariates: Instances) -> None:
        """Keep the end of each series: what forecasts read, and what updates train on."""
        length = self.input_chunk_length + self.network_.output_chunk_length
        for key, one in series.items():
            own = covariates.get(key)
            self._context[key] = (one.iloc[-length:], None if own is None else own.iloc[-length:])

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Write the weights as safetensors, with a JSON file beside them.

        They are what the parameter `pretrained` takes. No code can hide in such files, and they
        hold no series.

        Parameters
        ----------
        path
            Must end with ``.safetensors``.

        Raises
        ------
        NotFittedError
            If the forecaster is neither fitted nor pretrained.
        ValueError
            If the path ends otherwise.
        """
        if self.is_fitted:
            self._scaling.with_weights(self.network_).save(path)
            return
        if not hasattr(self, "pretrained_"):
            self.check_is_fitted()
        self.pretrained_.save(path)

    # --- new time points ----------------------------------------------------------------------

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> RimerForecaster:
        if list(y.columns) != list(self._y_columns):
            raise ValueError(
                f"y has columns {list(y.columns)}, but RimerForecaster was fitted with "
                f"{list(self._y_columns)}. Give the same ones in the same order."
            )
        given = self._instances_of_X(X)
        series: Instances = {}
        covariates: Instances = {}
        first_origins: dict[Key, int] = {}
        went_on: dict[Key, int] = {}
        for key, new in instances(y).items():
            past, past_X = self._context.get(key, (None, None))
            # The present may also move back, and new windows may overlap what is known.
            observed = joined(past, new).loc[: new.index[-1]]
            series[key] = one = on_grid(observed, self._freq)
            if key not in self._scaling.of_y:
                check_observed(f"y{name_of(key)}", one)
                self._scaling.of_y[key] = StandardScaler().fit(one.to_numpy())
                self._begins[key] = one.index[0]
            if self._scaling.of_X is not None:
                known_X = joined(past_X, given[key]) if key in given else past_X
                covariates[key] = rows(known_X, one.index, key, needed=observed.index)
            known = 0 if past is None else int((one.index <= past.index[-1]).sum())
            if past is not None and _ends_with(past, one[:known]):
                before = covariates.get(key)
                if before is None or _ends_with(past_X, before[:known]):
                    went_on[key] = known
            if known < len(one) > 1:  # train from the first horizon that reaches into the new
                first_origins[key] = max(1, known - self.network_.output_chunk_length + 1)
        if update_params and first_origins and self.n_epochs != 0:
            self._train(
                self.network_,
                self._generator,
                {key: series[key] for key in first_origins},
                {key: covariates[key] for key in first_origins if key in covariates},
                self._scaling,
                lr=self.learning_rate * _TRAINING_ON,
                first_origins=first_origins,
            )
            went_on = {}  # weights that moved read everything anew
            if self.streaming:
                for key, (past, past_X) in self._context.items():
                    if key not in series:
                        series[key] = past
                        if past_X is not None:
                            covariates[key] = past_X
        if self.streaming:
            self._carry_on(series, covariates, went_on)
        self._remember(series, covariates)
        for key in series:
            self._history.pop(key, None)
        return self

    def _carry_on(
        self, series: Instances, covariates: Instances, went_on: Mapping[Key, int]
    ) -> None:
        """Give streams the rows after those that they know; others begin anew from all rows."""
        anew = [key for key in series if key not in went_on]
        more = [key for key, known in went_on.items() if known < len(series[key])]
        for keys, read in ((anew, self._streams.begin), (more, self._streams.update)):
            known = {key: went_on.get(key, 0) for key in keys}
            y = {key: series[key].iloc[start:] for key, start in known.items()}
            X = {key: covariates[key].iloc[start:] for key, start in known.items() if covariates}
            read(self.network_, *self._scaling.apply(y, X))

    # --- forecasts ----------------------------------------------------------------------------

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        index, forecasts = self._forecast(fh, X)
        median = forecasts[..., self.network_.middle]
        return pd.DataFrame(median, index=index, columns=self._y_columns)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        self._check_alpha(alpha)
        index, values = self._forecast(fh, X)
        if len(self.quantiles) > 1:
            values = interpolated(values, self.quantiles, alpha)
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)
        return pd.DataFrame(values.reshape(len(index), -1), index=index, columns=columns)

    def _predict_proba(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True
    ) -> Any:
        """Return the distribution of which `_predict_quantiles` gives the quantiles."""
        from .distribution import QuantileDistribution

        self._check_alpha(None)
        index, forecasts = self._forecast(fh, X)
        columns = self._get_varnames()
        return QuantileDistribution(forecasts, tuple(self.quantiles), index, columns)

    def _check_alpha(self, alpha: Sequence[float] | None) -> None:
        if len(self.quantiles) == 1 and (alpha is None or list(alpha) != [0.5]):
            raise ValueError(
                f"alpha={alpha} cannot be forecast from quantiles={self.quantiles}: there is "
                "nothing to interpolate between. Fit with more quantiles."
            )

    def _forecast(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[pd.Index, NDArray[np.float64]]:
        """Forecast all series: the index, and quantiles (rows, C, Q) in the units of y."""
        given = self._instances_of_X(X)
        cutoffs = {key: cutoff_of(y.index, self._freq) for key, (y, _) in self._context.items()}
        # Once for all series that end together: sktime takes a millisecond for each.
        ends = {cutoff[0]: cutoff for cutoff in cutoffs.values()}
        steps_from = {end: fh.to_relative(cutoff).to_numpy() for end, cutoff in ends.items()}
        labels_from = {end: fh.to_absolute_index(cutoff) for end, cutoff in ends.items()}
        ahead = {key: steps_from[cutoff[0]] for key, cutoff in cutoffs.items()}
        most = int(max(steps.max() for steps in ahead.values()))
        coming: Mapping[Key, Tensor] = {}
        if most >= 1:
            read = self._read_streams if self.streaming else self._read_windows
            coming = read(cutoffs, ahead, most, given)
        values, indices = [], []
        for key, cutoff in cutoffs.items():
            steps, scaler = ahead[key], self._scaling.of_y[key]
            later = steps >= 1
            parts = []
            if not later.all():
                parts.append(self._read_in_sample(key, steps[~later]))
            if later.any():
                parts.append(coming[key][steps[later] - 1])
                check_finite_forecast(parts[-1])
            own = torch.cat(parts).double().numpy()  # a horizon is in ascending order
            values.append(own * scaler.scale_[:, None] + scaler.mean_[:, None])
            indices.append(labels_from[cutoff[0]])
        if len(self._level_names) == 1:
            return indices[0], values[0]
        tuples = [
            (*key, time) for key, times in zip(cutoffs, indices, strict=True) for time in times
        ]
        return pd.MultiIndex.from_tuples(tuples, names=self._level_names), np.concatenate(values)

    def _read_windows(
        self,
        cutoffs: Mapping[Key, pd.Index],
        ahead: Mapping[Key, NDArray[np.int64]],
        most: int,
        given: Instances,
    ) -> dict[Key, Tensor]:
        """Forecast each series from its last L time points, (most, C, Q)."""
        L = self.input_chunk_length
        past, known = [], []
        for key, (y, covariates) in self._context.items():
            window = self._check_window(key, y)
            lead = L - len(window)
            past.append(_padded(self._scaling.y(key, window), lead, L, fill=float("nan")))
            if self._scaling.of_X is not None:
                coming, needed = _labels(cutoffs[key], ahead[key])
                own = rows(
                    joined(covariates, given[key]) if key in given else covariates,
                    window.index.append(coming),
                    key,
                    needed=window.index.append(needed),
                )
                known.append(_padded(self._scaling.X(own), lead, L + most, fill=0.0))
        quantiles = forecast(
            self.network_,
            torch.stack(past),
            torch.stack(known) if known else None,
            steps=most,
        )  # (series, steps, C, Q)
        return dict(zip(self._context, quantiles, strict=True))

    def _check_window(self, key: Key, y: pd.DataFrame) -> pd.DataFrame:
        """Return the last L rows, in which there must be a value of every column."""
        window = y.iloc[-self.input_chunk_length :]
        check_observed(f"y{name_of(key)}", window, remedy="Choose a longer input_chunk_length.")
        return window

    def _read_streams(
        self,
        cutoffs: Mapping[Key, pd.Index],
        ahead: Mapping[Key, NDArray[np.int64]],
        most: int,
        given: Instances,
    ) -> dict[Key, Tensor]:
        """Forecast each series from the state that it carries, (most, C, Q)."""
        known = None
        for key, (y, _) in self._context.items():
            self._check_window(key, y)
        if self._scaling.of_X is not None:
            known = {}
            for key, cutoff in cutoffs.items():
                coming, needed = _labels(cutoff, ahead[key])
                own = rows(given.get(key), coming, key, needed=needed)
                known[key] = _padded(self._scaling.X(own), 0, most, fill=0.0)
        return self._streams.forecast(self.network_, most, known)

    def _read_in_sample(self, key: Key, steps: NDArray[np.int64]) -> Tensor:
        """Forecast time points of the past, each from the L before it, (steps, C, Q)."""
        L = self.input_chunk_length
        y, X = self._history.get(key, self._context[key])
        origins = len(y) - 1 + steps
        forgotten = y.index[0] != self._begins[key]
        if origins.min() < (L if forgotten else 0):
            begin = y.index[L] if forgotten and len(y) > L else y.index[0]
            raise ValueError(
                f"fh reaches back to the time points before {begin}, of which y{name_of(key)} "
                "is not remembered: that is so for all before what fit was given and, after an "
                "update or in a file, for all but the last ones. Ask for later steps, or fit again."
            )
        at = torch.from_numpy(origins)
        target = _padded(self._scaling.y(key, y), L, L + len(y), fill=float("nan"))
        windows = target.unfold(0, L, 1)[at].mT  # (L + n, C) -> (steps, L, C)
        known = None
        if X is not None:
            covariates = _padded(self._scaling.X(X), L, L + len(X), fill=0.0)
            known = covariates.unfold(0, L + 1, 1)[at].mT
        quantiles = forecast(self.network_, windows, known, steps=1)[:, 0]  # (steps, C, Q)
        nothing = windows.isnan().all(1)
        return quantiles.masked_fill(nothing[..., None], float("nan"))

    # --- checks -------------------------------------------------------------------------------

    def _check_parameters(self, prior: Pretrained | None) -> None:
        """Check what the network does not check itself."""
        check_sizes(batch_size=self.batch_size)
        if self.n_epochs == 0 and prior is None:
            raise ValueError(
                "n_epochs=0 trains nothing, and there are no pretrained weights to forecast by. "
                "Give at least 1, None, or pretrained=."
            )
        if self.n_epochs is not None and self.n_epochs != 0:
            check_sizes(n_epochs=self.n_epochs)
        fraction = self.validation_fraction
        if fraction is not None and not 0 < fraction < 1:
            raise ValueError(
                f"validation_fraction={fraction!r} must be a share between 0 and 1, or None to "
                "train on everything."
            )
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
        """Name what sktime's own checks would convert, or fail at without a word."""
        for name, data in (("y", y), ("X", X)):
            check_values(name, data)
        inner_X, inner_y = super()._check_X_y(X, y, *args, **kwargs)
        if isinstance(inner_y, pd.DataFrame) and not self.is_fitted:
            check_grid(instances(inner_y))
        return inner_X, inner_y

    def _instances_of_X(self, X: pd.DataFrame | None) -> Instances:
        """Split X by series, if it has the columns of the X given to fit."""
        columns = self._scaling.X_columns
        if (X is None) != (columns is None):
            given, fitted = ("no X", "with") if X is None else ("X", "without")
            raise ValueError(
                f"got {given}, but RimerForecaster was fitted {fitted} X. Do the same."
            )
        if X is not None and list(X.columns) != columns:
            raise ValueError(
                f"X has columns {list(X.columns)}, but RimerForecaster was fitted with "
                f"{columns}. Give the same ones in the same order."
            )
        return instances(X)

    # --- copies -------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return what a file holds: weights on the CPU, and of the series only their ends."""
        state = dict(super().__getstate__())
        if "_history" in state:
            state["_history"] = {}
        if "network_" in state:
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> RimerForecaster:
        """Return a copy that remembers all that this one does."""
        other = memo[id(self)] = type(self).__new__(type(self))
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return other

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


def _ends_with(frame: pd.DataFrame | None, end: pd.DataFrame) -> bool:
    return frame is not None and np.array_equal(frame.iloc[-len(end) :], end, equal_nan=True)


def _labels(cutoff: pd.Index, steps: NDArray[np.int64]) -> tuple[pd.Index, pd.Index]:
    """Time points from a cutoff to the last step of a horizon, and those that it names."""
    most = int(steps.max())
    if most < 1:
        return cutoff[:0], cutoff[:0]
    labels = ForecastingHorizon(range(1, most + 1)).to_absolute_index(cutoff)
    return labels, labels[steps[steps >= 1] - 1]


def _padded(x: Tensor, before: int, length: int, *, fill: float) -> Tensor:
    """Fill up along time to a length, with some of it before."""
    return F.pad(x, (0, 0, before, length - before - len(x)), value=fill)
