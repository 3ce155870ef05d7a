"""Take the layers of RimerModel apart: the same training with one part changed at a time.

    python examples/figures/ablations.py [--data FOLDER] [--output FOLDER]

Without --data on weekly CO2 at Mauna Loa from statsmodels, with the split of quickstart.py. With it
on the hourly ETTh1 of FOLDER/ETTh1.csv.xz, seven components: 8,640 hours train, the next 2,880 are
left for choosing settings and the next 2,880 test. Values are z-scored by the training part. Errors
are means over the windows from every origin of the test part, over all components, and over seeds;
the spread is the largest less the smallest of the seeds. Last value and seasonal naive forecast the
same windows. Writes ablations.csv.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.missing_values import fill_missing_values
from records import write_table
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.preprocessing import StandardScaler

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions
from rimer_forecaster.layers import Equilibrium

LAYERS = [
    None,  # the linear skip alone
    "rwkv7",
    "rwkv7(time_mix=off)",
    "rwkv7(channel_mix=off)",
    "rwkv7(channel_mix=linear)",
    "rwkv7*4",
    "equilibrium(rwkv7)",
    "attention",
    "rwkv7(icl_rate_max=2)",
]

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


def solver_reports(model: RimerModel) -> dict[str, float]:
    """What the equilibrium layers say of the last forecast; nothing for others."""
    reports = [
        module.report
        for module in model.network.modules()
        if isinstance(module, Equilibrium) and module.report is not None
    ]
    if not reports:
        return {}
    return {
        "passes": float(np.mean([report.iterations for report in reports])),
        "not converged": float(np.mean([report.share_not_converged for report in reports])),
    }


def run(layers: str | None, seed: int, task: Task, epochs: int | None) -> dict[str, Any]:
    """Train and test one variant from one seed."""
    model = RimerModel(
        input_chunk_length=task.look_back,
        output_chunk_length=task.horizon,
        layers=layers,
        n_epochs=epochs,
        pretrained=None,
        random_state=seed,
        pl_trainer_kwargs=SILENT,
    )
    start = time.perf_counter()
    model.fit(task.train)
    fit_seconds = time.perf_counter() - start
    return {
        "layers": layers or "layers=None",
        **score(model, task),
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "fit, s": fit_seconds,
        **solver_reports(model),
    }


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per variant: means over the seeds, and spreads of the errors."""
    columns = ["layers", "MSE", "MAE", "parameters", "fit, s", "passes", "not converged"]
    groups = pd.DataFrame(runs, columns=columns).groupby("layers", sort=False)
    table = groups.mean()
    for error in ("MAE", "MSE"):
        spread = groups[error].max() - groups[error].min()
        table.insert(table.columns.get_loc(error) + 1, f"{error} spread", spread)
    return table.reset_index().astype({"parameters": int})


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with ETTh1.csv.xz, to take it for CO2")
    options.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options.add_argument("--epochs", type=int, help="of every fit; by default RimerModel's choice")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Train the ablations and write their table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "ablations.csv"
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    task = load_etth1(arguments.data) if arguments.data else load_co2()
    print(
        f"{task.name}: {len(task.train)} steps to train on, {len(task.test) - task.look_back} to "
        f"test on, {task.look_back} to {task.horizon}; {versions()}"
    )
    runs = []
    for name, season in {"last value": 1, "seasonal naive": task.season}.items():
        runs.append({"layers": name, "parameters": 0, **score(NaiveSeasonal(season), task)})
        print(f"{name}: MSE {runs[-1]['MSE']:.5f} over {runs[-1]['windows']} windows", flush=True)
    for layers in LAYERS:
        for seed in range(arguments.seeds):
            row = run(layers, seed, task, arguments.epochs)
            runs.append(row)
            solver = f", {row['passes']:.0f} passes" if "passes" in row else ""
            print(
                f"{row['layers']}, seed {seed}: MSE {row['MSE']:.5f}, MAE {row['MAE']:.5f}, "
                f"fitted in {row['fit, s']:.1f} s{solver}",
                flush=True,
            )
            write_table(summarise(runs), path, float_format=None)  # a long run may end early
    formats = {"fit, s": "{:.1f}".format, "passes": "{:.1f}".format}
    table = summarise(runs).to_string(
        index=False, formatters=formats, float_format="{:.5f}".format, na_rep=""
    )
    print(f"\n{table}\n\nwrote {path}")


if __name__ == "__main__":
    main()
