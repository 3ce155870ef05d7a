"""One long series: what is forecast of it, and the errors over every window of its test part.

For other scripts. ETTh1, hourly, seven components: 8,640 hours train, the next 2,880 are left for
choosing settings and the next 2,880 test. Without data weekly CO2 at Mauna Loa from statsmodels,
with the split of quickstart.py. Values are z-scored by the training part.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.missing_values import fill_missing_values
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.preprocessing import StandardScaler

SILENT = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}
"""Arguments of Lightning's trainer."""


class Task(NamedTuple):
    """What to forecast, z-scored by the training part; the test part has a look-back before it."""

    name: str
    train: TimeSeries
    test: TimeSeries
    look_back: int
    horizon: int
    season: int


def z_score(train: TimeSeries, test: TimeSeries) -> tuple[TimeSeries, TimeSeries]:
    """Scale both by mean and standard deviation of the first."""
    scaler = Scaler(StandardScaler())
    return scaler.fit_transform(train), scaler.transform(test)


def load_co2() -> Task:
    """Weekly CO2: two years to half a year."""
    look_back = 104
    weeks = sm.datasets.co2.load_pandas().data["co2"]
    series = fill_missing_values(TimeSeries.from_series(weeks)).astype(np.float32)
    split = int(0.8 * len(series))
    train, test = z_score(series[:split], series[split - look_back :])
    return Task("weekly CO2", train, test, look_back, horizon=26, season=52)


def load_etth1(folder: Path) -> Task:
    """ETTh1, in hours: four days to four days."""
    look_back, test_begins, test_ends = 96, 11_520, 14_400
    frame = pd.read_csv(folder / "ETTh1.csv.xz", parse_dates=["date"])
    series = TimeSeries.from_dataframe(frame, time_col="date").astype(np.float32)
    train, test = z_score(series[:8640], series[test_begins - look_back : test_ends])
    return Task("ETTh1", train, test, look_back, horizon=96, season=24)


def etth1_hours(folder: Path) -> np.ndarray:
    """All columns of ETTh1, z-scored by their first 8,640 hours, (14,400, 7) float32."""
    values = pd.read_csv(folder / "ETTh1.csv.xz").iloc[:14_400, 1:].to_numpy()
    known = values[:8_640]
    return ((values - known.mean(0)) / known.std(0)).astype(np.float32)


def m4_hourly(folder: Path, part: str) -> list[np.ndarray]:
    """The series of M4 hourly: their ``"train"`` part, or the ``"test"`` part that follows it."""
    frame = pd.read_csv(folder / f"M4-Hourly-{part}.csv.xz", index_col=0)
    return [row[~np.isnan(row)] for row in frame.to_numpy(float)]


def score(
    model: ForecastingModel, task: Task, test: TimeSeries | None = None, *, stride: int = 1
) -> dict[str, float]:
    """Errors over windows from every, or every so many-th, origin of the test part or a copy."""
    forecasts = model.historical_forecasts(
        task.test if test is None else test,
        start=task.look_back,
        start_format="position",
        forecast_horizon=task.horizon,
        stride=stride,
        retrain=isinstance(model, NaiveSeasonal),  # its fit is to remember the series
        last_points_only=False,
    )
    predicted = np.concatenate([forecast.values() for forecast in forecasts])
    parts = [task.test.slice_intersect(forecast) for forecast in forecasts]
    actual = np.concatenate([part.values() for part in parts])
    # The mean of a million float32 values would be wrong in its fourth digit.
    predicted, actual = predicted.astype(np.float64), actual.astype(np.float64)
    return {
        "windows": len(forecasts),
        "MSE": mean_squared_error(actual, predicted),
        "MAE": mean_absolute_error(actual, predicted),
    }
