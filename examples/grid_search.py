"""Searches for layers and width: RimerModel.gridsearch in darts, ForecastingGridSearchCV in sktime.

Both choose on monthly CO2 at Mauna Loa before the last two years, which the winner then forecasts.
Prints settings and errors beside seasonal naive, in about two minutes on two cores.
"""

import logging
import os

import statsmodels.api as sm
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveSeasonal
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter

from rimer_forecaster import RimerForecaster, RimerModel

epochs = int(os.environ.get("RIMER_EPOCHS", 0)) or 20
torch.set_num_threads(1)  # networks this small only wait for each other's threads
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
logging.captureWarnings(True)  # silences those of the libraries about each other, at every fit

months = sm.datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate()  # ppm
grid = {"layers": [None, "rwkv7", "rwkv7*2"], "width": [16, 32]}

# darts: train on one part of the history, choose on the next one
series = TimeSeries.from_series(months)
history, test = series[:-24], series[-24:]
fixed = {
    "input_chunk_length": 36,
    "output_chunk_length": 12,
    "n_epochs": epochs,
    "random_state": 0,
    "pl_trainer_kwargs": {"enable_progress_bar": False, "enable_model_summary": False},
}
_, best, error = RimerModel.gridsearch(
    grid | {name: [value] for name, value in fixed.items()},
    history[:-24],
    val_series=history[-24:],
    metric=mae,
)
print(f"darts: { ({name: best[name] for name in grid}) }, MAE {error:.2f} ppm on the years before")
forecast = RimerModel(**best).fit(history).predict(24)
naive = NaiveSeasonal(12).fit(history).predict(24)
print(f"darts: MAE {mae(test, forecast):.2f} ppm on the last two years", flush=True)

# sktime: choose by the mean over several cutoffs
y = months.to_period("M")
fh = range(1, 25)
search = ForecastingGridSearchCV(
    RimerForecaster(input_chunk_length=36, n_epochs=epochs, random_state=0),
    ExpandingWindowSplitter(fh=fh, initial_window=len(y) - 96, step_length=24),
    param_grid=grid,
    scoring=MeanAbsoluteError(),
    error_score="raise",
)
search.fit(y[:-24], fh=fh)
columns = {"params": "setting", "mean_test_MeanAbsoluteError": "MAE, ppm"}
print(search.cv_results_[list(columns)].rename(columns=columns).to_string(index=False))
error = MeanAbsoluteError()(y[-24:], search.predict())
print(f"sktime: {search.best_params_}, MAE {error:.2f} ppm on the last two years")
print(f"seasonal naive: MAE {mae(test, naive):.2f} ppm on the last two years")
