"""A grown network against a large one from scratch: steps to the same validation loss.

    python examples/figures/grow.py --data FOLDER [--output FOLDER] [--seeds 3] [--width 32]

M4 hourly, 414 series under one network of 168 hours to 48, each standardised by what is trained on.
The last 48 hours of the training file validate; the test file is not read. Losses are mean quantile
losses in those units, every 50 steps.

- small: rwkv7*2, trained until its loss is near flat.
- large: two heads, 16 key channels per head and one layer more, from scratch.
- grown: small, grown to the same layers, in half of the large one's steps; with the optimiser's
  moments, and without.
- small, trained on: as many steps as the grown one, without growing.
- linear map: layers=None, in the large one's steps. Seasonal naive repeats the last day, as all
  quantiles.

Before anything is trained on, forecasts of small and grown are compared. Writes
grow-WIDTH-STEPS.csv.
"""

from __future__ import annotations

import argparse
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from records import write_table
from torch.utils.data import RandomSampler
from windows import m4_hourly

from rimer_forecaster import RimerNetwork
from rimer_forecaster.lifecycle import grow
from rimer_forecaster.lifecycle.grow import spread
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.held_out import quantile_loss
from rimer_forecaster.training.module import TrainingModule
from rimer_forecaster.training.moments import Moments, give_moments, moments_of
from rimer_forecaster.training.windows import Windows

LOOK_BACK, HORIZON, SEASON, BATCH = 168, 48, 24, 32
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SMALL, MORE = "rwkv7*2", {"heads": 2, "key_dim": 16, "layers": 1}


def series_of(data: Path, *parts: str) -> list[torch.Tensor]:
    """Return the series, standardised by what is trained on, with the named parts after it."""
    series = []
    for known, *more in zip(*(m4_hourly(data, x) for x in ("train", *parts)), strict=True):
        trained = known[:-HORIZON]
        values = np.concatenate([known, *more])
        scaled = (values - trained.mean()) / (trained.std() or 1.0)
        series.append(torch.from_numpy(scaled[:, None]).float())
    return series


def ends_of(series: list[torch.Tensor]) -> Windows:
    """Return the windows whose horizon is the end of a series."""
    ends = [len(x) - HORIZON for x in series]
    return Windows(
        *(series, None),
        input_chunk_length=LOOK_BACK,
        output_chunk_length=HORIZON,
        first_origins=ends,
    )


def parts_of(series: list[torch.Tensor]) -> tuple[Windows, Windows]:
    """Return windows to train on, and those whose horizon is the end of each series."""
    known = [x[:-HORIZON] for x in series]
    train = Windows(known, None, input_chunk_length=LOOK_BACK, output_chunk_length=HORIZON)
    return train, ends_of(series)


def new(layers: str | None, seed: int, **sizes: int) -> RimerNetwork:
    """Return an untrained network."""
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"outputs": QUANTILES, "patch_length": 12, **sizes}
    return RimerNetwork(LOOK_BACK, HORIZON, layers=layers, generator=generator, **options)


@torch.no_grad()
def loss_of(network: RimerNetwork, windows: Windows) -> float:
    """Return the mean quantile loss of all windows."""
    network.eval()
    batch = windows.__getitems__(list(range(len(windows))))
    return float(TrainingModule(network, Recipe()).loss(batch))


def train(
    network: RimerNetwork,
    windows: tuple[Windows, Windows],
    *,
    steps: int,
    every: int,
    seed: int,
    moments: Moments | None = None,
) -> tuple[list[tuple[int, float]], Moments]:
    """Train in place by the recipe; return the validation losses by step, and the moments."""
    generator = torch.Generator().manual_seed(seed)
    network.draw_from(generator)
    recipe, losses = Recipe(), [(0, loss_of(network, windows[1]))]
    module = TrainingModule(network, recipe)
    parts = recipe.optimisation(network, total_steps=steps)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    give_moments(network, optimizer, moments or {})
    order = cycle(RandomSampler(windows[0], num_samples=steps * BATCH, generator=generator))
    for step in range(1, steps + 1):
        network.train()
        loss = module.loss(windows[0].__getitems__([next(order) for _ in range(BATCH)]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % every == 0:
            losses.append((step, loss_of(network, windows[1])))
    network.draw_from(None)
    return losses, moments_of(network, optimizer)


def naive_loss(windows: Windows) -> float:
    """Return the loss of the last day, repeated."""
    target = windows.__getitems__(list(range(len(windows)))).target
    past, future = target[:, :LOOK_BACK], target[:, LOOK_BACK:]
    repeated = past[:, -SEASON:].repeat(1, HORIZON // SEASON, 1)[..., None]
    forecast = repeated.expand(-1, -1, -1, len(QUANTILES))
    return float(quantile_loss(forecast, future, torch.tensor(QUANTILES)))


def check(small: RimerNetwork, grown: RimerNetwork, windows: Windows) -> None:
    """Refuse to go on where growing moved forecasts by more than rounding in double precision."""
    past = windows.__getitems__(list(range(64))).target[:, :LOOK_BACK].double()
    same = grow(small.double(), **MORE)
    with torch.no_grad():
        moved = float((same(past) - small(past)).abs().max())
    small.float()
    assert moved < 1e-12, f"growing moved a forecast by {moved}"
    assert grown.config == same.config


def runs_of(
    seed: int,
    windows: tuple[Windows, Windows],
    *,
    width: int,
    steps: int,
    small_steps: int,
    every: int,
) -> list[dict[str, Any]]:
    """Train and compare for one seed."""
    found: dict[str, Any] = {}
    sizes: dict[str, int] = {}

    def run(name: str, network: RimerNetwork, steps: int, moments: Moments | None = None) -> Any:
        options: dict[str, Any] = {"every": every, "seed": seed, "moments": moments}
        found[name], after = train(network, windows, steps=steps, **options)
        sizes[name] = sum(x.numel() for x in network.parameters())
        print(seed, name, found[name][0], found[name][-1], flush=True)
        return after

    sized = {"width": width, "head_size": width // 2}
    small = new(SMALL, seed, **sized)
    moments = run("small", small, small_steps)
    grown, afresh = (
        grow(small, generator=torch.Generator().manual_seed(seed), **MORE) for _ in range(2)
    )
    check(small, grown, windows[1])
    carried = spread(small, grown, moments)
    run("grown", grown, steps // 2, carried)
    run("grown, moments of zero", afresh, steps // 2)
    run("small, trained on", small, steps // 2, moments)
    run("large", new(grown.config.layers, seed, **sized), steps)
    run("linear map", new(None, seed), steps)
    level = min(loss for _, loss in found["large"])
    rows = []
    for name, losses in found.items():
        reached = [step for step, loss in losses if loss <= level]
        rows.append(
            {
                "seed": seed,
                "network": name,
                "parameters": sizes[name],
                "steps": losses[-1][0],
                "first_loss": losses[0][1],
                "last_loss": losses[-1][1],
                "lowest_loss": min(loss for _, loss in losses),
                "reached_large_at": reached[0] if reached else None,
            }
        )
    naive = naive_loss(windows[1])
    return [*rows, {"seed": seed, "network": "seasonal naive", "parameters": 0, "last_loss": naive}]


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of M4-Hourly-train.csv.xz")
    options.add_argument("--output", type=Path, default=Path("docs/results/data"))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--width", type=int, default=32, help="of a token; two heads share it")
    options.add_argument("--steps", type=int, default=2000, help="of the large network")
    options.add_argument("--small-steps", type=int, default=2000)
    options.add_argument("--quick", action="store_true", help="few steps on sines; writes nothing")
    return options


def main() -> None:
    """Write the table."""
    arguments = parser().parse_args()
    if not arguments.quick and arguments.data is None:
        parser().error("--data is needed but with --quick")
    torch.set_num_threads(1)
    steps, small_steps, every = arguments.steps, arguments.small_steps, 50
    if arguments.quick:
        steps, small_steps, every = 4, 4, 2
    windows = parts_of(sines() if arguments.quick else series_of(arguments.data))
    rows = []
    for seed in range(1 if arguments.quick else arguments.seeds):
        options = {"steps": steps, "small_steps": small_steps, "every": every}
        rows += runs_of(seed, windows, width=arguments.width, **options)
        if not arguments.quick:
            name = f"grow-{arguments.width}-{steps}.csv"
            write_table(pd.DataFrame(rows), arguments.output / name)
    print(pd.DataFrame(rows).to_string(index=False))


def sines(count: int = 70) -> list[torch.Tensor]:
    """Return a few short series."""
    time = torch.arange(400.0)[:, None]
    return [torch.sin(time / (3 + i)) for i in range(count)]


if __name__ == "__main__":
    main()
