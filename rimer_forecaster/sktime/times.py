"""Time points of series: of what kind and in what step they are, and the grid of that step."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .series import Instances, Key

__all__ = [
    "BesideGrid",
    "check_kind",
    "cutoff_of",
    "freq_of",
    "grid_of",
    "is_in_steps",
    "name_of_step",
    "on_grid",
    "same_times",
    "shared_step",
]


def cutoff_of(index: pd.Index, freq: Any) -> pd.Index:
    """Return the last time point, with the step of dates."""
    last = index[-1:]
    if not isinstance(last, pd.DatetimeIndex) or last.freq is not None:
        return last
    return pd.DatetimeIndex(last, freq=freq)


def check_kind(name: str, index: pd.Index, fitted: pd.Index, *, any_zone: bool = False) -> None:
    """Raise a ValueError that says what differs if time points are of another kind than others.

    Rows that are only looked up may be in any time zone.
    """
    times = [x.levels[-1] if isinstance(x, pd.MultiIndex) else x for x in (index, fitted)]
    if any_zone and all(getattr(x, "tz", None) is not None for x in times):
        return
    kinds = [_kind_of(x) for x in times]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"the time points of {name} are {kinds[0]}, but those of y that RimerForecaster was "
            f"fitted with are {kinds[1]}. Give the same kind: to_period, to_timestamp, tz_convert "
            "and tz_localize of pandas change it."
        )


def _kind_of(index: pd.Index) -> str:
    if isinstance(index, pd.PeriodIndex):
        return f"periods of freq {index.freqstr}"
    if isinstance(index, pd.DatetimeIndex):
        return f"dates {f'of the time zone {index.tz}' if index.tz else 'without a time zone'}"
    return "numbers"


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
