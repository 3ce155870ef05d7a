"""Which column of a table holds times, and which tell series apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .files import Cells
from .names import (
    hints_at_time,
    is_blank,
    is_named_as_series,
    is_named_as_thing,
    is_named_as_time,
    is_strongly_named,
)
from .numbers import Marks, counts_rows, holds_numbers, holds_words, is_number, numbers_of
from .parts import clock_of, times_of_parts
from .series import TableError
from .stamps import is_time
from .times import ADVICE, Array, Times, times_of

__all__ = ["Roles", "repeated", "roles_of", "sets_of"]

_FEW = 0.01
"""Of the rows, whose time a later row has too, and which are left out."""

_TOGETHER, _LOOKED_AT = 3, 9
"""Columns that tell series apart together, if they are not all, and among how many."""


@dataclass(frozen=True)
class Roles:
    """What columns of a table are.

    Attributes
    ----------
    frame
        Its rows that count.
    times
        Of these rows.
    of_time, ids
        Columns that hold the times, and that tell series apart.
    notes
        What to tell.
    """

    frame: pd.DataFrame
    times: Times
    of_time: tuple[str, ...]
    ids: tuple[str, ...]
    notes: tuple[str, ...]


def roles_of(cells: Cells, time: str | None, free: Sequence[str], ids: Sequence[str]) -> Roles:
    """Find the times of rows, and what tells apart series that have the same times.

    Parameters
    ----------
    cells
        A table.
    time, ids
        Columns that the user names.
    free
        Columns that may be found to hold times or names.

    Raises
    ------
    TableError
        If there are times, but not for every row, or two rows of one time and series.
    """
    blank = ((cells.frame == "") | cells.frame.isna()).all(axis=1)
    filled = replace(cells, frame=cells.frame[~blank])
    errors: list[TableError] = []
    for names, times in _candidates(filled, [time] if time else free, errors, said=bool(time)):
        others = [x for x in free if x not in names]
        try:
            return _with_ids(filled, times, names, others, ids)
        except TableError as error:
            if time or not times.are_numbers or _differs(filled.frame[names[0]]):
                errors.append(error)
    if errors:
        raise errors[0]
    if time:
        shown = filled.frame[time].iloc[0]
        raise TableError(f"the column {time!r} does not hold times, such as {shown!r}. {ADVICE}")
    return _of_steps(cells, free, ids)


# Times.


def _candidates(
    cells: Cells, names: Sequence[str], errors: list[TableError], *, said: bool
) -> Iterator[tuple[list[str], Times]]:
    """Columns that hold times: first those called so, then others, then parts of dates, numbers."""
    found: list[tuple[tuple[int, int], list[str], Times]] = []
    strong: list[bool] = []
    broken: list[TableError] = []
    for place, name in enumerate(names):
        named = said or is_named_as_time(name) or is_blank(name)
        try:
            times = times_of(cells.frame[name], cells.row, named=named)
        except TableError as error:
            errors.append(error)
            broken += [error] * is_strongly_named(name)
            continue
        if times is not None:
            counted = times.are_numbers or times.note in ("years", "months")
            rank = 3 if counted else 0 if hints_at_time(name) else 1
            found.append(((rank, place), [name], times))
            strong.append(is_strongly_named(name))
    if broken and not any(strong):
        raise broken[0]  # not to take another column for what one is called
    parts = None if said else times_of_parts(cells.frame)
    if parts is not None:
        found.append(((2, 0), *parts))
    for _, columns, times in sorted(found, key=lambda x: x[0]):
        yield columns, times


def _differs(column: pd.Series) -> bool:
    """Whether nearly every row has a value of its own, as of a counter or a clock."""
    return column.nunique() >= 0.9 * len(column)


def _of_steps(cells: Cells, free: Sequence[str], ids: Sequence[str]) -> Roles:
    """Take rows for steps; those of one series follow each other."""
    frame = cells.frame
    for name in filter(is_strongly_named, free):
        if holds_words(frame[name]):
            where = f"{cells.row} {frame.index[0]}"
            raise TableError(
                f"{frame[name].iloc[0]!r} in {where} of {name!r} cannot be read as a time. {ADVICE}"
            )
    dated = [x for x in free if is_time(x) and not is_number(x)]
    if len(dated) > 2:
        raise TableError(
            f"its columns are named by times, such as {dated[0]!r}, but no column before them "
            "names the series of each row."
        )
    called = [x for x in free if is_named_as_time(x) or is_blank(x)]
    called = [x for x in called if holds_numbers(frame[x]) and not counts_rows(frame[x])]
    for name in called:
        if _differs(frame[name]) and not _is_even(frame[name]):
            raise TableError(f"the column {name!r} does not hold times. {ADVICE}")
    own = list(ids) or [x for x in free if is_named_as_series(x) and _names_series(frame[x])]
    steps: Array = np.arange(len(frame))
    notes = ["no column of times was found, so that rows are steps"]
    if own:
        steps = frame.groupby(own, sort=False).cumcount().to_numpy()
        notes.append(f"series told apart by {' and '.join(map(repr, own))}")
    notes += [f"left out {x!r}" for x in called]
    return Roles(frame, Times(steps), tuple(called), tuple(own), tuple(notes))


def _is_even(column: pd.Series) -> bool:
    """Whether a column counts time in even steps, such as .0, .1, .2."""
    steps = np.diff(numbers_of(column, Marks())[0].to_numpy())
    return len(steps) > 0 and bool((steps > 0).all()) and bool(steps.max() < 1.01 * steps.min())


# Series.


def _with_ids(
    cells: Cells, times: Times, of_time: list[str], columns: Sequence[str], ids: Sequence[str]
) -> Roles:
    frame = cells.frame
    again = repeated(frame, times.values, ids)
    clock = clock_of(frame, columns) if again.any() and times.are_days else None
    if clock is not None:
        name, since = clock
        later = replace(times, values=times.values + since, are_days=False)
        return _with_ids(cells, later, [*of_time, name], [x for x in columns if x != name], ids)
    own = list(ids)
    if not own:
        own = _ids_of(frame, times.values, columns)
        again = repeated(frame, times.values, own)
    if again.mean() >= _FEW:
        raise _told_apart(cells, times, columns, own, int(again.argmax()))
    note = f" ({times.note})" if times.note else ""
    notes = [f"times from {' and '.join(map(repr, of_time))}{note}"]
    if again.any():
        notes.append(f"{again.sum()} rows left out, whose time a later row has too")
    if own:
        notes.append(f"series told apart by {' and '.join(map(repr, own))}")
    return Roles(frame, times, tuple(of_time), tuple(own), tuple(notes))


def _told_apart(
    cells: Cells, times: Times, columns: Sequence[str], ids: Sequence[str], place: int
) -> TableError:
    frame, when = cells.frame, times.values[place]
    shown = when if times.are_numbers else pd.Timestamp(when)
    if ids:
        names = " and ".join(map(repr, ids))
        return TableError(f"there are two rows of {shown} that {names} does not tell apart.")
    blank = [x for x in columns if frame[x].dtype == object and (frame[x] == "").any()]
    hint = ""
    if blank:
        row = frame.index[(frame[blank[0]] == "").to_numpy()][0]
        hint = f" {blank[0]!r} is empty in {cells.row} {row}."
    return TableError(
        f"there are two rows of {shown}, and no column was found that tells their series apart."
        f"{hint} Name it as id, or leave one of the rows out."
    )


def repeated(frame: pd.DataFrame, times: Array, ids: Sequence[str]) -> NDArray[np.bool_]:
    """Mark rows whose time a later row of the same series has."""
    keys = {"": pd.factorize(times)[0], **{x: pd.factorize(frame[x])[0] for x in ids}}
    return pd.DataFrame(keys).duplicated(keep="last").to_numpy()


def _names_series(column: pd.Series) -> bool:
    return 2 * column.nunique() <= len(column)


def sets_of(names: Sequence[str]) -> list[list[str]]:
    """Sets of a few columns, the smallest first."""
    sizes = range(1, _TOGETHER + 1)
    return [list(x) for k in sizes for x in combinations(names[:_LOOKED_AT], k)]


def _ids_of(frame: pd.DataFrame, times: Array, columns: Sequence[str]) -> list[str]:
    """Columns, as few as possible, that tell apart series which have the same times."""
    naming = list(columns)
    said = [x for x in naming if is_named_as_series(x)]
    again = repeated(frame, times, [])
    if not again.any():
        return said[:1]
    named = [x for x in naming if is_named_as_thing(x) and x not in said]
    texts = [x for x in naming if holds_words(frame[x]) and x not in (*said, *named)]
    likely = [*said, *named, *texts]
    sets = [*sets_of(likely), *([likely] if len(likely) > _TOGETHER else [])]
    crowded = times == pd.Series(times).mode()[0]  # cheap to look at first
    for names in sets:
        clash = repeated(frame[crowded], times[crowded], names).any()
        if not clash and not repeated(frame, times, names).any():
            return names
    if again.mean() < _FEW:
        return []
    for names in sets:
        if repeated(frame, times, names).mean() < _FEW:
            return names
    return _counted_ids(frame, times, naming)


def _counted_ids(frame: pd.DataFrame, times: Array, columns: Sequence[str]) -> list[str]:
    """A column of a few whole numbers, all of which come at nearly every time."""
    moments = len(np.unique(times))
    for name in columns:
        numbers, other = numbers_of(frame[name], Marks())
        if other.any() or numbers.isna().any() or (numbers != numbers.round()).any():
            continue
        few = numbers.nunique() * moments <= 1.5 * len(frame)
        if few and not repeated(frame, times, [name]).any():
            return [name]
    return []
