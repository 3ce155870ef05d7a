"""How often the intervals of RimerForecaster cover what comes, on a chronological test part.

    python examples/figures/intervals.py [--data FOLDER] [--seeds 3] [--epochs N] [--output FOLDER]

Trained once, the forecaster reads the test part value by value, by `update` without parameters.
After each value it gives an interval for every step of the horizon. With --data, a folder that
holds ETTh1.csv.xz: 60 % to train on, 20 % left out, 20 % to test. Without it, weekly CO2 at Mauna
Loa, where the level leaves the range of the training part. Beside the forecaster: seasonal naive,
plus the quantiles of its own errors in the training part, by step of the horizon. Series are
z-scored by the training part, and widths are in those units. Writes intervals.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from records import write_table
from windows import Task, load_co2, load_etth1

from rimer_forecaster import RimerForecaster
from rimer_forecaster.benchmark import versions

COVERAGES = (0.8, 0.95)
LEVELS = [0.5 * (1 - c) for c in COVERAGES] + [0.5 * (1 + c) for c in COVERAGES]


def frames(task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both parts; the test part has a look-back before it."""
    return task.train.to_dataframe(), task.test.to_dataframe()


def rimer(task: Task, horizon: int, seed: int, epochs: int | None) -> np.ndarray:
    """Quantiles (origins, H, C, levels)."""
    train, test = frames(task)
    forecaster = RimerForecaster(task.look_back, n_epochs=epochs, random_state=seed)
    forecaster.fit(train, fh=range(1, horizon + 1))
    forecaster.update(test.iloc[: task.look_back], update_params=False)
    quantiles = []
    for origin in range(task.look_back, len(test) - horizon + 1):
        quantiles.append(forecaster.predict_quantiles(alpha=LEVELS).to_numpy())
        forecaster.update(test.iloc[[origin]], update_params=False)
    return np.stack(quantiles).reshape(len(quantiles), horizon, -1, len(LEVELS))


def naive(task: Task, horizon: int) -> np.ndarray:
    """Quantiles (origins, H, C, levels) of seasonal naive and its errors in training."""
    train, test = (frame.to_numpy() for frame in frames(task))
    steps = np.arange(1, horizon + 1)
    back = steps - task.season * np.ceil(steps / task.season).astype(int)  # same phase, at most 0

    def last_season(values: np.ndarray, origins: np.ndarray) -> np.ndarray:
        return values[origins[:, None] - 1 + back]

    past_origins = np.arange(task.season, len(train) - horizon + 1)
    errors = train[past_origins[:, None] - 1 + steps] - last_season(train, past_origins)
    spread = np.moveaxis(np.quantile(errors, LEVELS, axis=0), 0, -1)  # (H, C, levels)
    origins = np.arange(task.look_back, len(test) - horizon + 1)
    return last_season(test, origins)[..., None] + spread


def table_of(name: str, task: Task, horizon: int, quantiles: np.ndarray) -> list[dict[str, object]]:
    """Share of what came that lay inside, over all and in the worst column, and mean width."""
    test = frames(task)[1].to_numpy()
    origins = np.arange(task.look_back, len(test) - horizon + 1)
    actual = test[origins[:, None] + np.arange(horizon)]  # (origins, H, C)
    rows = []
    for i, coverage in enumerate(COVERAGES):
        low, high = quantiles[..., i], quantiles[..., i + len(COVERAGES)]
        inside = (low <= actual) & (actual <= high)
        by_column = inside.mean((0, 1))
        rows.append(
            {
                "forecaster": name,
                "horizon": horizon,
                "nominal": coverage,
                "covered": inside.mean(),
                "farthest column": by_column[np.abs(by_column - coverage).argmax()],
                "width": (high - low).mean(),
            }
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder that holds ETTh1.csv.xz")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="fewer than the default, for a quick look")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Test every horizon and seed."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    task = load_co2() if arguments.data is None else load_etth1(arguments.data)
    rows = []
    for horizon in sorted({task.horizon, min(24, task.horizon)}):
        for seed in range(arguments.seeds):
            quantiles = rimer(task, horizon, seed, arguments.epochs)
            rows += table_of("RimerForecaster", task, horizon, quantiles)
            print(pd.DataFrame(rows[-2:]).to_string(index=False, header=not seed), flush=True)
        rows += table_of("seasonal naive + its errors", task, horizon, naive(task, horizon))
    keys = ["forecaster", "horizon", "nominal"]
    table = pd.DataFrame(rows).groupby(keys).agg(["mean", "std"])
    table.columns = [name if which == "mean" else f"{name} std" for name, which in table.columns]
    path = arguments.output / "intervals.csv"
    write_table(table, path, index=True, float_format="%.4f")
    print(f"\n{task.name}, test part\n{table.to_string(float_format='%.3f', na_rep='')}")
    print(f"\n{arguments.seeds} seeds; {versions()}.\nwrote {path}")


if __name__ == "__main__":
    main()
