"""Times whose parts stand in columns of their own: year, month and day; a date and an hour."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .names import months_of
from .numbers import Marks, numbers_of
from .times import Array, Times

__all__ = ["clock_of", "times_of_parts"]

_NAMES = {
    "year": {"year", "yr", "yyyy", "jahr", "año", "annee"},
    "quarter": {"quarter", "qtr", "q"},
    "month": {"month", "mon", "mo", "mm", "monat", "mes"},
    "week": {"week", "isoweek", "iso_week", "wk"},
    "day": {"day", "dd", "dom", "tag", "day_of_month", "dayofmonth"},
    "hour": {"hour", "hr", "hh", "stunde", "hours", "hourending", "hour_ending"},
    "minute": {"minute", "min", "minutes"},
}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_LIMITS = {
    "year": (1500, 2200), "quarter": (1, 4), "month": (1, 12), "week": (1, 53), "day": (1, 31),
    "hour": (0, 24), "minute": (0, 59),
}  # fmt: skip

Whole: TypeAlias = NDArray[np.int64]


def times_of_parts(frame: pd.DataFrame) -> tuple[list[str], Times] | None:
    """Return the columns of parts, and the times they make; None if there are none."""
    found = {
        part: str(x) for part in _NAMES for x in frame.columns if x.strip().lower() in _NAMES[part]
    }
    kinds = (["month", "day"], ["month"], ["quarter"], ["week"])
    kind = next((x for x in kinds if found.keys() >= {"year", *x}), None)
    if kind is None:
        return None
    wanted = ["year", *kind]
    parts = {x: _part(frame[found[x]], x) for x in wanted}
    known = {x: y for x, y in parts.items() if y is not None}
    times = _joined(known) if len(known) == len(parts) else None
    if times is None:
        return None
    for part in ("hour", "minute") if "day" in kind else ():
        numbers = _part(frame[found[part]], part) if part in found else None
        if numbers is None:
            break
        wanted.append(part)
        times = times + (numbers - _late(numbers)).astype(f"m8[{part[0]}]")
    return [found[x] for x in wanted], Times(times, are_days="hour" not in wanted)


def _part(column: pd.Series, part: str) -> Whole | None:
    """Read a column of one part of dates; None if it holds something else."""
    if part == "month" and column.dtype == object:
        months = months_of(column.tolist())
        if months is not None:
            return np.array(months)
    return _whole(column, *_LIMITS[part])


def _joined(parts: dict[str, Whole]) -> Array | None:
    """Join parts to times; None if there is a day that no month has."""
    year = parts["year"]
    if "week" in parts:
        pairs = zip(year.tolist(), parts["week"].tolist(), strict=True)
        try:
            return np.array([date.fromisocalendar(y, w, 1) for y, w in pairs], "M8[us]")
        except ValueError:
            return None
    month = parts["month"] if "month" in parts else 3 * parts["quarter"] - 2
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]") + (parts.get("day", np.ones_like(year)) - 1)
    return None if (days.astype("M8[M]") != months).any() else days.astype("M8[us]")


def clock_of(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[str, Array] | None:
    """Return a column of hours, or of times of day, as what has passed of the day."""
    for name in columns:
        column = frame[name]
        if column.dtype == object and all(map(_CLOCK.fullmatch, column)):
            parts = [[int(x) for x in text.split(":")] for text in column]
            hours = np.array([x[0] for x in parts])
            seconds = [3600 * x[0] + 60 * x[1] + sum(x[2:]) for x in parts]
            return name, (np.array(seconds) - 3600 * _late(hours)).astype("m8[s]")
        if name.strip().lower() in _NAMES["hour"]:
            whole = _whole(column, *_LIMITS["hour"])
            if whole is not None:
                return name, (whole - _late(whole)).astype("m8[h]")
    return None


def _late(hours: Whole) -> int:
    """1 if hours are counted from 1 to 24: they are named by their end."""
    return int(hours.max() == 24 and hours.min() >= 1)


def _whole(column: pd.Series, least: int, most: int) -> Whole | None:
    numbers, other = numbers_of(column, Marks())
    if other.any() or numbers.isna().any() or (numbers != numbers.round()).any():
        return None
    whole = numbers.to_numpy().astype(np.int64)
    return whole if whole.min() >= least and whole.max() <= most else None
