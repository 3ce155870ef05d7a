"""Series, panels and hierarchies as sktime gives them, told apart by their names."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sktime.datatypes import update_data

__all__ = [
    "Instances",
    "Key",
    "by_name",
    "check_names",
    "instances",
    "joined",
    "name_of",
    "rows",
]

Key: TypeAlias = tuple[Hashable, ...]
"""Place of a series in a panel or hierarchy; () for a single series."""

Instances: TypeAlias = dict[Key, pd.DataFrame]


def instances(data: pd.DataFrame | None) -> Instances:
    """Split a panel or hierarchy into its series, in order of appearance."""
    if data is None:
        return {}
    if not isinstance(data.index, pd.MultiIndex):
        return {(): data}
    levels: list[Hashable] = list(range(data.index.nlevels - 1))
    return {
        key if isinstance(key, tuple) else (key,): one.droplevel(levels)
        for key, one in data.groupby(level=levels if len(levels) > 1 else 0, sort=False)
    }


def check_names(name: str, data: Any) -> None:
    """Raise a ValueError if series of a panel have no name: pandas would leave them out."""
    index = getattr(data, "index", None)
    if not isinstance(index, pd.MultiIndex):
        return
    for level in range(index.nlevels - 1):
        nameless = np.asarray(index.get_level_values(level).isna())
        if nameless.any():
            raise ValueError(
                f"{name} has {nameless.sum()} rows without the name of a series, in level "
                f"{index.names[level] or level!r} of the index: it is NaN or None. Give the series "
                "a name, or leave the rows out."
            )


def name_of(key: Key) -> str:
    """Name a series in a message; a single one needs no name."""
    return f" of series {key}" if key else ""


def by_name(name: str, frame: pd.DataFrame, columns: Sequence[Hashable]) -> pd.DataFrame:
    """Return a frame with its columns in the order of the fit.

    Raises
    ------
    ValueError
        If they are not those of the fit; only a single one without a name is that of the fit.
    """
    given: list[Hashable] = list(frame.columns)
    if given == list(columns):
        return frame
    if given == [0] and len(columns) == 1:  # a series without a name
        return frame.set_axis(list(columns), axis=1)
    if len(given) != len(columns) or set(given) != set(columns):
        raise ValueError(
            f"{name} has columns {given}, but RimerForecaster was fitted with {list(columns)}. "
            "Give the same ones."
        )
    return frame[list(columns)]


def rows(
    X: pd.DataFrame | None, labels: pd.Index, key: Key, *, needed: pd.Index | None = None
) -> pd.DataFrame:
    """Select rows of X by label.

    Parameters
    ----------
    X
        A single series.
    labels
        Of all rows.
    key
        Whose they are, for the message.
    needed
        Those that X must have, all by default; others may be absent, and are missing values.

    Raises
    ------
    ValueError
        If some of those needed are absent.
    """
    needed = labels if needed is None else needed
    absent = needed if X is None else needed.difference(X.index)
    if X is None or len(absent):
        raise ValueError(
            f"X{name_of(key)} has no row for {len(absent)} of {len(needed)} time points that the "
            f"forecast or the training needs, the first being {absent[0]}. X must cover the time "
            "points of y and of the horizon."
        )
    return X.reindex(labels)


def joined(past: pd.DataFrame | None, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of both, the new values where both have a row and the new one is not missing."""
    if past is None or not len(past):
        return new
    if len(new) and new.index[0] > past.index[-1]:  # a tenth of the time
        return pd.concat([past, new])
    return update_data(past, new)
