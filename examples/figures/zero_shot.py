"""Weights of the package on sets that they were never shown, beside models that are fitted to them.

    python examples/figures/zero_shot.py --data FOLDER [--sets NN5 ...] [--output FOLDER]

Each series is forecast from several origins, the last ones that fit. Rows:

- zero-shot: the weights, as they are
- seasonal naive, and where statsforecast is installed AutoETS and AutoTheta, fitted at every origin
- RimerModel, with quantiles: one model of all series of the set, trained for 2,000 steps on what
  comes before the first origin; means over --seeds

Errors are those of `python -m rimer_forecaster.zero_shot.evaluate`. Without --data on sines with
noise. Writes zero-shot.csv.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from records import write_table
from windows import SILENT, m4_hourly

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions
from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.evaluate import contenders, timed_scores
from rimer_forecaster.zero_shot.scores import Array, Origins, origins_of
from rimer_forecaster.zero_shot.tables import SeriesTable, read_series

CONTEXT = 2048

TRAINED = "RimerModel"


@dataclass(frozen=True)
class Set:
    """What is forecast of a file.

    Attributes
    ----------
    files
        Their names; columns or rows of the first are series, and a second holds what comes after.
    horizon, season, windows
        Steps, and origins per series.
    look_back
        Of the trained model.
    """

    files: tuple[str, ...]
    horizon: int
    season: int
    windows: int
    look_back: int


SETS = {
    "M4 hourly": Set(("M4-Hourly-train.csv.xz", "M4-Hourly-test.csv.xz"), 48, 24, 1, 336),
    "NN5 daily": Set(("nn5_daily_dataset_with_missing_values.tsf.xz",), 56, 7, 1, 112),
    "ETTh1": Set(("ETTh1.csv.xz",), 96, 24, 10, 336),
    "ETTm1": Set(("ETTm1.csv.xz",), 96, 96, 10, 336),
    "weather": Set(("weather.csv.xz",), 96, 144, 5, 336),
    "exchange rates": Set(("exchange_rate.csv.xz",), 96, 1, 10, 96),
    "electricity prices": Set(("electricity-short-with-ex-vars.csv.xz",), 24, 168, 10, 168),
}


def series_of(folder: Path, name: str) -> list[Array]:
    """Read the series of a set, NaN where missing."""
    files = SETS[name].files
    if name == "M4 hourly":
        parts = (m4_hourly(folder, part) for part in ("train", "test"))
        return [np.concatenate(both) for both in zip(*parts, strict=True)]
    if name == "electricity prices":
        frame = pd.read_csv(folder / files[0])
        return [rows["y"].to_numpy(float) for _, rows in frame.groupby("unique_id")]
    if files[0].endswith(".tsf.xz"):
        return [x.to_numpy(float) for x in read_series(folder / files[0]).series.values()]
    frame = pd.read_csv(folder / files[0], encoding_errors="replace").select_dtypes("number")
    return list(frame.replace(-9999, np.nan).to_numpy(float).T)


def sines() -> list[Array]:
    """Some series that need no file."""
    rng, t = np.random.default_rng(0), np.arange(400)
    return [np.sin(t / 4 + i) + 0.2 * rng.standard_normal(400) for i in range(3)]


def trained(
    origins: Origins,
    past: Sequence[Array],
    task: Set,
    quantiles: list[float],
    *,
    steps: int,
    seed: int,
) -> Array:
    """Train RimerModel on what comes before the first origins, and forecast from all of them."""

    def as_series(rows: Sequence[Array]) -> list[TimeSeries]:
        return [TimeSeries.from_values(row.astype(np.float32)) for row in rows]

    model = RimerModel(
        task.look_back,
        task.horizon,
        likelihood=QuantileRegression(quantiles),
        n_epochs=10_000,
        pretrained=None,
        random_state=seed,
        pl_trainer_kwargs=SILENT | {"max_steps": steps},
    ).fit(as_series(past))
    outputs = model.predict(
        task.horizon,
        as_series([row[-task.look_back :] for row in origins.past]),
        predict_likelihood_parameters=True,
    )
    return np.stack([x.values().astype(float) for x in outputs])


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder of the data sets")
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options.add_argument("--models", nargs="+", help="rows, all by default")
    options.add_argument("--weights", default="rimer-zero", help="name or file")
    options.add_argument("--steps", type=int, default=2000, help="of RimerModel")
    options.add_argument("--seeds", type=int, default=3, help="of RimerModel")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Score every row on every set and write the table."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    network = zero_shot_network(arguments.weights)
    quantiles = [float(x) for x in network.config.outputs]
    rows = []
    for name in arguments.sets if arguments.data else ["sines"]:
        task = SETS[name] if arguments.data else Set((), 24, 25, 2, 96)
        series = series_of(arguments.data, name) if arguments.data else sines()
        table = SeriesTable({str(i): pd.Series(x) for i, x in enumerate(series)}, None)
        origins = origins_of(table, task.horizon, task.windows, CONTEXT)
        past = [x[: len(x) - task.windows * task.horizon] for x in series]
        own = partial(trained, origins, past, task, quantiles, steps=arguments.steps)
        models = list(contenders(network).items())
        models += [(TRAINED, lambda *_, i=i, own=own: own(seed=i)) for i in range(arguments.seeds)]
        for model, run in models:
            if arguments.models and model not in arguments.models:
                continue
            scores = timed_scores(run, quantiles, origins, task.season, task.horizon)
            rows.append({"set": name, "forecasts": len(origins.past), "model": model})
            rows[-1] |= asdict(scores)
            print(rows[-1], flush=True)
        frame = pd.DataFrame(rows).groupby(["set", "model"], sort=False).mean().reset_index()
        write_table(frame, arguments.output / "zero-shot.csv")
    for figure in ("mase", "wql", "coverage"):
        shown = frame.pivot(index="set", columns="model", values=figure)
        print(f"{figure}\n{shown.to_string(float_format='%.3f')}")
    print(versions())


if __name__ == "__main__":
    main()
