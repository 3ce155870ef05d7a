"""Choose layers and width by grid search, in darts and in sktime.

    python examples/grid_search.py

Monthly CO2 at Mauna Loa from statsmodels. Both searches choose on the months before the last two
years, and the winner forecasts those two years beside seasonal naive.
"""

from __future__ import annotations

import logging

import pandas as pd
import statsmodels.api as sm
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveSeasonal
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter, temporal_train_test_split

from rimer_forecaster import RimerForecaster, RimerModel

YEAR = 12
GRID = {"layers": [None, "rwkv7", "rwkv7*2"], "width": [16, 32]}


def load() -> pd.Series:
    """Monthly means in parts per million."""
    return sm.datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate()


def search_darts(months: pd.Series) -> None:
    """RimerModel.gridsearch: train on one part of the history, choose on the next."""
    series = TimeSeries.from_series(months)
    history, test = series[: -2 * YEAR], series[-2 * YEAR :]
    train, validation = history[: -2 * YEAR], history[-2 * YEAR :]
    fixed = {
        "input_chunk_length": 3 * YEAR,
        "output_chunk_length": YEAR,
        "n_epochs": 30,
        "random_state": 0,
        "pl_trainer_kwargs": {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }
    _, best, error = RimerModel.gridsearch(
        GRID | {name: [value] for name, value in fixed.items()},
        train,
        val_series=validation,
        metric=mae,
        verbose=True,
    )
    chosen = {name: best[name] for name in GRID}
    print(f"darts: {chosen}, MAE {error:.2f} ppm on the validation years")
    forecast = RimerModel(**best).fit(history).predict(2 * YEAR)
    naive = NaiveSeasonal(YEAR).fit(history).predict(2 * YEAR)
    print(f"darts: MAE {mae(test, forecast):.2f} ppm on the test years, ", end="")
    print(f"seasonal naive {mae(test, naive):.2f}")


def search_sktime(months: pd.Series) -> None:
    """ForecastingGridSearchCV: the mean over several cutoffs chooses."""
    history, test = temporal_train_test_split(months.to_period("M"), test_size=2 * YEAR)
    fh = range(1, 2 * YEAR + 1)
    search = ForecastingGridSearchCV(
        RimerForecaster(input_chunk_length=3 * YEAR, n_epochs=30, random_state=0),
        ExpandingWindowSplitter(
            fh=fh, initial_window=len(history) - 6 * YEAR, step_length=2 * YEAR
        ),
        param_grid=GRID,
        scoring=MeanAbsoluteError(),
        error_score="raise",
    )
    search.fit(history, fh=fh)
    columns = {"params": "setting", "mean_test_MeanAbsoluteError": "MAE, ppm"}
    print(search.cv_results_[list(columns)].rename(columns=columns).to_string(index=False))
    error = MeanAbsoluteError()(test, search.predict())
    print(f"sktime: {search.best_params_}, MAE {error:.2f} ppm on the test years")


if __name__ == "__main__":
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    search_darts(load())
    search_sktime(load())
