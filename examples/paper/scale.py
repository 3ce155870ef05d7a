"""Rimer-1.6M against Timer-37.8M, trained alike and tested on values that neither has seen.

    python examples/paper/scale.py [--data FOLDER] [--tasks NAME ...] [--output FOLDER] [--quick]

The two published sizes as layer strings, at width 512 with 8 heads: one RWKV-7 layer with a linear
channel mix, as released, and twelve attention layers. Beside them the complete layer, as RWKV-7's
paper has it, one attention layer, because the published pair differs in cell and depth, and the
linear skip alone, last value and seasonal naive. Everything around the layers is the same: patches,
scale, skip, head, loss, optimiser, epochs and windows.

With --data on four tasks of standard_protocol.py, seven tokens of 96 steps to 96: embedding and
head are then larger than the published ones with patches of 32. Without it on weekly CO2 at Mauna
Loa, four tokens to 26 weeks. An epoch has about --windows windows, evenly apart, and those to stop
early and to test on are as far apart: twelve layers of this width take seconds per step on a CPU.
Nothing stops early, unless --seconds does, so that the seconds of training are those of --epochs
epochs, validation included. Peak memory is what a process of its own takes more than before; on a
GPU there is a column for its own. Results of single runs are kept, and a comparison that was
interrupted goes on. Writes what `compare` writes, and paper-scale.csv.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "figures"))

from records import write_table
from standard_protocol import co2_task, task_of

from rimer_forecaster.benchmark import Task, compare

MODELS = {
    "Rimer-1.6M": "rwkv7(channel_mix=linear)",
    "one complete RWKV-7 layer": "rwkv7",
    "one attention layer": "attention",
    "Timer-37.8M": "attention*12",
}
"""Layer strings, from few parameters to many."""

TASKS = ("ETTh1-672-96", "ETTm1-672-96", "exchange_rate-672-96", "weather-672-96")


def load_tasks(folder: Path | None, names: list[str]) -> tuple[list[Task], int]:
    """Return the tasks and their patch length."""
    if folder is None:
        return [co2_task()], 26
    return [task_of(folder, name) for name in names], 96


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the csv.xz files, to take for CO2")
    options.add_argument("--tasks", nargs="+", default=TASKS, help="of standard_protocol.py")
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--batch", type=int, default=8, help="windows of an optimiser step")
    options.add_argument("--windows", type=int, default=336, help="of an epoch, about")
    options.add_argument("--seconds", type=float, help="of training, at most")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2, help="of torch")
    options.add_argument("--output", type=Path, default=Path("paper_scale"))
    options.add_argument("--quick", action="store_true", help="one epoch, one seed, few windows")
    return options


def main() -> None:
    """Train the models and write their table."""
    arguments = parser().parse_args()
    if arguments.quick:
        arguments.epochs, arguments.seeds, arguments.windows = 1, 1, 4
    torch.set_num_threads(arguments.threads)
    tasks, patch_length = load_tasks(arguments.data, arguments.tasks)
    sizes = {"width": 512, "head_size": 64, "patch_length": patch_length}
    tables = []
    for task in tasks:
        stride = max(1, task.training_windows(1) // arguments.windows)
        found = compare(
            replace(task, stride=stride),
            models={name: {"layers": MODELS[name], **sizes} for name in arguments.models},
            seeds=arguments.seeds,
            epochs=arguments.epochs,
            patience=arguments.epochs,
            seconds=arguments.seconds,
            batch_size=arguments.batch,
            train_stride=stride,
            results=arguments.output / "runs",
        )
        found.save(arguments.output / task.name)
        tables.append(found.table.assign(task=task.name))
        write_table(pd.concat(tables), arguments.output / "paper-scale.csv", index=True)
        print(found.to_markdown(), flush=True)


if __name__ == "__main__":
    main()
