"""One file, read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .columns import series_of_columns
from .files import Cells, read_parquet, read_text
from .monash import read_tsf
from .rows import series_of_rows
from .series import SeriesTable, TableError

__all__ = ["is_readable", "name_without_ending", "read_series"]

_KINDS = (".csv", ".tsv", ".txt", ".parquet", ".tsf")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")


def _endings(path: Path) -> tuple[str, str]:
    """Return how a name ends, and what it says of compression after that."""
    name = path.name.lower()
    compressed = next((x for x in _COMPRESSED if name.endswith(x)), "")
    return Path(name.removesuffix(compressed)).suffix, compressed


def is_readable(path: Path) -> bool:
    """Whether a name ends as that of a file of series."""
    return _endings(path)[0] in _KINDS


def name_without_ending(path: Path) -> str:
    """Return the name of a file of series without what says how it is written."""
    kind, compressed = _endings(path)
    return path.name[: len(path.name) - len(kind + compressed)] if kind in _KINDS else path.stem


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
    kind = _endings(path)[0]
    if kind not in _KINDS:
        raise TableError(f"{path.name}: its name must end with .csv, .tsv, .parquet or .tsf.")
    if kind == ".tsf":
        named = [x for x, y in (("time", time), ("target", target), ("id", id)) if y]
        if named:
            raise TableError(f"{path.name} has no columns, so that {named[0]} cannot name one.")
        return read_tsf(path)
    cells = read_parquet(path) if kind == ".parquet" else read_text(path)
    ids = [id] if isinstance(id, str) else list(id or ())
    try:
        return _series_of(cells, time, list(target or ()), ids)
    except TableError as error:
        columns = [repr(str(x)) for x in cells.frame.columns]
        shown = ", ".join(columns[:30]) + (f" and {len(columns) - 30} more" if columns[30:] else "")
        raise TableError(f"{path.name}: {error} Its columns are {shown}.") from None


def _series_of(
    cells: Cells, time: str | None, target: Sequence[str], ids: Sequence[str]
) -> SeriesTable:
    named = [*([time] if time else []), *target, *ids]
    for name in named:
        if name not in cells.frame.columns:
            raise TableError(f"there is no column {name!r}.")
        if named.count(name) > 1:
            raise TableError(f"the column {name!r} is named twice.")
    if cells.frame.empty:
        raise TableError("it has no rows.")
    found = None if time or target else series_of_rows(cells, ids)
    return found or series_of_columns(cells, time, target, ids or cells.ids)
