"""A table and settings that the tests of the benchmark share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

QUICK: dict[str, Any] = {"epochs": 1, "isolated": False, "progress": False}


def frame(n: int = 240, columns: int = 1, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = 20 + np.sin(2 * np.pi * np.arange(n)[:, None] / 12 + np.arange(columns))
    return pd.DataFrame(
        values + 0.1 * rng.normal(size=values.shape),
        index=pd.date_range("2020-01-01", periods=n, freq="D", name="day"),
        columns=[f"y{i}" for i in range(columns)],
    )
