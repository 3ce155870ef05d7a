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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import TypeAlias

import numpy as np
import pandas as pd

from ..network import RimerNetwork
from .catalogue import zero_shot_network
from .forecast import forecast
from .scores import Array, Origins, Scores, naive_quantiles, origins_of, score
from .tables import TableError, is_readable, name_without_ending, read_series, usual_season

__all__ = ["contenders", "evaluate", "main", "timed_scores"]

Contender: TypeAlias = Callable[[list[Array], int, int], Array]
"""Pasts, H and season to quantiles, (n, H, Q)."""

_LONGEST_SEASON = 24
"""That exponential smoothing of statsforecast is fitted with; longer ones are left out."""


def statsforecast_quantiles(
    name: str,
    quantiles: Sequence[float],
    past: Sequence[Array],
    horizon: int,
    season: int,
    *,
    processes: int = 1,
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
    made = StatsForecast(
        models=[model], freq=1, fallback_model=fallback, n_jobs=processes
    ).forecast(df=pd.concat(parts), h=horizon, level=levels)
    columns = []
    for x in quantiles:
        side, level = "lo" if x < 0.5 else "hi", round(100 * abs(1 - 2 * x), 6)
        columns.append(name if x == 0.5 else f"{name}-{side}-{level:g}")
    values = made.rename(columns=lambda x: x.removesuffix(".0"))[columns].to_numpy(float)
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


def timed_scores(
    contender: Contender, quantiles: Sequence[float], origins: Origins, season: int, horizon: int
) -> Scores:
    """Score one contender on one set, with the seconds that it took."""
    began = time.perf_counter()
    outputs = contender(origins.past, horizon, season)
    seconds = time.perf_counter() - began
    scores = score(outputs, quantiles, origins.past, origins.future, season)
    return replace(scores, seconds=seconds)


def evaluate(
    network: RimerNetwork, origins: Origins, season: int, horizon: int
) -> dict[str, Scores]:
    """Score all contenders on one set."""
    task = ([float(x) for x in network.config.outputs], origins, season, horizon)
    return {name: timed_scores(one, *task) for name, one in contenders(network).items()}


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist.")
        inside = sorted(x for x in path.iterdir() if is_readable(x)) if path.is_dir() else [path]
        if not inside:
            raise TableError(f"the folder {str(path)!r} holds no file of series.")
        found += inside
    return found


@dataclass(frozen=True)
class _Row:
    """Scores of a contender on a set, and relative to those of seasonal naive."""

    name: str
    count: int
    contender: str
    scores: Scores
    relative_mase: float
    relative_wql: float

    def __str__(self) -> str:
        x = self.scores
        return (
            f"{self.name:24} {self.count:6}  {self.contender:15} MASE {x.mase:7.3f} "
            f"({self.relative_mase:.3f})  sMAPE {x.smape:6.2f}  WQL {x.wql:.4f} "
            f"({self.relative_wql:.3f})  80 %: {x.coverage:.1%}  {x.seconds:.1f} s"
        )


def _ratio(own: float, naive: float) -> float:
    return own / naive if naive > 0 else float("nan")


def _rows_of(path: Path, network: RimerNetwork, arguments: argparse.Namespace) -> list[_Row]:
    table = read_series(path)
    horizon = arguments.horizon or table.horizon
    if horizon is None:
        raise TableError(f"{path.name} does not say what to forecast: give --horizon.")
    season = arguments.season or usual_season(table.freq)
    context = min(arguments.context, network.config.input_chunk_length)
    origins = origins_of(table, horizon, arguments.windows, context)
    if not origins.past:
        raise TableError(f"no series of {path.name} is longer than {horizon} steps.")
    found = evaluate(network, origins, season, horizon)
    naive, name, count = found["seasonal naive"], name_without_ending(path), len(origins.past)
    return [
        _Row(name, count, x, y, _ratio(y.mase, naive.mase), _ratio(y.wql, naive.wql))
        for x, y in found.items()
    ]


def _means_of(rows: Sequence[_Row]) -> Iterator[str]:
    """Say the geometric means of each contender, over the sets that have such a figure."""
    for contender in dict.fromkeys(row.contender for row in rows):
        own = [row for row in rows if row.contender == contender]
        means = []
        for figure in ("relative_mase", "relative_wql"):
            known = [x for x in (getattr(row, figure) for row in own) if np.isfinite(x) and x > 0]
            means.append(geometric_mean(known) if known else float("nan"))
        mase, wql = means
        yield f"geometric mean of {len(own)} sets, {contender}: MASE {mase:.3f}, WQL {wql:.3f}"


def _write(rows: Sequence[_Row], path: Path) -> None:
    heads = ["set", "series", "contender", "mase", "smape", "wql", "coverage", "seconds"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*heads, "relative_mase", "relative_wql"])
        for row in rows:
            figures = (*astuple(row.scores), row.relative_mase, row.relative_wql)
            writer.writerow([row.name, row.count, row.contender, *(f"{x:.4f}" for x in figures)])


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
    for option in ("horizon", "season", "windows", "context"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            parser.error(f"--{option} {value} must be at least 1.")
    rows: list[_Row] = []
    try:
        network = zero_shot_network(arguments.weights)
        for path in _files(arguments.paths):
            for row in _rows_of(path, network, arguments):
                print(row, flush=True)
                rows.append(row)
        if arguments.out:
            _write(rows, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    for line in _means_of(rows):
        print(line)


if __name__ == "__main__":
    main()
