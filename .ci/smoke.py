"""Fit and forecast by both doors, and by the weights of the package, on a few weeks of days.

For a wheel that was installed with the extras darts and sktime; run outside the checkout.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from darts import TimeSeries

import rimer_forecaster
from rimer_forecaster import RimerForecaster, RimerModel, RimerZeroModel

installed, checkout = Path(rimer_forecaster.__file__), Path(__file__).resolve().parents[1]
assert checkout not in installed.resolve().parents, f"{installed} is the checkout"

days = pd.date_range("2024-01-01", periods=60, name="day")
y = pd.Series(np.sin(2 * np.pi * np.arange(60) / 7), index=days.to_period("D"), name="y")

model = RimerModel(
    input_chunk_length=14,
    output_chunk_length=7,
    n_epochs=2,
    pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False},
)
series = TimeSeries.from_times_and_values(days, y.to_numpy())
forecast = model.fit(series).predict(7).values()
assert forecast.shape == (7, 1), forecast.shape
assert np.isfinite(forecast).all(), forecast

zero = RimerZeroModel((8, 64), 7, pl_trainer_kwargs={"enable_progress_bar": False})
untrained = zero.fit(series).predict(7).values()
assert np.abs(untrained[:, 0] - np.sin(2 * np.pi * np.arange(60, 67) / 7)).max() < 0.3, untrained

y_pred = RimerForecaster(input_chunk_length=14, n_epochs=2).fit(y, fh=range(1, 8)).predict()
assert y_pred.shape == (7,), y_pred.shape
assert np.isfinite(y_pred).all(), y_pred

print(f"rimer_forecaster {rimer_forecaster.__version__} in {installed.parent}: both doors work")
