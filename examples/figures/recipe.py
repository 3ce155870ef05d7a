"""What the defaults of training are chosen by: validation losses with one setting changed.

    python examples/figures/recipe.py [--data FOLDER] [--tasks NAME ...] [--output FOLDER]

RimerModel is trained as in standard_protocol.py, and the lowest loss on the validation part, the
mean absolute error of z-scored values, is written down. The test part is not read. Rows are means
over seeds, and their standard deviation. Without --data on weekly CO2 at Mauna Loa from
statsmodels. Writes recipe.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from records import write_table
from standard_protocol import budget_of, co2_task, task_of
from tqdm.auto import tqdm

from rimer_forecaster.benchmark import Task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.contenders import make_contender
from rimer_forecaster.training import Recipe

TASKS = ("electricity-DE-168-24", "electricity-NP-168-24", "exchange_rate-96-96")

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "the last weights, not averages": {"recipe": Recipe(averaging=0.0)},
    "dropout=0": {"dropout": 0.0},
    "dropout=0.2": {"dropout": 0.2},
    "half the learning rate": {"recipe": Recipe(learning_rate=Recipe.learning_rate / 2)},
    "twice the learning rate": {"recipe": Recipe(learning_rate=2 * Recipe.learning_rate)},
    "layers_rate=0.1": {"layers_rate": 0.1},
    "width=64": {"width": 64},
    "streaming=True": {"streaming": True},
}
"""Arguments of RimerModel."""


def validation_loss(task: Task, variant: str, budget: Budget, seed: int) -> float:
    """Train a variant and return the lowest loss on the validation part."""
    contender = make_contender({"layers": "rwkv7"} | VARIANTS[variant], task, budget, seed)
    contender.fit()
    assert contender.validation_loss is not None
    return contender.validation_loss


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the csv.xz files, to take for CO2")
    options.add_argument("--tasks", nargs="+", default=TASKS, help="of standard_protocol.py")
    options.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="at most, fewer for a quick look")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Train every variant on every task and write the table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    runs: list[dict[str, Any]] = []
    for name in arguments.tasks if arguments.data else ["CO2"]:
        task = task_of(arguments.data, name) if arguments.data else co2_task()
        fewer = {"epochs": arguments.epochs} if arguments.epochs else {}
        budget = Budget(**budget_of(name) | fewer)
        cases = [(v, seed) for v in arguments.variants for seed in range(arguments.seeds)]
        for variant, seed in tqdm(cases, desc=task.name, unit="run"):
            loss = validation_loss(task, variant, budget, seed)
            runs.append({"task": task.name, "variant": variant, "validation loss": loss})
        losses = pd.DataFrame(runs).groupby(["task", "variant"], sort=False)["validation loss"]
        table = losses.agg(["mean", "std", "count"]).rename(columns={"count": "seeds"})
        write_table(table, arguments.output / "recipe.csv", index=True)  # a long run may end early
    print(table["mean"].unstack("task").to_string(float_format="%.4f"))
    print(f"wrote {arguments.output / 'recipe.csv'}")


if __name__ == "__main__":
    main()
