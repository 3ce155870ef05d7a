"""What components that read each other gain: the standard tasks with and without.

    python examples/figures/components.py [--data FOLDER] [--tasks NAME ...] [--output FOLDER]

RimerModel with components="independent" and components="cross", and beside them seasonal naive and
the linear skip of the package alone (rlinear). Tasks, splits, scaling, epochs and scores are those
of standard_protocol.py: every test window and every channel, none dropped, the weights of the best
epoch on the validation part. Without --data on noise that one component shows six steps before
another, as a quick look.

A run takes minutes: its row is written at once to components.csv, and a row that is there is not
measured again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from records import write_table
from standard_protocol import budget_of, task_of

from rimer_forecaster.benchmark import Task, make_task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.runs import Run, measure

TASKS = ("weather-96-96", "ETTm1-96-96", "ETTh1-96-96", "weather-96-720")
CROSS, INDEPENDENT = 'components="cross"', 'components="independent"'
MODELS: dict[str, Any] = {
    "seasonal naive": "seasonal naive",
    "rlinear": "rlinear",
    INDEPENDENT: {"layers": "rwkv7", "components": "independent"},
    CROSS: {"layers": "rwkv7", "components": "cross"},
}
MEASURED = ["MSE", "MAE", "validation loss", "fit, s", "parameters"]


def follower_task() -> Task:
    """One component that is noise, and one that repeats it six steps later: needs no file."""
    leader = np.random.default_rng(0).normal(size=1500).astype(np.float32)
    frame = pd.DataFrame({"follower": np.roll(leader, 6), "leader": leader})
    return make_task(frame, 6, look_back=24, season=6, name="follower-24-6")


def cases(tasks: list[str], seeds: int) -> list[tuple[str, str, int]]:
    """Tasks, models and seeds in the order in which they are measured.

    Naive has no seed, and the linear map starts at zero: one seed tells.
    """
    found = [(task, model, 0) for task in tasks for model in ("seasonal naive", "rlinear")]
    for task in tasks:
        found += [(task, model, i) for i in range(seeds) for model in (INDEPENDENT, CROSS)]
    return found


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the csv.xz files")
    options.add_argument("--tasks", nargs="+", default=TASKS, help="of standard_protocol.py")
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="at most, fewer for a quick look")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Measure what is not in the table yet."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    path = arguments.output / "components.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["task"], row["model"], row["seed"]) for row in rows}
    names = list(arguments.tasks) if arguments.data else ["follower-24-6"]
    for name, model, seed in cases(names, arguments.seeds):
        if (name, model, seed) in done or model not in arguments.models:
            continue
        task = task_of(arguments.data, name) if arguments.data else follower_task()
        fewer = {"epochs": arguments.epochs} if arguments.epochs else {}
        found = measure(Run(model, MODELS[model], task, Budget(**budget_of(name) | fewer), seed))
        rows.append({"task": name, "model": model, "seed": seed, **{x: found[x] for x in MEASURED}})
        write_table(pd.DataFrame(rows), path)
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby(["task", "model"], sort=False)[["MSE", "MAE"]]
    print(table.agg(["mean", "std", "count"]).round(4).to_string())


if __name__ == "__main__":
    main()
