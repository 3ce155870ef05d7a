"""Values of series: what may be among them, and the scale that they are read in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ..network.scale import without_wild_values

__all__ = [
    "as_scaled",
    "check_observed",
    "check_scaled",
    "check_values",
    "scaler_of",
]


def scaler_of(y: pd.DataFrame) -> StandardScaler:
    """Return what a series is standardised by, whatever single values there are in it."""
    values = torch.tensor(y.to_numpy(dtype=float))[None]
    return StandardScaler().fit(without_wild_values(values)[0].numpy())


def as_scaled(scaler: StandardScaler, frame: pd.DataFrame) -> Tensor:
    """Standardised values, (n, columns)."""
    # As scaler.transform does, whose checks take longer than the forecast of a series in a panel.
    values = (frame.to_numpy(dtype=float) - scaler.mean_) / scaler.scale_
    return torch.from_numpy(values.astype(np.float32))


def check_values(name: str, data: Any) -> None:
    """Raise a ValueError that names the first infinite value of a pandas object."""
    frame = data.to_frame() if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame) or not all(map(is_numeric_dtype, frame.dtypes)):
        return  # sktime converts other containers, and says so where it cannot
    values = frame.to_numpy(dtype=float, na_value=np.nan)
    limit = np.sqrt(np.finfo(float).max)  # they are squared
    _check_below(limit, values, name, frame)


def check_scaled(name: str, frame: pd.DataFrame, scaler: StandardScaler) -> None:
    """Raise a ValueError that names the first value too far from the others of a series."""
    values = (frame.to_numpy(dtype=float) - scaler.mean_) / scaler.scale_
    limit = float(np.sqrt(np.finfo(np.float32).max))  # the network computes in single precision
    _check_below(limit, values, name, frame)


def _check_below(limit: float, values: NDArray[np.float64], name: str, frame: pd.DataFrame) -> None:
    unusable = np.abs(values) >= limit  # False for NaN
    if unusable.any():
        row, column = np.argwhere(unusable)[0]
        raise ValueError(
            f"{name} has {unusable.sum()} infinite or overlarge values, the first in column "
            f"{frame.columns[column]!r} at {frame.index[row]}: {frame.iloc[row, column]}. Correct "
            "them, or mark them as missing by NaN."
        )


def check_observed(
    name: str, frame: pd.DataFrame, *, remedy: str = "Leave it out, or give values."
) -> None:
    """Raise a ValueError that names the first column in which nothing was observed."""
    empty = frame.columns[np.isnan(frame.to_numpy(dtype=float)).all(0)]
    if len(empty):
        raise ValueError(
            f"{name} has no value in column {empty[0]!r} from {frame.index[0]} to "
            f"{frame.index[-1]}. {remedy}"
        )
