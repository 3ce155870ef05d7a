"""The standard long-horizon protocol, with naive and linear rows beside the networks.

    python examples/standard_protocol.py --data FOLDER [--tasks NAME ...] [--seeds 3] [--output F]

Chronological splits, the scaler fitted on the training part, every test window, every channel,
none dropped; the mean of the seeds. A task is a data set, a look-back and a horizon:
ETTh1-96-720 forecasts 720 steps from 96. ETT is split at 12, 16 and 20 months, exchange and
weather at 70, 80 and 100 %. Weather's sentinel -9999 is a missing value, its duplicate row is
dropped and its gap is missing; darts' models, which cannot read missing values, get the last one
before. Every run is kept in the folder `runs` of the output, so that a long protocol resumes where
it stopped. Writes protocol-NAME.csv, a page and plots for each task.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from rimer_forecaster.benchmark import Task, compare, make_task

SEASONS = {"ETTh1": 24, "ETTm1": 96, "exchange_rate": 7, "weather": 144}
SPLITS = {
    "ETTh1": (8_640, 2_880, 2_880),
    "ETTm1": (34_560, 11_520, 11_520),
    "exchange_rate": (0.7, 0.1, 0.2),
    "weather": (0.7, 0.1, 0.2),
}
TASKS = [f"{name}-{L}-{H}" for name in SEASONS for L in (96, 336) for H in (96, 720)]
MODELS = ("rwkv7", "gru", "lstm", "transformer", "dlinear", "nlinear")


def load(folder: Path, name: str) -> pd.DataFrame:
    """Read a data set by its dates, with NaN where nothing was measured."""
    frame = pd.read_csv(folder / f"{name}.csv.xz", encoding_errors="replace")
    frame = frame.set_index(pd.to_datetime(frame.pop("date")))
    if name == "weather":
        frame = frame[~frame.index.duplicated()].replace(-9999.0, float("nan"))
    return frame


def task_of(folder: Path, name: str) -> Task:
    """Return the task of a name such as ETTh1-96-720."""
    data, look_back, horizon = name.rsplit("-", 2)
    return make_task(
        load(folder, data),
        int(horizon),
        look_back=int(look_back),
        split=SPLITS[data],
        season=SEASONS[data],
        name=name,
    )


def main() -> None:
    """Run every task and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the csv.xz files")
    parser.add_argument("--tasks", nargs="+", default=TASKS, metavar="NAME")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("protocol"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.tasks:
        found = compare(
            task_of(arguments.data, name),
            models=arguments.models,
            seeds=arguments.seeds,
            epochs=arguments.epochs,
            results=arguments.output / "runs",
        )
        found.save(arguments.output / name)
        found.table.to_csv(arguments.output / f"protocol-{name}.csv", float_format="%.5g")
        print(found.to_markdown(), flush=True)


if __name__ == "__main__":
    main()
