"""Small models and series that the tests of the darts side share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries

from rimer_forecaster import RimerModel

TRAINER: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
QUIET: dict[str, Any] = {"pl_trainer_kwargs": TRAINER}
TINY: dict[str, Any] = {
    "input_chunk_length": 24,
    "output_chunk_length": 6,
    "width": 8,
    "head_size": 4,
    "n_epochs": 1,
    "random_state": 0,
    **QUIET,
}


def wave(
    n: int = 160,
    *,
    components: int = 1,
    level: float = 0.0,
    dtype: Any = np.float32,
    seed: int = 0,
    start: int = 0,
) -> TimeSeries:
    """Noisy sines of period 12 with a time index, one phase a component."""
    time = np.arange(start, start + n)[:, None]
    values = np.sin(2 * np.pi * time / 12 + np.arange(components)) + level
    values = values + 0.1 * np.random.default_rng(seed).normal(size=values.shape)
    index = pd.date_range("2020-01-01", periods=start + n, freq="D")[start:]
    return TimeSeries.from_times_and_values(index, values.astype(dtype))


LEVEL = 5.0


def wave_at_level(n: int = 120, **options: Any) -> TimeSeries:
    """`wave` around 5, which is therefore its size."""
    return wave(n, level=LEVEL, **options)


def with_gaps(series: TimeSeries, share: float = 0.1, seed: int = 0) -> TimeSeries:
    """Some values of a series missing."""
    values = series.values().copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    return series.with_values(values)


def hourly_walk(
    n: int = 150, *, components: int = 2, seed: int = 0, times: pd.Index | None = None
) -> TimeSeries:
    """A slow wave around 5 on which a random walk rides, in float64."""
    draw = np.random.default_rng(seed).normal(size=(n, components))
    values = 5 + np.sin(np.arange(n) / 4)[:, None] + 0.3 * draw.cumsum(0)
    index = pd.date_range("2020-01-01", periods=n, freq="h") if times is None else times
    return TimeSeries.from_times_and_values(index, values)


def with_weights_that_matter(model: RimerModel) -> RimerModel:
    """Layers start as zero maps, and after one epoch they still add next to nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model
