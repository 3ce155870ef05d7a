"""Times of rows: how they are written, their step, and series on a grid of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "SeriesTable",
    "TableError",
    "dates_of",
    "looks_like_time",
    "on_grid",
    "times_after",
    "usual_season",
]

Group: TypeAlias = tuple[NDArray[Any], dict[str, NDArray[np.float64]]]
"""Times, which are datetimes or whole numbers, each once; and values of series by name."""


class TableError(ValueError):
    """A file that cannot be read as series, with the reason."""


@dataclass(frozen=True)
class SeriesTable:
    """Series of one step.

    Attributes
    ----------
    series
        Values by name, NaN where missing, each over an index of times, or of whole numbers, without
        a gap; the index knows its step.
    freq
        Step as pandas' alias; None where the index holds whole numbers.
    notes
        What was taken for what.
    horizon
        Steps that the file itself wants forecast, or None.
    """

    series: dict[str, pd.Series]
    freq: str | None
    notes: tuple[str, ...] = ()
    horizon: int | None = None


_DAYS = (
    "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y",
    "%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y", "%y-%m-%d", "%y/%m/%d",
    "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_OTHERS = ("ISO8601", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%YM%m", "%G-W%V-%u")
_DATE = re.compile(
    r"\d{1,4}([-/.])(\d{1,2}|[A-Za-z]{3,9})\1\d{1,4}\b|\d{4}(-|-?[QqWwMm])\d{1,2}$|[Qq]\d[- ]\d{4}"
)
_EVEN = 1.2
"""The longest step over the shortest one, up to which steps are even: months are."""


def _parsed(texts: Sequence[str], form: str) -> pd.Series:
    """Read texts in one form, NaT where that fails; times with a zone become those of UTC."""
    series = pd.Series(texts, dtype=object)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            found = pd.to_datetime(series, format=form, errors="coerce")
    except ValueError:  # several zones, from pandas 3 on
        found = None
    if found is None or found.dtype == object:  # in pandas 2 they stay as they are
        return pd.to_datetime(series, format=form, errors="coerce", utc=True)
    return found


def _normalised(text: str) -> str:
    """Write quarters and weeks as days."""
    if quarter := re.fullmatch(r"(\d{4})[- ]?[Qq]([1-4])|[Qq]([1-4])[- ](\d{4})", text):
        year, number = quarter[1] or quarter[4], int(quarter[2] or quarter[3])
        return f"{year}-{3 * number - 2:02}-01"
    return f"{text}-1" if re.fullmatch(r"\d{4}-W\d\d", text) else text


def looks_like_time(text: str) -> bool:
    """Whether a text has the form of a date, or of a month, quarter or week of a year."""
    return bool(_DATE.match(text))


def dates_of(column: pd.Series) -> tuple[pd.Series, str] | None:
    """Read a column of text as times, all in one form.

    Returns
    -------
    times, note
        How they were read, where that is not plain, or "". None if the column holds no times.

    Raises
    ------
    TableError
        If it holds times but for some rows, or times that could be read in two ways.
    """
    place, unique = pd.factorize(column)
    texts = [_normalised(x) for x in unique]
    sample = texts[:: max(1, len(texts) // 20)]
    if 2 * sum(bool(re.search(r"\d", x)) for x in sample) <= len(sample):
        return None
    days = (
        [f"{day} {clock}" for day, clock in product(_DAYS, _CLOCKS)] if ":" in sample[-1] else _DAYS
    )
    forms = [x for x in (*_OTHERS, *days) if 2 * _parsed(sample, x).notna().sum() > len(sample)]
    found = {form: _parsed(texts, form) for form in forms}
    whole = {form: x for form, x in found.items() if x.notna().all()}
    if not whole:
        if not found:
            return None
        nearest = min(found.values(), key=lambda x: x.isna().sum())
        bad = int(nearest.isna().to_numpy()[place].argmax())
        shown, line = repr(column.iloc[bad]), column.index[bad]
        raise TableError(f"{column.name!r} holds times, but {shown} in line {line} is none.")
    form, note = next(iter(whole)), ""
    if any(not x.equals(whole[form]) for x in whole.values()):
        even = [form for form, x in whole.items() if _is_even(x)]
        if len(even) != 1:
            raise TableError(
                f"the dates of {column.name!r}, such as {column.iloc[0]!r}, can be read as "
                f"{' or '.join(whole)}. Write them as 2024-12-31."
            )
        form, note = even[0], f" as {even[0]}"
    times = whole[form].iloc[place].set_axis(column.index)
    return times, note


def _is_even(times: pd.Series) -> bool:
    steps = times.drop_duplicates().sort_values().diff().dropna()
    return len(steps) > 1 and steps.max() <= _EVEN * steps.min()


_UNITS = {"h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_DAY = 24 * _UNITS["h"]
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
    found = re.match(r"(\d*)([A-Za-z]*)", freq or "")
    if found is None or not found[0]:
        return 1
    size, letters = int(found[1] or 1), found[2]
    if letters == "h" and size % 24 == 0:
        size, letters = size // 24, "D"
    if letters in ("D", "B"):
        return {"D": 7, "B": 5}[letters] if size == 1 else 1
    a_year = _A_YEAR.get(letters.lstrip("B")[0], 1)  # BME is the last business day of a month
    steps = _A_DAY.get(letters) or (3600 if letters == "s" else a_year)
    return max(1, steps // size) if steps % size == 0 else 1


def times_after(index: pd.Index, horizon: int) -> pd.Index:
    """Return the times of the steps after an index of `SeriesTable`."""
    if isinstance(index, pd.RangeIndex):
        first = index[-1] + index.step
        return pd.RangeIndex(first, first + index.step * horizon, index.step)
    assert isinstance(index, pd.DatetimeIndex)
    return pd.date_range(index[-1], periods=horizon + 1, freq=index.freq, unit=index.unit)[1:]


@dataclass(frozen=True)
class _Step:
    """A step that all series have: pandas' alias, what `pandas.date_range` takes, and its size.

    The size counts business days if the alias is B, else months if there are any, else
    microseconds, or whole numbers without an alias.
    """

    alias: str
    offset: str | pd.offsets.BaseOffset
    size: int
    note: str = ""
    are_months: bool = False

    def places(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of steps from the first of sorted times to each."""
        if self.alias == "B":
            days = times.astype("M8[us]").astype("M8[D]")
            return np.busday_count(days[0], days).astype(np.int64)
        count = _months(times) if self.are_months else times
        return (count - count[0]) // self.size

    def grid(self, first: np.int64, length: int) -> pd.Index:
        """Return an index of steps."""
        if not self.alias:
            return pd.RangeIndex(int(first), int(first) + length * self.size, self.size)
        start = pd.Timestamp(first.astype("M8[us]"))
        if self.note:
            start = start.replace(day=1)
        return pd.date_range(start, periods=length, freq=self.offset, unit="us")


def on_grid(groups: Sequence[Group], notes: list[str]) -> SeriesTable:
    """Sort series, and give all of them an index without gaps.

    Raises
    ------
    TableError
        If their times have no common step.
    """
    are_times = groups[0][0].dtype.kind == "M"
    whole = [x.astype("M8[us]" if are_times else np.int64).astype(np.int64) for x, _ in groups]
    orders = [np.argsort(x) for x in whole]
    parts = [x[order] for x, order in zip(whole, orders, strict=True)]
    if not any(len(x) > 1 for x in parts):
        raise TableError("a step cannot be told from series of one row.")
    step = _step_of(parts) if are_times else _Step("", "", _common(parts, "{}".format))
    series, missing, later = {}, 0, []
    for (_, columns), times, order in zip(groups, parts, orders, strict=True):
        places = step.places(times)
        _check_filled(next(iter(columns)), places, times, step)
        values = np.stack(list(columns.values()))[:, order]  # (columns, rows)
        known = np.flatnonzero(~np.isnan(values).all(0))
        end = int(places[known[-1] if known.size else -1]) + 1
        if end <= places[-1]:
            later.append(
                f"rows at the end of {next(iter(columns))!r} hold no value: forecasts fill them"
            )
        index = step.grid(times[0], end)
        for name, row in zip(columns, values, strict=True):
            filled = np.full(int(places[-1]) + 1, np.nan)
            filled[places] = row
            missing += int(np.isnan(filled[:end]).sum())
            series[name] = pd.Series(filled[:end], index, name=name)
    notes = [*notes, f"step {step.alias or step.size}{step.note}"]
    notes += [f"{missing} missing values"] * (missing > 0)
    notes += later[:1]
    return SeriesTable(series, step.alias or None, tuple(notes))


def _months(times: NDArray[np.int64]) -> NDArray[np.int64]:
    return times.astype("M8[us]").astype("M8[M]").astype(np.int64)


def _common(parts: Sequence[NDArray[np.int64]], shown: Any) -> int:
    """Return the most common step of sorted times, of which all others must be multiples."""
    steps = np.concatenate([np.diff(x) for x in parts])
    values, counts = np.unique(steps, return_counts=True)
    size = int(values[counts.argmax()])
    if (steps % size).any():
        raise TableError(
            f"its times are uneven: steps from {shown(values[0])} to {shown(values[-1])}, most "
            f"often {shown(size)}. Bring them to one step first, for example with resample of "
            "pandas."
        )
    return size


def _check_filled(name: str, places: NDArray[np.int64], times: NDArray[Any], step: _Step) -> None:
    """Raise a TableError if a series has a value too seldom to be one of this step."""
    size, steps = int(places[-1]) + 1, np.diff(places)
    far = size > max(1000, _FARTHEST * len(places))
    if far or (len(steps) and len(places) < _LEAST_FILLED * size and (steps == 1).mean() < 0.5):
        ends = (pd.Timestamp(x.astype("M8[us]")) if step.alias else x for x in times[[0, -1]])
        raise TableError(
            f"the series {name!r} has rows at {len(places)} of {size} steps of "
            f"{step.alias or step.size}, from {' to '.join(map(str, ends))}. Is one of its times "
            "wrong, are they uneven, or has it another step than others?"
        )


def _span(step: Any) -> str:
    return str(pd.Timedelta(int(step), unit="us")).removesuffix(" 00:00:00").removeprefix("0 days ")


def _step_of(parts: Sequence[NDArray[np.int64]]) -> _Step:
    """Find the step of times, each part ascending."""
    months = _step_of_months(parts)
    if months is not None:
        return months
    size = _common(parts, _span)
    times = np.concatenate(parts)
    weekdays = np.unique((times // _DAY + 3) % 7)  # 1970 began on a Thursday
    if size == _DAY and len(times) > 5 and weekdays.max() < 5 and not (times % _DAY).any():
        return _Step("B", "B", 1)
    if size == 7 * _DAY:
        day = pd.Timestamp(times[0].astype("M8[us]")).strftime("%a").upper()
        return _Step(f"W-{day}" if len(weekdays) == 1 else "W", "7D", size)
    unit, letters = _DAY, "D"
    if size % _DAY:
        letters, unit = next((x, y) for x, y in _UNITS.items() if size % y == 0)
    alias = letters if size == unit else f"{size // unit}{letters}"
    return _Step(alias, alias, size)


def _step_of_months(parts: Sequence[NDArray[np.int64]]) -> _Step | None:
    """Find a step of whole months; None if there is none."""
    days = np.concatenate(parts).astype("M8[us]").astype("M8[D]")
    steps = np.concatenate([np.diff(_months(x)) for x in parts])
    if steps.min() < 1 or (np.concatenate(parts) % _DAY).any():
        return None
    size = int(np.bincount(steps).argmax())
    if size == 13:
        raise TableError("its times are 13 months apart: write the year 2023/24 as 2023.")
    first = days.astype("M8[M]").astype("M8[D]")
    last = (days.astype("M8[M]") + 1).astype("M8[D]") - 1
    offset: pd.offsets.BaseOffset = pd.DateOffset(months=size)
    note, end = "", "S"
    if (days == last).all():
        offset, end = pd.offsets.MonthEnd(size), "E"
    elif len(np.unique(days - first)) > 1 or (days - first).astype(int).max() > 27:
        if (steps == size).mean() < 0.9:
            return None
        note = ", days within months left out"
    if (steps % size).any():
        return None
    letters = {1: f"M{end}", 3: f"Q{end}", 12: f"Y{end}"}.get(size)
    month = _MONTHS[int(_months(parts[0])[0]) % 12]
    alias = f"{size}M{end}" if letters is None else letters if size == 1 else f"{letters}-{month}"
    return _Step(alias, offset, size, note, are_months=True)
