"""All of a series but its values as plain JSON, exactly: what a stream knows of its series."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries

from .offsets import described_offset, offset_from

__all__ = ["described", "series_from"]


def described(series: TimeSeries) -> dict[str, Any]:
    """Describe the last step of a series for `series_from`.

    Raises
    ------
    ValueError
        If a part of it has no exact description, with its name.
    """
    schema, times = series.schema(copy=False), series.time_index
    described: dict[str, Any] = {
        "time_name": times.name,
        "dtype": str(series.dtype),
        "components": list(series.components),
        "hierarchy": schema["hierarchy"],
        "metadata": schema["metadata"],
    }
    parts: dict[str, Callable[[], Any]] = {
        "freq": lambda: _described_step(series.freq),
        "end": lambda: _described_time(times[-1]),
        "static_covariates": lambda: _described_frame(schema["static_covariates"]),
    }
    for name, part in parts.items():
        try:
            described[name] = part()
        except ValueError as error:
            raise _unwritable(name, error) from error
    try:
        again = json.loads(json.dumps(described))
        one = series_from(again)
    except (TypeError, ValueError) as error:
        raise _unwritable("schema", error) from error
    for name in described.keys() - {"static_covariates"}:  # in which NaN may be
        if again[name] != described[name]:
            raise _unwritable(name, f"{described[name]!r} becomes {again[name]!r}")
    if not _same_frames(one, series):
        raise _unwritable("static_covariates", "their values or dtypes change")
    return described


def series_from(description: dict[str, Any]) -> TimeSeries:
    """Return the last step of the series that was described; its values are missing."""
    end, freq = description["end"], description["freq"]
    if isinstance(freq, int):
        times: Any = pd.RangeIndex(end, end + freq, freq, name=description["time_name"])
    else:
        stamps = np.array([np.datetime64(end["time"], end["unit"])])
        name = description["time_name"]
        times = pd.DatetimeIndex(stamps, freq=offset_from(freq), name=name)
    components = description["components"]
    return TimeSeries(
        times=times,
        values=np.full((1, len(components)), np.nan, dtype=description["dtype"]),
        components=components,
        static_covariates=_frame_from(description["static_covariates"]),
        hierarchy=description["hierarchy"],
        metadata=description["metadata"],
    )


def _described_step(freq: Any) -> int | dict[str, Any]:
    return described_offset(freq) if isinstance(freq, pd.offsets.BaseOffset) else int(freq)


def _described_time(time: Any) -> int | dict[str, str]:
    if isinstance(time, pd.Timestamp):
        return {"time": str(time.to_datetime64()), "unit": time.unit}
    return int(time)


def _described_frame(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    if frame is None:
        return None
    columns = [
        {
            "dtype": str(column.dtype),
            "categories": _described_categories(column.dtype),
            "values": [_plain(x) for x in column.astype(object)],
        }
        for _, column in frame.items()
    ]
    return {
        "names": [_plain(x) for x in frame.columns],
        "index": [_plain(x) for x in frame.index],
        "axes": [frame.index.name, frame.columns.name],
        "columns": columns,
    }


def _frame_from(description: dict[str, Any] | None) -> pd.DataFrame | None:
    if description is None:
        return None
    index = pd.Index(description["index"])
    columns = []
    for column in description["columns"]:
        dtype, categories = column["dtype"], column["categories"]
        if categories is not None:
            dtype = pd.CategoricalDtype(categories["values"], categories["ordered"])
        columns.append(pd.Series(column["values"], index=index, dtype=dtype))
    frame = pd.concat(columns, axis=1)
    frame.columns = pd.Index(description["names"])
    frame.index.name, frame.columns.name = description["axes"]
    return frame


def _described_categories(dtype: Any) -> dict[str, Any] | None:
    if not isinstance(dtype, pd.CategoricalDtype):
        return None
    return {"values": [_plain(x) for x in dtype.categories], "ordered": dtype.ordered}


def _plain(x: Any) -> Any:
    """Return a value that JSON keeps as it is, or a string."""
    x = x.item() if isinstance(x, np.generic) else x
    return x if x is None or isinstance(x, (bool, int, float, str)) else str(x)


def _same_frames(one: TimeSeries, other: TimeSeries) -> bool:
    frames = one.static_covariates, other.static_covariates
    if frames[0] is None or frames[1] is None:
        return frames[0] is frames[1]
    same_dtypes = list(frames[0].dtypes) == list(frames[1].dtypes)
    return same_dtypes and bool(frames[0].equals(frames[1]))


def _unwritable(name: str, why: object) -> ValueError:
    return ValueError(
        f"the {name} of a series cannot be written to a file of its stream: {why}. Change it, or "
        "keep the stream by pickle."
    )
