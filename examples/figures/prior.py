"""Draw series of each family of the prior that zero-shot weights are trained on, and time it.

    python examples/figures/prior.py [--seed N] [--output FOLDER]

The last row shows batches as training sees them: families mixed, bent, damaged, with values
missing. Writes prior.png, and prints how many series a second of one core gives.
"""

from __future__ import annotations

import argparse
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rimer_forecaster.zero_shot.prior import FAMILIES, VERSION, family, synthetic

STEPS, COLUMNS = 256, 4
LENGTH, COUNT, BATCHES = 1024, 512, 8


def rows(seed: int) -> dict[str, NDArray[np.floating]]:
    """Return the series of the picture, (COLUMNS, STEPS) per row."""
    shown = {name: family(name, seed, COLUMNS, STEPS) for name in FAMILIES}
    altered = synthetic(seed, 0, COUNT, STEPS)
    return shown | {"altered": altered[np.isnan(altered).any(1)][:COLUMNS]}


def plot(series: dict[str, NDArray[np.floating]]) -> Figure:
    """Draw one row per family."""
    figure = Figure(figsize=(10, 0.95 * len(series)), layout="constrained")
    grid = figure.subplots(len(series), COLUMNS, squeeze=False)
    for axes, (name, values) in zip(grid, series.items(), strict=True):
        for place, row in zip(axes, values, strict=True):
            place.plot(row, color="C0", linewidth=0.7)
            place.set_xticks([])
            place.set_yticks([])
            place.margins(x=0)
        axes[0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center")
    return figure


def series_per_second() -> float:
    """Return how many series of LENGTH steps a second of one core gives."""
    synthetic(0, 0, COUNT, LENGTH)
    start = time.process_time()
    for number in range(1, BATCHES + 1):
        synthetic(0, number, COUNT, LENGTH)
    return BATCHES * COUNT / (time.process_time() - start)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--seed", type=int, default=4)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Draw and time."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "prior.png"
    file = BytesIO()
    plot(rows(arguments.seed)).savefig(file, dpi=72)
    Image.open(file).convert("RGB").quantize(8).save(path, optimize=True)
    print(f"version {VERSION}: {series_per_second():.0f} series of {LENGTH} steps per second")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
