"""Small forecasters and series that the tests of the sktime side share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

TINY: dict[str, Any] = {
    "input_chunk_length": 24,
    "width": 8,
    "head_size": 4,
    "n_epochs": 2,
    "random_state": 0,
}


def wave(n: int = 120, *, columns: int = 1, level: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Noisy sines of period 12 by day, one phase a column."""
    rng = np.random.default_rng(seed)
    time = np.arange(n)[:, None]
    values = np.sin(2 * np.pi * time / 12 + np.arange(columns)) + level
    return pd.DataFrame(
        values + 0.1 * rng.normal(size=values.shape),
        index=pd.period_range("2020-01-01", periods=n, freq="D"),
        columns=[f"y{i}" for i in range(columns)],
    )


def at(index: pd.Index) -> pd.DataFrame:
    """A series of these time points."""
    return pd.DataFrame({"y0": np.arange(len(index)) % 7.0}, index)


def without_freq(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(list(index))


def panel(lengths: dict[str, int], **arguments: Any) -> pd.DataFrame:
    return pd.concat(
        {
            name: wave(n, level=100.0 * i, seed=i, **arguments)
            for i, (name, n) in enumerate(lengths.items())
        },
        names=["shop", "day"],
    )


def caused(n: int = 300) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A target that is white noise but for its cause, in units of its own."""
    rng = np.random.default_rng(0)
    index = pd.period_range("2020-01-01", periods=n, freq="D")
    X = pd.DataFrame({"x": 5000 + 300 * rng.normal(size=n)}, index=index)
    return X.rename(columns={"x": "y"}) * 0.01, X


def with_gaps(y: pd.DataFrame, share: float = 0.1, seed: int = 0) -> pd.DataFrame:
    return y.mask(np.random.default_rng(seed).random(y.shape) < share)
