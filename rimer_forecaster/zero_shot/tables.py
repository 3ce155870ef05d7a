"""Series in files: CSV and parquet, wide or long, and the .tsf of the Monash archive.

What is not said is found: the column of times, the columns that name a series, the columns of
values, and the step. What was taken for what is told. What cannot be read, or could be read in two
ways, is refused with the reason and the columns that were seen.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.common import get_handle

__all__ = ["SeriesTable", "TableError", "read_series", "usual_season"]

_TIME_NAMES = {"ds", "date", "datetime", "time", "timestamp", "month", "year", "day", "period"}
_ID_NAMES = {"unique_id", "item_id", "series_id", "id", "series", "name", "key", "store", "item"}
_COMPRESSED = {".gz", ".bz2", ".xz", ".zip"}
_FEW = 0.01
_TEXT = {".csv": ",", ".tsv": "\t", ".txt": None}

_TSF_STEPS = {
    "yearly": "YS", "quarterly": "QS", "monthly": "MS", "weekly": "W", "daily": "D", "hourly": "h",
    "minutes": "min", "minutely": "min", "seconds": "s", "hours": "h",
}  # fmt: skip
_A_DAY = {"s": 86_400, "min": 1440, "h": 24}
_A_YEAR = {"W": 52, "M": 12, "Q": 4, "Y": 1}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class TableError(ValueError):
    """A file that cannot be read as series, with the reason."""


@dataclass(frozen=True)
class SeriesTable:
    """Series of one step.

    Attributes
    ----------
    series
        Values by name, NaN where missing, each over an index of times, or of whole numbers, without
        a gap.
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


def usual_season(freq: str | None) -> int:
    """Return the usual period of a step, in steps, by pandas' alias; 1 where there is none."""
    found = re.match(r"(\d*)([A-Za-z]+)", freq or "")
    if found is None:
        return 1
    size, letters = int(found[1] or 1), found[2]
    if letters in _A_DAY:
        steps = _A_DAY[letters]
        return steps // size if steps % size == 0 and (letters != "s" or size >= 60) else 60
    if letters in ("D", "B"):
        return {"D": 7, "B": 5}[letters] if size == 1 else 1
    steps = _A_YEAR[letters[0]]
    return steps // size if steps % size == 0 else 1


def read_series(
    path: str | Path,
    *,
    time: str | None = None,
    target: Sequence[str] | None = None,
    id: str | None = None,
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
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    kind = Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
    if kind == ".tsf":
        return _read_tsf(path)
    if kind == ".parquet":
        frame = _read_parquet(path)
    elif kind in _TEXT:
        frame = _read_text(path, _TEXT[kind])
    else:
        raise TableError(f"{path.name}: its name must end with .csv, .tsv, .parquet or .tsf.")
    try:
        return _series_of(frame, time, target, id)
    except TableError as error:
        columns = ", ".join(map(repr, map(str, frame.columns)))
        raise TableError(f"{path.name}: {error} Its columns are {columns}.") from None


# Files.


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        hint = "pip install 'rimer-forecaster[parquet]'"
        raise TableError(f"{path.name}: parquet is read by pyarrow: {hint}.") from error
    except Exception as error:
        raise TableError(f"{path.name} cannot be read as parquet: {error}") from error
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    return frame.reset_index()


def _text_of(path: Path) -> str:
    with get_handle(path, "rb", compression="infer", is_text=False) as handles:
        data = bytes(handles.handle.read())
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableError(f"{path.name} is not text in UTF-8, UTF-16 or Windows-1252.")


def _read_text(path: Path, separator: str | None) -> pd.DataFrame:
    text = _text_of(path)
    header = next(iter(text.strip().splitlines()), "")
    if not header:
        raise TableError(f"{path.name} is empty.")
    if separator != "\t":
        separator = max((",", ";", "\t", "|"), key=header.count)
    names = next(csv.reader([header], delimiter=separator))
    if all(_is_number(x) for x in names):
        raise TableError(
            f"{path.name} begins with numbers, {header[:60]!r}, where the names of its columns "
            "should be."
        )
    comma = separator != "," and re.search(r"\d,\d", text) and not re.search(r"\d\.\d", text)
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            decimal="," if comma else ".",
            skipinitialspace=True,
            na_values=["?"],
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise TableError(f"{path.name} cannot be read as CSV: {error}") from error


def _read_tsf(path: Path) -> SeriesTable:
    """Read the format of the Monash archive: a head, then a series per line."""
    attributes: list[tuple[str, str]] = []
    freq, horizon, series = None, None, {}
    lines = iter(_text_of(path).splitlines())
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "@attribute":
            name, _, kind = rest.partition(" ")
            attributes.append((name, kind))
        elif word == "@frequency":
            size, step = re.fullmatch(r"(?:(\d+)_)?(?:half_)?(\w+)", rest).groups()  # type: ignore[union-attr]
            size = "30" if rest.startswith("half_hour") else size or ""
            step = "minutes" if rest.startswith("half_hour") else step
            if step not in _TSF_STEPS:
                raise TableError(f"{path.name}: the frequency {rest!r} is not known.")
            freq = size + _TSF_STEPS[step]
        elif word == "@horizon":
            horizon = int(rest)
        elif word == "@data":
            break
    for number, line in enumerate(filter(str.strip, lines)):
        *heads, body = line.strip().split(":")
        if len(heads) != len(attributes):
            raise TableError(f"{path.name}: series {number} has another head than the file says.")
        known = dict(zip((name for name, _ in attributes), heads, strict=True))
        try:
            values = np.array([np.nan if x == "?" else float(x) for x in body.split(",")])
        except ValueError as error:
            raise TableError(f"{path.name}: series {number}: {error}") from error
        index: pd.Index = pd.RangeIndex(len(values))
        if freq is not None and "start_timestamp" in known:
            start = pd.to_datetime(known["start_timestamp"], format="%Y-%m-%d %H-%M-%S")
            own = f"W-{start.strftime('%a').upper()}" if freq == "W" else freq
            index = pd.date_range(start, periods=len(values), freq=own)
        name = known.get("series_name", str(number))
        series[name] = pd.Series(values, index, name=name)
    if not series:
        raise TableError(f"{path.name} holds no series.")
    return SeriesTable(series, freq, horizon=horizon)


# Columns.


def _series_of(
    frame: pd.DataFrame, time: str | None, target: Sequence[str] | None, id: str | None
) -> SeriesTable:
    frame = frame.dropna(axis=0, how="all").reset_index(drop=True)
    frame.columns = [str(x) for x in frame.columns]
    wanted = [x for x in (time, id, *(target or ())) if x is not None]
    for name in wanted:
        if name not in frame.columns:
            raise TableError(f"there is no column {name!r}.")
    if frame.empty:
        raise TableError("it has no rows.")
    if not wanted and _is_row_per_series(frame):
        return _of_rows(frame)
    free = [x for x in frame.columns if x not in wanted and not _counts_rows(x, frame[x])]
    times, notes = None, []
    for name in [time] if time else _likely(free, _TIME_NAMES):
        times = _times_of(frame[name], named=name == time or _is_named(name, _TIME_NAMES))
        if times is not None:
            time = name
            break
    if times is None:
        if time is not None:
            raise TableError(f"the column {time!r} does not hold times.")
        times = pd.Series(range(len(frame)))
        notes.append("no column of times was found, so that rows are steps")
    else:
        notes.append(f"times from {time!r}")
    free = [x for x in free if x != time]
    repeated = times.duplicated(keep="last")
    if id is None and 0 < repeated.mean() < _FEW and not _tells_apart(frame, times, free):
        frame, times = frame[~repeated], times[~repeated]
        notes.append(f"{repeated.sum()} rows left out, whose time a later row has too")
    ids = [id] if id else _ids_of(frame, times, free)
    if ids:
        notes.append(f"series told apart by {' and '.join(map(repr, ids))}")
    numbers, left = {}, []
    for name in target or [x for x in free if x not in ids]:
        column = _numbers_of(frame[name])
        if column is not None:
            numbers[name] = column
        elif target:
            raise TableError(f"the column {name!r} does not hold numbers.")
        else:
            left.append(name)
    if not numbers:
        raise TableError("no column holds numbers to forecast.")
    shown = ", ".join(map(repr, list(numbers)[:5])) + (" ..." if len(numbers) > 5 else "")
    notes.append(f"values from {shown}")
    if left:
        notes.append(f"left out {', '.join(map(repr, left))}")
    series: dict[str, pd.Series] = {}
    groups: list[tuple[tuple[str, ...], pd.Index]] = [((), frame.index)]
    if ids:
        keys = frame[ids].astype(str).agg("/".join, axis=1)
        groups = [((key,), frame.index[keys == key]) for key in dict.fromkeys(keys)]
    for key, rows in groups:
        for name, column in numbers.items():
            label = "/".join((*key, *([name] if len(numbers) > 1 or not key else [])))
            values = column.loc[rows].to_numpy(float)
            series[label] = pd.Series(values, pd.Index(times.loc[rows]), name=label)
    return _on_grid(series, notes)


def _is_row_per_series(frame: pd.DataFrame) -> bool:
    """Whether each row is a series, as in the M competitions: a name, then numbered columns."""
    first, *others = frame.columns
    numbers = [re.sub(r"\D", "", x) for x in others]
    return (
        len(others) > 3
        and frame[first].dtype.kind not in "iufM"
        and frame[first].is_unique
        and all(numbers)
        and bool((np.diff([int(x) for x in numbers]) == 1).all())
        and all(_numbers_of(frame[x]) is not None for x in others)
    )


def _of_rows(frame: pd.DataFrame) -> SeriesTable:
    first, *others = frame.columns
    series = {}
    for name, row in zip(frame[first].astype(str), frame[others].to_numpy(float), strict=True):
        values = row[: np.flatnonzero(~np.isnan(row)).max(initial=-1) + 1]
        series[name] = pd.Series(values, pd.RangeIndex(len(values)), name=name)
    return SeriesTable(series, None, (f"a series per row, named by {first!r}",))


def _is_named(column: str, names: set[str]) -> bool:
    return column.strip().lower() in names


def _likely(columns: list[str], names: set[str]) -> list[str]:
    """Columns with one of the names first."""
    return sorted(columns, key=lambda x: not _is_named(x, names))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts_rows(name: str, column: pd.Series) -> bool:
    """Whether a column without a name counts the rows: an index that was written along."""
    if not re.fullmatch(r"(Unnamed: \d+|index|)", name) or column.dtype.kind not in "iu":
        return False
    return bool((column.diff().dropna() == 1).all()) and column.iloc[0] in (0, 1)


def _numbers_of(column: pd.Series) -> pd.Series | None:
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return None
    return column.astype(float)


def _times_of(column: pd.Series, *, named: bool) -> pd.Series | None:
    """Times or whole numbers of a column, or None if it holds neither."""
    if pd.api.types.is_bool_dtype(column):
        return None
    if pd.api.types.is_numeric_dtype(column):
        # Numbers are times only under such a name: otherwise they are values.
        if not named or column.isna().any() or (column != column.round()).any():
            return None
        whole = column.astype(int)
        if whole.between(1500, 2200).all():
            return pd.to_datetime(whole.astype(str), format="%Y")
        if whole.between(1500_01_01, 2200_12_31).all():
            dates = pd.to_datetime(whole.astype(str), format="%Y%m%d", errors="coerce")
            return None if dates.isna().any() else dates
        return whole
    times = _dates_of(column)
    if times is not None and times.isna().any():
        row = int(np.flatnonzero(times.isna())[0])
        raise TableError(f"the column {column.name!r} holds no time in row {row + 1}.")
    return times


def _dates_of(column: pd.Series) -> pd.Series | None:
    """Dates of a column of text, of which some may be missing; None if it holds others."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        text = column.astype("string")
        quarters = text.str.fullmatch(r"\s*\d{4}\s*-?\s*[Qq][1-4]\s*")
        if quarters.all():
            plain = text.str.upper().str.replace(r"[\s-]", "", regex=True)
            return pd.Series(pd.PeriodIndex(plain, freq="Q").to_timestamp(), column.index)
        ways = (False,) if text.str.match(r"\s*\d{4}").any() else (False, True)
        month_first, day_first = _parsed(text, ways[0]), _parsed(text, ways[-1])
        found = [x for x in (month_first, day_first) if x is not None]
        if not found:
            return None
        if len(found) == 1 or found[0].equals(found[1]):
            column = found[0]
        else:
            regular = [x for x in found if _is_regular(x)]
            if len(regular) != 1:
                raise TableError(
                    f"the dates of {column.name!r}, such as {text.iloc[0]!r}, can be read with the "
                    "day first or with the month first. Write them as 2024-12-31."
                )
            column = regular[0]
    return column.dt.tz_localize(None) if column.dt.tz is not None else column


def _parsed(text: pd.Series, day_first: bool) -> pd.Series | None:
    """Dates of all rows that hold something, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a format that pandas has to guess
        try:
            times = pd.to_datetime(text, errors="coerce", dayfirst=day_first)
            if times.isna().sum() > text.isna().sum():
                times = pd.to_datetime(text, errors="coerce", utc=True)
        except (ValueError, TypeError):
            return None
    return times if times.notna().any() and times.isna().sum() == text.isna().sum() else None


def _is_regular(times: pd.Series) -> bool:
    steps = times.drop_duplicates().sort_values().diff().dropna()
    return len(steps) > 1 and steps.max() <= 1.2 * steps.min()


def _tells_apart(frame: pd.DataFrame, times: pd.Series, columns: list[str]) -> list[str]:
    """Columns, as few as possible, that no two rows of one time have in common."""
    text = [x for x in columns if not pd.api.types.is_numeric_dtype(frame[x])]
    named = [x for x in columns if _is_named(x, _ID_NAMES)]
    single = [[x] for x in dict.fromkeys([*named, *text])]
    for names in [*single, named, text]:
        if names and not frame[names].assign(**{"": times}).duplicated().any():
            return names
    return []


def _ids_of(frame: pd.DataFrame, times: pd.Series, columns: list[str]) -> list[str]:
    """Columns that tell series apart, where times alone do not."""
    if not times.duplicated().any():
        return []
    names = _tells_apart(frame, times, columns)
    if not names:
        raise TableError(
            f"there are two rows of {times[times.duplicated()].iloc[0]}, and no column was found "
            "that tells their series apart. Name it."
        )
    return names


# Steps.


def _on_grid(series: dict[str, pd.Series], notes: list[str]) -> SeriesTable:
    """Sort series, and give all of them an index without gaps."""
    for name, x in series.items():
        if x.index.has_duplicates:
            when = x.index[x.index.duplicated()][0]
            raise TableError(f"the series {name!r} has two values at {when}.")
    series = {name: x.sort_index() for name, x in series.items()}
    freq = None
    if isinstance(next(iter(series.values())).index, pd.DatetimeIndex):
        freq = _freq_of(pd.DatetimeIndex(max(series.values(), key=len).index))
        notes.append(f"step {freq}")
        if freq[0] in "MQY":
            series = {name: x.set_axis(_month_starts(x.index)) for name, x in series.items()}
        found = {name: x.asfreq(freq) for name, x in series.items()}
    else:
        steps = np.concatenate([np.diff(x.index.to_numpy()) for x in series.values()])
        step = int(np.gcd.reduce(steps)) if len(steps) else 1
        found = {
            name: x.reindex(pd.RangeIndex(x.index[0], x.index[-1] + 1, step))
            for name, x in series.items()
        }
    for name, x in series.items():
        off = x.index.difference(found[name].index)
        if len(off):
            raise TableError(f"{off[0]} is not on a grid of step {freq}, on which the others are.")
    missing = sum(int(x.isna().sum()) for x in found.values())
    if missing:
        notes.append(f"{missing} missing values")
    return SeriesTable(found, freq, tuple(notes))


def _month_starts(index: pd.Index) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(index).to_period("M").to_timestamp()


def _freq_of(times: pd.DatetimeIndex) -> str:
    """Find the step of most of the times, as pandas' alias."""
    if len(times) < 2:
        raise TableError("a step cannot be told from series of one row.")
    steps = pd.Series(times[1:] - times[:-1]).value_counts()
    days, seconds = divmod(round(steps.index[0].total_seconds()), 86_400)
    if 360 <= days <= 370:
        return f"YS-{_MONTHS[times[0].month - 1]}"
    if 89 <= days <= 93:
        return f"QS-{_MONTHS[times[0].month - 1]}"
    if 28 <= days <= 31 and (times.day.nunique() == 1 or times.is_month_end.all()):
        return "MS"
    if days == 7 and not seconds:
        return f"W-{times[0].strftime('%a').upper()}"
    if days == 1 and not seconds and len(times) > 5 and (times.weekday < 5).all():
        return "B"
    if days and not seconds:
        return "D" if days == 1 else f"{days}D"
    total = days * 86_400 + seconds
    for letters, size in (("h", 3600), ("min", 60), ("s", 1)):
        if total and total % size == 0:
            return letters if total == size else f"{total // size}{letters}"
    raise TableError(f"steps of {steps.index[0]} are shorter than a second.")
