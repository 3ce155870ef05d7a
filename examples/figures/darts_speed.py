"""Time RimerModel beside darts' own models: training epochs, backtests and the import.

    python examples/figures/darts_speed.py [--rounds N] [--quick] [--output FOLDER]

Every model has its defaults, 24 steps ahead, in float32, and the recurrent ones a hidden state of
64. The models of a case take turns, so that what else the machine does hits all alike; the table
shows medians and how many times RimerModel's they are. An epoch is timed from its first batch to
its last, in fits of three of which the first does not count: darts and Lightning set up in it. Of
look-backs from 2,048 on, only some batches of an epoch are timed. Writes darts_speed.csv.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from long_lookback import HORIZON, MODELS
from records import write_table
from windows import SILENT

from rimer_forecaster.benchmark import versions

RIMER = "RimerModel"
LSTM, GRU, TRANSFORMER = "LSTM (BlockRNNModel)", "GRU (BlockRNNModel)", "TransformerModel"
STEPS = 2_000
EPOCHS: list[tuple[int, int, dict[str, float]]] = [
    (96, 32, {LSTM: 1, GRU: 3, TRANSFORMER: 20}),
    (96, 256, {LSTM: 3}),
    (512, 32, {LSTM: 4, GRU: 8}),
    (2_048, 32, {LSTM: 10, GRU: 25}),
]
"""Look-back, windows per batch, and how many times RimerModel's time the others are to take."""
BACKTEST_STEPS, BACKTESTS = 10_000, (96, 512)
BATCHES_OF_LONG_WINDOWS = 4
IMPORT_SECONDS = 0.2


class Stopwatch(pl.Callback):
    """Seconds of every training epoch and number of its batches."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.batches = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start."""
        self.start, self.batches = time.perf_counter(), 0

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count."""
        self.batches += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.start)


def waves(steps: int) -> TimeSeries:
    """A noisy season of 24 steps."""
    noise = np.random.default_rng(0).normal(size=steps)
    values = np.sin(2 * np.pi * np.arange(steps) / 24) + 0.1 * noise
    return TimeSeries.from_values(values.astype(np.float32))


def fitted(name: str, look_back: int, batch: int, **trainer: Any) -> TorchForecastingModel:
    """Return a model that has been through one short epoch: everything is loaded and compiled."""
    model = MODELS[name](
        input_chunk_length=look_back,
        output_chunk_length=HORIZON,
        batch_size=batch,
        n_epochs=1,
        random_state=0,
        pl_trainer_kwargs={**SILENT, **trainer},
    )
    return model.fit(waves(look_back + HORIZON + 8 * batch))


def epochs(look_back: int, batch: int, targets: dict[str, float], rounds: int) -> pd.DataFrame:
    """Time training epochs."""
    names, long = [RIMER, *targets], look_back >= 2_048
    series = waves(STEPS if not long else look_back + STEPS)
    limit = {"limit_train_batches": BATCHES_OF_LONG_WINDOWS} if long else {}
    watches = {name: Stopwatch() for name in names}
    models = {
        name: fitted(name, look_back, batch, callbacks=[watches[name]], **limit) for name in names
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            if name != TRANSFORMER or turn < 2:  # one of its epochs takes as long as all others
                models[name].fit(series, epochs=3)
                times[name] += watches[name].seconds[-2:]  # the first sets up the loaders
    seconds = {name: median(each) for name, each in times.items()}
    case = f"epoch, look-back {look_back}, batch {batch}"
    return rows(case, seconds, targets, batches=watches[RIMER].batches)


def backtest(look_back: int, rounds: int, names: list[str]) -> pd.DataFrame:
    """Time historical forecasts from every step, without training."""
    series = waves(BACKTEST_STEPS + look_back)
    models = {name: fitted(name, look_back, 32) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            if name == TRANSFORMER and turn:
                continue
            start = time.perf_counter()
            models[name].historical_forecasts(
                series, retrain=False, stride=1, forecast_horizon=HORIZON
            )
            times[name].append(time.perf_counter() - start)
    seconds = {name: median(each) for name, each in times.items()}
    case = f"backtest of {BACKTEST_STEPS} steps, look-back {look_back}"
    return rows(case, seconds, dict.fromkeys(names[1:], 1.0))


def imports(rounds: int) -> pd.DataFrame:
    """Time what importing RimerModel adds to importing a model of darts, in fresh processes."""
    code = """
import time
from darts.models import BlockRNNModel
start = time.perf_counter()
from rimer_forecaster import RimerModel
print(time.perf_counter() - start)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    seconds = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(rounds)
    ]
    return rows(f"import, to add at most {IMPORT_SECONDS} s", {RIMER: median(seconds)}, {})


def rows(
    case: str, seconds: dict[str, float], targets: dict[str, float], *, batches: int | None = None
) -> pd.DataFrame:
    """Return one line per model."""
    return pd.DataFrame(
        {
            "case": case,
            "model": name,
            "seconds": time_of_model,
            "batches": batches,
            "times RimerModel": time_of_model / seconds[RIMER],
            "target": targets.get(name),
        }
        for name, time_of_model in seconds.items()
    )


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--quick", action="store_true", help="one case of each kind, once")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Time every case."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    darts_log = logging.getLogger("darts.models.forecasting.torch_forecasting_model")
    darts_log.setLevel(logging.ERROR)  # to fit again is what is timed here
    rounds = 1 if arguments.quick else arguments.rounds

    tables = []
    for look_back, batch, targets in EPOCHS[1:2] if arguments.quick else EPOCHS:
        fewer = rounds if look_back < 512 else max(1, rounds // 2)
        tables.append(epochs(look_back, batch, targets, fewer))
        print(tables[-1].to_string(index=False), flush=True)
    for look_back in BACKTESTS[:1] if arguments.quick else BACKTESTS:
        names = [RIMER, LSTM] if arguments.quick else list(MODELS)
        tables.append(backtest(look_back, max(1, rounds // 2), names))
        print(tables[-1].to_string(index=False), flush=True)
    tables.append(imports(rounds))
    table = pd.concat(tables)
    path = arguments.output / "darts_speed.csv"
    write_table(table, path, float_format="%.4g")
    print(tables[-1].to_string(index=False))
    print(f"\n{versions()}.\nwrote {path}")


if __name__ == "__main__":
    main()
