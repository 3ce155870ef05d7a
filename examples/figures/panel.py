"""Many series under one model: M4 hourly, 414 series, 48 steps ahead, with RWKV-7 and other layers.

    python examples/figures/panel.py [--data FOLDER] [--steps 2000] [--seeds 3] [--output FOLDER]

Each network is trained once on all series and forecasts the 48 hours after each. Rows:

- last value and seasonal naive
- RimerModel with its linear skip alone, with RWKV-7, and with GRU, LSTM or attention layers in its
  place; recipe and number of steps are the same
- RWKV-7 that was prepared for streams
- of each network the mean of the forecasts of its seeds

Every series is z-scored by its training part. The error is MASE: the mean over series of the mean
absolute error over that of seasonal naive (24) within the training part, as in the competition.
With --validate the last 48 hours of the training part are forecast instead, and the test part is
not read: that is for choosing settings. Each run is kept in a folder, so that an interrupted script
goes on. Without --data on sines with noise. Writes panel.csv. Networks of other libraries beside
these are in which_model.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from numpy.typing import NDArray
from records import write_table
from windows import SILENT, m4_hourly

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions

LOOK_BACK, HORIZON, SEASON, BATCH = 336, 48, 24, 256

Array = NDArray[np.float32]


def load(folder: Path | None) -> tuple[list[Array], Array]:
    """Return training parts of all series, and what came after, (series, 48)."""
    if folder is None:
        rng, t = np.random.default_rng(0), np.arange(500)
        waves = [
            100 * i + i * np.sin(2 * np.pi * (t + i) / 24) + rng.normal(0, 0.1 * i, 500)
            for i in range(1, 13)
        ]
        return [w[: 452 - i].astype(np.float32) for i, w in enumerate(waves)], np.stack(
            [w[452 - i : 500 - i] for i, w in enumerate(waves)]
        ).astype(np.float32)
    train, test = (m4_hourly(folder, part) for part in ("train", "test"))
    return [row.astype(np.float32) for row in train], np.stack(test).astype(np.float32)


def mase(train: list[Array], forecasts: Array, actual: Array) -> float:
    """Mean over series of the absolute error in units of seasonal naive's in the training part."""
    naive = np.array([np.abs(row[SEASON:] - row[:-SEASON]).mean() for row in train])
    return float((np.abs(forecasts - actual).mean(1) / naive).mean())


def naive(train: list[Array], season: int) -> Array:
    """Repeat the last season."""
    return np.stack([np.resize(row[-season:], HORIZON) for row in train])


def lightning(steps: int) -> dict[str, Any]:
    """Arguments of Lightning's trainer."""
    return {**SILENT, "max_steps": steps}


def through_darts(
    make: Callable[..., Any],
    train: list[Array],
    *,
    steps: int,
    seed: int,
    batch: int = BATCH,
    trained_on: list[int] | None = None,
) -> dict[str, Any]:
    """Train a torch model of darts on all series or those of some numbers, and forecast each."""
    model = make(
        input_chunk_length=LOOK_BACK,
        output_chunk_length=HORIZON,
        batch_size=batch,
        n_epochs=10_000,
        random_state=seed,
        loss_fn=torch.nn.L1Loss(),
        pl_trainer_kwargs=lightning(steps),
    )
    scaled, _, _ = z_scored(train)
    start = time.perf_counter()
    model.fit(scaled if trained_on is None else [scaled[i] for i in trained_on])
    fit, done = time.perf_counter() - start, model.trainer.global_step
    start = time.perf_counter()
    forecasts = forecasts_of(model, train)
    predict = time.perf_counter() - start
    weights = sum(weight.numel() for weight in model.model.parameters() if weight.requires_grad)
    return {
        "forecasts": forecasts,
        "fit, s": fit,
        "predict, s": predict,
        "parameters": weights,
        "steps": done,
    }


def z_scored(train: list[Array]) -> tuple[list[TimeSeries], Array, Array]:
    """Return series z-scored, with means and standard deviations, (series,)."""
    means, deviations = (np.array([f(row) for row in train]) for f in (np.mean, np.std))
    scaled = [
        TimeSeries.from_values(((row - m) / s).astype(np.float32))
        for row, m, s in zip(train, means, deviations, strict=True)
    ]
    return scaled, means, deviations


def forecasts_of(model: Any, train: list[Array]) -> Array:
    """Forecast what comes after each series, (series, 48), by a model of all of them, z-scored."""
    scaled, means, deviations = z_scored(train)
    forecasts = np.stack([f.values()[:, 0] for f in model.predict(HORIZON, scaled)])
    return forecasts * deviations[:, None] + means[:, None]


def models(layers: str, width: int) -> dict[str, Callable[..., RimerModel]]:
    """Return every network by its name; `layers` are those of RWKV-7."""
    depth = layers.replace("rwkv7", "")
    peers = [f"{name}{depth}" for name in ("gru", "lstm", "attention")]
    strings = {"rlinear": None} | {name: name for name in (layers, *peers)}
    own = {name: partial(RimerModel, layers=x, width=width) for name, x in strings.items()}
    return own | {f"{layers}, streaming": partial(own[layers], streaming=True)}


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with M4-Hourly-train.csv.xz and -test")
    options.add_argument("--layers", default="rwkv7", help="of RWKV-7, such as rwkv7*2")
    options.add_argument("--width", type=int, default=32, help="of all layers")
    options.add_argument("--models", nargs="+", help="rows, all by default")
    options.add_argument("--steps", type=int, default=2_000)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--validate", action="store_true")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Train and test every model."""
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning)

    train, actual = load(arguments.data)
    if arguments.validate:
        actual = np.stack([row[-HORIZON:] for row in train])
        train = [row[:-HORIZON] for row in train]
    rows: list[dict[str, Any]] = [
        {"model": name, "MASE": mase(train, naive(train, season), actual)}
        for name, season in (("last value", 1), ("seasonal naive", SEASON))
    ]
    runs = arguments.output / "panel-runs"
    runs.mkdir(parents=True, exist_ok=True)
    part = "validation" if arguments.validate else "test"
    part = part if arguments.data else f"sines-{part}"
    for name, make in models(arguments.layers, arguments.width).items():
        if arguments.models and name not in arguments.models:
            continue
        forecasts = []
        for seed in range(arguments.seeds):
            settings = f"{arguments.width}-{arguments.steps}-{seed}"
            path = runs / f"{part}-{name}-{settings}.json".replace("*", "x")
            if not path.exists():
                result = through_darts(make, train, steps=arguments.steps, seed=seed)
                result["forecasts"] = result["forecasts"].tolist()
                path.write_text(json.dumps(result), encoding="utf-8")
            result = json.loads(path.read_text(encoding="utf-8"))
            forecasts.append(np.array(result.pop("forecasts")))
            row = {"model": name, "seed": seed, "MASE": mase(train, forecasts[-1], actual)}
            rows.append(row | result)
            print(rows[-1], flush=True)
        if arguments.seeds > 1:
            mean = {
                "model": f"{name}, mean of {arguments.seeds} forecasts",
                "MASE": mase(train, np.mean(forecasts, 0), actual),
                "fit, s": sum(row["fit, s"] for row in rows if row["model"] == name),
            }
            rows.append(mean)
    table = pd.DataFrame(rows)
    write_table(table, arguments.output / "panel.csv")
    seeds = table.groupby("model", sort=False)
    shown = seeds[["MASE", "fit, s", "predict, s", "parameters", "steps"]].mean()
    shown.insert(1, "MASE std", seeds["MASE"].std())
    print(shown.to_string(float_format=lambda x: f"{x:.4g}"))
    print(versions())


if __name__ == "__main__":
    main()
