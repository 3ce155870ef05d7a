"""python -m rimer_forecaster.benchmark: compare models on a CSV file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from .comparison import DEFAULT, compare
from .contenders import NAMES
from .csv_file import read_csv
from .layer_table import layer_table
from .task import make_task


class _PrintLayers(argparse.Action):
    """Print the table of layers and end, whatever else is missing."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> None:
        print(layer_table().to_string())
        parser.exit()


def main() -> None:
    """Read the command line, compare, print the table and write it with the plots."""
    parser = argparse.ArgumentParser(
        prog="python -m rimer_forecaster.benchmark",
        description="Compare forecasting models on a CSV file with a time column.",
        epilog=f"Models: {', '.join(NAMES)}, a layer string such as rwkv7*2, or a forecaster of "
        "sktime such as 'ThetaForecaster(sp=12)'.",
    )
    parser.add_argument("csv", type=Path, help="file with a time column, the others are components")
    parser.add_argument("--horizon", type=int, required=True, help="steps to forecast")
    parser.add_argument("--look-back", type=int, help="steps to forecast from")
    parser.add_argument("--time-col", help="name of the time column, by default the first")
    parser.add_argument("--models", nargs="+", default=list(DEFAULT), metavar="MODEL")
    parser.add_argument("--season", type=int, help="period in steps, for seasonal naive and MASE")
    parser.add_argument(
        "--split", type=float, nargs=3, default=(0.6, 0.2, 0.2), metavar=("TRAIN", "VAL", "TEST")
    )
    parser.add_argument("--stride", type=int, default=1, help="steps between two forecasts")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="at most; by default about 2,000 steps")
    parser.add_argument("--patience", type=int, help="epochs; by default about 100 steps")
    parser.add_argument(
        "--isolated",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="each run in a process of its own, which takes seconds to start",
    )
    parser.add_argument("--seconds", type=float, help="of training, at most, for each model")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--train-stride", type=int, default=1, help="steps between two windows")
    parser.add_argument("--quantiles", type=float, nargs="+")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--output", type=Path, default=Path("comparison"), help="folder")
    parser.add_argument("--layers", action=_PrintLayers, nargs=0, help="list the layers, and end")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        task = make_task(
            read_csv(arguments.csv, arguments.time_col),
            arguments.horizon,
            look_back=arguments.look_back,
            split=arguments.split,
            season=arguments.season,
            stride=arguments.stride,
            name=arguments.csv.name.partition(".")[0],
        )
        comparison = compare(
            task,
            models=arguments.models,
            seeds=arguments.seeds,
            epochs=arguments.epochs,
            patience=arguments.patience,
            isolated=arguments.isolated,
            seconds=arguments.seconds,
            batch_size=arguments.batch_size,
            train_stride=arguments.train_stride,
            quantiles=arguments.quantiles,
            results=arguments.output / "runs",
        )
    except (OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    comparison.save(arguments.output)
    print(comparison.to_markdown())
    print(f"wrote {arguments.output}: table.csv, table.md, runs.csv and three plots")


if __name__ == "__main__":
    main()
