"""A backtest by sktime's evaluate: RimerForecaster beside a few of sktime's forecasters.

Each is refitted at three cutoffs of weekly CO2 at Mauna Loa and forecasts the next half year.
Prints a table, in one to two minutes on two cores. It needs statsmodels beside the extra sktime.
"""

import logging
import os

import pandas as pd
import statsmodels.api as sm
import torch
from sktime.forecasting.exp_smoothing import ExponentialSmoothing
from sktime.forecasting.ltsf import LTSFNLinearForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsoluteError, MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from rimer_forecaster import RimerForecaster

epochs = int(os.environ.get("RIMER_EPOCHS", 0)) or None  # None: as many as make 2,000 steps
torch.set_num_threads(1)  # networks this small only wait for each other's threads
logging.captureWarnings(True)  # silences those of sktime about its next version, at every fit

y = sm.datasets.co2.load_pandas().data["co2"].interpolate().to_period("W")  # parts per million
look_back, half_year, year = 104, 26, 52

forecasters = {
    "RimerForecaster": RimerForecaster(look_back, n_epochs=epochs, random_state=0),
    "its linear map alone": RimerForecaster(
        look_back, layers=None, n_epochs=epochs, random_state=0
    ),
    "LTSFNLinearForecaster": LTSFNLinearForecaster(look_back, half_year, num_epochs=epochs or 30),
    "ExponentialSmoothing": ExponentialSmoothing(trend="add", seasonal="add", sp=year),
    "seasonal naive": NaiveForecaster(sp=year),
}
cutoffs = ExpandingWindowSplitter(
    fh=range(1, half_year + 1), initial_window=int(0.8 * len(y)), step_length=4 * year
)

rows = {}
for name, forecaster in forecasters.items():
    results = evaluate(
        forecaster,
        cutoffs,
        y,
        strategy="refit",
        scoring=[MeanAbsoluteError(), MeanSquaredError(square_root=True)],
        error_score="raise",  # by default errors become missing scores
    )
    rows[name] = results.select_dtypes("number").mean()
    print(f"{name}: {len(results)} cutoffs", flush=True)

columns = {
    "test_MeanAbsoluteError": "MAE, ppm",
    "test_MeanSquaredError": "RMSE, ppm",
    "fit_time": "fit, s",
    "pred_time": "predict, s",
}
table = pd.DataFrame(rows).T[list(columns)].rename(columns=columns)
print("\n" + table.to_string(float_format="{:.3f}".format))
