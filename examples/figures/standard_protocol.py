"""Standard tasks with naive and linear rows beside the networks.

    python examples/figures/standard_protocol.py --data FOLDER [--tasks NAME ...] [--seeds 3]

Chronological splits, the scaler fitted on the training part, every test window, every channel,
none dropped; the mean of the seeds. ETTh1, ETTm1, exchange_rate and weather from 96 steps to 96,
ETTh1 and exchange_rate from 336 to 720, too. ETT is split at 12, 16 and 20 months, the others at 70
and 80 %. Where an hour has several steps, training windows are an hour apart, for all models alike.
Weather's sentinel -9999 is a missing value, its duplicate row is dropped and its gap is missing.
Models that cannot read missing values get the last one before; errors leave missing ones out.

rwkv7, gru, attention and rlinear are RimerModel and its recipe; the others are darts' models. Every
model of a task trains for at most 6 epochs, and --seconds. Every run is kept in the folder `runs`
of the output, so that a long protocol resumes where it stopped. Writes protocol-NAME.csv, a page
and plots for each task.

Other scripts take further tasks from here, which --tasks can name as well: other look-backs and
horizons of these sets, and

- nn5-112-56: 111 series of daily cash withdrawals with missing values, a component each, 8 weeks
  ahead; the last 16 weeks test.
- electricity-BE-168-24 and DE, FR, NP: prices of the next day from midnight, with load and
  generation forecasts and weekdays as future covariates; the last two weeks test. Models without
  future covariates do without.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import pandas as pd
import statsmodels.api as sm
import torch
from darts import TimeSeries
from records import write_table

from rimer_forecaster.benchmark import Task, compare, make_task

LONG = {
    "ETTh1": {"season": 24, "split": (8_640, 2_880, 2_880)},
    "ETTm1": {"season": 96, "split": (34_560, 11_520, 11_520)},
    "exchange_rate": {"season": 7, "split": (5_311, 760, 1_517)},
    "weather": {"season": 144, "split": (0.7, 0.1, 0.2)},
}
TRAIN_STRIDES = {"ETTm1": 4, "weather": 6}
LONG_BUDGET = {"epochs": 6, "patience": 3}
SHORT_BUDGET = {"epochs": 30, "patience": 6}
"""Of nn5 and electricity, where an epoch has a tenth of the batches."""
MARKETS = ("BE", "DE", "FR", "NP")
TASKS = (*(f"{name}-96-96" for name in LONG), "ETTh1-336-720", "exchange_rate-336-720")
MODELS = ("rwkv7", "gru", "attention", "dlinear", "nlinear")


def load_long(folder: Path, name: str) -> pd.DataFrame:
    """Read a data set by its dates, with NaN where nothing was measured."""
    frame = pd.read_csv(folder / f"{name}.csv.xz", encoding_errors="replace")
    frame = frame.set_index(pd.to_datetime(frame.pop("date")))
    if name == "weather":
        frame = frame[~frame.index.duplicated()].replace(-9999.0, float("nan"))
    return frame


def load_nn5(folder: Path) -> pd.DataFrame:
    """Read NN5, one column per series; the archive writes missing values as question marks."""
    path = folder / "nn5_daily_dataset_with_missing_values.tsf.xz"
    with lzma.open(path, "rt", encoding="cp1252") as file:
        rows = [line.strip().split(":") for line in file if line.startswith("T")]
    columns = {
        name: pd.to_numeric(pd.Series(values.split(",")).replace("?", None))
        for name, _, values in rows
    }
    start = {begin.split()[0] for _, begin, _ in rows}.pop()
    frame = pd.DataFrame(columns)
    return frame.set_axis(pd.date_range(start, periods=len(frame), freq="D"))


def load_electricity(folder: Path, market: str) -> tuple[pd.Series, TimeSeries]:
    """Read the prices of a market and their covariates."""
    frame = pd.read_csv(folder / "electricity-short-with-ex-vars.csv.xz", parse_dates=["ds"])
    frame = frame[frame["unique_id"] == market].set_index("ds").drop(columns="unique_id")
    frame = frame.asfreq("h")
    price = frame.pop("y")
    return price, TimeSeries.from_dataframe(frame.astype("float32"))


def task_of(folder: Path, name: str) -> Task:
    """Return the task of a name such as ETTh1-96-720."""
    data, look_back, horizon = name.rsplit("-", 2)
    shape = {"horizon": int(horizon), "look_back": int(look_back), "name": name}
    if data == "nn5":
        return make_task(load_nn5(folder), **shape, split=(567, 112, 112), season=7)
    if data.startswith("electricity-"):
        price, covariates = load_electricity(folder, data.partition("-")[2])
        split = {"split": (1008, 336, 336), "season": 24, "stride": 24}
        return make_task(price, **shape, **split, future_covariates=covariates)
    return make_task(load_long(folder, data), **shape, **LONG[data])


def co2_task() -> Task:
    """Weekly CO2 at Mauna Loa, two years to half a year: a task that needs no file."""
    weeks = sm.datasets.co2.load_pandas().data["co2"]
    return make_task(weeks, 26, look_back=104, season=52, name="CO2-104-26")


def budget_of(name: str) -> dict[str, int]:
    """Return epochs, patience and distance of training windows for a task of this name."""
    data = name.partition("-")[0]
    budget = LONG_BUDGET if data in LONG else SHORT_BUDGET
    return {**budget, "train_stride": TRAIN_STRIDES.get(data, 1)}


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, required=True, help="folder of the csv.xz files")
    options.add_argument("--tasks", nargs="+", default=TASKS, metavar="NAME")
    options.add_argument("--models", nargs="+", default=list(MODELS), metavar="MODEL")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=300.0, help="of training, at most")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path("protocol"))
    return options


def main() -> None:
    """Run every task and write its table."""
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.tasks:
        found = compare(
            task_of(arguments.data, name),
            models=arguments.models,
            seeds=arguments.seeds,
            **budget_of(name),
            seconds=arguments.seconds,
            results=arguments.output / "runs",
        )
        found.save(arguments.output / name)
        path = arguments.output / f"protocol-{name}.csv"
        write_table(found.table.assign(task=name), path, index=True)
        print(found.to_markdown(), flush=True)


if __name__ == "__main__":
    main()
