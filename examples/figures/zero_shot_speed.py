"""Time zero-shot forecasts of many series, beside AutoETS on the same ones.

    python examples/figures/zero_shot_speed.py [--rounds N] [--beside N] [--quick] [--output FOLDER]

The series are hours with a day in them, a level that walks, and noise. The contenders take turns,
so that what else the machine does hits both alike; the table shows medians. AutoETS, with a season
of 24, is fitted by one process per thread, and only where statsforecast is installed. It takes
minutes per thousand series: --beside N gives it the first N of them. First of all both forecast a
few series, which compiles what they compile, and have to be better than seasonal naive there.
Writes zero_shot_speed.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from records import write_table

from rimer_forecaster.benchmark import versions
from rimer_forecaster.zero_shot import forecast, zero_shot_network
from rimer_forecaster.zero_shot.evaluate import statsforecast_quantiles
from rimer_forecaster.zero_shot.scores import naive_quantiles, score

Array = NDArray[np.float64]

SERIES, VALUES, HORIZON, SEASON = 1_000, 512, 24, 24
CHECKED = 8
SECONDS = 3.0
"""That zero-shot forecasts of all series are to take at most, on two cores."""
OURS, THEIRS = "zero-shot", "AutoETS"


def hours(count: int) -> Array:
    """Return hourly series and the hours after them, (count, VALUES + HORIZON)."""
    rng, steps = np.random.default_rng(0), np.arange(VALUES + HORIZON)
    heights, begins = rng.uniform(0.5, 2, (count, 1)), rng.random((count, 1))
    level, noise = rng.normal(size=(2, count, len(steps)))
    day = heights * np.sin(2 * np.pi * (steps / SEASON + begins))
    return 10 + day + 0.03 * level.cumsum(1) + 0.3 * noise


def contenders(quantiles: list[float], threads: int) -> dict[str, Callable[[Array], Array]]:
    """Return what makes quantiles of the steps after series, by name."""
    network = zero_shot_network()
    found = {OURS: lambda past: forecast(network, past, HORIZON)}
    if find_spec("statsforecast") is not None:
        found[f"{THEIRS} of statsforecast {version('statsforecast')}"] = lambda past: (
            statsforecast_quantiles(THEIRS, quantiles, past, HORIZON, SEASON, processes=threads)
        )
    return found


def check(forecasters: dict[str, Callable[[Array], Array]], quantiles: list[float]) -> None:
    """Raise an error if one of them is not better than seasonal naive on a few series."""
    series = hours(CHECKED)
    past, future = series[:, :VALUES], series[:, VALUES:]
    naive = naive_quantiles(quantiles, past, HORIZON, SEASON)
    worst = score(naive, quantiles, past, future, SEASON).mase
    for name, forecaster in forecasters.items():
        found = forecaster(past)
        assert found.shape == (CHECKED, HORIZON, len(quantiles))
        mase = score(found, quantiles, past, future, SEASON).mase
        if not mase < worst:
            raise ValueError(f"{name} has a MASE of {mase:.3f}, seasonal naive of {worst:.3f}.")


def times(series: int, beside: int, rounds: int, threads: int) -> pd.DataFrame:
    """Time all contenders; one row each."""
    quantiles = [float(x) for x in zero_shot_network().config.outputs]
    forecasters = contenders(quantiles, threads)
    check(forecasters, quantiles)
    past = hours(series)[:, :VALUES]
    counts = {name: series if name == OURS else min(series, beside) for name in forecasters}
    seconds: dict[str, list[float]] = {name: [] for name in forecasters}
    for _ in range(rounds):
        for name, forecaster in forecasters.items():
            own = past[: counts[name]]
            start = time.perf_counter()
            forecaster(own)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: median(x) for name, x in seconds.items()}
    each = {name: medians[name] / counts[name] for name in forecasters}
    return pd.DataFrame(
        {
            "model": name,
            "series": counts[name],
            "values": VALUES,
            "horizon": HORIZON,
            "rounds": rounds,
            "seconds": medians[name],
            "fastest": min(seconds[name]),
            "slowest": max(seconds[name]),
            "per series, times zero-shot": each[name] / each[OURS],
            "seconds aimed at": SECONDS * series / SERIES if name == OURS else None,
        }
        for name in forecasters
    )


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--series", type=int, default=SERIES)
    options.add_argument("--beside", type=int, default=SERIES, help="series that AutoETS forecasts")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--quick", action="store_true", help="few series for AutoETS, one round")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Time every contender."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    beside, rounds = (CHECKED, 1) if arguments.quick else (arguments.beside, arguments.rounds)
    table = times(arguments.series, beside, rounds, arguments.threads)
    path = arguments.output / "zero_shot_speed.csv"
    write_table(table, path, float_format="%.4g")
    print(table.to_string(index=False))
    print(f"\n{versions()}.\nwrote {path}")


if __name__ == "__main__":
    main()
