"""Forecasts of all series of a fit: from their windows, from their streams, or of their past.

Letters: L look-back, n time points, C target components, p covariates, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sktime.forecasting.base import ForecastingHorizon
from torch import Tensor
from torch.nn import functional as F

from ..layers import State
from ..lifecycle import AdaptedState
from ..network import RimerNetwork
from ..network.checks import check_finite_forecast
from ..zero_shot.forecast import forecast
from .learning import scaled
from .memory import Memory, Remembered
from .past import forecast_past
from .pretrained import Pretrained
from .quantile_curve import interpolated
from .series import Instances, Key, joined, name_of, rows
from .stream_bank import StreamBank
from .times import name_of_step
from .values import check_observed

__all__ = ["Adapted", "Fitted", "furthest"]


@dataclass(frozen=True)
class Adapted:
    """Which series begin from which row of a state.

    Attributes
    ----------
    state
        What was tuned; None until it is.
    owners
        Names of rows by series.
    shared
        Name of the row of all others; None lets them begin from nothing.
    """

    state: AdaptedState | None
    owners: Mapping[Key, str]
    shared: str | None = None

    def start(self, series: Sequence[Key]) -> State | None:
        """Return what the network starts from for some series."""
        assert self.state is not None
        names = [self.owners.get(key, self.shared) for key in series]
        return self.state.of(names).rows(len(series))


class Fitted(NamedTuple):
    """What a fit or an update leaves, as one: it is replaced as a whole.

    Attributes
    ----------
    network
        On the CPU, ready to forecast.
    memory
        The series.
    streams
        Their states, or None where forecasts are from windows.
    trained
        Whether the weights were trained in ``fit``, and are not what they were given as.
    adapted
        States that series begin from, or None.
    refines
        Whether forecasts from whole series are refined, see `Pretrained`.
    """

    network: RimerNetwork
    memory: Memory
    streams: StreamBank[Key] | None = None
    trained: bool = True
    adapted: Adapted | None = None
    refines: bool = False

    @property
    def length(self) -> int:
        """How many rows of a series are remembered after an update: what windows read."""
        return self.look_back + self.network.config.output_chunk_length

    @property
    def look_back(self) -> int:
        """How many rows of a series a forecast is made from at most: L."""
        L = self.network.config.input_chunk_length
        return min(L, self.memory.cap or L)

    def with_network(self, network: RimerNetwork) -> Fitted:
        """Return the same of another network, to whose weights no adapted state belongs."""
        return self._replace(network=network, adapted=None).begun_anew()

    def begun_anew(self) -> Fitted:
        """Return it with streams, where there are some, that began with what is remembered."""
        if self.streams is None:
            return self
        histories = scaled(self.memory, self.memory.series)
        return self._replace(streams=StreamBank[Key]().begun(self.network, *histories, self.start))

    def weights(self) -> Pretrained:
        """Return the network for other forecasters, with the scale of its covariates."""
        columns = self.memory.X_columns
        names = None if columns is None else tuple(map(str, columns))
        return Pretrained(self.network, names, self.memory.X_scaler, self.refines)

    def forecast(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[pd.Index, NDArray[np.float64]]:
        """Forecast all series: the index, and quantiles (rows, C, Q) in the units of y.

        Raises
        ------
        ValueError
            If X does not cover the horizon, nothing was observed where it is forecast from, or the
            horizon reaches back beyond what is remembered.
        """
        given = self.memory.instances_of_X(X)
        cutoffs = self.memory.cutoffs()
        # Once for all series that end together: sktime takes a millisecond for each.
        ends = {cutoff[0]: cutoff for cutoff in cutoffs.values()}
        steps_from, labels_from = {}, {}
        for end, cutoff in ends.items():
            _check_step(cutoff)
            own = _in_steps_of(cutoff, fh)
            steps_from[end] = own.to_relative(cutoff).to_numpy()
            labels_from[end] = own.to_absolute_index(cutoff)
            if not own.is_relative:
                _check_on_grid(labels_from[end], steps_from[end], cutoff)
        ahead = {key: steps_from[cutoff[0]] for key, cutoff in cutoffs.items()}
        coming: Mapping[Key, NDArray[np.float64]] = {}
        if max(steps.max() for steps in ahead.values()) >= 1:
            if self.streams is not None:
                coming = self._from_streams(cutoffs, ahead, given)
            elif self.of_any_length:
                coming = self._from_ends(ahead)
            else:
                coming = self._from_windows(cutoffs, ahead, given)
        values, indices = [], []
        for key, one in self.memory.series.items():
            steps = ahead[key]
            later = steps >= 1
            parts = []
            if not later.all():
                parts.append(self._of_the_past(key, one, steps[~later]))
            if later.any():
                parts.append(coming[key][steps[later] - 1])
                check_finite_forecast(torch.from_numpy(parts[-1]))
            values.append(np.concatenate(parts))  # a horizon is in ascending order
            indices.append(labels_from[cutoffs[key][0]])
        names = self.memory.level_names
        if len(names) == 1:
            return indices[0], values[0]
        tuples = [
            (*key, time) for key, times in zip(cutoffs, indices, strict=True) for time in times
        ]
        return pd.MultiIndex.from_tuples(tuples, names=names), np.concatenate(values)

    def quantiles(
        self,
        fh: ForecastingHorizon,
        X: pd.DataFrame | None,
        wanted: Sequence[float] | None,
        alpha: Sequence[float] | None = None,
    ) -> tuple[pd.Index, NDArray[np.float64], tuple[float, ...]]:
        """Forecast all series at the wanted probabilities, or those that were trained.

        `alpha` is what will be made of them, None for a whole distribution. Returns the index, the
        quantiles (rows, C, Q) in the units of y, and their probabilities (Q,).
        """
        trained = tuple(map(float, self.network.config.outputs))
        levels = trained if wanted is None else tuple(map(float, wanted))
        if len(levels) == 1 and (alpha is None or list(alpha) != [0.5]):
            raise ValueError(
                f"alpha={alpha} cannot be forecast from quantiles={wanted}: there is nothing to "
                "interpolate between. Fit with more quantiles."
            )
        index, values = self.forecast(fh, X)
        if levels != trained:  # weights that are not trained on have theirs
            values = interpolated(values, trained, levels)
        return index, values, levels

    def start(self, series: Sequence[Key]) -> State | None:
        """Return what the network starts from for some series, (series, ...), or None."""
        return None if self.adapted is None else self.adapted.start(series)

    @property
    def of_any_length(self) -> bool:
        """Whether forecasts are from as many time points as there are."""
        shortest, longest = self.network.config.lengths
        return shortest < longest

    def _from_ends(self, ahead: Mapping[Key, NDArray[np.int64]]) -> dict[Key, NDArray[np.float64]]:
        """Forecast each series from as many of its last L time points as there are."""
        most = int(max(steps.max() for steps in ahead.values()))
        series = self.memory.series
        ends = [self._window(key, one).y.to_numpy(float).T for key, one in series.items()]
        # In double precision and the units of y: a window may move little beside its series.
        columns = [column for end in ends for column in end]
        owners = [key for key, end in zip(series, ends, strict=True) for _ in end]
        start = self.start(owners)
        outputs = forecast(self.network, columns, most, refine=self.refines, start=start)
        quantiles = outputs.reshape(len(series), -1, *outputs.shape[1:]).swapaxes(1, 2)
        return dict(zip(series, quantiles, strict=True))

    def _from_windows(
        self,
        cutoffs: Mapping[Key, pd.Index],
        ahead: Mapping[Key, NDArray[np.int64]],
        given: Instances,
    ) -> dict[Key, NDArray[np.float64]]:
        """Forecast each series from its last L time points, (most, C, Q)."""
        L = self.network.config.input_chunk_length
        most = int(max(steps.max() for steps in ahead.values()))
        past, known, windows = [], [], {}
        for key, one in self.memory.series.items():
            window = self._window(key, one)
            windows[key] = window.y.to_numpy(dtype=float)
            lead = L - len(window.y)
            past.append(_padded(window.scaled_y(), lead, L, fill=float("nan")))
            if self.memory.X_scaler is not None:
                coming, needed = _labels(cutoffs[key], ahead[key])
                own = rows(
                    joined(one.X, given[key]) if key in given else one.X,
                    window.y.index.append(coming),
                    key,
                    needed=window.y.index.append(needed),
                )
                known.append(_padded(self.memory.scaled_X(own), lead, L + most, fill=0.0))
        quantiles = self.network.forecast_windows(
            torch.stack(past),
            most,
            torch.stack(known) if known else None,
            self.start(list(self.memory.series)),
        )  # (series, steps, C, Q)
        series = self.memory.series.items()
        return {
            key: _kept(windows[key], one.in_units(own))
            for (key, one), own in zip(series, quantiles, strict=True)
        }

    def _from_streams(
        self,
        cutoffs: Mapping[Key, pd.Index],
        ahead: Mapping[Key, NDArray[np.int64]],
        given: Instances,
    ) -> dict[Key, NDArray[np.float64]]:
        """Forecast each series from the state that it carries, (most, C, Q)."""
        assert self.streams is not None
        most = int(max(steps.max() for steps in ahead.values()))
        series = self.memory.series.items()
        windows = {key: self._window(key, one).y.to_numpy(dtype=float) for key, one in series}
        known = None
        if self.memory.X_scaler is not None:
            known = {}
            for key, cutoff in cutoffs.items():
                coming, needed = _labels(cutoff, ahead[key])
                scaled = torch.zeros(0, len(self.memory.X_scaler.scale_), dtype=torch.float32)
                if len(coming):  # the horizon may lie in the past of one
                    own = rows(given.get(key), coming, key, needed=needed)
                    scaled = self.memory.scaled_X(own)
                known[key] = _padded(scaled, 0, most, fill=0.0)
        quantiles = self.streams.forecast(self.network, most, known)
        return {key: _kept(windows[key], one.in_units(quantiles[key])) for key, one in series}

    def _window(self, key: Key, one: Remembered) -> Remembered:
        """Return the last L rows, in which there must be a value of every column."""
        window = one.end(self.look_back)
        remedy = "Choose a longer input_chunk_length."
        check_observed(f"y{name_of(key)}", window.y, remedy=remedy)
        return window

    def _of_the_past(
        self, key: Key, one: Remembered, steps: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Forecast time points of the past, each from the L before it, (steps, C, Q)."""
        L, y = self.look_back, one.y
        origins = len(y) - 1 + steps
        if origins.min() < (L if one.forgotten else 0):
            begin = y.index[L] if one.forgotten and len(y) > L else y.index[0]
            raise ValueError(
                f"fh reaches back to the time points before {begin}, of which y{name_of(key)} "
                "is not remembered: that is so for all before what fit was given and, after an "
                "update or in a file, for all but the last ones. Ask for later steps, or fit again."
            )
        rolling = y.astype(float).rolling(L, min_periods=1)
        lowest, highest = (
            x.shift(1).to_numpy()[origins] for x in (rolling.min(), rolling.max())
        )  # (steps, C)
        if self.of_any_length:
            start, own = self.start([key]), one.scaled_y()
            quantiles = forecast_past(self.network, own, origins, look_back=L, start=start)
            return _unless_constant(lowest, highest, one.in_units(quantiles))
        at = torch.from_numpy(origins)
        target = _padded(one.scaled_y(), L, L + len(y), fill=float("nan"))
        past = target.unfold(0, L, 1)[at].mT  # (L + n, C) -> (steps, L, C)
        known = None
        if one.X is not None:
            covariates = _padded(self.memory.scaled_X(one.X), L, L + len(y), fill=0.0)
            known = covariates.unfold(0, L + 1, 1)[at].mT
        start = self.start([key] * len(past))
        quantiles = self.network.forecast_windows(past, 1, known, start)[:, 0]  # (steps, C, Q)
        nothing = past.isnan().all(1)
        quantiles = quantiles.masked_fill(nothing[..., None], float("nan"))
        return _unless_constant(lowest, highest, one.in_units(quantiles))


def _kept(windows: NDArray[np.float64], forecasts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let windows of one value, (..., L, C), be forecast by it, (..., C, Q): scaling rounds."""
    lowest, highest = (of(windows, axis=-2) for of in (np.fmin.reduce, np.fmax.reduce))
    return _unless_constant(lowest, highest, forecasts)


def _unless_constant(
    lowest: NDArray[np.float64], highest: NDArray[np.float64], forecasts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return forecasts, (..., C, Q), but the value of windows that have one, (..., C)."""
    return np.where((lowest == highest)[..., None], lowest[..., None], forecasts)


def _check_step(cutoff: pd.Index) -> None:
    """Raise a ValueError if it is not known what a step is."""
    if isinstance(cutoff, pd.DatetimeIndex) and cutoff.freq is None:
        raise ValueError(
            f"the time points of y, which end at {cutoff[0]}, are too few to show their step, in "
            "which fh counts. Give y a freq, for example by asfreq('D'), or more time points."
        )


def furthest(cutoff: pd.Index, fh: ForecastingHorizon) -> int:
    """Return the last step of a horizon, counted from a cutoff."""
    return int(max(_in_steps_of(cutoff, fh).to_relative(cutoff)))


def _in_steps_of(cutoff: pd.Index, fh: ForecastingHorizon) -> ForecastingHorizon:
    """Return a horizon without the step of an earlier cutoff, if that is another one.

    Spans of time become time points.

    Raises
    ------
    ValueError
        If it is of another kind than the time points of y.
    """
    given = fh.to_pandas()
    kinds = {pd.DatetimeIndex: "dates", pd.PeriodIndex: "periods", pd.TimedeltaIndex: "time spans"}
    own, asked = (kinds.get(type(x), "numbers") for x in (cutoff, given))
    if asked == "time spans" and own == "dates":
        return ForecastingHorizon(cutoff[0] + given, is_relative=False)
    if asked not in (own, "numbers"):
        raise ValueError(
            f"fh holds {asked}, such as {given[0]}, but the index of y {own}: give {own}, or "
            "numbers of steps with is_relative=True."
        )
    if not isinstance(cutoff, pd.DatetimeIndex) or fh.freq in (None, cutoff.freqstr):
        return fh
    return ForecastingHorizon(fh.to_pandas(), is_relative=fh.is_relative)


def _check_on_grid(labels: pd.Index, steps: NDArray[np.int64], cutoff: pd.Index) -> None:
    """Raise a ValueError that names the first time point of a horizon that is not on the grid."""
    grid = ForecastingHorizon(steps, is_relative=True).to_absolute_index(cutoff)
    beside = np.flatnonzero(np.asarray(labels != grid))
    if len(beside):
        step = name_of_step(getattr(cutoff, "freq", None))
        raise ValueError(
            f"fh asks for {labels[beside[0]]}, which is not on the grid of the time points of y: "
            f"its step is {step}, and {cutoff[0]} is one of them. Give time "
            "points of that grid, or numbers of steps."
        )


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
