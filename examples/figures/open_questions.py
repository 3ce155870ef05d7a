"""What hybrids.py, long_context.py and data_scaling.py share: options, kept runs and the table.

They answer open questions of the paper "BlackGoose Rimer" for docs/results/open-questions.md. Each
run is kept in a folder beside the table, so that an interrupted script goes on. Seconds are
processor time.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch
from darts import TimeSeries
from layer_accuracy import kept
from records import write_table
from windows import Task

from rimer_forecaster.benchmark import make_task, versions
from rimer_forecaster.layers import state_size

Case: TypeAlias = tuple[dict[str, Any], Callable[[], dict[str, Any]]]
"""What a run is of, its seed among it, and the run."""

ERRORS = ("MSE", "MAE", "MASE", "MASE of the chosen", "share right")
WHOLE = ("parameters", "state, bytes", "per token", "windows", "patch", "tokens", "steps", "series")
STRIDE = 11
"""Steps between two test windows: it shares no divisor with a day, so all times of day come."""


def options(doc: str, *, steps: int) -> argparse.ArgumentParser:
    """Options that the scripts share."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the data; without it made-up series")
    parser.add_argument("--steps", type=int, default=steps, help="of every training on windows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two steps, one seed")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return parser


def prepare(arguments: argparse.Namespace) -> None:
    """Be silent, on as many threads as asked; cut everything short if it is to be quick."""
    if arguments.quick:
        arguments.steps, arguments.seeds = 2, 1
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning)
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(versions())


def windows_of(
    series: TimeSeries | pd.DataFrame | pd.Series, *, look_back: int, horizon: int, **shape: Any
) -> Task:
    """Z-score a series by its training part; its validation part is used by none."""
    task = make_task(series, horizon, look_back=look_back, **shape)
    values = task.z_scored()
    test = values[task.validation_end - look_back :]
    return Task(task.name, values[: task.train_end], test, look_back, horizon, task.season)


def state_bytes(layers: str | None, *, width: int) -> dict[str, int]:
    """Bytes that the layers carry in a stream, and per token of one where they grow."""
    if layers is None:
        return {"state, bytes": 0, "per token": 0}
    fixed, per_token = state_size(layers, width=width, head_size=width // 2)
    return {"state, bytes": fixed, "per token": per_token}


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per case: means over its seeds, and each error's largest less its smallest."""
    table = pd.DataFrame(runs)
    by = list(table.columns[: table.columns.get_loc("seed")])
    groups = table.groupby(by, sort=False)
    means = groups.mean().drop(columns="seed")
    for error in means.columns.intersection(ERRORS):
        spread = groups[error].agg(lambda found: found.max() - found.min())
        means.insert(means.columns.get_loc(error) + 1, f"{error} spread", spread)
    whole = means.columns.intersection(WHOLE)
    means[whole] = means[whole].round().astype("Int64")  # NA where a row has none
    means.insert(0, "seeds", groups["seed"].nunique())
    return means.reset_index()


def tabulate(cases: Iterable[Case], name: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Make the runs that are not kept, and write the table of all after each."""
    path = arguments.output / f"open-questions-{name}.csv"
    made_up = "" if arguments.data else "made-up-"
    runs: list[dict[str, Any]] = []
    for case, make in cases:
        words = "-".join(map(str, case.values())).replace("*", "x")
        file = f"{made_up}{words}-{arguments.steps}.json"
        runs.append(case | kept(arguments.output / f"open-questions-{name}-runs" / file, make))
        print(runs[-1], flush=True)
        write_table(summarise(runs), path)  # a run may end early
    table = summarise(runs)
    print(f"\n{table.to_string(index=False)}\n\nwrote {path}")
    return table
