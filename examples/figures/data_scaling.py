"""Error over the number of series and over the width of the network, on M4 hourly.

    python examples/figures/data_scaling.py [--data FOLDER] [--steps 300] [--output FOLDER]

One model is trained on 1, 10, 50 or 100 % of the 414 series, and tested on the 48 hours after all
of them, and after those that it was trained on. Task and error (MASE) are those of panel.py. Every
training takes 300 steps of 64 windows, whatever the share. A seed draws both the weights and an
order of the series, of which a share is the first so many: smaller shares are parts of larger ones.
Heads have 16 channels. Without --data on sines with noise. Writes open-questions-scaling.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import panel
from layer_accuracy import NAIVE, on_panel
from open_questions import Case, options, prepare, tabulate

SHARES, WIDTHS = (1, 10, 50, 100), (16, 32, 64)
LAYERS = ("rwkv7", "gru", "attention")
BATCH = 64


def chosen(series: int, *, share: int, seed: int) -> list[int]:
    """Numbers of the series that are trained on, at least one."""
    order = np.random.default_rng(seed).permutation(series)
    return sorted(order[: max(1, round(share * series / 100))].tolist())


def naive(
    train: list[panel.Array], actual: panel.Array, *, share: int, seed: int
) -> dict[str, Any]:
    """Error of seasonal naive after all series, and after the chosen ones."""
    forecasts, own = panel.naive(train, panel.SEASON), chosen(len(train), share=share, seed=seed)
    few = panel.mase([train[i] for i in own], forecasts[own], actual[own])
    errors = {"MASE": panel.mase(train, forecasts, actual), "MASE of the chosen": few}
    return errors | {"series": len(own), "parameters": 0}


def run(
    train: list[panel.Array], actual: panel.Array, layers: str | None, *, share: int, **how: Any
) -> dict[str, Any]:
    """Train on a share and test on all."""
    own = chosen(len(train), share=share, seed=how["seed"])
    found = on_panel(train, actual, layers, batch=BATCH, chosen=own, **how)
    return found | {"series": len(own)}


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield every run, one seed after another."""
    train, actual = panel.load(arguments.data)
    for seed in range(arguments.seeds):
        for share in SHARES:
            where = {"share": share, "seed": seed}
            case = {"share, %": share, "layers": NAIVE, "width": 0, "seed": seed}
            yield case, partial(naive, train, actual, **where)
            make = partial(run, train, actual, steps=arguments.steps, **where)
            yield case | {"layers": "rlinear"}, partial(make, None)
            for layers in LAYERS:
                for width in WIDTHS:
                    case |= {"layers": layers, "width": width}
                    yield dict(case), partial(make, layers, width=width)


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    prepare(arguments)
    tabulate(cases(arguments), "scaling", arguments)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    return options(__doc__, steps=300)


if __name__ == "__main__":
    main()
