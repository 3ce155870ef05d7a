"""What crossing gains, of components or of covariates: the standard tasks with and without.

    python examples/figures/components.py [--data FOLDER] [--tasks NAME ...] [--output FOLDER]
    python examples/figures/components.py --crossing covariates --data FOLDER [--output FOLDER]

RimerModel with components="independent" and components="cross", or with covariates="features" and
covariates="cross", each of these at two learning rates of the layers; and beside them seasonal
naive and the linear skip of the package alone (rlinear). Tasks, splits, scaling, epochs and scores
are those of standard_protocol.py: every test window and every channel, none dropped, the weights of
the best epoch on the validation part. Without --data on noise that one component, or a covariate,
shows six steps before another, as a quick look.

A run takes minutes: its row is written at once to components.csv or covariates.csv, and a row that
is there is not measured again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from records import write_table
from standard_protocol import MARKETS, budget_of, task_of

from rimer_forecaster.benchmark import Task, make_task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.runs import Run, measure

TASKS = {
    "components": ("weather-96-96", "ETTm1-96-96", "ETTh1-96-96", "weather-96-720"),
    "covariates": tuple(f"electricity-{market}-168-24" for market in MARKETS),
}
FORMS = {"components": ("independent", "cross"), "covariates": ("features", "cross")}
RATES = {"components": (1.0,), "covariates": (1.0, 0.1)}
"""Of the layers: six weeks of prices are few, see standard_protocol.py."""
WITHOUT = ("seasonal naive", "rlinear")
MEASURED = ["MSE", "MAE", "validation loss", "fit, s", "parameters"]


def models(crossing: str) -> dict[str, Any]:
    """What is compared, by the name that the table shows."""
    found: dict[str, Any] = {name: name for name in WITHOUT}
    for rate in RATES[crossing]:
        for form in FORMS[crossing]:
            name = f'{crossing}="{form}"' + ("" if rate == 1 else f", layers_rate={rate}")
            found[name] = {"layers": "rwkv7", crossing: form, "layers_rate": rate}
    return found


def follower_task(crossing: str) -> Task:
    """Noise, and what repeats it six steps later: needs no file."""
    leader = np.random.default_rng(0).normal(size=1500).astype(np.float32)
    shape = {"look_back": 24, "season": 6, "name": "follower-24-6"}
    frame = pd.DataFrame({"follower": np.roll(leader, 6), "leader": leader})
    if crossing == "components":
        return make_task(frame, 6, **shape)
    known = TimeSeries.from_dataframe(frame[["leader"]])
    return make_task(frame["follower"], 6, **shape, future_covariates=known)


def cases(crossing: str, tasks: list[str], seeds: int) -> list[tuple[str, str, int]]:
    """Tasks, models and seeds in the order in which they are measured.

    Naive has no seed. The linear map starts at zero, and one seed tells where windows are many.
    """
    found = [(task, model, 0) for task in tasks for model in WITHOUT]
    compared = list(models(crossing))[len(WITHOUT) - (crossing == "covariates") :]
    for seed in range(seeds):
        found += [(task, model, seed) for task in tasks for model in compared]
    return list(dict.fromkeys(found))


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the csv.xz files")
    options.add_argument("--crossing", choices=TASKS, default="components")
    options.add_argument("--tasks", nargs="+", help="of standard_protocol.py")
    options.add_argument("--models", nargs="+", help="names in the table, by default all")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="at most, fewer for a quick look")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Measure what is not in the table yet."""
    arguments = parser().parse_args()
    crossing, known = arguments.crossing, models(arguments.crossing)
    if unknown := sorted(set(arguments.models or ()) - known.keys()):
        parser().error(f"--models {unknown} must be of {list(known)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    path = arguments.output / f"{crossing}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["task"], row["model"], row["seed"]) for row in rows}
    names = list(arguments.tasks or TASKS[crossing]) if arguments.data else ["follower-24-6"]
    for name, model, seed in cases(crossing, names, arguments.seeds):
        if (name, model, seed) in done or model not in (arguments.models or known):
            continue
        task = task_of(arguments.data, name) if arguments.data else follower_task(crossing)
        fewer = {"epochs": arguments.epochs} if arguments.epochs else {}
        found = measure(Run(model, known[model], task, Budget(**budget_of(name) | fewer), seed))
        rows.append({"task": name, "model": model, "seed": seed, **{x: found[x] for x in MEASURED}})
        write_table(pd.DataFrame(rows), path)
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby(["task", "model"], sort=False)[["MSE", "MAE"]]
    print(table.agg(["mean", "std", "count"]).round(4).to_string())


if __name__ == "__main__":
    main()
