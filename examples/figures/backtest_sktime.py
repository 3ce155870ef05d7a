"""Backtest RimerForecaster with sktime's evaluate, beside sktime's own forecasters.

    python examples/figures/backtest_sktime.py [--epochs 10] [--output FOLDER]

Weekly CO2 at Mauna Loa from statsmodels (2,284 weeks, gaps interpolated). Every forecaster is
refitted, for ten epochs, on all that came before each of three cutoffs, and forecasts half a year.
The first cutoff is after 80 % of the weeks. LTSFTransformerForecaster does not scale its target and
gets a scaler; ESRNNForecaster needs positive values and gets logarithms, as in its documentation.
NeuralForecast needs `input_size` (2 by default) and a refit at every cutoff. It takes 128 windows
per step, and gets as many windows as the others see in ten epochs. Ten epochs are few for these
networks: their rows say what ten epochs give, not what they can reach. Writes backtest_sktime.md,
the table, and backtest_sktime.png, the forecasts. Without neuralforecast its rows are left out.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import sktime
import statsmodels.api as sm
import torch
from matplotlib.figure import Figure
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.es_rnn import ESRNNForecaster
from sktime.forecasting.exp_smoothing import ExponentialSmoothing
from sktime.forecasting.ltsf import LTSFNLinearForecaster, LTSFTransformerForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.forecasting.neuralforecast import NeuralForecastGRU, NeuralForecastLSTM
from sktime.performance_metrics.forecasting import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
)
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.adapt import TabularToSeriesAdaptor
from sktime.transformations.boxcox import LogTransformer
from torch import nn

import rimer_forecaster
from rimer_forecaster import RimerForecaster
from rimer_forecaster.diagnostics import mape_remark

LOOK_BACK, HORIZON = 104, 26  # two years to half a year, in weeks


def load() -> pd.Series:
    """The record in parts per million, by week."""
    return sm.datasets.co2.load_pandas().data["co2"].interpolate().to_period("W")


def forecasters(epochs: int) -> dict[str, BaseForecaster]:
    """The rows of the table."""
    transformer = LTSFTransformerForecaster(
        seq_len=LOOK_BACK,
        context_len=LOOK_BACK // 2,
        pred_len=HORIZON,
        num_epochs=epochs,
        batch_size=32,
        temporal_encoding=False,
        d_model=32,
        d_ff=64,
        n_heads=4,
        e_layers=1,
        d_layers=1,
    )
    lstm = ESRNNForecaster(
        hidden_size=32,
        num_layer=1,
        seasonality_type="single",
        season1_length=52,
        window=LOOK_BACK,
        pred_len=HORIZON,
        batch_size=32,
        num_epochs=epochs,
        lr=1e-3,
    )
    recurrent = {
        "input_size": LOOK_BACK,
        "encoder_hidden_size": 32,
        "encoder_n_layers": 1,
        "max_steps": epochs * math.ceil(0.8 * 2284 / 128),
        "trainer_kwargs": {
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "enable_progress_bar": False,
        },
    }
    linear = LTSFNLinearForecaster(LOOK_BACK, HORIZON, num_epochs=epochs, batch_size=32)
    scaler = TabularToSeriesAdaptor(StandardScaler())
    rows = {
        "RimerForecaster": RimerForecaster(LOOK_BACK, n_epochs=epochs, random_state=0),
        "LTSFTransformerForecaster": TransformedTargetForecaster([scaler, transformer]),
        "ESRNNForecaster (LSTM)": TransformedTargetForecaster([LogTransformer(), lstm]),
        "LTSFNLinearForecaster": linear,
        "ExponentialSmoothing": ExponentialSmoothing(trend="add", seasonal="add", sp=52),
        "Seasonal naive": NaiveForecaster(sp=52),
    }
    if find_spec("neuralforecast"):
        rows["NeuralForecastLSTM"] = NeuralForecastLSTM(**recurrent)
        rows["NeuralForecastGRU"] = NeuralForecastGRU(**recurrent)
    return rows


def count_parameters(forecaster: BaseForecaster) -> int:
    """Weights of the network inside a fitted forecaster; 0 if there is none."""
    if isinstance(forecaster, TransformedTargetForecaster):
        forecaster = forecaster.forecaster_
    if isinstance(forecaster, (NeuralForecastLSTM, NeuralForecastGRU)):
        return forecaster.n_total_params_
    network = getattr(forecaster, "network_", getattr(forecaster, "network", None))
    return sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else 0


def measure(
    name: str, forecaster: BaseForecaster, y: pd.Series
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Backtest one forecaster: a row of the table, and what evaluate returns."""
    print(f"{name}: ", end="", flush=True)
    torch.manual_seed(0)  # sktime's networks take no seed of their own
    folds = evaluate(
        forecaster,
        ExpandingWindowSplitter(
            fh=range(1, HORIZON + 1), initial_window=int(0.8 * len(y)), step_length=4 * 52
        ),
        y,
        scoring=[
            MeanAbsoluteError(),
            MeanSquaredError(square_root=True),
            MeanAbsolutePercentageError(),
        ],
        strategy="refit",
        return_data=True,
        return_model=True,
        error_score="raise",
    )
    actual, predicted = pd.concat(list(folds["y_test"])), pd.concat(list(folds["y_pred"]))
    row = {
        "forecaster": name,
        "MAE, ppm": folds["test_MeanAbsoluteError"].mean(),
        "RMSE, ppm": folds["test_MeanSquaredError"].mean(),
        "MAPE, %": 100 * folds["test_MeanAbsolutePercentageError"].mean(),
        "R2": r2_score(actual, predicted),
        "fit, s": folds["fit_time"].median(),
        "predict, ms": 1000 * folds["pred_time"].median(),
        "parameters": count_parameters(folds["fitted_forecaster"].iloc[-1]),
    }
    print(f"MAE {row['MAE, ppm']:.3f} ppm, {row['fit, s']:.1f} s per fit", flush=True)
    return row, folds


def as_page(table: pd.DataFrame, remark: str | None, epochs: int) -> str:
    """Format the table as a page, with the plot and how both were made."""
    formats = {"fit, s": "{:.1f}".format, "predict, ms": "{:.1f}".format}
    return f"""# Backtest in sktime: weekly CO2 at Mauna Loa

```text
{table.to_string(index=False, formatters=formats, float_format="{:.3f}".format)}
```

{remark or "MAPE can be read here: no true value is near zero."}

`python examples/figures/backtest_sktime.py`, one seed, {epochs} epochs, on
{torch.get_num_threads()} of the {os.cpu_count()} cores of a {platform.machine()} CPU with
rimer_forecaster {rimer_forecaster.__version__}, sktime {sktime.__version__}, torch
{torch.__version__} and Python {platform.python_version()}.

![Forecasts over measurements](backtest_sktime.png)

{(__doc__ or "").partition("FOLDER]")[2].strip()}
"""


def plot(folds: dict[str, pd.DataFrame], table: pd.DataFrame) -> Figure:
    """One row per forecaster, one column per cutoff: the forecast over what was measured."""
    cutoffs = len(next(iter(folds.values())))
    figure, axes = plt.subplots(
        len(folds), cutoffs, figsize=(12, 17), sharex="col", sharey="col", layout="constrained"
    )
    for line, (name, error, results) in zip(
        axes, zip(table.iloc[:, 0], table["MAE, ppm"], folds.values(), strict=True), strict=True
    ):
        parts = (results[part] for part in ("y_train", "y_test", "y_pred"))
        for axis, past, actual, predicted in zip(line, *parts, strict=True):
            weeks = actual.index.to_timestamp()
            measured = pd.concat([past[-52:], actual])
            weeks_measured = measured.index.to_timestamp()
            axis.plot(weeks_measured, measured, color="black", lw=1, label="measured")
            style = {"color": "tab:red", "lw": 2, "ls": (0, (3, 1)), "label": "forecast"}
            axis.plot(weeks, predicted, **style)
            axis.axvline(weeks[0], color="grey", lw=0.8, ls=":", label="cutoff")
        line[0].set_title(f"{name}: MAE {error:.2f} ppm", loc="left")
    axes[0, 0].legend()
    figure.supylabel("CO2 at Mauna Loa, ppm")
    for axis in axes[-1]:
        axis.tick_params("x", rotation=30)
    return figure


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", type=Path, default=Path(), help="folder of table and plot")
    options.add_argument("--epochs", type=int, default=10, help="fewer for a quick look")
    return options


def main() -> None:
    """Run the backtest and write its table and plot."""
    arguments = parser().parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    y = load()
    rows, folds = [], {}
    for name, forecaster in forecasters(arguments.epochs).items():
        row, folds[name] = measure(name, forecaster, y)
        rows.append(row)
    table = pd.DataFrame(rows)
    page = as_page(table, mape_remark(y.to_numpy()), arguments.epochs)
    print("\n" + page.partition("!")[0])
    (output / "backtest_sktime.md").write_text(page)
    plot(folds, table).savefig(output / "backtest_sktime.png", dpi=110)
    print(f"wrote {output / 'backtest_sktime.md'} and {output / 'backtest_sktime.png'}")


if __name__ == "__main__":
    main()
