"""Train layers on the task that each is for, and write what they score.

    python examples/figures/layer_tasks.py [--tasks NAME ...] [--layers STRING ...] [--seeds 3]
        [--output FOLDER]

Tasks and trainings are those of tests/cases/efficacy_training.py. The layers stand between a linear
map in and another one out: nothing else of a forecaster is there. A score is the share of right
classes, or the mean squared error, on sequences that were not trained on. --quick trains for a
tenth of the steps. Writes layer-tasks.csv, a row per task and layer string.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from records import write_table

from rimer_forecaster.benchmark import versions
from rimer_forecaster.layers import state_size

sys.path.append(str(Path(__file__).parents[2] / "tests/cases"))

from efficacy_training import EXPERIMENTS, score, train


def run(name: str, layers: str, *, seed: int, shorter: int = 1) -> dict[str, Any]:
    """Train and score layers once."""
    experiment = EXPERIMENTS[name]
    training = experiment.training
    training = training | {"steps": max(15, training["steps"] // shorter)}
    start = time.process_time()
    net = train(layers, experiment.task, seed=seed, **training)
    seconds = time.process_time() - start
    width, head_size = training.get("width", 16), training.get("head_size", 8)
    fixed, per_token = state_size(layers, width=width, head_size=head_size)
    _, asked = experiment.task(2, torch.Generator().manual_seed(0))
    return {
        "task": name,
        "layers": layers,
        "measure": "MSE" if asked.is_floating_point() else "share right",
        "score": score(net, experiment.tested or experiment.task),
        "parameters": sum(parameter.numel() for parameter in net.layers.parameters()),
        "state, bytes": fixed,
        "per token": per_token,
        "steps": training["steps"],
        "fit, s": seconds,
    }


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per task and layers: the mean over seeds, the worst and the best of them."""
    table = pd.DataFrame(runs)
    groups = table.groupby(["task", "layers", "measure"], sort=False)
    summary = groups.mean()
    summary.insert(1, "lowest", groups["score"].min())
    summary.insert(2, "highest", groups["score"].max())
    summary.insert(3, "seeds", groups.size())
    whole = ["parameters", "state, bytes", "per token", "steps"]
    return summary.reset_index().astype(dict.fromkeys(whole, int))


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--tasks", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    options.add_argument("--layers", nargs="+", help="layer strings; by default all of a task")
    options.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options.add_argument("--quick", action="store_true", help="train for a tenth of the steps")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "layer-tasks.csv"
    print(versions())
    runs = []
    for name in arguments.tasks:
        for layers in arguments.layers or EXPERIMENTS[name].layers:
            for seed in range(arguments.seeds):
                row = run(name, layers, seed=seed, shorter=10 if arguments.quick else 1)
                runs.append(row)
                print(
                    f"{name}, {layers}, seed {seed}: {row['measure']} {row['score']:.4f}, "
                    f"{row['fit, s']:.0f} s",
                    flush=True,
                )
                write_table(summarise(runs), path)  # a run may end early
    print(f"\n{summarise(runs).to_string(index=False)}\n\nwrote {path}")


if __name__ == "__main__":
    main()
