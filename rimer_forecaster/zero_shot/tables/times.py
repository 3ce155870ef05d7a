"""Columns of times: text in one of many forms, numbers that count them, or times already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .names import is_strongly_named
from .numbers import Marks, holds_numbers, numbers_of
from .series import TableError
from .stamps import FORMS, READINGS, SHORT_MONTHS, Form, Moment, day_of

__all__ = ["ADVICE", "Times", "times_of"]

Array: TypeAlias = NDArray[Any]

ADVICE = "Write times as 2024-12-31 or 2024-12-31 18:00."

_QUICK = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")
"""Forms that pandas reads, which is faster."""

_TRIED = 20
"""Texts of a column that tell which forms are worth a look."""

_MOSTLY = 0.9
_EVEN, _MORE_EVEN = 1.2, 4
"""The longest step over the shortest one, where steps are even; how much better one way to read
dates is to be than another, if neither makes them so."""

_EPOCHS = {1: (1e8, 1e10), 1000: (1e11, 1e13), 10**6: (1e14, 1e16), 10**9: (1e17, 1e19)}
"""Parts of a second in which time since 1970 is counted, and between what they are likely."""


@dataclass(frozen=True)
class Times:
    """Times of rows.

    Attributes
    ----------
    values
        Of type ``datetime64[us]``, or whole numbers.
    note
        How they were read, where that is not plain, or "".
    are_days
        Whether no row says an hour.
    """

    values: Array
    note: str = ""
    are_days: bool = False

    @property
    def are_numbers(self) -> bool:
        """Whether they are whole numbers."""
        return self.values.dtype.kind != "M"


def times_of(column: pd.Series, row: str, *, named: bool) -> Times | None:
    """Read the times of a column.

    Parameters
    ----------
    column
        Of text, numbers or times.
    row
        What its index counts.
    named
        Whether the user, or its name, says that it holds times: numbers are values otherwise.

    Returns
    -------
    Times
        None if the column holds something else.

    Raises
    ------
    TableError
        If it holds times but for some rows, or times that could be read in two ways.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        _check_complete(column, column.isna(), row)
        wall = column.dt.tz_localize(None).to_numpy("M8[us]")
        return _of_one_zone(wall, column.dt.tz_convert(None).to_numpy("M8[us]"))
    if pd.api.types.is_datetime64_dtype(column):
        _check_complete(column, column.isna(), row)
        return Times(column.to_numpy("M8[us]"))
    if not named and holds_numbers(column):
        return None
    numbers, other = numbers_of(column, Marks())
    if other.any():
        return _of_text(column, row) if column.dtype == object else None
    if numbers.isna().all():
        return None
    _check_complete(column, numbers.isna(), row)
    return _of_numbers(column, numbers.to_numpy(), row)


def _check_complete(column: pd.Series, missing: pd.Series, row: str) -> None:
    if missing.any():
        raise TableError(f"{row} {missing.idxmax()} has no time in {column.name!r}.")


# Numbers.


def _of_numbers(column: pd.Series, x: NDArray[np.float64], row: str) -> Times | None:
    are_whole = x == np.round(x)
    years = are_whole & (x >= 1500) & (x <= 2200)
    if _MOSTLY < years.mean() < 1:
        wrong = int(np.flatnonzero(~years)[0])
        where = f"{row} {column.index[wrong]}"
        raise TableError(f"{column.name!r} holds years, but {x[wrong]:g} in {where}.")
    if not are_whole.all():
        return _of_parts_of_years(x)
    if not (np.abs(x) < 2**53).all():
        return None
    whole = x.astype(np.int64)
    if years.all():
        return Times(_since((whole - 1970), "Y"), "years", are_days=True)
    months = whole % 100
    if ((whole >= 1500_01) & (whole <= 2200_12) & (months >= 1) & (months <= 12)).all():
        return Times(_since((whole // 100 - 1970) * 12 + months - 1, "M"), "months", are_days=True)
    if ((whole >= 1500_01_01) & (whole <= 2200_12_31)).all():
        days = [day_of(n // 10_000, n // 100 % 100, n % 100) for n in whole.tolist()]
        if None not in days:
            return Times(np.array(days, "M8[us]"), are_days=True)
    counted = _since_a_day(whole, str(column.name)) if is_strongly_named(str(column.name)) else None
    return counted or Times(whole)


def _since(count: Array, unit: str) -> Array:
    """Times by how many units passed since 1970."""
    return count.astype(f"M8[{unit}]").astype("M8[us]")


def _since_a_day(whole: NDArray[np.int64], name: str) -> Times | None:
    """Seconds since 1970 or parts of them, or days as Excel counts them."""
    for size, (low, high) in _EPOCHS.items():
        if ((whole >= low) & (whole < high)).all():
            micro = whole * (1_000_000 // size) if size <= 1_000_000 else whole // 1000
            return Times(micro.astype("M8[us]"), "times since 1970")
    if ((whole >= 20_000) & (whole <= 70_000)).all() and "date" in name.lower():
        return Times(_since(whole - 25_569, "D"), "days as Excel counts them", are_days=True)
    return None


def _of_parts_of_years(x: NDArray[np.float64]) -> Times | None:
    """Months or quarters as R writes them, 1949.083."""
    if not ((x >= 1500) & (x <= 2200)).all():
        return None
    for size, kind in ((4, "quarters"), (12, "months")):
        steps = (x - 1970) * size
        if np.abs(steps - np.round(steps)).max() < 0.02:
            months = np.round(steps).astype(np.int64) * (12 // size)
            return Times(_since(months, "M"), f"{kind} as parts of years", are_days=True)
    return None


# Text.


def _of_text(column: pd.Series, row: str) -> Times | None:
    place, unique = pd.factorize(column)
    texts = [str(x) for x in unique]
    found = _of_two_years(texts) or _read_quickly(texts)
    if found is None:
        form = _form_of(texts, np.bincount(place))
        found = None if form is None else _read(column, row, texts, form)
    if found is None:
        return None
    times = Times(found.values[place], found.note, found.are_days)
    if found.note == _SHORT and not _runs_by_months(times.values):
        return None
    return times


def _of_two_years(texts: Sequence[str]) -> Times | None:
    """Years that end within another one, 2023/24."""
    matches = [re.fullmatch(r"(\d{4})[-/](\d{2})", x) for x in texts]
    if len(texts) < 2 or not all(x and (int(x[1]) + 1) % 100 == int(x[2]) for x in matches):
        return None
    return Times(_since(np.array([int(x[1]) for x in matches if x]) - 1970, "Y"), "years", True)


def _read_quickly(texts: list[str]) -> Times | None:
    if "" in texts or not all(map(str.isascii, texts)):
        return None
    for form in _QUICK:
        try:
            walls = pd.to_datetime(texts, format=form).to_numpy("M8[us]")
        except (ValueError, TypeError):
            continue
        return None if np.isnat(walls).any() else Times(walls, are_days="%H" not in form)
    return None


def _form_of(texts: Sequence[str], counts: Array) -> Form | None:
    """Return the form of most rows; None if it is that of less than half of them."""
    best, most = None, 0.5 * counts.sum()
    for form in FORMS:
        match = form.pattern.fullmatch
        if any(map(match, texts[:: max(1, len(texts) // _TRIED)])):
            own = counts[[match(x) is not None for x in texts]].sum()
            if own > most or (own == most and best is None):
                best, most = form, own
    return best


_SHORT = "months in short"


def _read(column: pd.Series, row: str, texts: Sequence[str], form: Form) -> Times | None:
    others = {x for x in texts if not form.pattern.fullmatch(x)}
    if others:
        bad = column[column.isin(others)]
        if others == {""}:
            raise TableError(f"{row} {bad.index[0]} has no time in {column.name!r}.")
        bad = bad[bad != ""]
        raise TableError(
            f"{column.name!r} holds times, but {bad.iloc[0]!r} in {row} {bad.index[0]}."
        )
    possible: dict[str, list[Moment]] = {}
    fewest: set[str] | None = None
    for reading in form.readings:
        moments = form.moments(texts, reading)
        wrong = {x for x, y in zip(texts, moments, strict=True) if y is None}
        if not wrong:
            possible[reading] = [x for x in moments if x is not None]
        fewest = wrong if fewest is None or len(wrong) < len(fewest) else fewest
    if not possible:
        if fewest is None or 2 * len(fewest) > len(texts):
            return None
        bad = column[column.isin(fewest)]
        raise TableError(f"{bad.iloc[0]!r} in {row} {bad.index[0]} of {column.name!r} is no day.")
    reading = _chosen(column, possible)
    chosen, note = possible[reading], ""
    if any(x != chosen for x in possible.values()):
        note = f"read {READINGS[reading]}"
    walls, east = np.array([x for x, _ in chosen], "M8[us]"), [x for _, x in chosen]
    days = not any(":" in x for x in texts)
    if form is SHORT_MONTHS:
        note = _SHORT
    if all(x is None for x in east):
        return Times(walls, note, days)
    minutes = np.array([x or 0 for x in east]).astype("m8[m]")
    zoned = _of_one_zone(walls, walls - minutes)
    return Times(zoned.values, zoned.note or note, days)


def _runs_by_months(times: Array) -> bool:
    """Whether most rows are less than a year apart: days without a year would be years apart."""
    steps = np.abs(np.diff(times.astype("M8[M]").astype(np.int64)))
    return len(steps) > 0 and bool(((steps > 0) & (steps < 12)).mean() >= 0.5)


def _chosen(column: pd.Series, possible: dict[str, list[Moment]]) -> str:
    """Choose among ways to read dates the one that makes them even."""
    first, *others = possible
    if all(possible[x] == possible[first] for x in others):
        return first
    spread = {}
    for way, moments in possible.items():
        steps = np.diff(np.unique(np.array([x for x, _ in moments], "M8[us]"))).astype(np.int64)
        spread[way] = steps.max() / steps.min() if len(steps) > 1 else 1.0
    best, second, *_ = sorted(possible, key=lambda x: spread[x])
    if spread[best] <= _EVEN < spread[second] or _MORE_EVEN * spread[best] < spread[second]:
        return best
    shown = " or ".join(READINGS[x] for x in possible)
    raise TableError(
        f"the dates of {column.name!r}, such as {column.iloc[0]!r}, can be read {shown}. {ADVICE}"
    )


def _of_one_zone(wall: Array, utc: Array) -> Times:
    """Take times as their clocks showed them, unless these were moved in between."""
    if len(np.unique(wall - utc)) < 2:
        return Times(wall)
    uneven = [len(np.unique(np.diff(np.unique(x)))) for x in (wall, utc)]
    lost = len(np.unique(wall)) < len(np.unique(utc))
    if lost or uneven[1] < uneven[0]:
        return Times(utc, "in UTC, because clocks were moved")
    return Times(wall)
