"""Offsets of pandas as plain JSON, with all that they know: holidays, hours, anchors.

The string of an offset, its ``freqstr``, leaves most of that out, and pandas reads back only some.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["described_offset", "offset_from"]


def described_offset(offset: pd.offsets.BaseOffset) -> dict[str, Any]:
    """Describe an offset for `offset_from`.

    Raises
    ------
    ValueError
        If it is none of pandas' own, or holds what JSON has no word for.
    """
    name = type(offset).__name__
    if getattr(pd.offsets, name, None) is not type(offset):
        raise ValueError(f"{offset!r} is none of the offsets in pandas.offsets")
    arguments = {key: _described(x) for key, x in offset.kwds.items()}
    normalize = bool(getattr(offset, "normalize"))  # noqa: B009 (pandas' stubs do not know it)
    return {"name": name, "n": offset.n, "normalize": normalize, "arguments": arguments}


def offset_from(description: dict[str, Any]) -> pd.offsets.BaseOffset:
    """Return the offset that was described.

    Raises
    ------
    ValueError
        If pandas has none of that name.
    """
    kind = getattr(pd.offsets, description["name"], None)
    if not (isinstance(kind, type) and issubclass(kind, pd.offsets.BaseOffset)):
        raise ValueError(f"pandas has no offset {description['name']!r}")
    arguments = {key: _value(x) for key, x in description["arguments"].items()}
    # pandas.offsets.Day and hours and shorter ones have no `normalize` that may be True.
    normalize = {"normalize": True} if description["normalize"] else {}
    return kind(description["n"], **normalize, **arguments)


def _described(x: Any) -> Any:
    """Describe an argument of an offset: a plain value, or a kind and plain values."""
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, np.generic) and not isinstance(x, np.datetime64):
        return x.item()
    if isinstance(x, datetime.timedelta):
        return {"seconds": [x.days, x.seconds, x.microseconds]}
    if isinstance(x, datetime.time):
        return {"time": x.isoformat()}
    if isinstance(x, (datetime.date, np.datetime64)):
        return {"day": str(np.asarray(x, "datetime64[D]"))}
    if isinstance(x, np.busdaycalendar):
        holidays = [str(day) for day in x.holidays]
        return {"calendar": [x.weekmask.tolist(), holidays]}
    if isinstance(x, (tuple, list)):
        return {"tuple": [_described(one) for one in x]}
    raise ValueError(f"{x!r} in its arguments cannot be written")


def _value(x: Any) -> Any:
    """Return the argument that was described."""
    if not isinstance(x, dict):
        return x
    ((kind, value),) = x.items()
    if kind == "seconds":
        days, seconds, microseconds = value
        return datetime.timedelta(days, seconds, microseconds)
    if kind == "time":
        return datetime.time.fromisoformat(value)
    if kind == "day":
        return np.datetime64(value, "D")
    if kind == "calendar":
        weekmask, holidays = value
        return np.busdaycalendar(weekmask, np.array(holidays, dtype="datetime64[D]"))
    return tuple(_value(one) for one in value)
