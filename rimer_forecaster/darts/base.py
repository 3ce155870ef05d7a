"""What darts models of the network share: windows, streams and diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.ts_utils import series2seq
from torch import Tensor

from ..diagnostics import Diagnostics, diagnose
from ..edge.export import export
from ..lifecycle import AdaptedState, Compression, compress
from ..lifecycle.windows import calibration_places
from ..network import NetworkConfig, RimerNetwork
from ..network.checks import plain_size, warn_of_unprepared
from ..network.transfer import arguments_like
from ..training import Recipe
from ..training.arguments import named
from ..training.fit import interruptible
from ..training.held_out import KeepBest
from .adaptation import AdaptableModel
from .batches import collate, collate_to_forecast, network_inputs
from .beside import check_weights, warn_of_units
from .likelihoods import LikelihoodHead
from .module import RimerModule
from .series import (
    InferenceDataset,
    TrainingDataset,
    check_long_enough,
    check_observed,
    check_values,
    known_covariates,
    stacked,
    static_covariates,
)
from .stream import RimerStream

__all__ = ["NetworkModel", "covariates_of", "like_weights"]


def covariates_of(train_sample: TorchTrainingSample) -> dict[str, int]:
    """How many covariates a sample has, as arguments of the network."""
    names = ("past_covariates", "future_covariates", "static_covariates")
    arrays = {name: getattr(train_sample, name) for name in names}
    return {name: 0 if x is None else x.shape[1] for name, x in arrays.items()}


def like_weights(
    name: str, weights: NetworkConfig, input_chunk_length: int, given: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a network that is to take over weights.

    Raises
    ------
    ValueError
        If one was given that is neither the default nor that of the weights.
    """
    needed = arguments_like(weights, input_chunk_length)
    defaults = {field.name: field.default for field in fields(NetworkConfig)}
    for argument, value in needed.items():
        if argument in given and given[argument] not in (value, defaults[argument], None):
            raise ValueError(
                f"{argument}={given[argument]!r} is not for pretrained={name!r}, whose weights are "
                f"of a network with {argument}={value!r}. Leave it out."
            )
    if input_chunk_length < weights.patch_length:
        raise ValueError(
            f"input_chunk_length={input_chunk_length} is shorter than a patch of the weights "
            f"{name!r}, which has {weights.patch_length} steps. Use a longer one: a shorter series "
            f"can be forecast with input_chunk_length=(1, {4 * weights.patch_length})."
        )
    return needed


class NetworkModel(AdaptableModel):
    """A darts model whose module holds a `RimerNetwork`.

    Attributes
    ----------
    _min_input_chunk_length
        Fewest steps that a forecast is made from.
    _recipe, _sets_epochs
        How it is trained, and whether the recipe chooses the number of epochs.
    _skips_training
        Whether a fit is under way that trains nothing.
    """

    _min_input_chunk_length: int
    _recipe: Recipe
    _sets_epochs: bool
    _best: KeepBest | None = None
    _skips_training = False

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

    def stream(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        *,
        state: AdaptedState | None = None,
    ) -> RimerStream:
        """Begin live forecasts: observe a history, then update and predict at constant cost.

        Parameters
        ----------
        series
            The history of one series, or of several that end at the same time.
        past_covariates, future_covariates
            As the model was fitted with; they must cover the longest history.
        state
            What `adapt` returned, which the stream begins from.

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
        memory = None
        if state is not None:
            memory = self._memory_of(state, len(series2seq(series) or ()))
        return RimerStream.begin(self, series, past_covariates, future_covariates, memory)

    def load_stream(self, path: str | PathLike[str]) -> RimerStream:
        """Go on with a stream that `RimerStream.save` wrote with these weights.

        Raises
        ------
        ValueError
            If the file is damaged, or the stream was saved with other weights.
        """
        self._check_streams()
        return RimerStream.load(self, path)

    def export_edge(self, path: str | PathLike[str]) -> None:
        """Write the network to one file for a device without torch.

        `rimer_forecaster.edge.EdgeForecaster` forecasts there as `stream` does here. Of a model of
        pretrained weights that is all their quantiles, whatever the likelihood.

        Parameters
        ----------
        path
            Must end with ``.safetensors``.

        Raises
        ------
        ValueError
            If the model is not fitted, shifts its output, or uses encoders or what
            `rimer_forecaster.edge.export.export` refuses by its name: covariates, likelihoods of
            distributions, components that read each other, and layers other than ``rwkv7``.

        Warns
        -----
        UserWarning
            If the model was not made with ``streaming=True``: its training did not prepare for it.
        """
        self._check_streams()
        warn_of_unprepared("this model was", prepared=self.network.config.prepared_for_streams)
        with self.model.turn:
            export(self.model.network_to_read(), path)

    def compress(
        self,
        rank: float | None = 0.25,
        *,
        bits: int | None = 8,
        calibrate: TimeSeries | Sequence[TimeSeries] | None = None,
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
    ) -> tuple[Self, Compression]:
        """Return a fitted model in fewer bytes, and what was done; this one stays as it is.

        Parameters
        ----------
        rank, bits
            See `rimer_forecaster.lifecycle.compress`.
        calibrate
            Series such as those to be forecast; needed with a rank. Of their windows, 256 at most
            are read.
        past_covariates, future_covariates
            Of these series, as the model was fitted with.

        Returns
        -------
        small, report
            The model can be used, saved and fitted as any other. Fitting it moves no whole numbers,
            only what they are scaled by.

        Raises
        ------
        ValueError
            If the model is not fitted, an argument is out of range, or a series is too short.
        """
        self._check_network()
        windows: Tensor | None = None
        covariates: dict[str, Tensor] = {}
        if calibrate is not None:
            windows, covariates = self._windows_to_read(
                *(series2seq(x) for x in (calibrate, past_covariates, future_covariates))
            )
        with self.model.turn:
            network, report = compress(
                self.model.network_to_read(),
                rank,
                bits=bits,
                calibrate=windows,
                covariates=covariates,
            )
        return self._fitted_alike(self.untrained_model(), network), report

    def _windows_to_read(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return windows, and covariates of them as the network takes them."""
        dataset = self._build_train_dataset(series, past_covariates, future_covariates, None, None)
        batch = collate([dataset[i] for i in calibration_places(len(dataset))])
        known = network_inputs(batch, self.model.network)
        return known.pop("past_target"), known

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
        network, times = self.network, series.time_index
        target = stacked([series.values(copy=False)], network)
        known = known_covariates(network, past_covariates, future_covariates, times, [series])
        static = static_covariates(network, [series])
        with self.model.turn:
            return diagnose(
                self.model.network_to_read(),
                target,
                **known,
                static_covariates=static,
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

    def predict_from_dataset(self, *args: Any, **kwargs: Any) -> Sequence[TimeSeries]:
        """Forecast, one thread after another; see darts."""
        self._check_network()
        if len(args) < 9:  # else options of the loader are given by their place
            options = kwargs.get("dataloader_kwargs") or {}
            kwargs["dataloader_kwargs"] = {"collate_fn": collate_to_forecast, **options}
        with self.model.turn:
            return super().predict_from_dataset(*args, **kwargs)

    def fit_from_dataset(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        trainer: pl.Trainer | None = None,
        verbose: bool | None = None,
        epochs: int = 0,
        dataloader_kwargs: dict[str, Any] | None = None,
        load_best: bool = False,
    ) -> NetworkModel:
        """Fit on windows; see darts. Without a number of epochs it is chosen by their number.

        Where as many series validate as train, each is taken for what comes after the training
        series of its number, and its errors are counted in units of that. Where nothing validates
        and windows are few, the last part of each series is held back, see `Recipe`. Errors of
        windows of another data set than RimerModel's own are counted in units of the windows: they
        do not say which series they are of.
        """
        if (
            isinstance(train_dataset, TrainingDataset)
            and isinstance(val_dataset, TrainingDataset)
            and len(train_dataset.units) == len(val_dataset.units)
        ):
            val_dataset = val_dataset.in_units_of(train_dataset)
        epochs = plain_size("epochs", epochs, least=0)
        self._skips_training = self._leaves_training_out(
            train_dataset, val_dataset, trainer, epochs
        )
        if not epochs and self._sets_epochs:
            epochs = self._recipe.epochs(len(train_dataset), self.batch_size)
            if (
                val_dataset is None
                and trainer is None
                and self._requires_training
                and isinstance(train_dataset, TrainingDataset)
                and self._recipe.holds_out(len(train_dataset))
                and (parts := train_dataset.split(self._recipe.held_out))
            ):
                train_dataset, val_dataset = parts
                self._best = KeepBest(self._recipe.patience)
        try:
            super().fit_from_dataset(
                train_dataset,
                val_dataset,
                trainer,
                verbose,
                epochs,
                {"collate_fn": collate, **(dataloader_kwargs or {})},
                load_best,
            )
        finally:
            self._best, self._skips_training = None, False
        return self

    def _leaves_training_out(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None,
        trainer: pl.Trainer | None,
        epochs: int,
    ) -> bool:
        """Whether a fit needs no training because of what it was given."""
        return False

    @property
    def _requires_training(self) -> bool:
        return not self._skips_training and super()._requires_training

    @staticmethod
    def _init_trainer(trainer_params: dict[str, Any], max_epochs: int | None = None) -> pl.Trainer:
        """Return darts' trainer, or the name of the argument that it cannot be made of."""
        with named("pl_trainer_kwargs", trainer_params):
            return AdaptableModel._init_trainer(trainer_params, max_epochs)

    def _train(self, trainer: pl.Trainer, model: RimerModule, *args: Any, **kwargs: Any) -> None:
        """Train, and take the best weights where windows were held back."""
        with model.turn, interruptible():
            model.best = self._best
            try:
                super()._train(trainer, model, *args, **kwargs)
            finally:
                model.best = None
                model.eval()  # after an exception Lightning leaves the training mode on
            if not self._requires_training:  # or else Lightning does it
                model.to_dtype(torch.from_numpy(self.train_sample.past_target[:0]).dtype)
            if self._best is not None:
                self._best.finish(self.network, widen=True)

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
        check_weights(sample_weight)
        warn_of_units("past_covariates", past_covariates)
        warn_of_units("future_covariates", future_covariates)
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
