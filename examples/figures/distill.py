"""A small network that learns from a large one, against the same one trained alone.

    python examples/figures/distill.py --data FOLDER [--output FOLDER] [--seeds 3] [--quick]

M4 hourly as in grow.py, 168 hours to 48. The small network is rwkv7 of width 16, the large one
rwkv7(heads=4, key_size=32)*3 of width 32, trained beforehand on the same windows with what follows
them. All small ones take the same number of steps at batches of 32:

- alone: the quantile loss of what follows the windows.
- forecasts: the large network's quantiles on the same windows, without what follows.
- forecasts and states: the weight of the states is that of the package unless --states says so.

Losses are mean quantile losses in units of each series, on the last 48 hours of the training file
(validation) and on the test file. Writes distill.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from grow import LOOK_BACK, ends_of, loss_of, naive_loss, new, parts_of, series_of, sines, train
from records import write_table

from rimer_forecaster import RimerNetwork
from rimer_forecaster.lifecycle import distill
from rimer_forecaster.lifecycle.distill import Unlabelled
from rimer_forecaster.training.windows import Windows

SMALL, LARGE = "rwkv7", "rwkv7(heads=4, key_size=32)*3"
SIZES = {"width": 16, "head_size": 8}


def learnt(
    large: RimerNetwork, windows: Windows, *, steps: int, states: float, seed: int
) -> tuple[RimerNetwork, dict[str, Any]]:
    """Return a small network that learnt from the large one, and how near it came."""
    small, unit = new(SMALL, seed, **SIZES), torch.ones(())

    def without_labels(places: list[int]) -> Unlabelled:
        target = windows.__getitems__(places).target[:, :LOOK_BACK]
        return Unlabelled({"past_target": target}, unit)

    generator = torch.Generator().manual_seed(seed)
    report = distill(
        *(small, large, without_labels, len(windows)),
        steps=steps,
        states=states,
        generator=generator,
    )
    return small, {"difference": report.forecasts, "states_unexplained": report.states}


def rows_of(
    seed: int,
    windows: tuple[Windows, Windows],
    test: Windows,
    *,
    steps: int,
    large_steps: int,
    weights: list[float],
) -> list[dict[str, Any]]:
    """Train and score for one seed."""
    rows: list[dict[str, Any]] = []

    def add(name: str, network: RimerNetwork, **more: Any) -> None:
        sizes = sum(x.numel() for x in network.parameters())
        losses = {"validation": loss_of(network, windows[1]), "test": loss_of(network, test)}
        rows.append({"seed": seed, "network": name, "parameters": sizes, **losses, **more})
        print(rows[-1], flush=True)

    large, alone, linear = new(LARGE, seed), new(SMALL, seed, **SIZES), new(None, seed)
    for name, network, own in (
        ("large", large, large_steps),
        ("small, alone", alone, steps),
        ("linear map", linear, steps),
    ):
        train(network, windows, steps=own, every=own, seed=seed)
        add(name, network, steps=own)
    for weight in (0.0, *weights):
        small, more = learnt(large, windows[0], steps=steps, states=weight, seed=seed)
        name = f"small, forecasts and states at {weight:g}" if weight else "small, forecasts"
        add(name, small, steps=steps, **more)
    naive = {"validation": naive_loss(windows[1]), "test": naive_loss(test)}
    return [*rows, {"seed": seed, "network": "seasonal naive", "parameters": 0, **naive}]


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of M4-Hourly-train.csv.xz")
    options.add_argument("--output", type=Path, default=Path("docs/results/data"))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--steps", type=int, default=500, help="of the small networks")
    options.add_argument("--large-steps", type=int, default=3000)
    options.add_argument("--states", type=float, nargs="+", default=[0.1])
    options.add_argument("--quick", action="store_true", help="few steps on sines; writes nothing")
    return options


def main() -> None:
    """Write the table."""
    arguments = parser().parse_args()
    if not arguments.quick and arguments.data is None:
        parser().error("--data is needed but with --quick")
    torch.set_num_threads(1)
    steps, large_steps, seeds = arguments.steps, arguments.large_steps, arguments.seeds
    if arguments.quick:
        steps, large_steps, seeds = 4, 4, 1
        known, whole = sines(), sines()
    else:
        known, whole = (series_of(arguments.data, *parts) for parts in ((), ("test",)))
    windows, test, rows = parts_of(known), ends_of(whole), []
    for seed in range(seeds):
        options = {"steps": steps, "large_steps": large_steps, "weights": arguments.states}
        rows += rows_of(seed, windows, test, **options)
        if not arguments.quick:
            write_table(pd.DataFrame(rows), arguments.output / "distill.csv")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
