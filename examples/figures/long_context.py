"""How accurate forecasts are from 96 to 10,000 steps of look-back, layer by layer.

    python examples/figures/long_context.py [--data FOLDER] [--steps 200] [--output FOLDER]

One component each of three data sets, 96 steps ahead:

- `OT` of ETTm1, by 15 minutes; split at 12, 16 and 20 months
- `T (degC)` of weather, by 10 minutes; split at 70 and 80 %
- hourly loads of AEP, 13.8 years, of FOLDER/corpus.parquet; split at 70 and 80 %

All look-backs have the same test windows, from every 11th origin of the test part, and the same
steps of 32 windows; 10,000 steps lie before every origin. No validation part is read. Rows are
RimerModel with its defaults: tokens are patches of 16 steps at 96, of 24 beyond, and its linear
skip reads the last 2,048 steps at most, or with "short skip" the last 512: then the layers alone
read further. Seasonal naive repeats a day; of the loads, a week. Without --data on a sine with
noise. Writes open-questions-context.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import NaiveSeasonal
from layer_accuracy import NAIVE, on_windows
from open_questions import STRIDE, Case, options, prepare, state_bytes, tabulate, windows_of
from standard_protocol import LONG, load_long
from windows import Task, score

from rimer_forecaster import RimerModel
from rimer_forecaster.network import NetworkConfig

HORIZON, SKIP = 96, 512
LOOK_BACKS = (96, 512, 2_048, 10_000)
LAYERS = (
    "rwkv7",
    "rwkv7(retrospect=8)",
    "attention(topk=2, chunk=16)",
    "taylor(feature=16)",
    "gru",
)


class ShortSkip(RimerModel):
    """RimerModel whose linear skip reads the last 512 steps of a window, and its layers all."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._network_params["skip_length"] = SKIP


class Row(NamedTuple):
    """A layer string, how many times the steps, whether the skip is short, and where it is run.

    A short skip is for longer windows alone, `most` the longest window, and `only` a data set.
    """

    layers: str | None
    times: int = 1
    short: bool = False
    most: int = 10_000
    only: str = ""

    def at(self, name: str, look_back: int) -> bool:
        """Whether there is such a row for a data set."""
        reaches = (SKIP if self.short else 0) < look_back <= self.most
        return reaches and self.only in ("", name)


ROWS = {
    "rlinear": Row(None),
    "rlinear, ten times the steps": Row(None, times=10),
    **{layers: Row(layers, most=SKIP) for layers in LAYERS[1:]},
    "rwkv7": Row("rwkv7"),
    "rwkv7, ten times the steps": Row("rwkv7", times=10, most=2_048, only="AEP loads"),
    **{f"{layers or 'rlinear'}, short skip": Row(layers, short=True) for layers in (None, *LAYERS)},
    "taylor(feature=16), short skip": Row("taylor(feature=16)", short=True, most=2_048),
}
"""By name. Where the skip is long, it drowns the layers: one of them is enough to show it."""

MOST = {"weather": 2_048}
"""Longest look-back of a data set, where it is not the longest of all."""


def series_of(folder: Path | None) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Series by name, each with its split and its season."""
    if folder is None:
        noise = np.random.default_rng(0).normal(0, 0.1, 2_000)
        wave = np.sin(2 * np.pi * np.arange(2_000) / 24) + noise
        return {"a sine": (TimeSeries.from_values(wave), {"season": 24})}
    corpus = pd.read_parquet(folder / "corpus.parquet", columns=["name", "values"])
    loads = corpus.set_index("name").loc["AEP load", "values"]
    shares = LONG["weather"]["split"]
    return {
        "ETTm1": (load_long(folder, "ETTm1")[["OT"]], LONG["ETTm1"]),
        "weather": (load_long(folder, "weather")[["T (degC)"]], LONG["weather"]),
        "AEP loads": (TimeSeries.from_values(loads), {"season": 168, "split": shares}),
    }


def tasks(folder: Path | None, look_backs: Sequence[int]) -> Iterator[tuple[str, Task]]:
    """Yield each series at each look-back."""
    for name, (series, shape) in series_of(folder).items():
        for look_back in (one for one in look_backs if one <= MOST.get(name, one)):
            yield name, windows_of(series, look_back=look_back, horizon=HORIZON, **shape)


def naive(task: Task) -> dict[str, Any]:
    """Errors of seasonal naive."""
    errors = score(NaiveSeasonal(task.season), task, stride=STRIDE)
    return errors | {"parameters": 0, "fit, s": 0.0}


def run(task: Task, row: Row, *, steps: int, seed: int) -> dict[str, Any]:
    """Train and test one row once."""
    steps, make = row.times * steps, ShortSkip if row.short else RimerModel
    found = on_windows(task, row.layers, steps=steps, seed=seed, stride=STRIDE, make=make)
    config = NetworkConfig(task.look_back, task.horizon)
    tokens = -(-task.look_back // config.patch_length)
    state = state_bytes(row.layers, width=config.width)
    return found | {"steps": steps, "patch": config.patch_length, "tokens": tokens, **state}


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield every run, one seed after another; seasonal naive once for each series."""
    chosen = list(tasks(arguments.data, arguments.look_backs))
    for name, task in chosen:
        if task.look_back == arguments.look_backs[0]:
            yield {"data": name, "look-back": 0, "layers": NAIVE, "seed": 0}, partial(naive, task)
    for seed in range(arguments.seeds):
        for name, task in chosen:
            for label, row in ROWS.items():
                if row.at(name, task.look_back):
                    case = {"data": name, "look-back": task.look_back, "layers": label}
                    make = partial(run, task, row, steps=arguments.steps, seed=seed)
                    yield case | {"seed": seed}, make


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = options(__doc__, steps=200)
    parser.add_argument("--look-backs", nargs="+", type=int, default=list(LOOK_BACKS))
    return parser


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    prepare(arguments)
    if arguments.quick:
        arguments.look_backs = [96, 600]
    tabulate(cases(arguments), "context", arguments)


if __name__ == "__main__":
    main()
