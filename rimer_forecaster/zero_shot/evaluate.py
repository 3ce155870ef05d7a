"""Judge weights by series that they were never shown: ``... zero_shot.evaluate --help``.

Each set of series is forecast by the weights and by seasonal naive, and where statsforecast is
installed by its AutoETS and AutoTheta. All of them read the same values.

Letters: n series, H steps, Q quantiles.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from ..network import RimerNetwork
from .catalogue import zero_shot_network
from .forecast import forecast
from .scores import Array, Origins, Scores, naive_quantiles, origins_of, score
from .tables import TableError, read_series, usual_season

__all__ = ["contenders", "evaluate", "main"]

Contender: TypeAlias = Callable[[list[Array], int, int], Array]
"""Pasts, H and season to quantiles, (n, H, Q)."""

_LONGEST_SEASON = 24
"""That exponential smoothing of statsforecast is fitted with; longer ones are left out."""


# Contenders.


def statsforecast_quantiles(
    name: str, quantiles: Sequence[float], past: Sequence[Array], horizon: int, season: int
) -> Array:
    """Quantiles of a model of statsforecast; gaps are lines between their neighbours."""
    from statsforecast import StatsForecast, models

    model = getattr(models, name)(season_length=season if season <= _LONGEST_SEASON else 1)
    parts = [
        pd.DataFrame(
            {
                "unique_id": place,
                "ds": np.arange(len(values)),
                "y": pd.Series(values).interpolate(limit_direction="both").to_numpy(),
            }
        )
        for place, values in enumerate(past)
    ]
    fallback = models.SeasonalNaive(season_length=1)
    levels = sorted({round(100 * abs(1 - 2 * x), 6) for x in quantiles if x != 0.5})
    made = StatsForecast(models=[model], freq=1, fallback_model=fallback).forecast(
        df=pd.concat(parts), h=horizon, level=levels
    )
    columns = []
    for x in quantiles:
        side, level = "lo" if x < 0.5 else "hi", round(100 * abs(1 - 2 * x), 6)
        columns.append(name if x == 0.5 else f"{name}-{side}-{level:g}")
    named = {c: c.replace(".0", "") for c in made.columns}
    values = made.rename(columns=named)[columns].to_numpy(float)
    return values.reshape(len(past), horizon, len(columns))


def contenders(network: RimerNetwork) -> dict[str, Contender]:
    """Return what forecasts each set, by name; the weights first."""
    quantiles = [float(x) for x in network.config.outputs]
    found: dict[str, Contender] = {
        "zero-shot": lambda past, horizon, season: forecast(network, past, horizon),
        "seasonal naive": lambda *task: naive_quantiles(quantiles, *task),
    }
    try:
        import statsforecast  # noqa: F401
    except ImportError:
        return found
    for name in ("AutoETS", "AutoTheta"):
        found[name] = lambda *task, name=name: statsforecast_quantiles(name, quantiles, *task)
    return found


def evaluate(
    network: RimerNetwork, origins: Origins, season: int, horizon: int
) -> dict[str, Scores]:
    """Score all contenders on one set."""
    quantiles = [float(x) for x in network.config.outputs]
    found = {}
    for name, contender in contenders(network).items():
        began = time.perf_counter()
        outputs = contender(origins.past, horizon, season)
        seconds = time.perf_counter() - began
        scores = score(outputs, quantiles, origins.past, origins.future, season)
        found[name] = Scores(scores.mase, scores.smape, scores.wql, scores.coverage, seconds)
    return found


# The command line.


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    kinds = {".tsf", ".csv", ".tsv", ".parquet"}
    for path in paths:
        if path.is_dir():
            yield from sorted(x for x in path.iterdir() if kinds & set(x.suffixes))
        else:
            yield path


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m rimer_forecaster.zero_shot.evaluate", description=__doc__
    )
    parser.add_argument("paths", nargs="+", type=Path, help="files of series, or folders of them")
    parser.add_argument("--horizon", type=int, help="steps to forecast (as the file says)")
    parser.add_argument("--season", type=int, help="steps of a season (by the step of the file)")
    parser.add_argument("--windows", type=int, default=1, help="origins per series (1)")
    parser.add_argument("--context", type=int, default=2048, help="most values to read (2048)")
    parser.add_argument("--weights", default="rimer-zero", help="name or file (rimer-zero)")
    parser.add_argument("--out", type=Path, help="CSV for the scores")
    arguments = parser.parse_args(argv)
    network = zero_shot_network(arguments.weights)
    rows: list[tuple[str, int, str, Scores, float, float]] = []
    relative: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in _files(arguments.paths):
        try:
            table = read_series(path)
        except (TableError, OSError) as error:
            sys.exit(f"{parser.prog}: {error}")
        horizon = arguments.horizon or table.horizon
        if horizon is None:
            sys.exit(f"{parser.prog}: {path.name} does not say what to forecast: give --horizon.")
        season = arguments.season or usual_season(table.freq)
        origins = origins_of(table, horizon, arguments.windows, arguments.context)
        if not origins.past:
            sys.exit(f"{parser.prog}: no series of {path.name} is longer than {horizon} steps.")
        found = evaluate(network, origins, season, horizon)
        naive = found["seasonal naive"]
        name = path.name.partition(".")[0]
        for contender, scores in found.items():
            ratios = scores.mase / naive.mase, scores.wql / naive.wql
            relative[contender].append(ratios)
            rows.append((name, len(origins.past), contender, scores, *ratios))
            _tell(rows[-1])
    for contender, pairs in relative.items():
        mase, wql = np.exp(np.log(pairs).mean(0))
        print(f"geometric mean of {len(pairs)} sets, {contender}: MASE {mase:.3f}, WQL {wql:.3f}")
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                [
                    "set",
                    "series",
                    "contender",
                    "mase",
                    "smape",
                    "wql",
                    "coverage",
                    "seconds",
                    "relative_mase",
                    "relative_wql",
                ]
            )
            for name, count, contender, x, mase, wql in rows:
                figures = (x.mase, x.smape, x.wql, x.coverage, x.seconds, mase, wql)
                writer.writerow([name, count, contender, *(f"{y:.4f}" for y in figures)])


def _tell(row: tuple[str, int, str, Scores, float, float]) -> None:
    name, count, contender, x, mase, wql = row
    print(
        f"{name:24} {count:6}  {contender:15} MASE {x.mase:7.3f} ({mase:.3f})  sMAPE {x.smape:6.2f}"
        f"  WQL {x.wql:.4f} ({wql:.3f})  80 %: {x.coverage:.1%}  {x.seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
