"""Series of some hundred values, each by itself: what the defaults do, beside classical models.

    python examples/figures/short_series.py [--data FOLDER] [--series N] [--output FOLDER]

Without --data noise, a season of 12 with noise, and random walks, of 230 values each. Errors are in
units of the mean absolute step, over horizons of 12. With --data the monthly, quarterly, weekly and
daily validation rows of corpus.parquet, of which the last 400 values are read. Errors are those of
seasonal naive on the same series, as a geometric mean; series that it forecasts without an error do
not count.

By default both models forecast such series by the weights of the package; "trained" are networks
that begin anew (pretrained=None). Look-backs are 96 and two seasons. Writes
short-series-generated.csv or short-series.csv, in which rows of an earlier run stay.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import NLinearModel
from darts.utils.likelihood_models.torch import QuantileRegression
from records import write_table
from sklearn.preprocessing import StandardScaler
from windows import SILENT

from rimer_forecaster import RimerForecaster, RimerModel
from rimer_forecaster.zero_shot.corpus import Held, kind_of, read_held
from rimer_forecaster.zero_shot.evaluate import statsforecast_quantiles
from rimer_forecaster.zero_shot.scores import Array, seasonal_naive

QUANTILES = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
KINDS = ("monthly", "quarterly", "weekly", "daily")
MOST = 400
SHORTEST = 36

Contender = Callable[[Held, int], Array]
"""Forecasts the quantiles of what comes after a series, (H, Q), by a seed."""


Length = Callable[[Held], int]
"""Look-back of a model of one series."""


def default(row: Held) -> int:
    """Return that of RimerForecaster."""
    return 96


def two_seasons(row: Held) -> int:
    """Return the steps of two seasons."""
    return 2 * row.season if row.season > 1 else 12


def whole(row: Held, look_back: Length) -> int:
    """Return a look-back, or less where a series would leave too few whole windows."""
    return max(4, min(look_back(row), len(row.past) - 2 * len(row.future)))


def sktime_forecast(row: Held, seed: int, **arguments: object) -> Array:
    """RimerForecaster, with every other argument at its default."""
    forecaster = RimerForecaster(quantiles=QUANTILES, random_state=seed, **arguments)
    forecaster.fit(pd.Series(row.past.astype(float)), fh=range(1, len(row.future) + 1))
    return forecaster.predict_quantiles(alpha=QUANTILES).to_numpy()


def trained(row: Held, seed: int, *, look_back: Length, layers: str | None) -> Array:
    """RimerForecaster, with a network that begins anew."""
    return sktime_forecast(
        row, seed, input_chunk_length=look_back(row), layers=layers, pretrained=None
    )


def rimer_model(row: Held, seed: int, *, look_back: Length, pretrained: str | None) -> Array:
    """RimerModel with quantiles, and every other argument at its default."""
    horizon, quantiles = len(row.future), QuantileRegression(QUANTILES)
    model = RimerModel(
        whole(row, look_back),
        horizon,
        likelihood=quantiles,
        pretrained=pretrained,
        random_state=seed,
        pl_trainer_kwargs=SILENT,
    )
    model.fit(TimeSeries.from_values(row.past.astype(np.float32)))
    return model.predict(horizon, predict_likelihood_parameters=True).values().astype(float)


def nlinear(row: Held, seed: int) -> Array:
    """NLinear of darts behind a scaler: points, which count as quantiles without a width."""
    length, horizon = whole(row, two_seasons), len(row.future)
    scaler = Scaler(StandardScaler())
    series = scaler.fit_transform(TimeSeries.from_values(row.past.astype(np.float32)))
    model = NLinearModel(length, horizon, random_state=seed, pl_trainer_kwargs=SILENT)
    point = scaler.inverse_transform(model.fit(series).predict(horizon)).values()
    return np.repeat(point.astype(float), len(QUANTILES), 1)


def classical(row: Held, seed: int, *, name: str) -> Array:
    """AutoETS or AutoTheta of statsforecast."""
    past = [row.past.astype(float)]
    return statsforecast_quantiles(name, QUANTILES, past, len(row.future), row.season)[0]


def contenders() -> dict[str, Contender]:
    """Return all rows of the table."""
    found: dict[str, Contender] = {"RimerForecaster": sktime_forecast}
    for where, look_back in (("96", default), ("two seasons", two_seasons)):
        found[f"RimerModel, {where}"] = partial(rimer_model, look_back=look_back, pretrained="auto")
    for where, look_back in (("two seasons", two_seasons), ("96", default)):
        for layers in ("rwkv7", None):
            name = f"RimerForecaster, trained, {where}" + ("" if layers else ", layers=None")
            found[name] = partial(trained, look_back=look_back, layers=layers)
    found["RimerModel, trained, two seasons"] = partial(
        rimer_model, look_back=two_seasons, pretrained=None
    )
    found["NLinear, two seasons"] = nlinear
    for name in ("AutoETS", "AutoTheta"):
        found[name] = partial(classical, name=name)
    return found


def generated(count: int, n: int = 230, horizon: int = 12) -> dict[str, list[Held]]:
    """Series of which the best forecast is known."""
    found = defaultdict(list)
    season = np.tile(np.sin(np.arange(12) * np.pi / 6), n)
    for seed in range(count):
        noise = np.random.default_rng(seed).standard_normal((3, n + horizon))
        kinds = {
            "white noise": noise[0],
            "season of 12 with noise": 2 * season[: n + horizon] + noise[1],
            "random walk": noise[2].cumsum(),
        }
        for kind, values in kinds.items():
            found[kind].append(Held("MS", 12, values[:n], values[n:]))
    return dict(found)


def real(folder: Path, most: int | None) -> dict[str, list[Held]]:
    """Validation rows without gaps, by frequency, at most so many of each, spread over all."""
    found = defaultdict(list)
    for row in read_held(folder):
        naive = seasonal_naive(row.past.astype(float), row.season, len(row.future))
        whole = not np.isnan(row.past).any() and not np.isnan(row.future).any()
        if whole and len(row.past) >= SHORTEST and np.abs(naive - row.future).sum() > 0:
            found[kind_of(row.freq)].append(
                Held(row.freq, row.season, row.past[-MOST:], row.future)
            )
    kinds = {kind: found[kind] for kind in KINDS}
    return {kind: rows[:: max(1, len(rows) // (most or len(rows)))] for kind, rows in kinds.items()}


def table_row(
    rows: Iterable[Held], outputs: Iterable[Array], *, relative: bool
) -> dict[str, float]:
    """Errors and coverage over series."""
    errors: list[float] = []
    inside: dict[int, list[Array]] = {80: [], 95: []}
    for row, found in zip(rows, outputs, strict=True):
        error = np.abs(found[:, 4] - row.future).mean()
        if relative:
            naive = seasonal_naive(row.past.astype(float), row.season, len(row.future))
            errors.append(np.log(np.clip(error / np.abs(naive - row.future).mean(), 0.05, 20)))
        else:
            errors.append(error / np.abs(np.diff(row.past)).mean())
        for share, low, high in ((80, 2, 6), (95, 0, 8)):
            within = (row.future >= found[:, low]) & (row.future <= found[:, high])
            inside[share].append(np.where(found[:, low] < found[:, high], within, np.nan))
    mean = float(np.mean(errors))
    return {
        "error": float(np.exp(mean)) if relative else mean,
        **{
            f"{share} % covers": float(np.nanmean(np.concatenate(x))) for share, x in inside.items()
        },
    }


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of corpus.parquet")
    options.add_argument(
        "--series", type=int, help="of each kind; by default 10 generated, all real"
    )
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--models", nargs="+", choices=contenders(), default=list(contenders()))
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Score every model on every kind of series and write the table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    kinds = (
        real(arguments.data, arguments.series)
        if arguments.data
        else generated(arguments.series or 10)
    )
    file = "short-series.csv" if arguments.data else "short-series-generated.csv"
    path = arguments.output / file
    table = pd.read_csv(path).to_dict("records") if path.exists() else []
    table = [row for row in table if row["model"] not in arguments.models]
    for name in arguments.models:
        model = contenders()[name]
        for kind, rows in kinds.items():
            began = time.perf_counter()
            seeds = range(arguments.seeds)
            outputs = [model(row, seed) for seed in seeds for row in rows]
            seconds = (time.perf_counter() - began) / len(outputs)
            figures = table_row(rows * len(seeds), outputs, relative=bool(arguments.data))
            table.append({"model": name, "kind": kind, "series": len(rows), "seeds": len(seeds)})
            table[-1] |= figures | {"seconds per series": seconds}
            print(table[-1], flush=True)
        write_table(pd.DataFrame(table), path)


if __name__ == "__main__":
    main()
