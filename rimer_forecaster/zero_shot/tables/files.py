"""Files as frames: cells of text, parquet, and the .tsf of the Monash archive."""

from __future__ import annotations

import csv
import io
import lzma
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.common import get_handle

from .times import SeriesTable, TableError, looks_like_time

__all__ = [
    "BLANK",
    "is_number",
    "is_readable",
    "kind_of",
    "name_without_ending",
    "read_parquet",
    "read_text",
    "read_tsf",
]

BLANK = "column 1"
"""Name of a first column without one: an index of pandas."""

_KINDS = (".csv", ".tsv", ".txt", ".parquet", ".tsf")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
_SEPARATORS = (",", ";", "\t", "|")


def kind_of(path: Path) -> str:
    """Return how the name of a file ends, without what says that it is compressed."""
    name = path.name.lower()
    ending = next((x for x in _COMPRESSED if name.endswith(x)), "")
    return Path(name.removesuffix(ending)).suffix


def is_readable(path: Path) -> bool:
    """Whether a name ends as that of a file of series."""
    return kind_of(path) in _KINDS


def name_without_ending(path: Path) -> str:
    """Return the name of a file of series without what says how it is written."""
    kind = kind_of(path)
    return path.name[: path.name.lower().rindex(kind)] if kind in _KINDS else path.stem


def _text_of(path: Path) -> str:
    """Return the text of a file, which may be compressed, as its name says."""
    try:
        with get_handle(path, "rb", compression="infer", is_text=False) as handles:
            data = bytes(handles.handle.read())
    except (
        OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile
    ) as error:  # fmt: skip
        raise TableError(f"{path.name} cannot be read: {error}") from error
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not re.search("[\0-\x08\x0e-\x1f]", text):
            return text
    raise TableError(
        f"{path.name} is not text in UTF-8, Windows-1252, or UTF-16 with a mark. The name of a "
        "compressed file ends with .gz, .bz2, .xz or .zip."
    )


def read_text(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a file of cells between separators.

    Returns
    -------
    frame, separator
        Columns of stripped text, empty where missing; the index counts lines of the file.

    Raises
    ------
    TableError
        If that cannot be done.
    """
    text = _text_of(path)
    if not text.strip():
        raise TableError(f"{path.name} is empty.")
    if text.lstrip()[0] in "<{[":
        raise TableError(f"{path.name} is HTML, XML or JSON: write it as CSV.")
    head = next(x for x in text.splitlines() if x.strip())
    separator = max(_SEPARATORS, key=head.count)
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    rows: dict[int, list[str]] = {}
    try:
        for row in reader:
            if rows or any(row):
                rows[reader.line_num] = [x.strip() for x in row]
    except csv.Error as error:
        raise TableError(f"{path.name} cannot be read as CSV: {error}.") from error
    while not any(rows[max(rows)]):
        rows.popitem()
    names = rows.pop(min(rows))
    shown = ", ".join(map(repr, names[:30]))
    if not rows:
        raise TableError(f"{path.name} has no rows below its head: {shown}.")
    for line, row in rows.items():
        if len(row) > len(names) and any(row[len(names) :]):
            raise TableError(
                f"{path.name}: line {line} has {len(row)} cells, and the head {len(names)}: "
                f"{shown}. The first line must name the columns."
            )
    cells = [(row + [""] * len(names))[: len(names)] for row in rows.values()]
    frame = pd.DataFrame(cells, pd.Index(list(rows)), dtype=object)
    kept = [i for i, x in enumerate(names) if x or (frame[i] != "").any()]
    frame = frame[kept]
    frame.columns = [" ".join(names[i].split()) or f"column {i + 1}" for i in kept]
    _check_names(path, list(frame.columns))
    return frame, separator


def is_number(text: str) -> bool:
    """Whether a text is a number as Python writes it."""
    return bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII))


def _check_names(path: Path, names: list[str]) -> None:
    """Raise a TableError if names of columns are equal, or times, or values of a first row."""
    twice = next((x for i, x in enumerate(names) if x in names[:i]), None)
    if twice is not None:
        raise TableError(f"{path.name}: two columns are called {twice!r}.")
    numbers = [x for x in names if is_number(x)]
    count = all(map(str.isdigit, numbers)) and (np.diff([int(x) for x in numbers]) > 0).all()
    alone = len(numbers) == 1 and numbers != ["0"]  # which pandas calls a series without a name
    if is_number(names[0]) or looks_like_time(names[0]) or alone or not count:
        raise TableError(
            f"{path.name} begins with {', '.join(names)[:60]!r}, which are values: the first line "
            "must name the columns."
        )
    times = [x for x in names if looks_like_time(x) or re.match("jan|feb|mar|apr", x, re.I)]
    if len(times) > 3:
        raise TableError(
            f"{path.name}: its columns are times, such as {times[0]!r}. Write one row per time, "
            "for example with melt of pandas."
        )


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a parquet file: columns of numbers, of times, or of text, as `read_text` has it.

    Raises
    ------
    TableError
        If that cannot be done.
    """
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        hint = "pip install 'rimer-forecaster[parquet]'"
        raise TableError(f"{path.name}: parquet is read by pyarrow: {hint}.") from error
    except Exception as error:  # of the engine, which has errors of its own
        reason = str(error).partition("\n")[0]
        raise TableError(f"{path.name} cannot be read as parquet: {reason}") from error
    frame.columns = [str(x) for x in frame.columns]
    if frame.empty:
        raise TableError(f"{path.name} holds no rows.")
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None:
        own = [x or (f"index {i}" if i else BLANK) for i, x in enumerate(frame.index.names)]
        frame = frame.reset_index(names=own, drop=any(x in frame.columns for x in own))
    _check_names(path, list(frame.columns))
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    for name, stored in frame.items():
        column = frame[name] = _in_memory_of_numpy(stored)
        if pd.api.types.is_bool_dtype(column) or not (
            pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
        ):
            if any(isinstance(x, (list, np.ndarray)) for x in column):
                raise TableError(f"{path.name}: {name!r} holds lists. Write one row per value.")
            text = [
                ("" if y else str(x).strip()) for x, y in zip(column, column.isna(), strict=True)
            ]
            frame[name] = pd.Series(text, frame.index, dtype=object)
    return frame


def _in_memory_of_numpy(column: pd.Series) -> pd.Series:
    """Return numbers and times that pyarrow or pandas hold, NA among them, as NumPy's."""
    dtype = column.dtype
    if not isinstance(dtype, pd.api.extensions.ExtensionDtype) or column.dtype == "category":
        return column
    if pd.api.types.is_bool_dtype(column):
        return column.astype(object)
    if pd.api.types.is_numeric_dtype(column):
        whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
        return column.astype("int64" if whole else "float64")
    if pd.api.types.is_datetime64_any_dtype(column) and not isinstance(dtype, pd.DatetimeTZDtype):
        return pd.to_datetime(column.astype(object))
    return column


_TSF_STEPS = {
    "yearly": "YS", "quarterly": "QS", "monthly": "MS", "weekly": "W", "daily": "D", "hourly": "h",
    "minutely": "min", "minutes": "min", "seconds": "s", "secondly": "s", "hours": "h",
}  # fmt: skip
_OF_MONTHS = {"MS": 1, "QS": 3, "YS": 12}


def read_tsf(path: Path) -> SeriesTable:
    """Read a file of the Monash archive: a head, then a series per line.

    Raises
    ------
    TableError
        If it is none.
    """
    attributes: list[str] = []
    step, horizon = None, None
    series: dict[str, pd.Series] = {}
    lines = iter(_text_of(path).splitlines())
    try:
        for line in lines:
            word, _, rest = (x.strip() for x in line.strip().partition(" "))
            if word == "@attribute":
                attributes.append(rest.partition(" ")[0])
            elif word == "@frequency":
                step = _tsf_step(rest)
            elif word == "@horizon":
                horizon = int(rest)
                if horizon < 1:
                    raise TableError("a horizon must be at least 1")
            elif word == "@data":
                break
        for line in lines:
            if line.strip() and not line.startswith("#"):
                *heads, body = line.strip().split(":")
                if len(heads) != len(attributes):
                    raise TableError(f"{len(heads)} attributes, and the head {len(attributes)}")
                known = dict(zip(attributes, heads, strict=True))
                name = known.get("series_name", str(len(series)))
                if name in series:
                    raise TableError(f"there is another series {name!r}")
                values = np.array(
                    [np.nan if x.strip() == "?" else float(x) for x in body.split(",")]
                )
                if np.isinf(values).any():
                    raise TableError("an infinite value")
                index = _tsf_index(known.get("start_timestamp"), len(values), step)
                series[name] = pd.Series(values, index, name=name)
    except ValueError as error:
        reason = str(error).splitlines()[0].partition(". You")[0]
        raise TableError(f"{path.name}: {reason}, in {line[:60]!r}.") from error
    if not series:
        raise TableError(f"{path.name}: there is no series below a line '@data'.")
    freq = None if step is None else f"{step[0] if step[0] > 1 else ''}{step[1]}"
    dated = isinstance(next(iter(series.values())).index, pd.DatetimeIndex)
    return SeriesTable(series, freq if dated else None, horizon=horizon)


def _tsf_step(text: str) -> tuple[int, str]:
    if text == "half_hourly":
        return 30, "min"
    found = re.fullmatch(r"(?:(\d+)_)?(\w+)", text)
    if found is None or found[2] not in _TSF_STEPS:
        raise TableError(f"the frequency {text!r} is not known: there are {', '.join(_TSF_STEPS)}")
    return int(found[1] or 1), _TSF_STEPS[found[2]]


def _tsf_index(start: str | None, length: int, step: tuple[int, str] | None) -> pd.Index:
    if start is None or step is None:
        return pd.RangeIndex(length)
    first = pd.to_datetime(start.strip(), format="%Y-%m-%d %H-%M-%S")
    size, letters = step
    if letters in _OF_MONTHS:
        first = first.replace(day=1) if first.day > 28 else first
        return pd.date_range(
            first, periods=length, freq=pd.DateOffset(months=size * _OF_MONTHS[letters])
        )
    freq = f"{7 * size}D" if letters == "W" else f"{size}{letters}"
    return pd.date_range(first, periods=length, freq=freq)
