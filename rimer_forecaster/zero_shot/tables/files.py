"""Files as tables of cells: compression, encoding, separators, and the head."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from .numbers import is_number
from .series import TableError

__all__ = ["Cells", "read_parquet", "read_text", "text_of"]

_SEPARATORS = (",", ";", "\t", "|")
_SPACES, _NONE = " ", "\0"
_MOST_ABOVE = 50
"""Lines that may stand above the head."""

_SAMPLED = 200
"""Lines from which a separator is told."""

_FOREIGN = {
    b"PAR1": "is parquet: let its name end with .parquet",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook: save its sheet as CSV",
    b"{": "is JSON: write it as CSV",
    b"[{": "is JSON: write it as CSV",
    b"[[": "is JSON: write it as CSV",
    b"<": "is HTML or XML: write it as CSV",
}


@dataclass(frozen=True)
class Cells:
    """A table as a file holds it.

    Attributes
    ----------
    frame
        Columns by name; of text, stripped, empty where missing, unless the file knows numbers and
        times. Its index counts rows as the file does.
    row
        What the index counts: lines or rows.
    separator
        Between the cells of a line, or None.
    ids
        Columns that are known to tell series apart.
    notes
        What was left out.
    """

    frame: pd.DataFrame
    row: str
    separator: str | None = None
    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# Bytes.


def text_of(path: Path) -> tuple[str, str]:
    """Return the text of a file, which may be compressed, and its encoding.

    Raises
    ------
    TableError
        If it holds none.
    """
    data = _bytes_of(path)
    for begin, what in _FOREIGN.items():
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(begin):
            raise TableError(f"{path.name} {what}.")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif len(data) > 1 and data[1:200:2].count(0) > 0.4 * len(data[1:200:2]):
        encodings = ["utf-16-le"]  # as Windows writes it, without a mark
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise TableError(f"{path.name} is not text in UTF-8, UTF-16 or Windows-1252.")


def _bytes_of(path: Path) -> bytes:
    """Read a file; whether it is compressed is seen from its first bytes, not from its name."""
    data = path.read_bytes()
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"BZh"):
            return bz2.decompress(data)
        if data.startswith(b"\xfd7zXZ\x00"):
            return lzma.decompress(data)
        if data.startswith(b"PK\x03\x04"):
            return _unzipped(path, data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise TableError(f"{path.name} is compressed, and damaged: {error}.") from error
    return data


def _unzipped(path: Path, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [x for x in archive.namelist() if not x.endswith("/") and "__MACOSX" not in x]
        if any(x.startswith("xl/") for x in names):
            raise TableError(f"{path.name} is an Excel workbook: save its sheet as CSV.")
        if len(names) != 1:
            shown = ", ".join(map(repr, names[:5]))
            raise TableError(f"{path.name} holds {len(names)} files, not one: {shown}.")
        if archive.getinfo(names[0]).flag_bits & 1:
            raise TableError(f"{path.name} is encrypted.")
        return archive.read(names[0])


# Tables.


def read_parquet(path: Path) -> Cells:
    """Read a parquet file.

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
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None):
        levels = [x or f"index {i}" for i, x in enumerate(frame.index.names)]
        names = ["index" if x == "index 0" and len(levels) == 1 else x for x in levels]
        clashing = [x for x in names if x in frame.columns]
        frame = frame.reset_index(names=names, drop=bool(clashing))
    frame.columns = _distinct([str(x) for x in frame.columns])
    lists = [x for x in frame.columns if _holds_lists(frame[x])]
    ids: tuple[str, ...] = ()
    if lists:
        frame, name = _unfolded(path, frame, lists)
        ids = (name,)
    for name in frame.columns:
        column = frame[name]
        typed = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not typed and not isinstance(column.dtype, pd.DatetimeTZDtype):
            typed = pd.api.types.is_datetime64_dtype(column)
        if not typed:
            text = column.astype(object).map(str, na_action="ignore")
            frame[name] = text.where(column.notna(), "").str.strip().astype(object)
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return Cells(frame, "row", ids=ids)


def _holds_lists(column: pd.Series) -> bool:
    known = column.dropna()
    return bool(len(known)) and isinstance(known.iloc[0], (list, tuple, np.ndarray))


def _unfolded(path: Path, frame: pd.DataFrame, lists: list[str]) -> tuple[pd.DataFrame, str]:
    """Make a row per value of a table that has lists, and a row per series; and name these."""
    sizes = [[len(x) for x in frame[name]] for name in lists]
    if any(x != sizes[0] for x in sizes):
        raise TableError(
            f"{path.name}: the lists of {' and '.join(map(repr, lists))} differ in length."
        )
    others = [x for x in frame.columns if x not in lists]
    unique = [x for x in others if frame[x].is_unique and frame[x].notna().all()]
    name = next((x for x in unique if frame[x].dtype.kind not in "fM"), "series")
    if name not in unique:
        frame = frame.assign(series=np.arange(len(frame)))
    return frame[[name, *lists]].explode(lists, ignore_index=True).infer_objects(), name


def read_text(path: Path) -> Cells:
    """Read a file of cells between separators.

    Raises
    ------
    TableError
        If that cannot be done.
    """
    text, encoding = text_of(path)
    text = text.lstrip("\ufeff")
    said = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)  # as Excel has it
    separator = said[1] if said else None
    text = text[said.end() :] if said else text
    separator = separator or _separator_of(text)
    try:
        lines, rows = _rows_of(text, separator)
    except csv.Error as error:
        raise TableError(f"{path.name} cannot be read as CSV: {error}.") from error
    if not rows:
        raise TableError(f"{path.name} is empty.")
    names, first, notes = _head_of(path, rows, text)
    notes += ["text in Windows-1252"] * (encoding == "cp1252")
    lines, rows, width = lines[first:], rows[first:], len(names)
    if not rows:
        shown = ", ".join(map(repr, names))
        raise TableError(f"{path.name} has no rows below its head: {shown}.")
    for line, row in zip(lines, rows, strict=True):
        if any(row[width:]):
            shown = ", ".join(map(repr, names))
            raise TableError(
                f"{path.name}: line {line} has {len(row)} cells, and the head {width}: {shown}."
            )
    columns = list(zip(*((*row[:width], *[""] * (width - len(row))) for row in rows), strict=True))
    names = [" ".join(x.split()) for x in names]
    kept = [i for i, name in enumerate(names) if name or any(columns[i])]
    distinct = _distinct([names[i] for i in kept])
    frame = pd.DataFrame(
        {name: pd.Series(columns[i], dtype=object) for name, i in zip(distinct, kept, strict=True)}
    )
    frame.index = pd.Index(lines)
    return Cells(frame, "line", separator, notes=tuple(notes))


def _rows_of(
    text: str, separator: str, *, strict: bool = True
) -> tuple[list[int], list[list[str]]]:
    """Return the number of the last line of each row, and its stripped cells.

    Blank rows between others are kept: without times they are missing steps.
    """
    lines: list[int] = []
    rows: list[list[str]] = []
    if separator == _SPACES:
        for line, words in enumerate(io.StringIO(text, newline=None), 1):
            lines.append(line)
            rows.append(words.split())
    else:
        file = io.StringIO(text, newline="")
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=strict)
        for row in reader:
            lines.append(reader.line_num)
            rows.append([x.strip() for x in row])
    while rows and not any(rows[-1]):
        rows.pop()
    begin = next((i for i, row in enumerate(rows) if any(row)), 0)
    return lines[begin : len(rows)], rows[begin:]


def _separator_of(text: str) -> str:
    """Return what cuts most lines into the same number of cells, of which there are several."""
    lines = list(islice((x for x in io.StringIO(text, newline=None) if x.strip()), _SAMPLED))
    found, best = _NONE, (0.0, 1)
    for separator in (*_SEPARATORS, _SPACES):
        try:
            rows = _rows_of("".join(lines), separator, strict=False)[1]
        except csv.Error:
            continue
        widths = Counter(len(row) for row in rows if any(row))
        width, count = max(widths.items(), key=lambda x: (x[1], x[0]), default=(1, 0))
        share = count / max(1, sum(widths.values()))
        if separator == _SPACES and (best[0] or share < 1):
            continue  # words have spaces between them
        if width == 2 and separator == "," and _are_decimals(lines):
            continue
        if width > 1 and (share, width) > best:
            found, best = separator, (share, width)
    return found


def _are_decimals(lines: list[str]) -> bool:
    """Whether commas are in numbers alone, under a name without one."""
    head, *others = lines
    return "," not in head and not head.lstrip().startswith('"') and all(
        re.fullmatch(r"\s*-?\d+(,\d+)?\s*", x) for x in others
    )  # fmt: skip


def _head_of(path: Path, rows: list[list[str]], text: str) -> tuple[list[str], int, list[str]]:
    """Return names of columns, the place of the first row below them, and what was left out."""
    widths = Counter(_width(row) for row in rows[1:] if any(row))
    width = max(widths.items(), key=lambda x: (x[1], x[0]), default=(_width(rows[0]), 0))[0]
    place = next((i for i, row in enumerate(rows[:_MOST_ABOVE]) if _is_head(row, width, text)), 0)
    names = list(rows[place])
    names[0] = names[0].lstrip("# ")
    names = names[: max(_width(names), width)]
    counted = [str(i) for i in range(len(names) - 1)]
    if all(map(is_number, filter(None, names))) and names != ["", *counted]:
        raise TableError(
            f"{path.name} begins with numbers, {', '.join(names)[:60]!r}, where the names of its "
            "columns should be."
        )
    if len(rows[place]) == width - 1 and text.startswith('"'):
        names = ["", *names]  # R writes no name above those of rows
    return names, place + 1, [f"{place} lines above the head left out"] * bool(place)


def _is_head(row: list[str], width: int, text: str) -> bool:
    """Whether a row names the columns of a table: it is no title above them."""
    filled = sum(map(bool, row))
    if filled >= width or (len(row) >= width > 2 and filled > width / 2):
        return True
    if len(row) >= width and not row[0] and filled >= width - 1:
        return True
    return len(row) == filled == width - 1 and text.startswith('"')


def _width(row: list[str]) -> int:
    """Cells up to the last that is not empty."""
    return max((i + 1 for i, x in enumerate(row) if x), default=0)


def _distinct(names: list[str]) -> list[str]:
    """Name columns apart, as pandas does."""
    found: list[str] = []
    for i, name in enumerate(names):
        own, k = name or f"column {i + 1}", 0
        while own in found:
            k += 1
            own = f"{name or f'column {i + 1}'}.{k}"
        found.append(own)
    return found
