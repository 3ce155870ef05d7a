"""What is to be forecast: a series in order of time, split where training ends.

Letters: n time points, C components, L look-back, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

__all__ = ["Task", "make_task", "read_csv"]

_SEASONS = {"h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1, "min": 60, "s": 60}
"""Usual periods, in steps, by the letters of pandas' frequencies."""

_SAME = 0.5
"""Share of test targets found elsewhere from which it is said."""


@dataclass(frozen=True)
class Task:
    """A series, split in order of time, and what is asked of the models.

    Attributes
    ----------
    name
        For titles.
    series
        Target, (n, C), in its own units; float32.
    future_covariates
        Known for the steps that are forecast, or None.
    train_end, validation_end
        Number of steps before the validation part, and before the test part.
    look_back, horizon, season
        L, H and the period of seasonal naive, in steps.
    stride
        Steps between two forecasts of the test part.
    """

    name: str
    series: TimeSeries
    future_covariates: TimeSeries | None
    train_end: int
    validation_end: int
    look_back: int
    horizon: int
    season: int
    stride: int = 1

    @property
    def origins(self) -> NDArray[np.int64]:
        """First steps of the horizons that are forecast in the test part."""
        return np.arange(self.validation_end, len(self.series) - self.horizon + 1, self.stride)

    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each component in the training part, (C,)."""
        return _scale(self.series[: self.train_end])

    def z_scored(self) -> TimeSeries:
        """Return the target in units of its training part."""
        return _z_scored(self.series, *self.scale())

    def z_scored_covariates(self) -> TimeSeries | None:
        """Return the future covariates in units of their training part."""
        if self.future_covariates is None:
            return None
        train = self.future_covariates.slice_intersect(self.series[: self.train_end])
        return _z_scored(self.future_covariates, *_scale(train))

    def remarks(self) -> list[str]:
        """Say where test targets can be found in what the models are given."""
        test = self.series.values(copy=False)[self.validation_end - self.look_back :]
        names, found = list(self.series.components), []
        for lag in range(self.horizon, self.look_back + 1):
            for i, name in enumerate(names):
                for j, other in enumerate(names):
                    share = np.mean(test[lag:, i] == test[: len(test) - lag, j])
                    if share > _SAME:
                        found.append(
                            f"{share:.0%} of the test values of {name!r} are those of {other!r} "
                            f"{lag} steps before, and so in the input of their own forecast: a "
                            "copy forecasts them."
                        )
        if self.future_covariates is not None:
            known = self.future_covariates.slice_intersect(self.series[self.validation_end :])
            target = self.series.slice_intersect(known).values(copy=False)
            for j, other in enumerate(known.components):
                for i, name in enumerate(names):
                    share = np.mean(np.isclose(known.values(copy=False)[:, j], target[:, i]))
                    if share > _SAME:
                        found.append(
                            f"{share:.0%} of the test values of {name!r} are those of the future "
                            f"covariate {other!r} at the same time: the answer is given."
                        )
        return found[:10]


def make_task(
    series: TimeSeries | pd.DataFrame | pd.Series,
    horizon: int,
    *,
    look_back: int | None = None,
    future_covariates: TimeSeries | None = None,
    split: Sequence[float] = (0.6, 0.2, 0.2),
    season: int | None = None,
    stride: int = 1,
    name: str = "series",
) -> Task:
    """Check a series and split it in order of time.

    Parameters
    ----------
    series
        With a component a column; the time points of a pandas object are its index.
    horizon
        Steps to forecast.
    look_back
        Steps that a forecast is made from; four horizons by default, at least two seasons.
    future_covariates
        Known ahead, over the time points of the series. Models get them z-scored by the training
        part, as they do the series.
    split
        Shares of training, validation and test part; or their numbers of steps.
    season
        Period in steps; by default the usual one of the frequency, or 1.
    stride
        Steps between two forecasts of the test part.
    name
        For titles.

    Raises
    ------
    ValueError
        If time points are out of order or appear twice, or a part is too short.
    """
    series = _as_series(series).astype(np.float32)
    season = _season(series) if season is None else season
    look_back = max(4 * horizon, 2 * season) if look_back is None else look_back
    for label, value in (("horizon", horizon), ("look_back", look_back), ("season", season)):
        if value < 1:
            raise ValueError(f"{label}={value} must be at least 1 step.")
    if len(split) != 3 or min(split) <= 0:
        raise ValueError(f"split={split!r} must be three positive shares or numbers of steps.")
    n, whole = len(series), sum(split)
    if whole > 1.5:  # numbers of steps
        sizes = [int(part) for part in split]
        series = series[: sum(sizes)]
        if sum(sizes) > n:
            raise ValueError(f"split={split!r} needs {sum(sizes)} steps, but there are {n}.")
    else:
        sizes = [int(split[0] / whole * n), int(split[1] / whole * n)]
        sizes.append(n - sum(sizes))
    for part, size, least in zip(
        ("training", "validation", "test"),
        sizes,
        (look_back + horizon, horizon, horizon),
        strict=True,
    ):
        if size < least:
            raise ValueError(
                f"the {part} part has {size} steps, but needs at least {least} for look_back="
                f"{look_back} and horizon={horizon}. Give a longer series, a shorter look_back or "
                "horizon, or another split."
            )
    return Task(
        name,
        series,
        future_covariates,
        sizes[0],
        sizes[0] + sizes[1],
        look_back,
        horizon,
        season,
        stride,
    )


def read_csv(path: str | Path, time_col: str | None = None) -> TimeSeries:
    """Read a table with a time column; other columns that are numbers are components.

    Parameters
    ----------
    path
        Of a CSV file, which may be compressed.
    time_col
        Name of the time column; the first column by default.

    Raises
    ------
    ValueError
        If time points are out of order, appear twice or cannot be read.
    """
    frame = pd.read_csv(path)
    time_col = frame.columns[0] if time_col is None else time_col
    if time_col not in frame:
        raise ValueError(
            f"{str(path)!r} has no column {time_col!r}, but {list(frame.columns)}. Name the time "
            "column."
        )
    times = frame.pop(time_col)
    index = pd.Index(times) if pd.api.types.is_integer_dtype(times) else pd.to_datetime(times)
    return _as_series(frame.select_dtypes("number").set_axis(pd.Index(index)))


def _scale(train: TimeSeries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = train.values(copy=False).astype(np.float64)
    deviation = np.nanstd(values, axis=0)
    return np.nanmean(values, axis=0), np.where(deviation > 0, deviation, 1.0)


def _z_scored(
    series: TimeSeries, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> TimeSeries:
    values = (series.all_values() - mean[:, None]) / deviation[:, None]
    return series.with_values(values).astype(np.float32)


def _as_series(data: TimeSeries | pd.DataFrame | pd.Series) -> TimeSeries:
    if isinstance(data, TimeSeries):
        return data  # which is in order of time by construction
    frame = data.to_frame() if isinstance(data, pd.Series) else data
    index = frame.index
    if isinstance(index, pd.PeriodIndex):
        frame = frame.set_axis(index.to_timestamp())
    steps = frame.index.to_numpy()
    wrong = np.flatnonzero(steps[1:] <= steps[:-1])
    if len(wrong):
        at = int(wrong[0])
        what = "appears twice" if steps[at] == steps[at + 1] else "is followed by an earlier one"
        raise ValueError(
            f"the rows are not in order of time: row {at}, {index[at]}, {what}, {index[at + 1]} "
            f"({len(wrong)} such rows). A test on rows out of order is no test of forecasts, "
            "because what is forecast may have been trained on. Sort them, and look into why."
        )
    frame = frame.rename(columns=str)
    return TimeSeries.from_dataframe(frame, fill_missing_dates=True, freq=_freq(frame.index))


def _freq(index: pd.Index) -> Any:
    if not isinstance(index, pd.DatetimeIndex) or index.freq is not None or len(index) < 3:
        return None
    inferred = pd.infer_freq(index)
    if inferred is not None:
        return inferred
    return pd.tseries.frequencies.to_offset(pd.Series(index[1:] - index[:-1]).mode()[0])


def _season(series: TimeSeries) -> int:
    if not series.has_datetime_index:
        return 1
    code = series.freq_str.split("-")[0].lstrip("0123456789")
    number = max(1, int("0" + "".join(c for c in series.freq_str.split("-")[0] if c.isdigit())))
    for letters in (code, code.removesuffix("S").removesuffix("E")):
        if letters in _SEASONS:
            period = 1440 if letters == "min" and number > 1 else _SEASONS[letters]
            return max(1, period // number)
    return 1
