"""What the released protocol of the Rimer paper measures, as code on public data.

    python examples/paper/audit.py [--data FOLDER] [--output FOLDER] [--published RMSE R2] [--quick]

The protocol is that of Alic-Li/BlackGoose_Rimer at 6d6757a: rows split at random, a window of 32
rows, the target the same window one step later. One window is scored, the first of the last batch
of 30. Here rules and three small networks are scored on it, on all windows, and on the one value of
each target that the input lacks; then in time order, and on 32 values that the input lacks. Only
the last column is forecast and scored, as there.

With --data on FOLDER/ETTm1.csv.xz, ETTh1.csv.xz and weather.csv.xz; without it on weekly CO2 at
Mauna Loa from statsmodels. Weather has sentinels, -9999, that the released code reads as values:
here each is the last value before it, so that its row stays and the split is the released one. In
time order its duplicate stamp is dropped and its gap filled by the last value before it.

Before that, the parameter counts of the two published sizes, and the variance of the targets that a
published pair of RMSE and R2 implies: rows scored on the same targets must have the same one.
Writes paper_audit.csv.
"""

from __future__ import annotations

import argparse
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn
import statsmodels.api as sm
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[1] / "figures"))

from records import write_table

from rimer_forecaster import RimerNetwork
from rimer_forecaster.benchmark import versions
from rimer_forecaster.training import Recipe

WINDOW, BATCH, SPLIT_SEED = 32, 30, 42
"""Rows of a window, windows of a batch and the seed of the split, as released."""

SENTINEL = -9999.0
SEASONS = {"ETTm1": 96, "ETTh1": 24, "weather": 144}
"""Data sets with the rows of a day."""

NETWORKS: dict[str, dict[str, Any]] = {
    "linear skip alone": {"layers": None},
    "RWKV-7, one token of 32": {"layers": "rwkv7(channel_mix=linear)", "patch_length": WINDOW},
    "RWKV-7, four tokens of 8": {"layers": "rwkv7", "patch_length": WINDOW // 4},
}
"""The second has the form of the released model, at width 32 in place of 512."""

PUBLISHED = ("5.431", "0.879")
"""RMSE and R2 of Rimer on weather."""


class Target(NamedTuple):
    """The column to forecast, row by row as stored and on a grid without gaps or duplicates."""

    name: str
    rows: pd.Series
    grid: pd.Series
    season: int


def read_target(folder: Path, name: str) -> Target:
    """Read the last column of a data set; sentinels become the last value before them."""
    frame = pd.read_csv(folder / f"{name}.csv.xz", parse_dates=["date"], index_col="date")
    rows = frame.iloc[:, -1].astype(np.float64).replace(SENTINEL, np.nan).ffill()
    grid = rows[~rows.index.duplicated()]
    step = grid.index.to_series().diff().median()
    return Target(name, rows, grid.asfreq(step).ffill(), SEASONS[name])


def read_co2() -> Target:
    """Weekly CO2 at Mauna Loa, gaps filled by the last value before them."""
    weeks = sm.datasets.co2.load_pandas().data["co2"].ffill()
    return Target("weekly CO2", weeks, weeks, season=52)


def random_rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows to train and to test on, 70 and 10 %, in the order of the released files.

    The released split takes the training rows first, then parts the rest in validation and test.
    """
    train, rest = train_test_split(np.arange(n), train_size=0.7, random_state=SPLIT_SEED)
    _, test = train_test_split(rest, test_size=0.1 / (0.2 + 0.1), random_state=SPLIT_SEED)
    return train, test


def ordered_rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first 70 % of the rows and the last 10 %."""
    return np.arange(int(0.7 * n)), np.arange(int(0.9 * n), n)


def shifted_pairs(values: np.ndarray, window: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Windows and the same windows one step later, both (n, window)."""
    both = np.lib.stride_tricks.sliding_window_view(values, window + 1)
    return both[:, :-1], both[:, 1:]


def unseen_pairs(values: np.ndarray, window: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Windows and the values after them, both (n, window)."""
    both = np.lib.stride_tricks.sliding_window_view(values, 2 * window)
    return both[:, :window], both[:, window:]


def scored_window(windows: int, batch: int = BATCH) -> int:
    """Index of the window that the released script scores: the first of the last batch."""
    return (windows - 1) // batch * batch


def copied(inputs: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Copy the input, one step on, and fill the last value: (n, window) and (n,)."""
    return np.concatenate((inputs[:, 1:], fill[:, None]), axis=1)


def measures(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """RMSE, MAE, MAPE in per cent and R2 over all values; no MAPE where a target is zero."""
    error = target - predicted
    mape = np.nan if (target == 0).any() else 100 * np.mean(np.abs(error / target))
    return {
        "RMSE": float(np.sqrt(np.mean(error**2))),
        "MAE": float(np.mean(np.abs(error))),
        "MAPE, %": float(mape),
        "R2": float(1 - np.mean(error**2) / target.var()),
        "variance": float(target.var()),
    }


def implied_variance(rmse: str, r2: str) -> tuple[float, float]:
    """Range of the variance of the targets, RMSE^2 / (1 - R2), given the digits that are printed.

    Raises
    ------
    ValueError
        If R2 may be 1 within its digits, so that the variance has no upper limit.
    """
    halves = [Decimal(1).scaleb(int(Decimal(x).as_tuple().exponent)) / 2 for x in (rmse, r2)]
    error, least_error = Decimal(rmse) + halves[0], Decimal(rmse) - halves[0]
    rest, least_rest = 1 - Decimal(r2) + halves[1], 1 - Decimal(r2) - halves[1]
    if least_rest <= 0:
        raise ValueError(f"R2={r2} may be 1 within its digits; it must be given with more of them.")
    return float(least_error**2 / rest), float(error**2 / least_rest)


def parameter_counts(layers: str) -> dict[str, int]:
    """Parameters by part of a network of the published sizes: patch 32, width 512, 8 heads."""
    network = RimerNetwork(32, 32, layers=layers, width=512, head_size=64, patch_length=32)
    reader = network.reader
    assert reader is not None
    values, marks = reader.embed_target.weight.split(32, dim=1)  # (D, 2 P) -> twice (D, P)
    return {
        "embedding": values.numel(),
        "layers": sum(parameter.numel() for parameter in reader.layers.parameters()),
        "last norm": sum(parameter.numel() for parameter in reader.norm.parameters()),
        "head": reader.head.weight.numel() + network.skip.offset.numel(),
        "marks of missing values": marks.numel() + reader.embed_target.bias.numel(),
        "linear skip": network.skip.weight.numel(),
    }


def published_sizes() -> dict[str, int]:
    """Parameters of Timer and Rimer in the parts that the released models have."""
    timer, rimer = parameter_counts("attention*12"), parameter_counts("rwkv7(channel_mix=linear)")
    return {
        "Timer, attention*12": sum(
            timer[part] for part in ("embedding", "layers", "last norm", "head")
        ),
        "Rimer, rwkv7(channel_mix=linear)": sum(
            rimer[part] for part in ("embedding", "layers", "head")
        ),
    }


def seasonal_naive(values: np.ndarray, first: np.ndarray, season: int) -> np.ndarray:
    """The value of the last season that lies before each window's first target: (n, window)."""
    ahead = np.arange(WINDOW)
    return values[first[:, None] + ahead - season * (ahead // season + 1)]


def train(
    inputs: np.ndarray, targets: np.ndarray, steps: int, seed: int, **kwargs: Any
) -> RimerNetwork:
    """Fit a small network to pairs of windows, z-scored, by the squared error as released."""
    generator = torch.Generator().manual_seed(seed)
    network = RimerNetwork(WINDOW, WINDOW, dropout=0.0, generator=generator, **kwargs)
    network.draw_from(generator)
    parts = Recipe().optimisation(network, total_steps=steps)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    x, y = as_tensor(inputs), as_tensor(targets)
    for _ in range(steps):
        rows = torch.randint(len(x), (256,), generator=generator)
        loss = F.mse_loss(network(x[rows, :, None])[:, :, 0, 0], y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def forecast(network: RimerNetwork, inputs: np.ndarray) -> np.ndarray:
    """Forecast all windows, (n, window)."""
    parts = [network(x[..., None])[:, :, 0, 0] for x in as_tensor(inputs).split(4096)]
    return torch.cat(parts).numpy().astype(np.float64)


def as_tensor(values: np.ndarray) -> Tensor:
    """A copy in float32."""
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)


def audit(target: Target, protocol: str, steps: int, seeds: int) -> list[dict[str, Any]]:
    """Score rules and networks under one protocol: one row for each and for each way of scoring."""
    series = (target.rows if protocol == "random rows, shifted" else target.grid).to_numpy()
    rows_of = random_rows if protocol == "random rows, shifted" else ordered_rows
    pairs_of = unseen_pairs if protocol == "in time order, unseen" else shifted_pairs
    train_rows, test_rows = rows_of(len(series))
    mean, scale = series[train_rows].mean(), series[train_rows].std()
    inputs, targets = pairs_of(series[test_rows])
    level, last = inputs.mean(1), inputs[:, -1]

    predicted = {"last value": [np.repeat(last[:, None], WINDOW, axis=1)]}
    if pairs_of is shifted_pairs:
        predicted["copy, window mean at the end"] = [copied(inputs, level)]
        predicted["copy, last value at the end"] = [copied(inputs, last)]
    else:
        predicted["window mean"] = [np.repeat(level[:, None], WINDOW, axis=1)]
        first = test_rows[0] + WINDOW + np.arange(len(inputs))
        predicted["seasonal naive"] = [seasonal_naive(series, first, target.season)]
    to_train_on = pairs_of((series[train_rows] - mean) / scale)
    for name, arguments in NETWORKS.items():
        networks = (train(*to_train_on, steps, seed, **arguments) for seed in range(seeds))
        scaled = (inputs - mean) / scale
        predicted[name] = [mean + scale * forecast(network, scaled) for network in networks]

    i = scored_window(len(inputs))
    scored = {"all windows": np.s_[:]}
    if protocol == "random rows, shifted":
        scored = {"one window": np.s_[i : i + 1], **scored}
    if pairs_of is shifted_pairs:
        scored["the unseen value"] = np.s_[:, -1:]
    rows = []
    for where, part in scored.items():
        for name, each in predicted.items():
            runs = pd.DataFrame([measures(targets[part], forecasts[part]) for forecasts in each])
            rows.append(
                {
                    "data": target.name,
                    "protocol": protocol,
                    "scored": where,
                    "model": name,
                    "windows": len(targets[part]),
                    **runs.mean(skipna=False),
                    "R2 spread": runs["R2"].max() - runs["R2"].min(),
                    "variance, z-scored": runs["variance"].mean() / scale**2,
                }
            )
    return rows


PROTOCOLS = ("random rows, shifted", "in time order, shifted", "in time order, unseen")


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with the three data sets")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    options.add_argument(
        "--published",
        nargs=2,
        action="append",
        metavar=("RMSE", "R2"),
        help="of a row of the published table, with all its digits; may be given several times",
    )
    options.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options.add_argument("--steps", type=int, default=1000, help="of training, 256 windows each")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--quick", action="store_true", help="one seed of 20 steps: does it run?")
    return options


def main() -> None:
    """Print what holds without data, then audit the protocols and write their table."""
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    steps, seeds = (20, 1) if arguments.quick else (arguments.steps, arguments.seeds)
    print(f"{versions()}; scikit-learn {sklearn.__version__}; {steps} steps, {seeds} seeds\n")
    for name, count in published_sizes().items():
        print(f"{name}: {count:,} parameters in the parts that the released model has")
    for rmse, r2 in arguments.published or [PUBLISHED]:
        low, high = implied_variance(rmse, r2)
        print(f"RMSE {rmse} and R2 {r2}: the targets' variance is {low:.6g} to {high:.6g}")

    rows: list[dict[str, Any]] = []
    path = arguments.output / "paper_audit.csv"
    names = SEASONS if arguments.data else [None]
    for name in names:
        target = read_target(arguments.data, name) if name else read_co2()
        for protocol in PROTOCOLS:
            start = time.perf_counter()
            rows += audit(target, protocol, steps, seeds)
            write_table(pd.DataFrame(rows), path)
            print(f"{target.name}, {protocol}: {time.perf_counter() - start:.0f} s", flush=True)
    shown = ["scored", "model", "windows", "RMSE", "MAE", "MAPE, %", "R2", "R2 spread"]
    table = pd.DataFrame(rows)
    for (name, protocol), part in table.groupby(["data", "protocol"], sort=False):
        text = part[shown].to_string(index=False, float_format="{:.4f}".format, na_rep="")
        variances = part.drop_duplicates("scored")[["scored", "variance", "variance, z-scored"]]
        print(f"\n{name}: {protocol}\n{text}\n{variances.to_string(index=False)}")
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
