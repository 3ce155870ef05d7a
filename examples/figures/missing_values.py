"""What missing values cost RimerModel: the same training with a share of the values taken out.

    python examples/figures/missing_values.py [--data FOLDER] [--output FOLDER]

Without --data on weekly CO2 at Mauna Loa from statsmodels, whose own 59 gaps are filled first:
there must be a truth to compare with. With it on the hourly ETTh1 of FOLDER/ETTh1.csv.xz, split and
scaled as in windows.py. Values are taken out at random, each on its own, of the training part and
of the windows that are forecast from; errors are against the complete values, over the windows from
every origin of the test part. Beside it the linear skip of the package alone, and RimerModel and
seasonal naive with gaps filled by their last value. Writes missing_values.csv.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.models import NaiveSeasonal
from records import write_table
from windows import SILENT, load_co2, load_etth1, score

from rimer_forecaster import RimerModel
from rimer_forecaster.benchmark import versions

SHARES = (0.0, 0.1, 0.3)


def with_gaps(series: TimeSeries, share: float, seed: int) -> TimeSeries:
    """Take out a share of the values."""
    values = series.values().copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    return series.with_values(values)


def filled(series: TimeSeries) -> TimeSeries:
    """Fill gaps by the last value before them."""
    return series.with_values(pd.DataFrame(series.values()).ffill().bfill().to_numpy())


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with ETTh1.csv.xz")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="instead of the default number")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Train and test every variant."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)

    task = load_co2() if arguments.data is None else load_etth1(arguments.data)
    rows = []
    for share in SHARES:
        for seed in range(arguments.seeds):
            train, test = (
                with_gaps(task.train, share, seed),
                with_gaps(task.test, share, 100 + seed),
            )
            cases = {"RimerModel": (train, test, "rwkv7"), "linear skip alone": (train, test, None)}
            if share:
                cases["RimerModel, gaps filled"] = (filled(train), filled(test), "rwkv7")
            for name, (own_train, own_test, layers) in cases.items():
                model = RimerModel(
                    input_chunk_length=task.look_back,
                    output_chunk_length=task.horizon,
                    layers=layers,
                    n_epochs=arguments.epochs,
                    pretrained=None,
                    random_state=seed,
                    pl_trainer_kwargs=SILENT,
                ).fit(own_train)
                rows.append({"model": name, "missing": share, **score(model, task, own_test)})
                print(pd.Series(rows[-1]).to_frame().T.to_string(index=False), flush=True)
            if not seed:  # it has no seed, and its windows differ little
                naive = NaiveSeasonal(task.season)
                errors = score(naive, task, filled(test))
                rows.append({"model": "seasonal naive, gaps filled", "missing": share, **errors})
    table = pd.DataFrame(rows).groupby(["model", "missing"])[["MSE", "MAE"]].agg(["mean", "std"])
    table.columns = [name if which == "mean" else f"{name} std" for name, which in table.columns]
    path = arguments.output / "missing_values.csv"
    write_table(table, path, index=True)
    print(f"\n{table.round(4).to_string()}")
    print(f"\n{arguments.seeds} seeds; {versions()}.\nwrote {path}")


if __name__ == "__main__":
    main()
