"""RimerModel: the network as a darts model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample, _parse_input_chunk_length
from darts.utils.serialization import add_safe_globals
from torch import nn

from ..diagnostics import Diagnostics, diagnose
from ..network import NetworkConfig, RimerNetwork
from ..network.checks import warn_of_unprepared
from ..training import Recipe
from .files import FilesModel
from .likelihoods import LikelihoodHead
from .module import RimerModule
from .series import (
    InferenceDataset,
    TrainingDataset,
    check_long_enough,
    check_observed,
    check_values,
    collate,
    known_covariates,
    stacked,
    static_covariates,
)
from .stream import RimerStream

__all__ = ["RimerModel"]


class RimerModel(FilesModel):
    """RWKV-7 forecasting model for darts.

    Every component is forecast by the same weights from its own window, which is scaled by its own
    mean and standard deviation: no scaler is needed for the target. Covariates are read as they
    come, so scale them. NaN is a missing value: masked where it is read, left out of the loss where
    it is forecast.

    Parameters
    ----------
    input_chunk_length
        Look-back, in steps; or, as in darts' foundation models, the shortest and the longest one:
        with ``(8, 96)`` a series of 8 steps can be forecast, and windows of fewer than 96 are
        padded on the left, which changes nothing but by what is not there.
    output_chunk_length
        Steps forecast at once, 24 by default: a day of hours; longer horizons feed forecasts back.
    output_chunk_shift
        As in darts.
    layers
        Layer string, for example ``"rwkv7*2"``; None leaves only the linear skip. One layer by
        default: on ETTh1 a second one costs half as much time again and gains nothing.
    width, head_size
        Channels of a token and of a head; the second must divide the first. 32 and 16 by default:
        a window is few tokens, and wider networks overfit single series.
    patch_length
        Steps per token. By default 16, or 24 beyond a look-back of 128; a quarter of short windows.
    dropout
        Probability of zeroing an element of what a layer adds, 0.1 by default.
    layers_rate
        Factor of the learning rates of all but the linear skips, 1 by default. Try 0.1 where series
        are short or noisy and a linear map does well: see docs/model/overview.md.
    initial_state
        What RWKV-7 layers start from: ``"zero"``; ``"learned"``, one state for all series; or
        ``"static"``, a learned one plus a linear map of the static covariates.
    streaming
        Whether training prepares for `stream`. Without it streamed forecasts are worse than those
        of ``predict`` (by 9 to 17 % on ETTh1). With it those of ``predict`` are worse on a panel
        and as good or better on most single series: see docs/guides/streaming.md.
    use_static_covariates
        As in darts' other models.
    n_epochs
        As in darts, but by default as many epochs as make about 2,000 optimiser steps, between 5
        and 100, because a fixed number leaves short series untrained.
    recipe
        What else training does by default; `rimer_forecaster.training.Recipe` with other values is
        an experiment.
    **kwargs
        Everything else that `darts.models.forecasting.torch_forecasting_model.
        TorchForecastingModel` and its Lightning module accept. Two defaults differ: ``loss_fn`` is
        the mean absolute error, which on real series gives better forecasts than the squared one
        even in squared error, and the optimiser is AdamW with RWKV-7's parameter groups (lr 1e-3,
        weight decay 0.01 on matrices, twice the rate for decay biases) and a cosine schedule;
        ``optimizer_kwargs`` change its arguments, ``optimizer_cls`` or ``lr_scheduler_cls``
        replace it. ``likelihood`` may be any of darts' own; its parameters come out in the units of
        the series.

    Raises
    ------
    ValueError
        If an argument is out of range, with what is allowed. In ``fit`` and ``predict``: if a
        series is too short, holds a value that is infinite or too large to square, or has a window
        in which nothing was observed, with its place.

    Examples
    --------
    >>> import numpy as np
    >>> from darts import TimeSeries
    >>> from rimer_forecaster import RimerModel
    >>> series = TimeSeries.from_values(np.sin(np.arange(300, dtype=np.float32) / 4))
    >>> silent = {"enable_progress_bar": False, "enable_model_summary": False}
    >>> model = RimerModel(input_chunk_length=48, n_epochs=1, pl_trainer_kwargs=silent)
    >>> forecast = model.fit(series).predict(24)
    >>> len(forecast)
    24
    """

    _min_input_chunk_length: int

    def __init__(
        self,
        input_chunk_length: int | tuple[int, int],
        output_chunk_length: int = 24,
        output_chunk_shift: int = 0,
        layers: str | None = NetworkConfig.layers,
        width: int = NetworkConfig.width,
        head_size: int = NetworkConfig.head_size,
        patch_length: int | None = None,
        dropout: float = NetworkConfig.dropout,
        layers_rate: float = NetworkConfig.layers_rate,
        initial_state: str = NetworkConfig.initial_state,
        streaming: bool = NetworkConfig.streaming,
        use_static_covariates: bool = True,
        n_epochs: int | None = None,
        recipe: Recipe | None = None,
        **kwargs: Any,
    ) -> None:
        self._recipe = Recipe() if recipe is None else recipe
        self._network_params: dict[str, Any] = {
            "layers": layers,
            "width": width,
            "head_size": head_size,
            "patch_length": patch_length,
            "dropout": dropout,
            "layers_rate": layers_rate,
            "initial_state": initial_state,
            "streaming": streaming,
        }
        self._min_input_chunk_length, input_chunk_length = (
            _parse_input_chunk_length(input_chunk_length)
            if isinstance(input_chunk_length, tuple)
            else (input_chunk_length, input_chunk_length)
        )
        NetworkConfig(  # checks them; whether there are static covariates, `fit` alone knows
            input_chunk_length,
            output_chunk_length,
            static_covariates=int(initial_state == "static"),
            **self._network_params,
        )
        # Raises for a likelihood that is none of darts' own.
        LikelihoodHead(kwargs.get("likelihood"), input_chunk_length)
        if kwargs.get("use_reversible_instance_norm"):
            raise ValueError(
                "use_reversible_instance_norm=True is not for RimerModel, which scales every "
                "window itself, likelihood parameters included. Leave it out."
            )
        params = {
            "loss_fn": nn.L1Loss(),
            "input_chunk_length": input_chunk_length,
            "output_chunk_length": output_chunk_length,
            "output_chunk_shift": output_chunk_shift,
            **kwargs,
        }
        self._uses_recipe = not {"optimizer_cls", "lr_scheduler_cls"} & kwargs.keys()
        if not self._uses_recipe:
            params.setdefault("optimizer_cls", torch.optim.AdamW)
        self._sets_epochs = n_epochs is None and "max_epochs" not in (
            kwargs.get("pl_trainer_kwargs") or {}
        )
        if n_epochs is not None:
            params["n_epochs"] = n_epochs
        super().__init__(**self._extract_torch_model_params(**params))
        self.pl_module_params = self._extract_pl_module_params(**params)
        self._considers_static_covariates = use_static_covariates

    @property
    def supports_static_covariates(self) -> bool:
        """Static covariates are read."""
        return True

    @property
    def min_input_chunk_length(self) -> int:
        """Fewest steps that a forecast is made from; windows up to the look-back are padded."""
        return self._min_input_chunk_length

    @property
    def network(self) -> RimerNetwork:
        """The fitted network.

        Raises
        ------
        ValueError
            If there is none: the model is not fitted, or a copy by pickle or deepcopy.
        """
        self._check_network()
        return self.model.network

    def _create_model(self, train_sample: TorchTrainingSample) -> PLForecastingModule:
        def components(array: np.ndarray | None) -> int:
            return 0 if array is None else array.shape[1]

        return RimerModule(
            network_params={
                **self._network_params,
                "past_covariates": components(train_sample.past_covariates),
                "future_covariates": components(train_sample.future_covariates),
                "static_covariates": components(train_sample.static_covariates),
            },
            recipe=asdict(self._recipe),
            uses_recipe=self._uses_recipe,
            **self.pl_module_params,
        )

    def stream(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
    ) -> RimerStream:
        """Begin live forecasts: observe a history, then update and predict at constant cost.

        Parameters
        ----------
        series
            The history of one series, or of several that end at the same time.
        past_covariates, future_covariates
            As the model was fitted with; they must cover the longest history.

        Raises
        ------
        ValueError
            If the model is not fitted, shifts its output or uses encoders, or if the series do not
            end at the same time, hold an infinite value, or lack covariates.

        Warns
        -----
        UserWarning
            If the model was not made with ``streaming=True``: its training did not prepare for it.
        """
        self._check_streams()
        warn_of_unprepared("this model was", prepared=self.network.config.prepared_for_streams)
        return RimerStream.begin(self.model, series, past_covariates, future_covariates)

    def load_stream(self, path: str | PathLike[str]) -> RimerStream:
        """Go on with a stream that `RimerStream.save` wrote with these weights."""
        self._check_streams()
        return RimerStream.load(self.model, path)

    def diagnostics(
        self,
        series: TimeSeries,
        past_covariates: TimeSeries | None = None,
        future_covariates: TimeSeries | None = None,
    ) -> Diagnostics:
        """Read a history as `stream` does, and report how the states of the layers fared.

        Parameters
        ----------
        series
            One series of at least one step.
        past_covariates, future_covariates
            As the model was fitted with; they must cover the series.

        Raises
        ------
        ValueError
            If several series are given, and where `stream` raises one.

        Warns
        -----
        rimer_forecaster.diagnostics.StateGrows
            If a state grows without bound over the history.
        """
        if not isinstance(series, TimeSeries):
            raise ValueError(
                f"series is a {type(series).__name__}, but diagnostics read one TimeSeries: call "
                "it for each."
            )
        self._check_streams()
        check_values(series, past_covariates, future_covariates)
        return diagnose(
            self.network,
            stacked([series.values(copy=False)], self.network),
            **known_covariates(
                self.network, past_covariates, future_covariates, series.time_index, [series]
            ),
            static_covariates=static_covariates(self.network, [series]),
            components=list(series.components),
            stacklevel=3,
        )

    def _check_streams(self) -> None:
        self._check_network()
        if self.output_chunk_shift:
            raise ValueError(
                f"output_chunk_shift={self.output_chunk_shift} is not for streams: they forecast "
                "the steps right after the last one. Fit a model without it."
            )
        if self.add_encoders:
            raise ValueError(
                "add_encoders is not for streams: make the covariates that it stands for, and give "
                "them to fit, stream, update and predict."
            )
        self.model.eval()

    def fit_from_dataset(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        trainer: pl.Trainer | None = None,
        verbose: bool | None = None,
        epochs: int = 0,
        dataloader_kwargs: dict[str, Any] | None = None,
        load_best: bool = False,
    ) -> RimerModel:
        """Fit on windows; see darts. Without a number of epochs it is chosen by their number.

        Where as many series validate as train, each is taken for what comes after the training
        series of its number, and its errors are counted in units of that. Errors of windows of
        another data set than RimerModel's own are counted in units of the windows: they do not say
        which series they are of.
        """
        if (
            isinstance(train_dataset, TrainingDataset)
            and isinstance(val_dataset, TrainingDataset)
            and len(train_dataset.units) == len(val_dataset.units)
        ):
            val_dataset.units = train_dataset.units
        if not epochs and self._sets_epochs:
            epochs = self._recipe.epochs(len(train_dataset), self.batch_size)
        return super().fit_from_dataset(
            train_dataset,
            val_dataset,
            trainer,
            verbose,
            epochs,
            {"collate_fn": collate, **(dataloader_kwargs or {})},
            load_best,
        )

    def _build_train_dataset(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        sample_weight: Sequence[TimeSeries] | str | None,
        max_samples_per_ts: int | None,
        stride: int = 1,
    ) -> TorchTrainingDataset:
        ahead = self.output_chunk_length + self.output_chunk_shift
        check_long_enough(
            series,
            input_chunk_length=self.min_input_chunk_length,
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
        )
        check_values(series, past_covariates, future_covariates)
        LikelihoodHead(self.likelihood, self.input_chunk_length).check_support(series)
        before_first = self.min_input_chunk_length - 1
        ends = [
            np.arange(len(one) - ahead, before_first, -stride)[:max_samples_per_ts]
            for one in series
        ]
        check_observed(series, ends, length=self.input_chunk_length)
        return TrainingDataset(
            series,
            past_covariates,
            future_covariates,
            **self._window_arguments(),
            stride=stride,
            max_samples_per_ts=max_samples_per_ts,
            sample_weight=sample_weight,
        )

    def _build_inference_dataset(
        self,
        n: int,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        stride: int = 0,
        bounds: np.ndarray | None = None,
    ) -> TorchInferenceDataset:
        if n < 1:
            raise ValueError(f"n={n} must be at least 1: it is the number of steps to forecast.")
        self._check_network()
        check_values(series, past_covariates, future_covariates)
        dataset = InferenceDataset(
            series,
            past_covariates,
            future_covariates,
            n=n,
            stride=stride,
            bounds=bounds,
            **self._window_arguments(),
        )
        ends = [np.array([len(one)]) for one in series]
        if dataset.bounds is not None:
            ends = [np.arange(first, last + 1, stride) for first, last in dataset.bounds]
        check_observed(series, ends, length=self.input_chunk_length)
        return dataset

    def _window_arguments(self) -> dict[str, Any]:
        """What darts' data sets of windows want to know of a model."""
        return {
            "input_chunk_length": (self.min_input_chunk_length, self.input_chunk_length),
            "output_chunk_length": self.output_chunk_length,
            "output_chunk_shift": self.output_chunk_shift,
            "use_static_covariates": self.uses_static_covariates,
        }


# darts loads no class from outside its own package that was not declared safe.
add_safe_globals([RimerModel, Recipe])
