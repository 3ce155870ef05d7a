"""A CSV file as a series, or what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from darts import TimeSeries

from .task import as_series

__all__ = ["read_csv"]


def read_csv(path: str | Path, time_col: str | None = None) -> TimeSeries:
    """Read a table with a time column; the other columns, all of numbers, are components.

    Parameters
    ----------
    path
        Of a CSV file, which may be compressed.
    time_col
        Name of the time column; the first column by default.

    Raises
    ------
    ValueError
        If time points are out of order, appear twice or cannot be read, or a column holds no
        numbers.
    """
    frame, file = pd.read_csv(path), repr(str(path))
    if len(frame.columns) == 1:
        raise ValueError(
            f"{file} has one column only, {frame.columns[0]!r}, but needs a time and values. They "
            "must be separated by commas, and decimals be written with a point."
        )
    time_col = frame.columns[0] if time_col is None else time_col
    if time_col not in frame:
        raise ValueError(
            f"{file} has no column {time_col!r}, but {list(frame.columns)}. Name the time column."
        )
    times = frame.pop(time_col)
    text = frame.columns.difference(frame.select_dtypes("number").columns, sort=False)
    if len(text):
        raise ValueError(
            f"{file} has columns {list(text)} that hold no numbers, {frame[text[0]].iloc[0]!r} for "
            f"example. Leave them out; or, if one is the time, name it: it is now {time_col!r}."
        )
    unnamed = [name for name in frame.columns if name.startswith("Unnamed: ")]
    if unnamed:
        raise ValueError(
            f"{file} has a column without a name, as an index that was exported. Leave it out."
        )
    if pd.api.types.is_integer_dtype(times):
        return as_series(frame.set_axis(pd.Index(times)))
    return as_series(frame.set_axis(_dates_of(times, f"{file}, column {time_col!r}")))


def _dates_of(times: pd.Series, where: str) -> pd.DatetimeIndex:
    """Return dates without a time zone, or raise a ValueError that says where there are none."""
    if pd.api.types.is_float_dtype(times):
        raise ValueError(f"{where}: times are missing, or numbers with decimals. Give dates.")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(times))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    if index.tz is not None or index.hasnans:
        raise ValueError(
            f"{where}: times have {'offsets from UTC' if index.tz else 'gaps'}. Give each row a "
            "time without an offset, of one time zone."
        )
    return index
