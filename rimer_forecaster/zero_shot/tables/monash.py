"""The .tsf files of the Monash archive: a head, then a series per line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .files import text_of
from .series import SeriesTable, TableError

__all__ = ["read_tsf"]

_STEPS = {
    "yearly": "YS", "quarterly": "QS", "monthly": "MS", "weekly": "W", "daily": "D", "hourly": "h",
    "minutely": "min", "minutes": "min", "minute": "min", "seconds": "s", "second": "s",
    "secondly": "s", "hours": "h", "hour": "h", "days": "D",
}  # fmt: skip
_OF_MONTHS = {"MS": 1, "QS": 3, "YS": 12}


def read_tsf(path: Path) -> SeriesTable:
    """Read a file of the Monash archive.

    Raises
    ------
    TableError
        If it is none.
    """
    try:
        return _read(path)
    except TableError as error:
        raise TableError(f"{path.name}: {error}") from error.__cause__


def _read(path: Path) -> SeriesTable:
    attributes: list[str] = []
    freq, horizon, size = None, None, 1
    lines = enumerate(text_of(path)[0].splitlines(), 1)
    for number, line in lines:
        word, _, rest = (x.strip() for x in line.strip().partition(" "))
        if word == "@attribute":
            attributes.append(rest.partition(" ")[0])
        elif word == "@frequency":
            freq, size = _freq_of(rest)
        elif word == "@horizon":
            if not rest.isdigit() or int(rest) < 1:
                raise TableError(f"line {number}: the horizon {rest!r} is no number of steps.")
            horizon = int(rest)
        elif word == "@data":
            break
    else:
        raise TableError("there is no line '@data' before its series.")
    series: dict[str, pd.Series] = {}
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        *heads, body = line.strip().split(":")
        if len(heads) != len(attributes):
            raise TableError(
                f"line {number}: the series has {len(heads)} attributes, and the head "
                f"{len(attributes)}: {', '.join(map(repr, attributes))}."
            )
        known = dict(zip(attributes, heads, strict=True))
        name = known.get("series_name", str(len(series)))
        if name in series:
            raise TableError(f"line {number}: there is another series {name!r}.")
        values = _values_of(body, number)
        index: pd.Index = pd.RangeIndex(len(values))
        if freq is not None and "start_timestamp" in known:
            index = _index_of(known["start_timestamp"], len(values), freq, size, number)
        series[name] = pd.Series(values, index, name=name)
    if not series:
        raise TableError("there is no series.")
    alias = None if freq is None else freq if size == 1 else f"{size}{freq}"
    return SeriesTable(series, alias, horizon=horizon)


def _freq_of(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:(\d+)_|(half)_)?(\w+)", text)
    if found is None or found[3] not in _STEPS:
        raise TableError(f"the frequency {text!r} is not known: there are {', '.join(_STEPS)}.")
    freq = _STEPS[found[3]]
    if found[2]:
        if freq != "h":
            raise TableError(f"the frequency {text!r} is not known.")
        return "min", 30
    return freq, int(found[1] or 1)


def _values_of(body: str, number: int) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if x.strip() in ("?", "") else float(x) for x in body.split(",")])
    except ValueError as error:
        raise TableError(f"line {number}: {error}.") from error


def _index_of(start: str, length: int, freq: str, size: int, number: int) -> pd.DatetimeIndex:
    day, _, clock = start.strip().partition(" ")
    try:
        first = pd.Timestamp(f"{day} {clock.replace('-', ':')}".strip())
    except ValueError as error:
        raise TableError(f"line {number}: {start!r} is no time, as 2024-12-31 18-00-00.") from error
    if pd.isna(first):
        raise TableError(f"line {number}: {start!r} is no time, as 2024-12-31 18-00-00.")
    months = _OF_MONTHS.get(freq)
    step: str | pd.DateOffset = f"{7 * size}D" if freq == "W" else f"{size}{freq}"
    if months is not None:
        if first.day > 28:
            first = first.replace(day=1)
        step = pd.DateOffset(months=months * size)
    return pd.date_range(first, periods=length, freq=step)
