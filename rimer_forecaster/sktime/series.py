"""Series, panels and hierarchies as sktime gives them, on a regular grid of time points."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.preprocessing import StandardScaler
from sktime.datatypes import update_data
from torch import Tensor

from ..network.scale import without_wild_values

__all__ = [
    "BesideGrid",
    "Instances",
    "Key",
    "as_scaled",
    "check_grid",
    "check_names",
    "check_observed",
    "check_scaled",
    "check_values",
    "cutoff_of",
    "freq_of",
    "grid_of",
    "instances",
    "is_in_steps",
    "joined",
    "name_of",
    "name_of_step",
    "on_grid",
    "rows",
    "same_times",
    "scaler_of",
    "shared_step",
]

Key: TypeAlias = tuple[Hashable, ...]
"""Place of a series in a panel or hierarchy; () for a single series."""

Instances: TypeAlias = dict[Key, pd.DataFrame]


def instances(data: pd.DataFrame | None) -> Instances:
    """Split a panel or hierarchy into its series, in order of appearance."""
    if data is None:
        return {}
    if not isinstance(data.index, pd.MultiIndex):
        return {(): data}
    levels: list[Hashable] = list(range(data.index.nlevels - 1))
    return {
        key if isinstance(key, tuple) else (key,): one.droplevel(levels)
        for key, one in data.groupby(level=levels, sort=False)
    }


def check_names(name: str, data: Any) -> None:
    """Raise a ValueError if series of a panel have no name: pandas would leave them out."""
    index = getattr(data, "index", None)
    if not isinstance(index, pd.MultiIndex):
        return
    for level in range(index.nlevels - 1):
        nameless = np.asarray(index.get_level_values(level).isna())
        if nameless.any():
            raise ValueError(
                f"{name} has {nameless.sum()} rows without the name of a series, in level "
                f"{index.names[level] or level!r} of the index: it is NaN or None. Give the series "
                "a name, or leave the rows out."
            )


def name_of(key: Key) -> str:
    """Name a series in a message; a single one needs no name."""
    return f" of series {key}" if key else ""


def rows(
    X: pd.DataFrame | None, labels: pd.Index, key: Key, *, needed: pd.Index | None = None
) -> pd.DataFrame:
    """Select rows of X by label.

    Parameters
    ----------
    X
        A single series.
    labels
        Of all rows.
    key
        Whose they are, for the message.
    needed
        Those that X must have, all by default; others may be absent, and are missing values.

    Raises
    ------
    ValueError
        If some of those needed are absent.
    """
    needed = labels if needed is None else needed
    absent = needed if X is None else needed.difference(X.index)
    if X is None or len(absent):
        raise ValueError(
            f"X{name_of(key)} has no row for {len(absent)} of {len(needed)} time points that the "
            f"forecast or the training needs, the first being {absent[0]}. X must cover the time "
            "points of y and of the horizon."
        )
    return X.reindex(labels)


def joined(past: pd.DataFrame | None, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of both, the new values where both have a row and the new one is not missing."""
    if past is None or not len(past):
        return new
    if len(new) and new.index[0] > past.index[-1]:  # a tenth of the time
        return pd.concat([past, new])
    return update_data(past, new)


def cutoff_of(index: pd.Index, freq: Any) -> pd.Index:
    """Return the last time point, with the step of dates."""
    last = index[-1:]
    if not isinstance(last, pd.DatetimeIndex) or last.freq is not None:
        return last
    return pd.DatetimeIndex(last, freq=freq)


# --- time points ------------------------------------------------------------------------------


def check_grid(series: Instances) -> None:
    """Raise a ValueError that names the first time point which does not follow on the one before.

    The step of dates and periods is that of the index or the one that pandas infers, and 1 for
    numbers: sktime counts horizons in them.
    """
    checked = None
    for key, one in series.items():
        index = one.index
        if checked is not None and index.equals(checked):
            continue
        checked = index
        if isinstance(index, pd.DatetimeIndex):
            if len(index) < 3 or freq_of(index) is not None:
                continue
            steps = index[1:] - index[:-1]
            usual = pd.Series(steps).mode()[0]
            days = usual / pd.Timedelta(days=1)
            freq = "D" if days == 1 else pd.tseries.frequencies.to_offset(usual).freqstr
            odd = int(np.argmax(steps != usual))
            raise ValueError(
                f"the time points of y{name_of(key)} are not evenly spaced: most are {usual} "
                f"apart, but {index[odd]} is followed by {index[odd + 1]}. Put them on a grid, for "
                f"example by asfreq({freq!r}) or resample: time points without a value may stay "
                "missing, they are masked."
            )
        ordinals, step = index.to_numpy(), 1
        if isinstance(index, pd.PeriodIndex):
            ordinals, step = index.asi8, getattr(index.freq, "n", 1)
        odd_ones = np.flatnonzero(np.diff(ordinals) != step)
        if len(odd_ones):
            odd = int(odd_ones[0])
            raise ValueError(
                f"the time points of y{name_of(key)} are not consecutive: {index[odd]} is followed "
                f"by {index[odd + 1]}. Add the time points between, with NaN where nothing was "
                "observed: missing values are masked. Or number the time points by 0, 1, 2 and so "
                "on."
            )


def freq_of(index: pd.Index) -> Any:
    """Step of dates, as the index says or as pandas infers; None where there is none."""
    freq = getattr(index, "freq", None)
    if freq is None and isinstance(index, pd.DatetimeIndex) and len(index) > 2:
        freq = pd.infer_freq(index)
    return freq


def shared_step(series: Instances) -> Any:
    """Return the step of dates that all series are in; None where no series shows one.

    A short series may be in several: five business days look like days.

    Raises
    ------
    ValueError
        If no step is that of all, with two series that differ.
    """
    of_length = sorted(series, key=lambda key: len(series[key]), reverse=True)
    if not isinstance(series[of_length[0]].index, pd.DatetimeIndex):
        return freq_of(series[of_length[0]].index)
    different: list[pd.Index] = []
    keys = []
    for key in of_length:
        index = series[key].index
        if not any(len(index) == len(other) and index.equals(other) for other in different):
            different.append(index)
            keys.append(key)
    odd: tuple[Key, Key, Any] | None = None
    for key, index in zip(keys, different, strict=True):
        freq = freq_of(index)
        if freq is None:
            continue
        others = (
            other for other, x in zip(keys, different, strict=True) if not is_in_steps(x, freq)
        )
        first = next(others, None)
        if first is None:
            return freq
        odd = odd or (key, first, freq)
    if odd is None:
        return None
    key, other, freq = odd
    own = freq_of(series[other].index)
    raise ValueError(
        f"the series of a panel must be in the same steps, but those of series {key} are "
        f"{name_of_step(freq)}, and series {other} from {series[other].index[0]} to "
        f"{series[other].index[-1]} is in {'others' if own is None else name_of_step(own)}. Fit a "
        "forecaster for each step, or bring them to one, for example by resample."
    )


def is_in_steps(index: pd.Index, freq: Any) -> bool:
    """Whether dates follow one another in a step, without a gap."""
    return same_times(index, pd.date_range(index[0], periods=len(index), freq=freq))


def name_of_step(freq: Any) -> str:
    """Name a step in a message."""
    return str(getattr(freq, "freqstr", freq))


def on_grid(frame: pd.DataFrame, freq: Any) -> pd.DataFrame:
    """Add the time points between the first and the last that are absent, as missing values.

    Parameters
    ----------
    frame
        A single series.
    freq
        Step of dates; not read for periods and numbers.

    Raises
    ------
    BesideGrid
        If a time point lies beside the grid.
    """
    index = frame.index
    if len(index) < 2 or (isinstance(index, pd.DatetimeIndex) and freq is None):
        return frame
    grid = grid_of(index[0], index[-1], freq)
    if same_times(index, grid):
        return frame
    beside = index.difference(grid)
    if len(beside):
        raise BesideGrid(
            f"{beside[0]} is not on the grid of the time points that the forecaster was fitted "
            f"with, whose step is {name_of_step(freq)}. Give time points of that grid."
        )
    return frame.reindex(grid)


class BesideGrid(ValueError):
    """A time point that does not belong to a series."""


def grid_of(first: Any, last: Any, freq: Any) -> pd.Index:
    """Return the time points from one to another, in a step if they are dates."""
    if isinstance(first, pd.Period):
        return pd.period_range(first, last)
    if isinstance(first, pd.Timestamp):
        return pd.date_range(first, last, freq=freq)
    return pd.RangeIndex(first, last + 1)


def same_times(index: pd.Index, other: pd.Index) -> bool:
    """Whether time points are the same, whatever the unit that they are stored in."""
    return len(index) == len(other) and bool((index == other).all())


# --- values -----------------------------------------------------------------------------------


def scaler_of(y: pd.DataFrame) -> StandardScaler:
    """Return what a series is standardised by, whatever single values there are in it."""
    values = torch.tensor(y.to_numpy(dtype=float))[None]
    return StandardScaler().fit(without_wild_values(values)[0].numpy())


def as_scaled(scaler: StandardScaler, frame: pd.DataFrame) -> Tensor:
    """Standardised values, (n, columns)."""
    # As scaler.transform does, whose checks take longer than the forecast of a series in a panel.
    values = (frame.to_numpy(dtype=float) - scaler.mean_) / scaler.scale_
    return torch.from_numpy(values.astype(np.float32))


def check_values(name: str, data: Any) -> None:
    """Raise a ValueError that names the first infinite value of a pandas object."""
    frame = data.to_frame() if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame) or not all(map(is_numeric_dtype, frame.dtypes)):
        return  # sktime converts other containers, and says so where it cannot
    values = frame.to_numpy(dtype=float, na_value=np.nan)
    limit = np.sqrt(np.finfo(float).max)  # they are squared
    _check_below(limit, values, name, frame)


def check_scaled(name: str, frame: pd.DataFrame, scaler: StandardScaler) -> None:
    """Raise a ValueError that names the first value too far from the others of a series."""
    values = (frame.to_numpy(dtype=float) - scaler.mean_) / scaler.scale_
    limit = float(np.sqrt(np.finfo(np.float32).max))  # the network computes in single precision
    _check_below(limit, values, name, frame)


def _check_below(limit: float, values: NDArray[np.float64], name: str, frame: pd.DataFrame) -> None:
    unusable = np.abs(values) >= limit  # False for NaN
    if unusable.any():
        row, column = np.argwhere(unusable)[0]
        raise ValueError(
            f"{name} has {unusable.sum()} infinite or overlarge values, the first in column "
            f"{frame.columns[column]!r} at {frame.index[row]}: {frame.iloc[row, column]}. Correct "
            "them, or mark them as missing by NaN."
        )


def check_observed(
    name: str, frame: pd.DataFrame, *, remedy: str = "Leave it out, or give values."
) -> None:
    """Raise a ValueError that names the first column in which nothing was observed."""
    empty = frame.columns[np.isnan(frame.to_numpy(dtype=float)).all(0)]
    if len(empty):
        raise ValueError(
            f"{name} has no value in column {empty[0]!r} from {frame.index[0]} to "
            f"{frame.index[-1]}. {remedy}"
        )
