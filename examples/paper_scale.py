"""Rimer-1.6M against Timer-37.8M, trained alike and tested on values that neither has seen.

    python examples/paper_scale.py [--data FOLDER] [--output FOLDER] [--steps N] [--quick]

The two published sizes as layer strings, at width 512 with 8 heads: one RWKV-7 layer with a linear
channel mix, and twelve attention layers. Beside them each cell at the other's depth, because the
published pair differs in both, and the linear skip alone, last value and seasonal naive. Everything
around the layers is the same: patches, scale, skip, head, loss, optimiser, steps and windows.

With --data on the hourly ETTh1 of FOLDER/ETTh1.csv.xz, split and scaled as in ablations.py, 672
hours to 96 with patches of 96, so that a window is seven tokens, and embedding and head are larger
than the published ones with patches of 32; without it on weekly CO2 at Mauna Loa, 104 weeks to 26
with four tokens. Errors are means over the windows from every origin of the
test part and over all components. Every case runs in a process of its own, whose peak memory holds
the libraries too: the row of the linear skip shows how much that is. Twelve layers of this width
take seconds a step on a CPU; --accelerator gpu trains on a GPU, whose own peak is then a column.
Writes paper_scale.csv.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import darts
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from ablations import SILENT, Task, load_co2, load_etth1, score
from darts.models import NaiveSeasonal
from long_lookback import peak_mib

import rimer_forecaster
from rimer_forecaster import RimerModel

MODELS: dict[str, str | None] = {
    "linear skip alone": None,
    "Rimer-1.6M": "rwkv7(channel_mix=linear)",
    "one attention layer": "attention",
    "twelve RWKV-7 layers": "rwkv7*12",
    "Timer-37.8M": "attention*12",
}
"""Layer strings, from few parameters to many."""


class StepTimes(pl.Callback):
    """Remembers when each step of training ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Take the time, after what was queued on a GPU."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def load_task(arguments: argparse.Namespace) -> tuple[Task, int]:
    """The task and its patch length."""
    if arguments.data is None:
        task, patch_length = load_co2(), 26
    else:
        task, patch_length = load_etth1(arguments.data, look_back=672), 96
    if arguments.quick:  # windows from eight origins
        task = task._replace(test=task.test[: task.look_back + task.horizon + 7])
    return task, patch_length


def measure_case(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and test one model; to be run in a fresh process, for its peak memory."""
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    task, patch_length = load_task(arguments)
    times = StepTimes()
    trainer = {
        **SILENT,
        "accelerator": arguments.accelerator,
        "max_steps": arguments.steps,
        "callbacks": [times],
    }
    model = RimerModel(
        input_chunk_length=task.look_back,
        output_chunk_length=task.horizon,
        layers=MODELS[name],
        width=512,
        head_size=64,
        patch_length=patch_length,
        batch_size=arguments.batch,
        n_epochs=arguments.steps,  # at least a step an epoch: the steps end the training
        random_state=seed,
        pl_trainer_kwargs=trainer,
    ).fit(task.train)
    if len(times.ends) != arguments.steps:
        raise RuntimeError(f"{name} was trained for {len(times.ends)} steps and not as the others.")
    on_gpu = arguments.accelerator != "cpu" and torch.cuda.is_available()
    peak, gpu_peak = peak_mib(), torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None
    return {
        "parameters": sum(parameter.numel() for parameter in model.model.network.parameters()),
        # The first step also warms up.
        "100 steps, s": 100 * float(np.median(np.diff(times.ends))),
        "peak, MiB": peak,
        "peak on GPU, MiB": gpu_peak,
        **score(model, task),
    }


def run_case(name: str, seed: int) -> dict[str, Any]:
    """Measure a case in a process of its own, with the arguments of this one."""
    command = [sys.executable, __file__, *sys.argv[1:], "--case", name, str(seed)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def main() -> None:
    """Train the models and write their table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with ETTh1.csv.xz, to take it for CO2")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--steps", type=int, default=2000, help="of training, two at least")
    parser.add_argument("--batch", type=int, default=32, help="windows of a step")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--accelerator", default="cpu", help="as Lightning names it")
    parser.add_argument("--quick", action="store_true", help="three steps, one seed, few windows")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.seeds, arguments.batch = 3, 1, 4
    if arguments.steps < 2:
        parser.error("--steps must be at least 2: a time is between the ends of two steps.")
    if arguments.case:
        name, seed = arguments.case
        print(json.dumps(measure_case(name, int(seed), arguments)))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "paper_scale.csv"
    task, patch_length = load_task(arguments)
    device = torch.cuda.get_device_name() if arguments.accelerator != "cpu" else "no GPU"
    print(
        f"{task.name}: {task.look_back} to {task.horizon} with patches of {patch_length}, "
        f"{arguments.steps} steps of {arguments.batch} windows; on {arguments.threads} threads of "
        f"a {platform.machine()} CPU, {device}, with rimer_forecaster "
        f"{rimer_forecaster.__version__}, darts {darts.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    runs: list[dict[str, Any]] = [
        {"model": name, "parameters": 0, **score(NaiveSeasonal(season), task)}
        for name, season in {"last value": 1, "seasonal naive": task.season}.items()
    ]
    for name in arguments.models:
        for seed in range(arguments.seeds):
            runs.append({"model": name, **run_case(name, seed)})
            print(f"{name}, seed {seed}: {json.dumps(runs[-1])}", flush=True)
            groups = pd.DataFrame(runs).groupby("model", sort=False)
            table = groups.mean()
            table["MSE spread"] = groups["MSE"].max() - groups["MSE"].min()
            table = table.astype({"parameters": int, "windows": int}).reset_index()
            table.to_csv(path, index=False, float_format="%.6g")  # a long run may end early
    print(f"\n{table.to_string(index=False, float_format='{:.4f}'.format, na_rep='')}")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
