"""Forecast weekly CO2 at Mauna Loa with RWKV-7, beside darts' own models.

    python examples/figures/quickstart.py [--epochs 10] [--output FOLDER]

The data is statsmodels' record of 2,284 weeks from 1958 to 2001; its 59 gaps are interpolated. All
models see the same windows of the first 80 % of the weeks and then forecast every half year of the
rest. The networks get the same epochs, batches and loss. All of them subtract the level of their
window: without that none could follow a rising curve. Writes quickstart.md, the table, and
quickstart.png, the forecasts.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import darts
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.api as sm
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import BlockRNNModel, NaiveSeasonal, NLinearModel, TransformerModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.missing_values import fill_missing_values
from matplotlib.figure import Figure
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    r2_score,
    root_mean_squared_error,
)

import rimer_forecaster
from rimer_forecaster import RimerModel
from rimer_forecaster.diagnostics import mape_remark

LOOK_BACK, HORIZON = 104, 26  # two years to half a year, in weeks


def load() -> tuple[TimeSeries, TimeSeries]:
    """The record in parts per million: training part, and test part with a look-back before it."""
    weeks = sm.datasets.co2.load_pandas().data["co2"]
    series = fill_missing_values(TimeSeries.from_series(weeks)).astype(np.float32)
    split = int(0.8 * len(series))
    return series[:split], series[split - LOOK_BACK :]


def models(epochs: int) -> dict[str, Callable[[], ForecastingModel]]:
    """The rows of the table."""
    common = {
        "input_chunk_length": LOOK_BACK,
        "output_chunk_length": HORIZON,
        "batch_size": 32,
        "n_epochs": epochs,
        "loss_fn": torch.nn.L1Loss(),
        "random_state": 0,
        "pl_trainer_kwargs": {
            "accelerator": "cpu",
            "enable_model_summary": False,
            "enable_progress_bar": sys.stdout.isatty(),
        },
    }
    of_darts = {**common, "optimizer_kwargs": {"lr": 1e-3}, "use_reversible_instance_norm": True}
    return {
        "RimerModel": lambda: RimerModel(**common),
        "TransformerModel": lambda: TransformerModel(**of_darts),
        "LSTM (BlockRNNModel)": lambda: BlockRNNModel(model="LSTM", hidden_dim=64, **of_darts),
        "GRU (BlockRNNModel)": lambda: BlockRNNModel(model="GRU", hidden_dim=64, **of_darts),
        "NLinearModel": lambda: NLinearModel(**{**of_darts, "use_reversible_instance_norm": False}),
        "Seasonal naive": lambda: NaiveSeasonal(K=52),
    }


def forecast_windows(
    model: ForecastingModel, scaled_test: TimeSeries, scaler: Scaler
) -> list[TimeSeries]:
    """Forecast each half year of the test part from all that came before it, in ppm."""
    retrain = isinstance(model, NaiveSeasonal)  # a local model: its fit is to remember the series
    forecasts = model.historical_forecasts(
        scaled_test,
        start=LOOK_BACK,
        start_format="position",
        forecast_horizon=HORIZON,
        stride=HORIZON,
        retrain=retrain,
        last_points_only=False,
    )
    return [scaler.inverse_transform(forecast) for forecast in forecasts]


def measure(
    name: str, make: Callable[[], ForecastingModel], train: TimeSeries, test: TimeSeries
) -> tuple[dict[str, Any], list[TimeSeries]]:
    """Fit and test one model: a row of the table, and its forecasts."""
    scaler = Scaler()  # fitted on the training part only
    scaled_train = scaler.fit_transform(train)
    scaled_test = scaler.transform(test)
    model = make()
    print(f"\n{name}: fitting", flush=True)
    start = time.perf_counter()
    model.fit(scaled_train)
    fit_seconds = time.perf_counter() - start
    arguments = (
        {} if isinstance(model, NaiveSeasonal) else {"series": scaled_train, "verbose": False}
    )
    milliseconds = []
    for _ in range(5):
        start = time.perf_counter()
        model.predict(HORIZON, **arguments)
        milliseconds.append(1000 * (time.perf_counter() - start))
    forecasts = forecast_windows(model, scaled_test, scaler)
    predicted = np.concatenate([forecast.values() for forecast in forecasts])
    actual = np.concatenate([test.slice_intersect(forecast).values() for forecast in forecasts])
    network = getattr(model, "model", None)
    row = {
        "model": name,
        "MAE, ppm": mean_absolute_error(actual, predicted),
        "RMSE, ppm": root_mean_squared_error(actual, predicted),
        "MAPE, %": 100 * mean_absolute_percentage_error(actual, predicted),
        "R2": r2_score(actual, predicted),
        "fit, s": fit_seconds,
        "predict, ms": float(np.median(milliseconds)),
        "parameters": sum(p.numel() for p in network.parameters()) if network else 0,
    }
    return row, forecasts


def as_page(table: pd.DataFrame, remark: str | None, epochs: int) -> str:
    """Format the table as a page, with the plot and how both were made."""
    formats = {"fit, s": "{:.1f}".format, "predict, ms": "{:.1f}".format}
    return f"""# Quick start: weekly CO2 at Mauna Loa

```text
{table.to_string(index=False, formatters=formats, float_format="{:.3f}".format)}
```

{remark or "MAPE can be read here: no true value is near zero."}

`python examples/figures/quickstart.py`, one seed, {epochs} epochs, on {torch.get_num_threads()} of
the {os.cpu_count()} cores of a {platform.machine()} CPU with rimer_forecaster
{rimer_forecaster.__version__}, darts {darts.__version__}, torch {torch.__version__} and Python
{platform.python_version()}.

![Forecasts over measurements](quickstart.png)

{(__doc__ or "").partition("FOLDER]")[2].strip()}
"""


def plot(forecasts: dict[str, list[TimeSeries]], test: TimeSeries, table: pd.DataFrame) -> Figure:
    """One panel per model: its half-year forecasts over what was measured."""
    figure, axes = plt.subplots(
        3, 2, figsize=(12, 9), sharex=True, sharey=True, layout="constrained"
    )
    errors = dict(zip(table["model"], table["MAE, ppm"], strict=True))
    measured = test[LOOK_BACK:]
    for axis, (name, windows) in zip(axes.flat, forecasts.items(), strict=True):
        axis.plot(measured.time_index, measured.values(), color="black", lw=1, label="measured")
        for i, window in enumerate(windows):
            labels = (
                ("forecasts, half a year each", "begin of a forecast") if i == 0 else (None, None)
            )
            style = {"color": "tab:red", "lw": 2, "ls": (0, (3, 1)), "label": labels[0]}
            axis.plot(window.time_index, window.values(), **style)
            axis.axvline(window.start_time(), color="lightgrey", lw=0.8, zorder=0, label=labels[1])
        axis.set_title(f"{name}: MAE {errors[name]:.2f} ppm")
    axes[0, 0].legend()
    figure.suptitle("The last fifth of the weeks, on which no model was trained")
    figure.supylabel("CO2 at Mauna Loa, ppm")
    return figure


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", type=Path, default=Path(), help="folder of table and plot")
    options.add_argument("--epochs", type=int, default=10, help="fewer for a quick look")
    return options


def main() -> None:
    """Run the comparison and write its table and plot."""
    arguments = parser().parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    train, test = load()
    print(f"{len(train)} weeks to train on, {len(test) - LOOK_BACK} weeks to forecast")
    rows, forecasts = [], {}
    for name, make in models(arguments.epochs).items():
        row, forecasts[name] = measure(name, make, train, test)
        rows.append(row)
        print(f"{name}: MAE {row['MAE, ppm']:.3f} ppm, fitted in {row['fit, s']:.1f} s", flush=True)
    table = pd.DataFrame(rows)
    page = as_page(table, mape_remark(test[LOOK_BACK:].values()), arguments.epochs)
    print("\n" + page.partition("!")[0])
    (output / "quickstart.md").write_text(page)
    plot(forecasts, test, table).savefig(output / "quickstart.png", dpi=110)
    print(f"wrote {output / 'quickstart.md'} and {output / 'quickstart.png'}")


if __name__ == "__main__":
    main()
