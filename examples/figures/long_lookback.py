"""Measure how time and memory of RimerModel and of darts' models grow with the look-back.

    python examples/figures/long_lookback.py [--output FOLDER]
    python examples/figures/long_lookback.py --stream [--output FOLDER]

The first command times a training step and a forecast of one batch for look-backs of 512 to 32,768
steps. Models have their defaults. Every case has a process of its own, whose peak memory is then
the peak of the case. What a small case of the same model has allocated before is left out,
because libraries load on the first step. Increases of a few MiB are still below what this can tell.
Writes long_lookback.csv and long_lookback.png.

Two differences are part of the models. RimerModel reads a patch of up to 24 steps as one token, the
others every step by itself. TransformerModel trains with the true horizon as input but forecasts it
step by step, the others do both in one pass.

The second command times one new value and the forecast after it, after histories of 1,000 to
100,000 steps: the network carries a state and does not read a window again. Writes
long_lookback_stream.csv.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, TransformerModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput
from matplotlib.figure import Figure
from records import write_table
from torch import Tensor, nn
from windows import SILENT

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.benchmark import peak_memory, versions
from rimer_forecaster.layers import leaves

try:
    import resource
except ModuleNotFoundError:  # Windows, which then has no figures of memory and no limit on it
    resource = None

HORIZON = 24
LOOK_BACKS = [512 * 2**i for i in range(7)]
SMALL_LOOK_BACK = 64
STREAM_LOOK_BACK = 512
HISTORIES, UPDATES = (1_000, 10_000, 100_000), 400
MODELS: dict[str, Callable[..., TorchForecastingModel]] = {
    "RimerModel": RimerModel,
    "TransformerModel": TransformerModel,
    "LSTM (BlockRNNModel)": partial(BlockRNNModel, model="LSTM", hidden_dim=64),
    "GRU (BlockRNNModel)": partial(BlockRNNModel, model="GRU", hidden_dim=64),
}
OUT_OF_MEMORY = ("allocate memory", "Unable to allocate", "MemoryError", "bad_alloc")


def random_walks(batch: int, steps: int) -> Tensor:
    """(B, steps, 1), the same at every call."""
    return torch.randn(batch, steps, 1, generator=torch.Generator().manual_seed(0)).cumsum(1)


def build(name: str, look_back: int) -> nn.Module:
    """Return a model's torch module, as darts builds it for a series, but untrained."""
    model = MODELS[name](
        input_chunk_length=look_back,
        output_chunk_length=HORIZON,
        random_state=0,
        # A step would leave its peak of memory behind.
        pl_trainer_kwargs={**SILENT, "max_steps": 0},
    )
    walk = random_walks(1, look_back + HORIZON)[0].numpy()
    return model.fit(TimeSeries.from_values(walk)).model


def median_ms(step: Callable[[], Tensor], repeats: int) -> float:
    """Time of a step in milliseconds, after one that warms up and whose result is checked."""
    if not step().isfinite().all():
        raise ArithmeticError("the result is not finite, so its time means nothing.")
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def time_steps(module: nn.Module, look_back: int, batch: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of a training step and of a forecast."""
    walks = random_walks(batch, look_back + HORIZON)
    past, future = walks[:, :look_back], walks[:, look_back:]
    optimizer = torch.optim.AdamW(module.parameters())

    def train() -> Tensor:
        optimizer.zero_grad()
        window = PLModuleInput(past_target=past, future_target=future, stage=ModuleStage.TRAIN)
        loss = nn.functional.l1_loss(module(window).prediction.squeeze(-1), future)
        loss.backward()
        optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def forecast() -> Tensor:
        return module(PLModuleInput(past_target=past, stage=ModuleStage.PREDICT)).prediction

    module.train()
    train_ms = median_ms(train, repeats)
    module.eval()
    return train_ms, median_ms(forecast, repeats)


def measure_case(name: str, look_back: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the table; to be run in a fresh process."""
    torch.set_num_threads(arguments.threads)
    time_steps(build(name, SMALL_LOOK_BACK), SMALL_LOOK_BACK, batch=1, repeats=1)
    if resource is not None:  # only now: a library that cannot be loaded raises other errors
        limit = int(arguments.max_memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    module = build(name, look_back)
    before = peak_memory()
    train_ms, forecast_ms = time_steps(module, look_back, arguments.batch, arguments.repeats)
    after = peak_memory()
    return {
        "train, ms": train_ms,
        "forecast, ms": forecast_ms,
        "peak, MiB": None if before is None or after is None else after - before,
    }


def run_case(name: str, look_back: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a case in a process of its own; a note says why there are no figures."""
    command = [sys.executable, __file__, "--case", name, str(look_back)]
    for option in ("threads", "batch", "repeats", "max_memory"):
        command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=arguments.max_seconds
        )
    except subprocess.TimeoutExpired:
        return {"note": "did not finish: time"}
    if process.returncode == 0:
        return json.loads(process.stdout.splitlines()[-1])
    killed = sys.platform != "win32" and process.returncode == -signal.SIGKILL
    if killed or any(sign in process.stderr for sign in OUT_OF_MEMORY):
        return {"note": "did not finish: memory"}
    lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
    return {"note": f"failed: {lines[-1]}"}


def measure_growth(arguments: argparse.Namespace) -> pd.DataFrame:
    """All models at all look-backs, each until it does not finish."""
    rows = []
    for name in arguments.models:
        note = ""
        for look_back in sorted(arguments.lookbacks):
            case = {"note": note} if note else run_case(name, look_back, arguments)
            note = case.get("note", "")
            rows.append({"model": name, "look-back": look_back, **case, "note": note})
            parts = [
                key.replace(",", f" {value:.1f}")
                for key, value in case.items()
                if key != "note" and value is not None
            ]
            print(f"{name}, {look_back:,} steps: {note or ', '.join(parts)}", flush=True)
    figures = ["train, ms", "forecast, ms", "peak, MiB"]
    table = pd.DataFrame(rows, columns=["model", "look-back", *figures, "note"])
    return table.astype(dict.fromkeys(figures, float))


def slope(table: pd.DataFrame, column: str) -> float:
    """Exponent of the growth with the look-back; NaN from fewer than two figures above zero."""
    finished = table[table[column] > 0]
    if len(finished) < 2:
        return float("nan")
    return float(np.polyfit(np.log(finished["look-back"]), np.log(finished[column]), 1)[0])


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Exponents by model: 1 is linear growth, 2 quadratic."""
    exponents = pd.DataFrame(
        {
            "model": name,
            "longest look-back": rows.loc[rows["note"] == "", "look-back"].max(),
            "exponent of train time": slope(rows, "train, ms"),
            "exponent of peak memory": slope(rows, "peak, MiB"),
        }
        for name, rows in table.groupby("model", sort=False)
    )
    return exponents.astype({"longest look-back": "Int64"})


def plot(table: pd.DataFrame) -> Figure:
    """Time of a training step, and peak memory, over the look-back."""
    panels = {
        "train, ms": "time of a training step, ms",
        "peak, MiB": "peak memory of the steps, MiB",
    }
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axis, (column, label) in zip(axes, panels.items(), strict=True):
        styles = ("-", "o"), ("--", "s"), ("-.", "^"), (":", "D")
        for (name, rows), (line, marker) in zip(
            table.groupby("model", sort=False), styles, strict=False
        ):
            missing = rows[rows["note"] != ""]
            end = f" (longer: {missing['note'].iloc[0]})" if len(missing) else ""
            shown = rows[rows[column] > 0]  # zero has no place on a logarithmic axis
            axis.plot(shown["look-back"], shown[column], line, marker=marker, label=name + end)
        axis.set(xscale="log", xlabel="look-back, steps", ylabel=label)
        if (table[column] > 0).any():
            axis.set_yscale("log")
        ticks = sorted(table["look-back"].unique())
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=30)
        axis.minorticks_off()
        axis.grid(color="lightgrey", lw=0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


@torch.inference_mode()
def measure_stream(batch: int) -> pd.DataFrame:
    """Time of one new value and the forecast after it, by the length of the history."""
    network = RimerNetwork(STREAM_LOOK_BACK, HORIZON).eval()
    states, values, times = {}, {}, {}
    for history in HISTORIES:
        walks = random_walks(batch, history + UPDATES)
        states[history] = network.observe(walks[:, :history])
        values[history] = walks[:, history:].split(1, dim=1)
        times[history] = []
    for i in range(UPDATES):
        for history in HISTORIES:  # in turn, so that what else the machine does hits all alike
            start = time.perf_counter()
            states[history] = network.update(states[history], values[history][i])
            forecast = network.forecast(states[history])
            times[history].append(1000 * (time.perf_counter() - start))
            if not forecast.isfinite().all():
                raise ArithmeticError("the forecast is not finite, so its time means nothing.")
    table = pd.DataFrame(
        {
            "history": history,
            "median, ms": np.median(times[history]),
            "mean, ms": np.mean(times[history]),  # most updates only begin or extend a patch
            "state, bytes": sum(leaf.nbytes for _, leaf in leaves(states[history])),
        }
        for history in HISTORIES
    )
    table.insert(2, "ratio", table["median, ms"] / table["median, ms"].iloc[0])
    return table


def whole_numbers(text: str) -> list[int]:
    """Read the numbers of a list with commas."""
    return [int(part) for part in text.split(",")]


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", type=Path, default=Path(), help="folder of table and plot")
    options.add_argument("--lookbacks", type=whole_numbers, default=LOOK_BACKS, metavar="L,L,...")
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options.add_argument("--threads", type=int, default=2, help="of torch")
    options.add_argument("--batch", type=int, default=8, help="windows, or streams")
    options.add_argument("--repeats", type=int, default=3, help="steps to take the median of")
    options.add_argument(
        "--max-memory",
        type=float,
        default=8,
        help="GiB of address space a case may take; torch and darts alone take over 1",
    )
    options.add_argument(
        "--max-seconds", type=float, default=120, help="of a case, with the start of its process"
    )
    options.add_argument("--stream", action="store_true", help="measure streamed updates instead")
    options.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    return options


def main() -> None:
    """Run one of the two measurements and write its table."""
    arguments = parser().parse_args()
    if arguments.case:
        name, look_back = arguments.case
        print(json.dumps(measure_case(name, int(look_back), arguments)))
        return
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.batch} windows of one component, float32; {versions()}")
    if arguments.stream:
        table = measure_stream(arguments.batch)
        print("\n" + table.to_string(index=False, float_format="{:.3f}".format))
        write_table(table, output / "long_lookback_stream.csv", float_format=None)
        print(f"\nwrote {output / 'long_lookback_stream.csv'}")
        return
    table = measure_growth(arguments)
    formatted = {"index": False, "float_format": "{:.1f}".format, "na_rep": ""}
    print("\n" + table.to_string(**formatted))
    print("\n" + slopes(table).to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    write_table(table, output / "long_lookback.csv", float_format=None)
    plot(table).savefig(output / "long_lookback.png", dpi=110)
    print(f"\nwrote {output / 'long_lookback.csv'} and {output / 'long_lookback.png'}")


if __name__ == "__main__":
    main()
