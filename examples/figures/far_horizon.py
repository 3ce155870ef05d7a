"""Steps that the weights of the package do not forecast at once, on rows held back from training.

    python examples/figures/far_horizon.py --data FOLDER [--output FOLDER]

Of the validation rows of the corpus, at most 25 a source, the last 192 steps (daily and faster) or
96 are forecast, from at least 64 before them. Errors are those of the medians from step 65 on, over
those of seasonal naive, as a geometric mean; coverage is that of 80 % intervals there. Rows:

- gap: what was forecast is read as a gap
- medians: it is read as if the medians had come
- medians in a gap's intervals: the same, with the quantiles of a gap around them
- as forecast: so where the series has a season, and by a gap elsewhere

Writes far-horizon.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from records import write_table

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.transfer import trainable_copy
from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.corpus import FILE, kind_of
from rimer_forecaster.zero_shot.forecast import standardised
from rimer_forecaster.zero_shot.scores import seasonal_naive
from rimer_forecaster.zero_shot.seasons import without_seasons

FAST = ("daily", "hourly", "faster")
FEWEST, MOST = 64, 25

Array = NDArray[np.float64]


def rows_of(folder: Path) -> list[tuple[str, int, Array, Array]]:
    """Return kind of frequency, season, past and future of series."""
    frame = pd.read_parquet(folder / FILE)
    frame = frame[frame["split"] == "validation"]
    found = []
    for _, group in frame.groupby("source"):
        some = group[
            [
                len(x) >= FEWEST + _steps(f)
                for x, f in zip(group["values"], group["freq"], strict=True)
            ]
        ]
        for _, row in some.sample(min(len(some), MOST), random_state=0).iterrows():
            values, H = np.asarray(row["values"], float), _steps(row["freq"])
            past, future = values[:-H], values[-H:]
            if np.isfinite(past[-FEWEST:]).any() and np.nanstd(past) > 0:
                found.append((kind_of(row["freq"]), int(row["season"]), past, future))
    return found


def _steps(freq: str) -> int:
    return 192 if kind_of(freq) in FAST else 96


def quantiles(network: RimerNetwork, past: Array, H: int, feeds_back: bool | None) -> Array:
    """Forecast without and with medians fed back, or as the package does, (H, Q)."""
    window, (level, spread, largest) = standardised(past, network.config.input_chunk_length, 0)
    seasons = without_seasons(window, H)
    fed = seasons.is_periodic if feeds_back is None else feeds_back
    read = torch.as_tensor(seasons.rest).to(network.dtype)[None, :, None]
    outputs = network.forecast_windows(read, H, feeds_back=torch.tensor([[fed]]))[0, :, 0]
    found: Array = outputs.double().numpy() + seasons.coming[:, None]
    return (level + spread * found) * largest


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, required=True, help="folder of the corpus")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Forecast every series in every way, and write the table."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    network = zero_shot_network()
    alone = trainable_copy(network).eval()
    alone.config = replace(network.config, read_gaps=False)
    ways = {
        "gap": (network, False),
        "medians": (alone, None),
        "medians in a gap's intervals": (network, True),
        "as forecast": (network, None),
    }
    levels = [float(x) for x in network.config.outputs]
    low, middle, high = (levels.index(x) for x in (0.1, 0.5, 0.9))
    far, found = slice(network.config.output_chunk_length, None), list[dict[str, Any]]()
    for kind, season, past, future in rows_of(arguments.data):
        naive = np.nanmean(np.abs(seasonal_naive(past, season, len(future)) - future)[far])
        if not naive > 0:
            continue
        for way, (own, feeds_back) in ways.items():
            outputs = quantiles(own, past, len(future), feeds_back)[far]
            truth = future[far]
            error = np.nanmean(np.abs(outputs[:, middle] - truth)) / naive
            inside = (outputs[:, low] <= truth) & (truth <= outputs[:, high])
            covers = inside[~np.isnan(truth)].mean()
            log = np.log(np.clip(error, 0.05, 20))
            found.append({"kind": kind, "way": way, "error": log, "80 % covers": covers})
    groups = pd.DataFrame(found).groupby(["kind", "way"], sort=False)
    table = groups.mean().assign(series=groups.size())
    table["error"] = np.exp(table["error"])
    write_table(table, arguments.output / "far-horizon.csv", index=True)
    print(table.unstack("way").round(3).to_string())


if __name__ == "__main__":
    main()
