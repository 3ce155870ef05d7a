"""Tables with a row per series and a column per step, as competitions and banks publish them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .files import Cells
from .names import is_named_as_thing, is_named_as_time
from .numbers import holds_words, is_number, marks_of, numbers_of
from .roles import sets_of
from .series import SeriesTable, TableError
from .stamps import is_time
from .steps import on_grid
from .times import Array, times_of

__all__ = ["series_of_rows"]

_FEWEST_NUMBERED, _FEWEST_DATED = 4, 3
_MOST_BEFORE = 40
"""Columns before those of steps."""


def series_of_rows(cells: Cells, ids: Sequence[str]) -> SeriesTable | None:
    """Read a table with a row per series; None if it is none.

    Raises
    ------
    TableError
        If its rows have equal names, or cells that are no numbers.
    """
    found = _first_step(cells)
    if found is None:
        return None
    frame, (first, times) = cells.frame, found
    heads, steps = list(frame.columns[:first]), list(frame.columns[first:])
    labels = _labels_of(frame, heads, ids, any_column=times is not None)
    if labels is None:
        if times is None:
            return None
        shown = " and ".join(map(repr, ids or heads))
        raise TableError(f"each row is a series, and {shown} does not tell them apart.")
    marks = marks_of((frame[x] for x in steps), cells.separator, cells.row)
    columns = []
    for name in steps:
        numbers, other = numbers_of(frame[name], marks)
        if other.any():
            shown = frame[name][other].iloc[0]
            where = f"{cells.row} {other.idxmax()}"
            raise TableError(f"the column {name!r} holds {shown!r} in {where}, no number.")
        columns.append(numbers.to_numpy())
    values = dict(zip(labels, np.stack(columns, 1), strict=True))
    for label, row in values.items():
        if np.isinf(row).any():
            raise TableError(
                f"the series {label!r} is infinite in {steps[np.isinf(row).argmax()]!r}."
            )
    notes = [*cells.notes, f"a series per row, from {steps[0]!r} to {steps[-1]!r}"]
    if times is not None:
        series, freq, more = on_grid({x: (times, y) for x, y in values.items()}, cells.row)
        return SeriesTable(series, freq, (*notes, *more))
    series = {}
    for label, row in values.items():
        own = row[: np.flatnonzero(~np.isnan(row)).max(initial=-1) + 1]
        series[label] = pd.Series(own, pd.RangeIndex(len(own)), name=label)
    return SeriesTable(series, None, tuple(notes))


def _first_step(cells: Cells) -> tuple[int, Array | None] | None:
    """Return the place of the first column that is a step, and the times of such columns."""
    frame, names = cells.frame, list(cells.frame.columns)
    if is_time(names[0]) and not is_number(names[0]):
        return None
    wrong = [x for x in names[1:] if not is_time(x)]
    if len(names) > 5 and 0 < len(wrong) < 0.2 * len(names) and is_time(names[-1]):
        inside = [x for x in wrong if any(map(is_time, names[1 : names.index(x)]))]
        if inside:
            raise TableError(f"its columns are named by times, but for {inside[0]!r}.")
    for first in range(1, min(len(names) - 2, _MOST_BEFORE)):
        if _holds_times(frame[names[first - 1]], cells.row):
            return None  # a column per series
        times = _times_of_names(names[first:])
        if times is not None:
            return first, times
        if len(names) - first >= _FEWEST_NUMBERED and _numbers_in(names[first:]) is not None:
            return first, None
    return None


def _holds_times(column: pd.Series, row: str) -> bool:
    try:
        return times_of(column, row, named=is_named_as_time(str(column.name))) is not None
    except TableError:
        return True


def _numbers_in(names: Sequence[str]) -> list[str] | None:
    """Numbers that follow one word in all names, if each is one more than that before it."""
    numbers = [x[0] for x in (re.search(r"\d+", name) for name in names) if x]
    if len(numbers) < len(names) or len({re.sub(r"\d.*", "", x) for x in names}) > 1:
        return None
    return numbers if (np.diff([int(x) for x in numbers]) == 1).all() else None


def _times_of_names(names: Sequence[str]) -> Array | None:
    if len(names) < _FEWEST_DATED:
        return None
    plain = _numbers_in(names) or names
    try:
        found = times_of(pd.Series(plain, dtype=object), "column", named=True)
    except TableError:
        return None
    if found is None or found.are_numbers:
        return None
    steps = np.diff(found.values).astype(np.int64)
    return found.values if (steps > 0).all() or (steps < 0).all() else None


def _labels_of(
    frame: pd.DataFrame, heads: Sequence[str], ids: Sequence[str], *, any_column: bool
) -> list[str] | None:
    """Names of rows, of as few of the columns as possible."""
    named = [x for x in heads if is_named_as_thing(x)]
    likely = [*named, *(x for x in heads if holds_words(frame[x]) and x not in named)]
    sets = [list(ids)] if ids else sets_of(likely)
    if any_column and not ids:
        sets += [[x] for x in heads if x not in likely]
    for names in sets:
        labels = frame[names].astype(str).agg("/".join, axis=1)
        if labels.is_unique and (labels.str.strip("/") != "").all():
            return list(labels)
    return None
