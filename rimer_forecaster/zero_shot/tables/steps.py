"""The step of times, and series on a grid of it.

All times are whole numbers of microseconds here, so that years before 1677 are times too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .series import TableError

__all__ = ["on_grid", "times_after", "usual_season"]

Whole = NDArray[np.int64]

_UNITS = {"h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_DAY = 24 * _UNITS["h"]
_ROUND = [
    *(x * _UNITS["s"] for x in (1, 2, 5, 10, 15, 20, 30)),
    *(x * _UNITS["min"] for x in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(x * _UNITS["h"] for x in (1, 2, 3, 4, 6, 8, 12)),
    _DAY,
    7 * _DAY,
]
"""Steps to which times that are a little off are rounded."""

_OFF = 0.3
"""Of a step, by which a time may be off."""

_MOSTLY = 0.9
_LEAST_FILLED = 1 / 3
"""Of a grid, of which a series has a value, unless most of its values are one step apart."""

_FARTHEST = 20
"""Times the number of its rows that a series may reach over, if it reaches over a thousand steps:
beyond it one of its times is wrong, such as 9999-12-31."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_A_DAY = {"min": 1440, "h": 24}
_A_YEAR = {"W": 52, "M": 12, "Q": 4, "Y": 1}


def usual_season(freq: str | None) -> int:
    """Return the usual period of a step, in steps, by pandas' alias; 1 where there is none."""
    found = re.match(r"(\d*)(B?)([A-Za-z]*)", freq or "")
    if found is None or not found[0]:
        return 1
    size, letters = int(found[1] or 1), found[3]
    if not letters:
        return 5 if size == 1 else 1
    if letters == "D":
        return 7 if size == 1 else 1
    steps = _A_DAY.get(letters) or (3600 if letters == "s" else _A_YEAR.get(letters[0], 1))
    return max(1, steps // size) if steps % size == 0 else 1


def times_after(index: pd.Index, horizon: int) -> pd.Index:
    """Return the times of the steps after an index of `SeriesTable`."""
    if isinstance(index, pd.RangeIndex):
        first = index[-1] + index.step
        return pd.RangeIndex(first, first + index.step * horizon, index.step)
    assert isinstance(index, pd.DatetimeIndex)
    return pd.date_range(index[-1], periods=horizon + 1, freq=index.freq, unit=index.unit)[1:]


@dataclass
class _Step:
    """A step that all series have.

    Attributes
    ----------
    freq
        pandas' alias.
    offset
        What `pandas.date_range` takes.
    size
        In microseconds, or in months, or in business days.
    unit
        ``"us"``, ``"M"`` or ``"B"``.
    notes
        What was done to the times.
    """

    freq: str
    offset: str | pd.offsets.BaseOffset
    size: int
    unit: str
    notes: list[str] = field(default_factory=list)

    def places(self, times: Whole) -> Whole:
        """Return the number of steps from the first of the times to each, exact or not."""
        if self.unit == "M":
            months = _months(times)
            return (months - months[0]) // self.size
        if self.unit == "B":
            days = times.astype("M8[us]").astype("M8[D]")
            return np.busday_count(days[0], days).astype(np.int64)
        return (times - times[0]) // self.size


def on_grid(
    series: Mapping[str, tuple[NDArray[np.generic], NDArray[np.float64]]], row: str
) -> tuple[dict[str, pd.Series], str | None, list[str]]:
    """Give series, times and values each, an index without gaps.

    Parameters
    ----------
    series
        By name: times, datetime64[us] or whole numbers, in any order, and values.
    row
        What the file counts.

    Returns
    -------
    series, freq, notes
        As in `SeriesTable`.

    Raises
    ------
    TableError
        If a series has two values of a time, or the times have no common step.
    """
    ordered: dict[str, tuple[Whole, NDArray[np.float64]]] = {}
    are_times = False
    known: dict[int, tuple[Whole, NDArray[np.intp]]] = {}  # wide tables: the same times for all
    for name, (times, values) in series.items():
        are_times = times.dtype.kind == "M"
        if id(times) not in known:
            whole = times.astype("M8[us]").astype(np.int64) if are_times else times.astype(np.int64)
            order = np.argsort(whole, kind="stable")
            known[id(times)] = whole[order], order
            _check_distinct(name, whole[order], are_times)
        whole, order = known[id(times)]
        ordered[name] = whole, values[order]
    parts = list({id(x): x for x, _ in ordered.values()}.values())
    if not any(len(x) > 1 for x in parts):
        raise TableError(f"a step cannot be told from series of one {row}.")
    if not are_times:
        return _on_numbers(ordered, parts)
    step = _step_of(parts)
    notes = [f"step {step.freq}", *step.notes]
    found = {}
    grids: dict[int, tuple[Whole, pd.DatetimeIndex]] = {}
    for name, (times, values) in ordered.items():
        if id(times) not in grids:
            places = step.places(times)
            _check_filled(name, places, step.freq, _shown(times[0]), _shown(times[-1]))
            first = pd.Timestamp(times[0].astype("M8[us]"))
            size = int(places[-1]) + 1
            index = pd.date_range(first, periods=size, freq=step.offset, unit="us")
            grids[id(times)] = places, index
        places, index = grids[id(times)]
        filled = np.full(len(index), np.nan)
        filled[places] = values
        found[name] = pd.Series(filled, index, name=name)
    return found, step.freq, notes


def _check_distinct(name: str, times: Whole, are_times: bool) -> None:
    twice = np.flatnonzero(np.diff(times) == 0)
    if len(twice):
        when = _shown(times[twice[0]]) if are_times else times[twice[0]]
        raise TableError(f"the series {name!r} has two values at {when}.")


def _shown(time: np.int64) -> str:
    return str(pd.Timestamp(time.astype("M8[us]"))).removesuffix(" 00:00:00")


def _check_filled(name: str, places: Whole, step: str, first: object, last: object) -> None:
    """Raise a TableError if a series has a value too seldom to be one of this step."""
    size = int(places[-1]) + 1
    if size > max(1000, _FARTHEST * len(places)):
        raise TableError(
            f"the series {name!r} has {len(places)} rows from {first} to {last}, which are {size} "
            f"steps of {step}. Is one of its times wrong?"
        )
    steps = np.diff(places)
    if len(steps) and len(places) < _LEAST_FILLED * size and (steps == 1).mean() < 0.5:
        raise TableError(
            f"the series {name!r} has rows at {len(places)} of {size} steps of {step}, from "
            f"{first} to {last}: its times are uneven, or it has another step than other series. "
            "Bring it to one step first; if what has no row is a zero, write the zeros."
        )


def _on_numbers(
    ordered: Mapping[str, tuple[Whole, NDArray[np.float64]]], parts: list[Whole]
) -> tuple[dict[str, pd.Series], None, list[str]]:
    steps = _steps(parts)
    size = _most_common(steps)
    if (steps % size).any():
        size = int(np.gcd.reduce(steps))
    found = {}
    for name, (times, values) in ordered.items():
        places = (times - times[0]) // size
        _check_filled(name, places, str(size), times[0], times[-1])
        index = pd.RangeIndex(int(times[0]), int(times[-1]) + 1, size)
        filled = np.full(len(index), np.nan)
        filled[places] = values
        found[name] = pd.Series(filled, index, name=name)
    return found, None, [f"step {size}"] * (size != 1)


# Which step.


def _step_of(parts: list[Whole]) -> _Step:
    """Find the step of times, each part ascending; those that are a little off are moved."""
    months = _step_of_months(parts)
    if months is not None:
        return months
    steps = _steps(parts)
    size, notes = _most_common(steps), []
    if (steps % size).any():
        rounded = _rounded(parts, int(np.median(steps)))
        if rounded is not None:
            size = rounded
            notes = [f"times rounded to {_alias(size, parts)[0]}"]
        else:
            size = int(np.gcd.reduce(steps))
            cells = sum((int(x[-1] - x[0])) // size + 1 for x in parts)
            if sum(map(len, parts)) < _LEAST_FILLED * cells:
                raise TableError(
                    f"its times are uneven: steps from {_span(steps.min())} to "
                    f"{_span(steps.max())}, most often {_span(_most_common(steps))}. Bring them to "
                    "one step first, for example with resample of pandas."
                )
    if size == _DAY and _are_workdays(parts):
        return _Step("B", "B", 1, "B", notes)
    alias, offset = _alias(size, parts)
    return _Step(alias, offset, size, "us", notes)


def _steps(parts: list[Whole]) -> Whole:
    return np.concatenate([np.diff(x) for x in parts])


def _most_common(steps: Whole) -> int:
    """Return the most common step; the smallest of those that are as common."""
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _span(step: np.int64 | int) -> str:
    text = str(pd.Timedelta(int(step), unit="us"))
    return text.removesuffix(" 00:00:00").removeprefix("0 days ")


def _alias(size: int, parts: list[Whole]) -> tuple[str, str]:
    """Name a step, and give what `pandas.date_range` takes."""
    if size == 7 * _DAY:
        days = np.unique(np.concatenate([x[:1] // _DAY % 7 for x in parts]))
        names = ("THU", "FRI", "SAT", "SUN", "MON", "TUE", "WED")  # 1970 began on a Thursday
        return (f"W-{names[days[0]]}" if len(days) == 1 else "W"), "7D"
    if size % _DAY == 0:
        alias = "D" if size == _DAY else f"{size // _DAY}D"
        return alias, alias
    unit = next(x for x, y in _UNITS.items() if size % y == 0)
    alias = unit if size == _UNITS[unit] else f"{size // _UNITS[unit]}{unit}"
    return alias, alias


def _are_workdays(parts: list[Whole]) -> bool:
    times = np.unique(np.concatenate(parts))
    weekdays = (times // _DAY + 3) % 7
    return len(times) > 5 and bool((weekdays < 5).all())


def _rounded(parts: list[Whole], median: int) -> int | None:
    """Move times that are a little off to a grid of a round step, in place; None if they are not.

    Times of a series stay apart.
    """
    size = min(_ROUND, key=lambda x: abs(x - median))
    if abs(size - median) > 0.02 * size:
        return None
    shift = _phase(np.concatenate(parts), size)
    moved = []
    for times in parts:
        whole = (times - shift + size // 2) // size
        off = np.abs(times - shift - whole * size)
        if off.max() > _OFF * size or (np.diff(whole) == 0).any():
            return None
        moved.append(whole * size + shift)
    for times, better in zip(parts, moved, strict=True):
        times[:] = better
    return size


def _phase(times: Whole, size: int) -> int:
    """Return where in a step most times lie: the place of half of them, or else of their mean."""
    places, counts = np.unique(times % size, return_counts=True)
    if 2 * counts.max() >= len(times):
        return int(places[counts.argmax()])
    phase = float(np.angle(np.exp(2j * np.pi * (times % size) / size).mean())) / (2 * np.pi)
    return 0 if abs(phase) < 0.1 else round(phase * size)


def _months(times: Whole) -> Whole:
    return times.astype("M8[us]").astype("M8[M]").astype(np.int64)


def _step_of_months(parts: list[Whole]) -> _Step | None:
    """Find a step of whole months; dates that differ within their months become first days."""
    months = [_months(x) for x in parts]
    steps = _steps(months)
    times = np.concatenate(parts)
    if steps.min() < 1 or len(np.unique(times % _DAY)) > 1:
        return None
    size = _most_common(steps)
    if (steps % size).any():
        size = int(np.gcd.reduce(steps))
    day = times.astype("M8[us]").astype("M8[D]")
    month = day.astype("M8[M]")
    first, last = month.astype("M8[D]"), (month + 1).astype("M8[D]") - 1
    in_month = np.unique((day - first).astype(int))
    notes = []
    offset: pd.offsets.BaseOffset
    if (day == first).all():
        end, business, offset = "S", "", pd.offsets.MonthBegin(size)
    elif (day == last).all():
        end, business, offset = "E", "", pd.offsets.MonthEnd(size)
    elif len(in_month) == 1 and in_month[0] < 28:
        end, business, offset = "S", "", pd.DateOffset(months=size)
    elif (day == np.busday_offset(first, 0, roll="forward")).all():
        end, business, offset = "S", "B", pd.offsets.BMonthBegin(size)
    elif (day == np.busday_offset(last, 0, roll="backward")).all():
        end, business, offset = "E", "B", pd.offsets.BMonthEnd(size)
    elif (steps == size).mean() >= _MOSTLY and len(np.unique(_steps(parts))) > 1:
        end, business, offset = "S", "", pd.offsets.MonthBegin(size)
        notes = ["days within months left out"]
        for x, own in zip(parts, months, strict=True):
            x[:] = own.astype("M8[M]").astype("M8[us]").astype(np.int64)
    else:
        return None
    letter = {1: "M", 3: "Q", 12: "Y"}.get(size)
    name = _MONTHS[int(months[0][0]) % 12]
    alias = f"{size}{business}M{end}" if letter is None else f"{business}{letter}{end}"
    if letter in ("Q", "Y"):
        alias += f"-{name}"
    return _Step(alias, offset, size, "M", notes)
