"""Every layer on two sets of real series, under one recipe and one number of steps.

    python examples/figures/layer_accuracy.py [--data FOLDER] [--seeds 3] [--output FOLDER]

- ETTh1, 96 hours to 96: task and errors are those of windows.py, over every test window and all
  components; batches of 32 windows.
- M4 hourly, 336 hours to 48, 414 series under one model: task and error (MASE) are those of
  panel.py; batches of 64 windows.

A row is a layer string in RimerModel; "rlinear" is its linear skip alone. Windows are read as 6 and
as 14 tokens, so that windows, chunks and segments are cut to fit: larger ones would change nothing.
Without --data on weekly CO2 and on sines with noise. Each run is kept in the folder
layer-accuracy-runs, so that an interrupted script goes on. Writes layer-accuracy.csv.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import panel
import torch
from darts.models import NaiveSeasonal
from records import write_table
from windows import Task, load_co2, load_etth1, score

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions
from rimer_forecaster.layers import Equilibrium

LAYERS: dict[str, str | None] = {
    "rlinear": None,
    **{
        layers: layers
        for layers in (
            "gru",
            "lstm",
            "rwkv7",
            "rwkv7(time_mix=off)",
            "rwkv7(channel_mix=off)",
            "rwkv7(channel_mix=linear)",
            "rwkv7*4",
            "equilibrium(rwkv7)",
            "rwkv7(icl_rate_max=2)",
            "rwkv7(sse=on)",
            "rwkv7(retrospect=2)",
            "rwkv4",
            "taylor(feature=16)",
            "attention",
            "attention(window=3)",
            "attention(topk=1, chunk=2)",
            "parallel(attention(window=3), rwkv7)",
            "perspectives(rwkv7; lags=1+7)",
        )
    },
}
"""Names of rows and layer strings."""

NAIVE = "seasonal naive"
WINDOWS, PANEL = "ETTh1", "M4 hourly"


def solver_reports(model: RimerModel) -> dict[str, float]:
    """What the equilibrium layers say of the last forecast; nothing for others."""
    reports = [
        module.report
        for module in model.network.modules()
        if isinstance(module, Equilibrium) and module.report is not None
    ]
    if not reports:
        return {}
    return {
        "passes": float(np.mean([report.iterations for report in reports])),
        "not converged": float(np.mean([report.share_not_converged for report in reports])),
    }


def on_windows(
    task: Task,
    layers: str | None,
    *,
    steps: int,
    seed: int,
    stride: int = 1,
    make: Callable[..., RimerModel] = RimerModel,
    **options: Any,
) -> dict[str, Any]:
    """Train on one series; test on windows of what comes after. Options are RimerModel's."""
    model = make(
        input_chunk_length=task.look_back,
        output_chunk_length=task.horizon,
        layers=layers,
        n_epochs=10_000,
        random_state=seed,
        pl_trainer_kwargs=panel.lightning(steps),
        **options,
    )
    start = time.process_time()
    model.fit(task.train)
    seconds = time.process_time() - start
    errors = score(model, task, stride=stride)
    return {
        "MSE": errors["MSE"],
        "MAE": errors["MAE"],
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "fit, s": seconds,
        **solver_reports(model),
    }


def on_panel(
    train: list[panel.Array],
    actual: panel.Array,
    layers: str | None,
    *,
    steps: int,
    batch: int,
    seed: int,
    chosen: list[int] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train one model of all series or of chosen ones; test on the hours after each of all.

    Options are RimerModel's.
    """
    make = partial(RimerModel, layers=layers, **options)
    start = time.process_time()
    found = panel.through_darts(make, train, steps=steps, seed=seed, batch=batch, trained_on=chosen)
    seconds = time.process_time() - start
    forecasts = found["forecasts"]
    run = {"MASE": panel.mase(train, forecasts, actual)}
    if chosen is not None:
        own = [train[i] for i in chosen]
        run["MASE of the chosen"] = panel.mase(own, forecasts[chosen], actual[chosen])
    return run | {"parameters": found["parameters"], "fit, s": seconds}


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per layer string: for each data set means over seeds, and spreads of the errors."""
    table = pd.DataFrame(runs)
    parts = []
    for data, rows in table.groupby("data", sort=False):
        groups = rows.drop(columns=["data", "seed"]).dropna(axis=1, how="all").groupby("layers")
        part = groups.mean()
        for error in part.columns.intersection(["MSE", "MAE", "MASE"]):
            spread = groups[error].max() - groups[error].min()
            part.insert(part.columns.get_loc(error) + 1, f"{error} spread", spread)
        part.insert(0, "seeds", groups.size())
        parts.append(part.add_prefix(f"{data}: "))
    joined = pd.concat(parts, axis=1)
    order = table["layers"].drop_duplicates()
    return joined.loc[order].rename_axis("layers").reset_index()


def naive_rows(task: Task, train: list[panel.Array], actual: panel.Array) -> list[dict[str, Any]]:
    """Return what repeating the last season scores."""
    errors = score(NaiveSeasonal(task.season), task)
    repeated = panel.naive(train, panel.SEASON)
    rows: list[dict[str, Any]] = [
        {"data": WINDOWS, "MSE": errors["MSE"], "MAE": errors["MAE"]},
        {"data": PANEL, "MASE": panel.mase(train, repeated, actual)},
    ]
    return [{"layers": NAIVE, "seed": 0, "parameters": 0, **row} for row in rows]


def kept(path: Path, make: Any) -> dict[str, Any]:
    """Return a run from its file, or make it and write the file as a whole."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(make()), encoding="utf-8")
        beside.replace(path)
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return run


def every_run(
    arguments: argparse.Namespace, task: Task, train: list[panel.Array], actual: panel.Array
) -> Iterator[dict[str, Any]]:
    """Train and test all layers, one seed after another."""
    makers = {
        PANEL: (
            partial(
                on_panel, train, actual, steps=arguments.panel_steps, batch=arguments.panel_batch
            ),
            f"{arguments.panel_steps}x{arguments.panel_batch}",
        ),
        WINDOWS: (partial(on_windows, task, steps=arguments.steps), f"{arguments.steps}"),
    }
    real = "" if arguments.data else "made-up-"
    for data, (make, size) in makers.items():
        for seed in range(arguments.seeds):
            for name in arguments.layers:
                file = f"{real}{data}-{name}-{size}-{seed}.json".replace("*", "x")
                path = arguments.output / "layer-accuracy-runs" / file
                if arguments.kept and not path.exists():
                    continue
                run = kept(path, partial(make, LAYERS[name], seed=seed))
                yield {"layers": name, "data": data, "seed": seed} | run


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with ETTh1.csv.xz and M4-Hourly-*")
    options.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    options.add_argument("--steps", type=int, default=300, help="of 32 windows of ETTh1")
    options.add_argument("--panel-steps", type=int, default=500, help="of M4 hourly")
    options.add_argument("--panel-batch", type=int, default=64, help="windows of M4 hourly")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--kept", action="store_true", help="train nothing: what there is")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning)
    task = load_etth1(arguments.data) if arguments.data else load_co2()
    train, actual = panel.load(arguments.data)
    path = arguments.output / "layer-accuracy.csv"
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(versions())
    runs = naive_rows(task, train, actual)
    for run in every_run(arguments, task, train, actual):
        runs.append(run)
        print(run, flush=True)
        write_table(summarise(runs), path)  # a run may end early
    print(f"\n{summarise(runs).to_string(index=False)}\n\nwrote {path}")


if __name__ == "__main__":
    main()
