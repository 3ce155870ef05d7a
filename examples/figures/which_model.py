"""All contenders beside each other over the kinds of data that people have.

    python examples/figures/which_model.py --data FOLDER [--kinds NAME ...] [--models NAME ...]
        [--seeds 3] [--output FOLDER]

- short: monthly, quarterly, weekly and daily validation rows of corpus.parquet without gaps, at
  most 200 of each and the last 400 values; the last 18, 8, 13 and 30 are forecast
- panels: M4 hourly, 414 series, 48 ahead; NN5 daily, 111 series, 56 ahead
- long: first, middle and last column of ETTh1, ETTm1 and weather, 96 ahead from 96, at every
  199th or 797th step of the test part
- prices: electricity of four markets, a day ahead, with what is known ahead
- live: a year of hourly values of ETTh1's OT, 24 ahead from 168, at every seventh hour

What is trained gets about --steps optimiser steps of 32 windows, and keeps the weights of its
lowest validation loss. Models of SLOW have one seed. The first seed has a process of its own, in
which its peak of memory is read. Seconds are those of the processor on one thread, so that other
processes do not count. Every run is kept in the folder `runs` of the output, so that a script that
was interrupted goes on. With --quick sines and two steps. Writes which-model-KIND.csv.
"""

from __future__ import annotations

import argparse
import math
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from records import write_table
from which_model_sets import sets, sines

from rimer_forecaster.benchmark import (
    Comparison,
    Panel,
    PanelComparison,
    Task,
    compare,
    compare_panel,
)
from rimer_forecaster.benchmark.budget import Rule
from rimer_forecaster.benchmark.contenders import ALWAYS
from rimer_forecaster.benchmark.runs import Run, stored

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BATCH, STEPS_PER_EPOCH = 32, 50

ZERO = ("zero", "zero+adapt", "zero+fine-tuned")
STATISTICAL = ("autoets", "autotheta", "autoarima")
NETWORKS = ("rwkv7", "nlinear", "tide", "nhits", "blockrnn-lstm", "blockrnn-gru")
SLOW = ("tft", "patchtst", "itransformer", *ZERO)
KINDS = {
    "short": (*ZERO, *STATISTICAL, "rwkv7", "nlinear"),
    "panels": (*ZERO, *STATISTICAL, *NETWORKS, *SLOW[:3]),
    "long": (*ZERO, *STATISTICAL[:2], *NETWORKS, *SLOW[:3]),
    "prices": (*ZERO, *STATISTICAL[:2], *NETWORKS, "rwkv7-cross-covariates", *SLOW[:3]),
    "live": ("rwkv7-streamed", "zero", *NETWORKS),
}
"""Models of each kind; naive rows and rlinear are always there."""
LEFT_OUT = {"M4 hourly": ("autoarima", "itransformer")}
"""AutoARIMA takes 16 s per series there, and iTransformer reads series that begin together."""


def settings_of(given: Task | Panel, steps: int) -> dict[str, Any]:
    """Return what all that is trained gets: so many steps, in epochs of about 50."""
    stride = max(1, given.training_windows(1) // (BATCH * STEPS_PER_EPOCH))
    epochs = math.ceil(steps / Rule.of(given, BATCH, stride).steps)
    return {
        "epochs": epochs,
        "patience": epochs,
        "seconds": None,
        "batch_size": BATCH,
        "train_stride": stride,
        "quantiles": QUANTILES,
    }


def measure_apart(given: Task | Panel, models: list[str], *, steps: int, runs: Path) -> None:
    """Run the first seed of each model in a process that has done nothing else."""
    settings = settings_of(given, steps)
    rule = Rule.of(given, settings["batch_size"], settings["train_stride"])
    method = "fork" if "fork" in get_all_start_methods() else "spawn"
    for model in dict.fromkeys((*models, *reversed(ALWAYS))):
        run = Run(model, model, given, rule.budget(**settings), 0)
        with ProcessPoolExecutor(1, get_context(method)) as process, suppress(Exception):
            process.submit(stored, run, runs, isolated=False).result()  # compare() says why not


def compared(
    given: Task | Panel, models: list[str], *, steps: int, runs: Path, seeds: int
) -> Comparison | PanelComparison:
    """Compare on one set."""
    settings = settings_of(given, steps) | {"results": runs, "seeds": seeds, "isolated": False}
    if isinstance(given, Panel):
        return compare_panel(given, models=models, **settings)
    return compare(given, models=models, **settings)


def rows_of(given: Task | Panel, found: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a set: means over seeds, and memory of the first."""
    by_model = found.groupby("model", sort=False)
    mean, naive = by_model.mean(), found[found["model"] == "seasonal naive"].iloc[0]
    series = len(given.scale()[0])
    return pd.DataFrame(
        {
            "set": given.name,
            "MASE": mean["MASE"],
            "MASE std": by_model["MASE"].std(),
            "relative MASE": mean["MASE"] / naive["MASE"],
            "WQL": mean["WQL"],
            "relative WQL": mean["WQL"] / naive["WQL"],
            "80 % covers": mean["coverage"],
            "fit, s": mean["fit, CPU s"],
            "predict, s": mean["test, CPU s"],
            "one forecast, ms": mean["predict, CPU ms"],
            "update, ms": mean.get("update, CPU ms"),
            "peak memory, MiB": by_model["peak memory, MiB"].first(),
            "bytes": mean["weights, bytes"],
            "seeds": by_model["MASE"].count(),
            "series": series,
            "forecasts": series * len(given.origins),
        }
    )


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the data sets")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--models", nargs="+", help="rows, those of the kind by default")
    options.add_argument("--sets", nargs="+", help="all of the kind by default")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--quick", action="store_true", help="sines and two steps")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Compare on every set of every kind, and write a table of each kind."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if arguments.data is None and not arguments.quick:
        parser().error("give --data FOLDER, or --quick")
    shared = {"steps": 2 if arguments.quick else arguments.steps, "runs": arguments.output / "runs"}
    for kind in arguments.kinds:
        parts = []
        for given in sines(kind) if arguments.quick else sets(kind, arguments.data):
            if arguments.sets and given.name not in arguments.sets:
                continue
            left_out = LEFT_OUT.get(given.name, ())
            models = [x for x in arguments.models or KINDS[kind] if x not in left_out]
            quicker = [x for x in models if x not in SLOW]
            measure_apart(given, models, **shared)
            first = compared(given, models, seeds=1, **shared)
            more = compared(given, quicker, seeds=arguments.seeds, **shared)
            found = pd.concat([first.runs, more.runs]).drop_duplicates(["model", "seed"])
            found = found.sort_values("seed", kind="stable")
            parts.append(rows_of(given, found))
            print(parts[-1].to_string(float_format="%.4g"), *first.remarks, sep="\n", flush=True)
        write_table(pd.concat(parts), arguments.output / f"which-model-{kind}.csv", index=True)


if __name__ == "__main__":
    main()
