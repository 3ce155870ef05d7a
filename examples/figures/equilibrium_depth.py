"""What passes buy: one trained equilibrium, cut off after 1, 2, 4, ... passes, beside stacks.

    python examples/figures/equilibrium_depth.py [--data FOLDER] [--seeds 3] [--output FOLDER]

- Ten swaps of three items, which order are they in? Task and training are those of
  tests/cases/efficacy_training.py. The score is the share of right answers.
- M4 hourly, one model of all series, trained as in layer_accuracy.py. The score is MASE. Without
  --data on sines with noise.

An equilibrium is trained once per seed. Then its `max_iter` is lowered, and it forecasts again by
the best iterate. "bytes" is what one training step of 64 sequences of 21 tokens, width 32, keeps
for the backward pass of the layers. --quick trains for a tenth of the steps. Writes
equilibrium-depth.csv, a row per task, layers and number of passes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import panel
import torch
from records import write_table
from torch import Tensor, nn

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions
from rimer_forecaster.layers import Equilibrium, NotConverged, build_layers

sys.path.append(str(Path(__file__).parents[2] / "tests/cases"))

from efficacy_training import EXPERIMENTS, score, train

EQUILIBRIUM = "equilibrium(rwkv7)"
STACKS = ("rwkv7", "rwkv7*2", "rwkv7*4")
PASSES = (1, 2, 4, 8, 16, 50)
SWAPS, PANEL = "swaps by depth", "M4 hourly"


def by_passes(net: nn.Module, measure: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Measure a network; one with an equilibrium after each number of passes."""
    equilibria = [module for module in net.modules() if isinstance(module, Equilibrium)]
    for passes in PASSES if equilibria else (1,):
        for module in equilibria:
            module.max_iter = passes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)  # passes are cut off on purpose
            value = measure()
        taken = max([module.report.iterations for module in equilibria if module.report] or [1])
        yield {"passes": passes, "taken": taken, "score": value}


def on_swaps(layers: str, *, seed: int, shorter: int) -> Iterator[dict[str, Any]]:
    """Train layers on swaps once, and score them."""
    experiment = EXPERIMENTS[SWAPS]
    steps = max(15, experiment.training["steps"] // shorter)
    net = train(layers, experiment.task, seed=seed, **experiment.training | {"steps": steps})
    parameters = sum(parameter.numel() for parameter in net.layers.parameters())
    for row in by_passes(net, lambda: score(net, experiment.task)):
        yield row | {"task": SWAPS, "parameters": parameters}


def on_panel(
    layers: str, series: tuple[list[panel.Array], panel.Array], *, seed: int, steps: int
) -> Iterator[dict[str, Any]]:
    """Train one model of all series once, and score it."""
    past, actual = series
    models: list[RimerModel] = []

    def make(**arguments: Any) -> RimerModel:
        models.append(RimerModel(layers=layers, **arguments))
        return models[-1]

    found = panel.through_darts(make, past, steps=steps, seed=seed, batch=64)
    (model,) = models
    for row in by_passes(
        model.network, lambda: panel.mase(past, panel.forecasts_of(model, past), actual)
    ):
        yield row | {"task": PANEL, "parameters": found["parameters"]}


def bytes_of_a_step(layers: str) -> int:
    """Return what the backward pass of a training step keeps, parameters left out."""
    stack = build_layers(layers, width=32, head_size=16).train()
    stack.reset_parameters(torch.Generator().manual_seed(0))
    own = {parameter.untyped_storage().data_ptr() for parameter in stack.parameters()}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    x = torch.randn(64, 21, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        y, _ = stack(x)
    del y
    return sum(kept.values())


def summarise(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per task, layers and passes: the mean over seeds, the lowest and the highest."""
    groups = pd.DataFrame(runs).groupby(["task", "layers", "passes"], sort=False)
    summary = groups[["score", "taken", "parameters"]].mean()
    summary.insert(1, "lowest", groups["score"].min())
    summary.insert(2, "highest", groups["score"].max())
    summary.insert(3, "seeds", groups.size())
    summary = summary.reset_index().astype({"parameters": int})
    summary["bytes"] = [bytes_of_a_step(layers) for layers in summary["layers"]]
    return summary


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with M4-Hourly-*")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--quick", action="store_true", help="train for a tenth of the steps")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Train everything and write the table."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning)
    series = panel.load(arguments.data)
    shorter = 10 if arguments.quick else 1
    print(versions())
    runs: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for layers in (*STACKS, EQUILIBRIUM):
            rows = [
                *on_swaps(layers, seed=seed, shorter=shorter),
                *on_panel(layers, series, seed=seed, steps=500 // shorter),
            ]
            runs += [{"layers": layers, "seed": seed, **row} for row in rows]
            print(pd.DataFrame(rows).assign(layers=layers, seed=seed).to_string(), flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "equilibrium-depth.csv"
    write_table(summarise(runs), path)
    print(f"\n{summarise(runs).to_string(index=False)}\n\nwrote {path}")


if __name__ == "__main__":
    main()
