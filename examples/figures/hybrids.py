"""RWKV-7, attention and hybrids of both: orders and shares at equal parameters, on three tasks.

    python examples/figures/hybrids.py [--data FOLDER] [--steps 200] [--output FOLDER]

- M4 hourly, 336 hours to 48, one model of 414 series: task and error (MASE) are those of panel.py,
  500 steps of 64 windows
- ETTm1, 336 steps to 96, seven components, split at 12, 16 and 20 months; test windows from every
  11th origin, 200 steps of 32 windows
- associative recall of tests/cases/efficacy.py with 32 pairs of 32 keys and 8 values: a token is a
  key or a value, and the score the share of right answers; 400 steps of 32 sequences

All rows but "rlinear" have four layers. Attention has fewer parameters than RWKV-7 of its width, so
that rows with much of it are of width 36 in place of 32; heads are half of the width. A window of
336 steps is 14 tokens. Without --data on weekly CO2 and on sines with noise.
Writes open-questions-hybrids.csv.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import panel
from darts.models import NaiveSeasonal
from layer_accuracy import NAIVE, on_panel, on_windows
from open_questions import STRIDE, Case, options, prepare, tabulate, windows_of
from standard_protocol import LONG, load_long
from windows import Task, load_co2, score

sys.path.append(str(Path(__file__).parents[2] / "tests/cases"))

import efficacy_training
from efficacy import recall

WIDTHS = {
    "rwkv7*4": 32,
    "(rwkv7*3, attention)": 32,
    "(attention, rwkv7*3)": 32,
    "(rwkv7, attention)*2": 32,
    "(rwkv7, attention(window=4))*2": 32,
    "(rwkv7, attention*3)": 36,
    "attention*4": 36,
    "parallel(attention, rwkv7; fuse=gated)*2": 32,
    "gru*4": 32,
}
"""By layer string."""

PANEL, WINDOWS, RECALL = "M4 hourly", "ETTm1", "recall of 32 pairs"
PAIRS = partial(recall, pairs=32, keys=32)


def on_recall(layers: str, **how: int) -> dict[str, Any]:
    """Train layers between two linear maps, and score them on sequences never seen."""
    start = time.process_time()
    net = efficacy_training.train(layers, PAIRS, **how)
    seconds = time.process_time() - start
    return {
        "share right": efficacy_training.score(net, PAIRS),
        "parameters": sum(parameter.numel() for parameter in net.layers.parameters()),
        "fit, s": seconds,
    }


def etm(folder: Path | None) -> Task:
    """ETTm1, or weekly CO2 without a folder."""
    if folder is None:
        return load_co2()
    return windows_of(load_long(folder, WINDOWS), look_back=336, horizon=96, **LONG[WINDOWS])


def naive_rows(
    task: Task, train: list[panel.Array], actual: panel.Array
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what repeating the last season scores."""
    yield PANEL, {"MASE": panel.mase(train, panel.naive(train, panel.SEASON), actual)}
    errors = score(NaiveSeasonal(task.season), task, stride=STRIDE)
    yield WINDOWS, {name: errors[name] for name in ("MSE", "MAE")}


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield every run, one seed after another."""
    task, (train, actual) = etm(arguments.data), panel.load(arguments.data)
    for data, errors in naive_rows(task, train, actual):
        case = {"data": data, "layers": NAIVE, "width": 0, "steps": 0, "seed": 0}
        yield case, partial(dict, errors, parameters=0)
    runs: dict[str, tuple[int, Callable[..., dict[str, Any]]]] = {
        PANEL: (arguments.panel_steps, partial(on_panel, train, actual, batch=64)),
        WINDOWS: (arguments.steps, partial(on_windows, task, stride=STRIDE)),
        RECALL: (arguments.recall_steps, on_recall),
    }
    for seed in range(arguments.seeds):
        for data, (steps, make) in runs.items():
            how = {"steps": steps, "seed": seed}
            case = {"data": data, "layers": "rlinear", "width": 0}
            if data != RECALL:
                yield case | how, partial(make, None, **how)
            for layers, width in WIDTHS.items():
                size = {"width": width, "head_size": width // 2}
                case = {"data": data, "layers": layers, "width": width}
                yield case | how, partial(make, layers, **how, **size)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = options(__doc__, steps=200)
    parser.add_argument("--panel-steps", type=int, default=500, help="of M4 hourly")
    parser.add_argument("--recall-steps", type=int, default=400, help="of the recall")
    return parser


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    prepare(arguments)
    if arguments.quick:
        arguments.panel_steps = arguments.recall_steps = 2
    tabulate(cases(arguments), "hybrids", arguments)


if __name__ == "__main__":
    main()
