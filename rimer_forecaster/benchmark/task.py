"""What is to be forecast: a series in order of time, split where training ends.

Letters: n time points, C components, L look-back, H horizon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from ..network.checks import check_sizes
from ..zero_shot.tables import usual_season

__all__ = ["Task", "as_series", "make_task"]

_SAME = 0.5
"""Share of test targets found elsewhere from which it is said."""

_RUNS = 200
"""Places of an index at which its step is looked for."""


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

    @property
    def validation_share(self) -> float:
        """Share of the validation part in what comes before the test part."""
        return 1 - self.train_end / self.validation_end

    def training_windows(self, stride: int) -> int:
        """Return how many windows are trained on, of which every so many-th is taken."""
        return (self.train_end - self.look_back - self.horizon) // stride + 1

    def true_values(self, origins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what came at horizons that begin at these steps, in own units, (B, H, C)."""
        values: NDArray[np.float64] = self.series.values(copy=False).astype(float)
        return values[origins[:, None] + np.arange(self.horizon)]

    def test_values(self) -> NDArray[np.float32]:
        """Return the test part in own units, (steps, C)."""
        values: NDArray[np.float32] = self.series.values(copy=False)[self.validation_end :]
        return values

    def pasts(self, origins: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Return what comes before these steps in own units, one component after the other."""
        values = self.series.values(copy=False).astype(float)
        return [column[:origin] for origin in origins for column in values.T]

    def frame(self, *, z_scored: bool) -> pd.DataFrame:
        """Return the series as sktime takes it."""
        series = self.z_scored() if z_scored else self.series
        return series.to_dataframe().astype(float)

    def fingerprint(self) -> bytes:
        """Return a digest of all that results depend on."""
        parts = hashlib.sha256()
        for series in (self.series, self.future_covariates):
            if series is not None:
                times = (series.start_time(), series.end_time(), series.freq_str)
                parts.update(repr(times).encode())
                parts.update(np.ascontiguousarray(series.all_values()).tobytes())
        sizes = (self.train_end, self.validation_end, self.look_back, self.horizon, self.season)
        parts.update(repr((sizes, self.stride)).encode())
        return parts.digest()

    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each component in the training part, (C,)."""
        return _scale(self.series[: self.train_end])

    def naive_error(self) -> NDArray[np.float64]:
        """Mean absolute error of seasonal naive in the training part, in own units, (C,)."""
        train = self.series.values(copy=False)[: self.train_end].astype(np.float64)
        errors = np.abs(train[self.season :] - train[: -self.season])
        count = (~np.isnan(errors)).sum(0)
        return np.where(count > 0, np.nansum(errors, 0) / np.maximum(count, 1), np.nan)

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
        """Say which test targets are in the input of their models, and which are not scored."""
        test = self.series.values(copy=False)[self.validation_end - self.look_back :]
        names = list(self.series.components)
        found = [
            f"{share:.0%} of the test values of {names[i]!r} are those of {names[j]!r} {lag} steps "
            "before, and so in the input of their own forecast: a copy forecasts them."
            for i, j, lag, share in _copies(test, self.horizon, self.look_back)
        ]
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
        found = found[:10]
        test = test[self.look_back :]
        for name, error, column in zip(names, self.naive_error(), test.T, strict=True):
            if not error > 0:
                found.append(
                    f"{name!r} is left out of MASE: seasonal naive makes no error in its training "
                    "part."
                )
            if len(np.unique(column[~np.isnan(column)])) < 2:
                found.append(f"{name!r} is left out of R2: it does not vary in the test part.")
        return found


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
        If time points are out of order or appear twice, a part is too short, or the season is as
        long as the training part.

    Examples
    --------
    >>> import pandas as pd
    >>> from rimer_forecaster.benchmark import make_task
    >>> days = pd.date_range("2024-01-01", periods=200, name="day")
    >>> task = make_task(pd.Series(range(200), index=days, dtype=float), 7)
    >>> task.train_end, task.validation_end, task.season, task.look_back
    (120, 160, 7, 28)
    """
    series = as_series(series).astype(np.float32)
    if future_covariates is not None:
        future_covariates = as_series(future_covariates)
        known, needed = future_covariates.time_index, series.time_index
        alike = type(known) is type(needed)
        if not alike or known[0] > needed[0] or known[-1] < needed[-1]:
            raise ValueError(
                f"future_covariates are known from {known[0]} to {known[-1]}, but the series is "
                f"from {needed[0]} to {needed[-1]}. Give covariates of all its steps, or a shorter "
                "series."
            )
    if season is None:
        season = usual_season(series.freq_str) if series.has_datetime_index else 1
    look_back = max(4 * horizon, 2 * season) if look_back is None else look_back
    check_sizes(horizon=horizon, look_back=look_back, season=season, stride=stride)
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
    if season >= sizes[0]:
        raise ValueError(
            f"season={season} is not shorter than the training part of {sizes[0]} steps, so that "
            "seasonal naive has nothing to repeat there. Give another season; 1 is the last value."
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


def _scale(train: TimeSeries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = train.values(copy=False).astype(np.float64)
    deviation = np.nanstd(values, axis=0)
    return np.nanmean(values, axis=0), np.where(deviation > 0, deviation, 1.0)


def _z_scored(
    series: TimeSeries, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> TimeSeries:
    values = (series.all_values() - mean[:, None]) / deviation[:, None]
    return series.with_values(values).astype(np.float32)


def as_series(data: TimeSeries | pd.DataFrame | pd.Series) -> TimeSeries:
    """Return a series on a grid, or raise a ValueError if rows are out of order or twice there."""
    if isinstance(data, TimeSeries):
        return data  # which is in order of time by construction
    if not isinstance(data, pd.DataFrame | pd.Series):
        raise ValueError(
            f"a {type(data).__name__} is no series: give a TimeSeries of darts, or a pandas "
            "object, whose index says the time."
        )
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
    text = [name for name, dtype in frame.dtypes.items() if not is_numeric_dtype(dtype)]
    if text:
        raise ValueError(f"columns {text} hold no numbers: leave them out.")
    return TimeSeries.from_dataframe(frame, fill_missing_dates=True, freq=_freq(frame.index))


def _freq(index: pd.Index) -> Any:
    """Return the coarsest step on which all dates lie, whichever of them are absent."""
    if not isinstance(index, pd.DatetimeIndex) or index.freq is not None or len(index) < 3:
        return None
    whole = pd.infer_freq(index)
    if whole is not None:
        return whole
    starts = np.unique(np.linspace(0, len(index) - 3, _RUNS).astype(int))
    runs = {pd.infer_freq(index[i : i + n]) for i in starts for n in (3, 8) if i + n <= len(index)}
    grids = [pd.date_range(index[0], index[-1], freq=freq) for freq in runs - {None}]
    fitting = [grid for grid in grids if index.isin(grid).all()]
    return min(fitting, key=len).freq if fitting else None  # without one, darts says why


def _copies(
    test: NDArray[np.float32], least: int, most: int
) -> Iterator[tuple[int, int, int, float]]:
    """Yield components i, j and the first lag at which most of i is j's, and how much.

    Parameters
    ----------
    test
        (steps, C).
    least, most
        Lags to look at.
    """
    usual = [np.unique(column, return_counts=True)[1].max() for column in test.T]
    alive = np.array(usual) <= _SAME * len(test)  # a constant is found everywhere
    rng, seen = np.random.default_rng(0), np.zeros((test.shape[1],) * 2, dtype=bool)
    for lag in range(least, most + 1):
        later, earlier = test[lag:], test[: len(test) - lag]
        some = rng.integers(len(later), size=64)  # before all rows, which take long
        alike = (later[some][:, :, None] == earlier[some][:, None]).mean(0) > _SAME / 2
        for i, j in np.argwhere(alike & alive[:, None] & ~seen):
            share = float(np.mean(later[:, i] == earlier[:, j]))
            if share > _SAME:
                seen[i, j] = True
                yield int(i), int(j), lag, share
