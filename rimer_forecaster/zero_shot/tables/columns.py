"""Tables with a column per series, or a row per value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .files import Cells
from .names import (
    is_blank,
    is_named_as_counter,
    is_named_as_part_of_date,
    is_named_as_series,
    months_of,
)
from .numbers import counts_rows, holds_numbers, is_empty, is_number, marks_of, numbers_of
from .roles import Roles, repeated, roles_of
from .series import SeriesTable, TableError
from .stamps import is_time
from .steps import on_grid
from .times import Array, Times

__all__ = ["series_of_columns"]

Values: TypeAlias = dict[str, tuple[Array, NDArray[np.float64]]]
"""Times and values by the name of their series."""

_SENTINELS = {-99, -999, -9999, -99999, -99.9, -999.9}
_SHOWN = 5
"""Columns that are told of."""


def series_of_columns(
    cells: Cells, time: str | None, target: Sequence[str], ids: Sequence[str]
) -> SeriesTable:
    """Read a table with a column per series, or a row per value.

    Parameters
    ----------
    cells
        A table.
    time, target, ids
        Columns that the user names.

    Raises
    ------
    TableError
        If it is none, or could be read in two ways.
    """
    _check_head(cells)
    free = [x for x in cells.frame.columns if x not in target and x not in ids]
    roles = roles_of(cells, time, free, ids)
    left = [x for x in free if x not in roles.of_time and x not in roles.ids]
    numbers, notes = _numbers_among(cells, roles, target, left)
    months = None if roles.ids else months_of(list(numbers))
    if months and sorted(months) == list(range(1, 13)) and roles.times.note == "years":
        values = _of_months(roles.times, numbers, months)
        notes.append("columns are months")
    else:
        values = _split(roles, numbers, cells.row)
    series, freq, of_grid = on_grid(values, cells.row)
    for name, x in series.items():
        if np.isinf(x).any():
            raise TableError(f"the series {name!r} is infinite at {x.index[np.isinf(x)][0]}.")
    missing = sum(int(x.isna().sum()) for x in series.values())
    told = [f"{missing} missing values"] * bool(missing)
    return SeriesTable(series, freq, (*cells.notes, *roles.notes, *of_grid, *notes, *told))


def _check_head(cells: Cells) -> None:
    """Raise a TableError if the head is a row of values: a time is above times."""
    for name in cells.frame.columns:
        first = str(cells.frame[name].iloc[0])
        if is_time(re.sub(r"\.\d+$", "", name)) and is_time(first) and not is_number(first):
            above = f" ({cells.notes[0]})" if cells.notes else ""
            raise TableError(
                f"it begins with a row of values{above}, where names of columns should be."
            )


def _numbers_among(
    cells: Cells, roles: Roles, target: Sequence[str], columns: Sequence[str]
) -> tuple[dict[str, pd.Series], list[str]]:
    """Return the columns of values as numbers, and what to tell."""
    frame = roles.frame
    wanted = list(target) or [x for x in columns if not _says_nothing(frame[x], roles)]
    holding = [x for x in wanted if target or holds_numbers(frame[x])]
    marks = marks_of((frame[x] for x in holding), cells.separator, cells.row)
    numbers = {}
    for name in wanted:
        values, other = numbers_of(frame[name], marks)
        if name not in holding and not is_empty(frame[name]):
            continue
        if other.any():
            shown, where = frame[name][other].iloc[0], f"{cells.row} {other.idxmax()}"
            advice = "" if target else " Mend it, or name the columns to forecast as target."
            raise TableError(f"the column {name!r} holds {shown!r} in {where}, no number.{advice}")
        numbers[name] = values
    if not any(x.notna().any() for x in numbers.values()):
        raise TableError("no column holds numbers to forecast.")
    notes = [f"values from {_listed(list(numbers), _SHOWN)}"]
    if marks.decimal == ",":
        notes.append("decimals after a comma")
    if marks.thousands:
        notes.append(f"{marks.thousands!r} between thousands")
    for name, values in numbers.items():
        if sentinel := _sentinel_of(values):
            count = int((values == sentinel).sum())
            notes.append(f"{sentinel:g} taken as a value in {count} rows of {name!r}: is it one?")
    left = [x for x in columns if x not in numbers and not is_blank(x)]
    if left:
        notes.append(f"left out {_listed(left, 2 * _SHOWN)}")
    return numbers, notes


def _sentinel_of(values: pd.Series) -> float:
    """Return a value far below all others that usually stands for none; 0 if there is none."""
    least = values.min()
    others = values[values > least].min()
    return float(least) if least in _SENTINELS and others > least / 2 else 0.0


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(map(repr, names[:most])) + " ..." * (len(names) > most)


def _says_nothing(column: pd.Series, roles: Roles) -> bool:
    """Whether a column of numbers names series, numbers rows, or repeats a part of their time."""
    name = str(column.name)
    counts = (is_blank(name) or is_named_as_counter(name)) and counts_rows(column)
    repeats = bool(roles.of_time) and is_named_as_part_of_date(name)
    return counts or repeats or is_named_as_series(name)


def _split(roles: Roles, numbers: dict[str, pd.Series], row: str) -> Values:
    """Return times and values of each series."""
    frame, times, ids = roles.frame, roles.times.values, list(roles.ids)
    kept = np.flatnonzero(~repeated(frame, times, ids))
    if not ids:
        times = times[kept]
        return {x: (times, y.to_numpy()[kept]) for x, y in numbers.items()}
    keys = frame[ids].iloc[kept]
    for name in ids:
        missing = keys[name].isna() | (keys[name] == "")
        if missing.any():
            raise TableError(f"{row} {missing.idxmax()} has nothing in {name!r}.")
    codes = keys.groupby(ids, sort=False).ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(1, codes.max() + 1))
    found: Values = {}
    for rows in np.split(kept[order], bounds):
        own, label = times[rows], "/".join(map(str, frame[ids].iloc[rows[0]]))
        for name, column in numbers.items():
            key = f"{label}/{name}" if len(numbers) > 1 else label
            if key in found:
                raise TableError(f"there are two series of the name {key!r}.")
            found[key] = own, column.to_numpy()[rows]
    return found


def _of_months(times: Times, numbers: dict[str, pd.Series], months: Sequence[int]) -> Values:
    """One series of a row per year and a column per month."""
    years = times.values.astype("M8[Y]").astype("M8[M]")
    when = np.concatenate([(years + (m - 1)).astype("M8[us]") for m in months])
    values = np.concatenate([x.to_numpy() for x in numbers.values()])
    known = when[~np.isnan(values)]
    within = (when >= known.min()) & (when <= known.max())
    return {"value": (when[within], values[within])}
