"""Which columns of a table hold times, names of series, and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from .files import BLANK, is_number, is_readable, kind_of, read_parquet, read_text, read_tsf
from .times import SeriesTable, TableError, dates_of, looks_like_time, on_grid

__all__ = ["read_series"]

_PART_NAMES = {
    "year", "month", "day", "week", "weekday", "dayofweek", "quarter", "hour", "minute", "time",
}  # fmt: skip
_TIME_NAMES = _PART_NAMES | {"ds", "date", "datetime", "timestamp", "period", "index", "step", "t"}
_SERIES_NAMES = {"unique_id", "item_id", "series_id", "series"}
_ID_NAMES = _SERIES_NAMES | {"id", "name", "key", "store", "item"}
_MISSING = {"", "-", ".", "..", "?", "na", "n/a", "#n/a", "nan", "null", "none"}
_LIKE_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s*(\d[\d.,'\u2019\s]*|inf(inity)?)[*%$€£¥)]?", re.I)
_FEW = 0.01
"""Of the rows, whose time a later row of the same series has too, and which are left out."""


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    target: Sequence[str] | None = None,
    id: str | Sequence[str] | None = None,
) -> SeriesTable:
    """Read the series of a file.

    Parameters
    ----------
    path
        Ends with .csv, .tsv, .txt, .parquet or .tsf, and .gz, .bz2, .xz or .zip if compressed.
    time, target, id
        Names of columns, where they are not to be found.

    Raises
    ------
    TableError
        If the file cannot be read as series.
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{str(path)!r} {what}: name a file.")
    if not is_readable(path):
        raise TableError(f"{path.name}: its name must end with .csv, .tsv, .parquet or .tsf.")
    ids = [id] if isinstance(id, str) else list(id or ())
    named = [*([time] if time else []), *(target or ()), *ids]
    if kind_of(path) == ".tsf":
        if named:
            raise TableError(f"{path.name} has no columns, so that {named[0]!r} cannot name one.")
        return read_tsf(path)
    frame, separator = (read_parquet(path), "") if kind_of(path) == ".parquet" else read_text(path)
    try:
        for name in named:
            if name not in frame.columns:
                raise TableError(f"there is no column {name!r}.")
            if named.count(name) > 1:
                raise TableError(f"the column {name!r} is named twice.")
        return _of_columns(frame, separator, time, list(target or ()), ids)
    except TableError as error:
        columns = [repr(x) for x in frame.columns]
        shown = ", ".join(columns[:30]) + (f" and {len(columns) - 30} more" if columns[30:] else "")
        raise TableError(f"{path.name}: {error} Its columns are {shown}.") from None


def _of_columns(
    frame: pd.DataFrame, separator: str, time: str | None, target: list[str], ids: list[str]
) -> SeriesTable:
    free = [x for x in frame.columns if x not in target and x not in ids]
    filled = frame[~frame.isin(["", None, np.nan]).all(axis=1)]
    found = _time_of(filled, [time] if time else free, said=bool(time))
    if found is None:
        notes = ["no column of times was found, so that rows are steps"]
        ids = ids or [x for x in free if x.lower() in _SERIES_NAMES][:1]
        _check_steps(frame, [] if target else [x for x in free if x not in ids])
        rows = frame.groupby(ids).cumcount().to_numpy() if ids else np.arange(len(frame))
        times = pd.Series(rows, frame.index)
    else:
        frame, (time, times, note) = filled, found
        notes = [f"times from {time!r}{note}"]
        free = [x for x in free if x != time and x.lower() not in _PART_NAMES]
        ids = ids or _ids_of(frame, times, free)
    keys = pd.Series("", frame.index)
    if ids:
        notes.append(f"series told apart by {' and '.join(map(repr, ids))}")
        keys = _keys_of(frame, ids)
    repeated = pd.DataFrame({"key": keys, "time": times}).duplicated(keep="last")
    if repeated.mean() >= _FEW:
        place = int(repeated.to_numpy().argmax())
        told = f"{' and '.join(map(repr, ids))} does not tell" if ids else "no column found tells"
        raise TableError(
            f"there are two rows of {times.iloc[place]}, one in line {frame.index[place]}, and "
            f"{told} their series apart. Name the columns that do as id; times in several "
            "columns must be joined in one."
        )
    if repeated.any():
        frame, times, keys = frame[~repeated], times[~repeated], keys[~repeated]
        notes.append(f"{repeated.sum()} rows left out, whose time a later row has too")
    numbers, more = _values_of(frame, separator, target, [x for x in free if x not in ids])
    groups = []
    for key, part in numbers.groupby(keys, sort=False):
        names = [str(key)] if ids else [str(x) for x in part]
        if ids and len(part.columns) > 1:
            names = [f"{key}/{x}" for x in part]
        columns = dict(zip(names, part.to_numpy(float).T, strict=True))
        groups.append((times[part.index].to_numpy(), columns))
    return on_grid(groups, notes + more)


def _time_of(
    frame: pd.DataFrame, names: Sequence[str], *, said: bool
) -> tuple[str, pd.Series, str] | None:
    """Return the column of times, its times, and how they were read; None if there is none.

    Text that says dates comes first, then numbers under a name of times.
    """
    found: list[tuple[tuple[bool, bool], str, pd.Series, str]] = []
    broken: list[tuple[bool, TableError]] = []
    for name in names:
        column = frame[name]
        is_named = said or name.lower() in _TIME_NAMES or name == BLANK
        are_numbers = _are_numbers(column)
        try:
            if are_numbers:
                times = _times_of_numbers(column) if is_named else None
            else:
                times = _times_of_dates(column)
            if times is None and is_named and name != BLANK:
                raise TableError(
                    f"the column {name!r} does not hold times, such as {column.iloc[0]!r}. Write "
                    "times as 2024-12-31 or 2024-12-31 18:00."
                )
        except TableError as error:
            broken.append((is_named and name.lower() not in _PART_NAMES, error))
            continue
        if times is not None:
            found.append(((are_numbers, not is_named), name, *times))
    best = min(found, key=lambda x: x[0], default=None)
    broken = [x for x in broken if best is None or (x[0] and best[0][1])]
    if broken:
        raise max(broken, key=lambda x: x[0])[1]
    return best and best[1:]


def _are_numbers(column: pd.Series) -> bool:
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column)
    return all(is_number(x) or x.lower() in _MISSING for x in column)


def _times_of_dates(column: pd.Series) -> tuple[pd.Series, str] | None:
    """Read dates; hours of a time zone become those of UTC."""
    if column.isna().any():
        raise TableError(f"{column.name!r} holds no time in line {column.isna().idxmax()}.")
    found = dates_of(column) if column.dtype == object else (column, "")
    if found is None or not isinstance(found[0].dtype, pd.DatetimeTZDtype):
        return found
    wall = found[0].dt.tz_localize(None)
    are_days = (wall.dt.normalize() == wall).all()
    return (wall, "") if are_days else (found[0].dt.tz_convert(None), " in UTC")


def _times_of_numbers(column: pd.Series) -> tuple[pd.Series, str] | None:
    """Read years, months and days without a mark, seconds since 1970, or whole numbers."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    if not (numbers == numbers.round()).all() or not numbers.abs().max() < 2**53:
        return None
    whole = numbers.astype("int64")
    for form, low, high in (
        ("%Y", 1700, 2200), ("%Y%m", 1700_01, 2200_12), ("%Y%m%d", 1700_01_01, 2200_12_31)
    ):  # fmt: skip
        if whole.between(low, high).all():
            times = pd.to_datetime(whole.astype(str), format=form, errors="coerce")
            if times.notna().all():
                return times, ""
    for unit, size in (("s", 1), ("ms", 1000)):
        if whole.between(3e8 * size, 5e9 * size).all():
            return pd.to_datetime(whole * (1000 // size), unit="ms"), f" in {unit} since 1970"
    is_date = re.search("date|year|month", str(column.name).lower())
    return None if is_date else (whole, "")


def _check_steps(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise a TableError if a column may say time, or name the series of rows.

    Rows are to be steps of one series.
    """
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        rises = numbers.is_monotonic_increasing or numbers.is_monotonic_decreasing
        counts = rises and numbers.nunique() > 1 and name == names[0]
        if (counts and len(names) > 1) or name.lower() in _ID_NAMES or _holds_words(frame[name]):
            raise TableError(
                f"no column of times was found, and {name!r}, which holds {frame[name].iloc[0]!r}, "
                "may say times, or name series. Write one row per time, and times as 2024-12-31, "
                "or name the columns."
            )


def _holds_words(column: pd.Series) -> bool:
    """Whether a column of text holds something besides numbers."""
    if column.dtype != object:
        return False
    return any(x.lower() not in _MISSING and not _is_like_number(x) for x in column.unique())


def _ids_of(frame: pd.DataFrame, times: pd.Series, columns: Sequence[str]) -> list[str]:
    """Columns, as few as possible, that tell apart series which have the same times."""
    columns = [x for x in columns if 2 * frame[x].nunique() <= len(frame)]
    said = [x for x in columns if x.lower() in _SERIES_NAMES]
    if said or not times.duplicated().any():
        return said[:1]
    named = [x for x in columns if x.lower() in _ID_NAMES]
    words = [x for x in columns if x not in named and _holds_words(frame[x])]
    likely = [*named, *(x for x in words if not frame[x].str.match(r"\d{1,2}:\d\d").any())]
    for names in (list(x) for size in (1, 2, 3) for x in combinations(likely[:9], size)):
        if not frame[names].assign(**{"": times}).duplicated().any():
            return names
    return []


def _keys_of(frame: pd.DataFrame, ids: list[str]) -> pd.Series:
    """Names of the series of rows."""
    for name in ids:
        empty = frame[name].isin(["", None, np.nan])
        if empty.any():
            raise TableError(f"{name!r} is empty in line {empty.idxmax()}.")
    keys = reduce(lambda x, y: x + "/" + y, (frame[x].astype(str) for x in ids))
    if keys.nunique() < frame.groupby(ids).ngroups:
        raise TableError(f"{' and '.join(map(repr, ids))} give two series the same name.")
    return keys


def _values_of(
    frame: pd.DataFrame, separator: str, target: list[str], free: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Columns of numbers, and what to tell of them."""
    names = target or [x for x in free if _is_like_numbers(frame[x])]
    if not names:
        raise TableError("no column holds numbers to forecast.")
    numbers = pd.DataFrame({x: _numbers_of(frame[x], separator) for x in names}, frame.index)
    texts = [frame[x] for x in names if frame[x].dtype == object]
    if separator != "," and len({y for x in texts for y in ".," if _has(x, y)}) > 1:
        raise TableError("it has decimals after points in one column, after commas in another.")
    shown = ", ".join(map(repr, names[:5])) + (" ..." if len(names) > 5 else "")
    left = [] if target else [x for x in free if x not in names]
    told = [f"left out {', '.join(map(repr, left))}"] * bool(left)
    return numbers, [f"values from {shown}", *told]


def _has(text: pd.Series, mark: str) -> bool:
    return bool(text.str.contains(rf"\d{re.escape(mark)}").any())


def _is_like_numbers(column: pd.Series) -> bool:
    """Whether most of a column looks like numbers, which do not only tell rows apart."""
    if column.name in (BLANK, "index") or str(column.name).lower() in _ID_NAMES:
        return False
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column)
    known = [x for x in column if x.lower() not in _MISSING]
    return 2 * sum(map(_is_like_number, known)) > len(known)


def _is_like_number(text: str) -> bool:
    """Whether a text is a number, or may be one with a unit or marks between thousands."""
    return is_number(text) or bool(_LIKE_NUMBER.fullmatch(text) and not looks_like_time(text))


def _numbers_of(column: pd.Series, separator: str) -> pd.Series:
    """Numbers of a column, NaN where missing.

    Raises
    ------
    TableError
        If it holds something else, or numbers that could be read in two ways.
    """
    numbers = column
    if column.dtype == object:
        text = column.mask(column.str.lower().isin(_MISSING))
        comma = separator != "," and _has(text, ",") and not _has(text, ".")
        numbers = pd.to_numeric(text.str.replace(",", ".") if comma else text, errors="coerce")
        marked = text[text.str.contains("[.,]", na=False)]
        thousands = marked.str.fullmatch(r"-?[1-9]\d{0,2}[.,]\d{3}")
        if separator != "," and len(marked) and thousands.all():
            raise TableError(
                f"{marked.iloc[0]!r} in line {marked.index[0]} of {column.name!r} may have three "
                "decimals, or be thousands. Write 1234.5, and commas between columns."
            )
    other = numbers.isna() & ~column.isna() & ~column.astype(str).str.lower().isin(_MISSING)
    numbers = numbers.astype(float)
    other |= np.isinf(numbers)
    if other.any():
        place = int(other.to_numpy().argmax())
        raise TableError(
            f"the column {column.name!r} holds {str(column.iloc[place])!r} in line "
            f"{column.index[place]}, no number. Write 1234.5, without a unit and without a mark "
            "between thousands."
        )
    return numbers
