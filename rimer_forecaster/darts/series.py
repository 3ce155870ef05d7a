"""Series of darts as the network takes them: checked, and as tensors.

Letters: B series, n steps or static covariates, C components.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import ceil
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.data import TorchTrainingDataset
from darts.utils.data.torch_datasets.inference_dataset import SequentialTorchInferenceDataset
from darts.utils.data.torch_datasets.training_dataset import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceSample,
    TorchTrainingSample,
)
from darts.utils.ts_utils import series2seq
from torch import Tensor

from ..network import RimerNetwork
from ..network.scale import is_tame, unit_of
from .batches import Samples

__all__ = [
    "InferenceDataset",
    "Series",
    "TrainingDataset",
    "check_long_enough",
    "check_observed",
    "check_one_sample",
    "check_values",
    "known_covariates",
    "stacked",
    "static_covariates",
    "step_of",
    "to_tensor",
]

Series: TypeAlias = TimeSeries | Sequence[TimeSeries]


def check_values(
    series: Series, past_covariates: Series | None, future_covariates: Series | None
) -> None:
    """Raise a ValueError that names the first value the network cannot take: NaN it can."""
    for name, sequence in (
        ("series", series),
        ("past_covariates", past_covariates),
        ("future_covariates", future_covariates),
    ):
        for i, one in enumerate(series2seq(sequence) or ()):
            values = one.all_values(copy=False)
            largest = np.sqrt(np.finfo(values.dtype).max)  # deviations are squared
            unusable = np.abs(values) >= largest  # False for NaN
            if unusable.any():
                time, component, sample = np.argwhere(unusable)[0]
                raise ValueError(
                    f"{name} {i} has {unusable.sum()} values that RimerModel cannot use, the first "
                    f"in component {one.components[component]!r} at {one.time_index[time]}: "
                    f"{values[time, component, sample]}. There must be no values of {largest:.0e} "
                    "and more in size. Correct them, or mark them as missing by NaN."
                )
    for i, one in enumerate(series2seq(series) or ()):
        if one.static_covariates is not None:
            static = one.static_covariates.to_numpy()
            if static.dtype.kind in "fiub" and not np.isfinite(static).all():
                raise ValueError(
                    f"series {i} has static covariates that are missing or infinite: fill them.\n"
                    f"{one.static_covariates}"
                )


def check_one_sample(
    series: Series, past_covariates: Series | None, future_covariates: Series | None
) -> None:
    """Raise a ValueError that names the first series with samples."""
    given = {
        "series": series,
        "past_covariates": past_covariates,
        "future_covariates": future_covariates,
    }
    for name, sequence in given.items():
        for i, one in enumerate(series2seq(sequence) or ()):
            if one.is_stochastic:
                raise ValueError(
                    f"{name} {i} has {one.n_samples} samples, but one value a step is read: give "
                    "its median, for example."
                )


def step_of(series: TimeSeries) -> str:
    """Name the step of a series, for a message."""
    return str(series.freq_str if series.has_datetime_index else series.freq)


def check_long_enough(series: Sequence[TimeSeries], **chunks: int) -> None:
    """Raise a ValueError that names the first series shorter than the chunks together."""
    for i, one in enumerate(series):
        if len(one) < sum(chunks.values()):
            raise ValueError(
                f"series {i} has {len(one)} values, but training needs at least "
                f"{sum(chunks.values())}: {' + '.join(f'{k} {v}' for k, v in chunks.items())}. "
                "Choose shorter chunks, input_chunk_length=(shortest, longest) for padded windows, "
                "or leave this series out."
            )


def check_observed(
    series: Sequence[TimeSeries], ends: Sequence[np.ndarray], *, length: int
) -> None:
    """Raise a ValueError that names the first window in which nothing was observed.

    Parameters
    ----------
    series
        Targets.
    ends
        For each series, the index of the first step after each of its windows.
    length
        Steps of a window; those before the series are padding.
    """
    for i, (one, own_ends) in enumerate(zip(series, ends, strict=True)):
        observed = ~np.isnan(one.all_values(copy=False)).any(2)  # (n, C)
        if observed.all() or not len(own_ends):
            continue
        starts = np.maximum(own_ends - length, 0)
        count = np.concatenate((np.zeros((1, observed.shape[1]), int), observed.cumsum(0)))
        empty = count[own_ends] == count[starts]
        if empty.any():
            window, component = np.argwhere(empty)[0]
            first, last = one.time_index[starts[window]], one.time_index[own_ends[window] - 1]
            raise ValueError(
                f"series {i} has no value of component {one.components[component]!r} from {first} "
                f"to {last}: a window of {length} steps in which nothing was observed. Choose a "
                "longer input_chunk_length, fill some of them, or leave this stretch out, for "
                "example with darts.utils.missing_values.extract_subseries."
            )


class TrainingDataset(SequentialTorchTrainingDataset):
    """darts' windows to train on, each once an epoch, found once and kept.

    darts repeats the windows of shorter series until every series has as many as the longest. Here,
    as in `RimerForecaster`, every window counts the same: see docs/results/panels.md.
    To find a window's bounds takes darts as long as to copy it, every epoch anew: a seventh of the
    time of a small network's epoch. What is kept are views of the series, some 600 bytes each.
    """

    most_kept = 50_000

    def __init__(self, series: Sequence[TimeSeries], *args: Any, **kwargs: Any) -> None:
        super().__init__(series, *args, **kwargs)
        starts = [len(one) - self.size_of_both_chunks + 1 for one in self.series]
        own = (min(self.max_samples_per_ts, ceil(n / self.stride)) for n in starts)
        self._ends = list(accumulate(own))
        self._kept: dict[int, TorchTrainingSample] = {}
        given = (self.series, self.past_covariates, self.future_covariates)
        if any(one.is_stochastic for sequence in given for one in sequence or ()):
            self.most_kept = 0  # every window is another draw

        self._count_in(None)

    def _count_in(self, units: np.ndarray | None) -> None:
        """Take units of errors, (series, 1, C), the series' own by default."""
        found = []
        for i, one in enumerate(self.series):
            samples = _samples_of(one)
            unit = unit_of(samples) if units is None else torch.from_numpy(units[i])[None]
            found.append((unit[0].numpy(), is_tame(samples, unit)))
        self.units = np.stack([unit for unit, _ in found])
        self._tame = [tame for _, tame in found]

    def in_units_of(self, other: TrainingDataset) -> TrainingDataset:
        """Return the same windows, errors counted in the units of as many other series."""
        found = copy.copy(self)
        found._count_in(other.units)
        return found

    def __len__(self) -> int:
        return self._ends[-1]

    def split(self, share: float) -> tuple[TrainingPart, TrainingPart] | None:
        """Split windows in time: those to train on, and those of the last share of each series.

        No step that is forecast in the second was seen in the first. None if one has no window.
        """
        parts: tuple[list[int], list[int]] = [], []
        first = 0
        for one, last in zip(self.series, self._ends, strict=True):
            ahead = self.shift - self.input_chunk_length + self.output_chunk_length
            held = max(ceil(share * len(one)), ahead)
            back = self.stride * np.arange(last - first)  # from the latest window on
            parts[0].extend((first + np.flatnonzero(back >= held)).tolist())
            parts[1].extend((first + np.flatnonzero(back <= held - ahead)).tolist())
            first = last
        if not all(parts):
            return None
        return TrainingPart(self, parts[0]), TrainingPart(self, parts[1])

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the series of each window, and how many steps it is before the latest one."""
        numbers = np.arange(len(self))
        owners = np.searchsorted(self._ends, numbers, side="right")
        first = np.concatenate(([0], self._ends))
        return owners, self.stride * (numbers - first[owners])

    def __getitems__(self, indices: list[int]) -> Samples:
        """Return windows with the units of their series."""
        owners = [bisect_right(self._ends, index) for index in indices]
        tame = all(self._tame) or all(self._tame[owner] for owner in owners)
        return Samples(map(self.__getitem__, indices), self.units[owners], tame)

    def __getitem__(self, index: int) -> TorchTrainingSample:
        """Return a window; see darts."""
        sample = self._kept.get(index)
        if sample is None:
            i = bisect_right(self._ends, index)
            own = index - (self._ends[i - 1] if i else 0)
            sample = super().__getitem__(i * self.max_samples_per_ts + own)
            if len(self._kept) < self.most_kept:
                self._kept[index] = sample
        return sample


class TrainingPart(TorchTrainingDataset):
    """Some windows of a data set.

    Parameters
    ----------
    whole
        The data set.
    indices
        Of the windows in it.
    """

    def __init__(self, whole: TrainingDataset, indices: Sequence[int]) -> None:
        super().__init__()
        self.whole, self.indices = whole, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> TorchTrainingSample:
        """Return a window; see darts."""
        return self.whole[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> Samples:
        """Return windows with the units of their series."""
        return self.whole.__getitems__([self.indices[index] for index in indices])


def _samples_of(series: TimeSeries) -> Tensor:
    """All values of a series, (1, n * samples, C)."""
    values = series.all_values(copy=False)  # (n, C, samples)
    return torch.from_numpy(values.astype(np.float64)).transpose(1, 2).flatten(0, 1)[None]


class InferenceDataset(SequentialTorchInferenceDataset):
    """darts' windows to forecast from, whose schemas know the number of their series."""

    def __getitem__(self, index: int) -> TorchInferenceSample:
        """Return a window; see darts."""
        sample, schema = super().__getitem__(index), _Schema()
        schema.update(sample.series_schema)
        schema.place = index
        if self.bounds is not None:
            schema.place = bisect_right(self.cum_lengths, index)
        sample.series_schema = schema
        return sample


class _Schema(dict[str, Any]):
    """A dictionary with the number of its series."""

    place: int


def to_tensor(values: np.ndarray, network: RimerNetwork) -> Tensor:
    """Take values as a tensor in the dtype and on the device of the network."""
    return torch.from_numpy(values).to(network.device, network.dtype)


def static_covariates(network: RimerNetwork, series: list[TimeSeries]) -> Tensor | None:
    """Static covariates of each series, (B, C or 1, n), or None if the network reads none."""
    if not network.config.static_covariates:
        return None
    for i, one in enumerate(series):
        if one.static_covariates is None:
            raise ValueError(
                f"series {i} has no static covariates, but the model was fitted with some. Add "
                "them by with_static_covariates."
            )
    return stacked([one.static_covariates_values() for one in series], network)


def stacked(arrays: list[np.ndarray], network: RimerNetwork) -> Tensor:
    """Stack arrays of the same shape, in the dtype and on the device of the network."""
    return to_tensor(np.stack([np.asarray(x, dtype=float) for x in arrays]), network)


def known_covariates(
    network: RimerNetwork,
    past_covariates: Series | None,
    future_covariates: Series | None,
    times: pd.Index,
    series: list[TimeSeries],
    *,
    horizon: bool = False,
) -> dict[str, Tensor]:
    """Values of the covariates at the times, (B, n, components), by name."""
    known = {}
    for name, given, used in (
        ("past_covariates", past_covariates, network.config.past_covariates and not horizon),
        ("future_covariates", future_covariates, network.config.future_covariates),
    ):
        covariates = list(series2seq(given) or ())
        if not used:
            if covariates:
                raise ValueError(f"{name} were given, but the model was fitted without any.")
            continue
        if len(covariates) == 1:
            covariates = covariates * len(series)
        if len(covariates) != len(series):
            raise ValueError(
                f"the model was fitted with {name}: give one for each of the {len(series)} series, "
                f"or one for all; got {len(covariates)}."
            )
        values = []
        for i, one in enumerate(covariates):
            if one.freq != series[0].freq:
                raise ValueError(
                    f"{name} {i} is in steps of {step_of(one)}, but the series in steps of "
                    f"{step_of(series[0])}. Give covariates in the steps of the series."
                )
            places = one.time_index.get_indexer(times)
            absent = times[places < 0]
            if len(absent):
                raise ValueError(
                    f"{name} {i} has no value for {len(absent)} of {len(times)} steps that are "
                    f"read, the first being {absent[0]}."
                )
            values.append(one.values(copy=False)[places])
        known[name] = stacked(values, network)
    return known
