"""A month of minutes on a gateway, by NumPy and beside it by torch: time, memory and errors.

    python examples/figures/edge.py [--days N] [--epochs N] [--output FOLDER]

The minutes are generated: a day, a compressor that goes on and off, noise, 2 % that did not come
and an outage of three hours. Three weeks are observed at once; then they come one by one, and every
hour the next one is forecast: by rimer-zero, and by a small network that was trained on these
weeks. Both sides have one thread and a process of their own, and have to forecast the same.
Writes edge.csv and edge-errors.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from edge_gateway import EVERY, HISTORY, HORIZON
from numpy.typing import NDArray
from records import write_table
from sklearn.linear_model import Ridge

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.benchmark import versions
from rimer_forecaster.edge.export import export
from rimer_forecaster.network import save_weights
from rimer_forecaster.zero_shot import zero_shot_network

Array = NDArray[np.float64]

DAY, LAGS = 1440, 64


def minutes(days: int) -> NDArray[np.float32]:
    """Return the power of a building in kW, NaN where it did not come."""
    rng, n = np.random.default_rng(0), days * DAY
    steps = np.arange(n)
    day = 6 - 4 * np.cos(2 * np.pi * steps / DAY)
    phase = np.cumsum(rng.normal(1 / 37, 0.002, n))  # of a compressor, about 37 minutes long
    compressor = 3.0 * (phase % 1 < 0.4)
    noise = rng.normal(size=n)
    for i in range(1, n):
        noise[i] += 0.9 * noise[i - 1]
    values = 20 + day + compressor + 0.2 * noise
    values[rng.random(n) < 0.02] = np.nan
    values[HISTORY + 2000 : HISTORY + 2180] = np.nan
    return values.astype(np.float32)


def trained(values: NDArray[np.float32], epochs: int | None) -> RimerNetwork:
    """Return a small network that was trained on the history, where there is torch."""
    model = RimerModel(
        input_chunk_length=240,
        output_chunk_length=HORIZON,
        streaming=True,
        likelihood=QuantileRegression([0.1, 0.5, 0.9]),
        n_epochs=epochs,
        random_state=0,
        pl_trainer_kwargs={"enable_progress_bar": False, "enable_model_summary": False},
    )
    history: RimerNetwork = model.fit(TimeSeries.from_values(values[:HISTORY])).network
    return history


def lived(kind: str, weights: Path, data: Path, patch_length: int) -> tuple[dict[str, Any], Array]:
    """Run the gateway in a process of its own; return its figures and forecasts."""
    script, out = Path(__file__).with_name("edge_gateway.py"), data.with_name("forecasts.npy")
    run = subprocess.run(
        [sys.executable, *map(str, (script, kind, weights, data, patch_length, out))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout), np.load(out)[:, :, 0]


def both(
    name: str, network: RimerNetwork, values: NDArray[np.float32]
) -> tuple[list[dict[str, Any]], Array]:
    """Run a network by NumPy and by torch; return their figures, and the medians of forecasts."""
    rows, forecasts = [], []
    with TemporaryDirectory() as folder:
        data, patch_length = Path(folder, "minutes.npy"), network.config.patch_length
        files = {"numpy": Path(folder, "edge.safetensors"), "torch": Path(folder, "x.safetensors")}
        np.save(data, values)
        export(network, files["numpy"])
        save_weights(network, files["torch"])
        for kind, file in files.items():
            figures, made = lived(kind, file, data, patch_length)
            forecasts.append(made)
            row = {"network": name, "by": kind, "updates": len(values) - HISTORY - HORIZON + 1}
            rows.append({**row, **figures, "file, MB": file.stat().st_size / 1e6})
    apart = np.abs(forecasts[0] - forecasts[1]).max() / np.nanstd(values)
    if not apart < 1e-4:
        raise ValueError(f"forecasts of {name} differ by {apart:.1e} deviations of the series.")
    for row in rows:
        row["largest difference, deviations"] = apart
    return rows, forecasts[0][..., network.config.middle]


def errors(values: Array, medians: dict[str, Array]) -> pd.DataFrame:
    """Return mean absolute errors of hourly forecasts, beside naive ones and a linear model."""
    count = len(next(iter(medians.values())))
    filled = pd.Series(values).ffill().to_numpy()
    origins = HISTORY + EVERY * np.arange(count)
    ahead = origins[:, None] + np.arange(HORIZON)
    windows = np.lib.stride_tricks.sliding_window_view(filled[:HISTORY], LAGS + HORIZON)[::7]
    level = windows[:, LAGS - 1 : LAGS]
    linear = Ridge(1.0).fit(windows[:, :LAGS] - level, windows[:, LAGS:] - level)
    past = filled[origins[:, None] + np.arange(-LAGS, 0)]
    forecasts = {
        **medians,
        f"ridge regression on {LAGS} minutes, trained on the history": past[:, -1:]
        + linear.predict(past - past[:, -1:]),
        "the same minute of the day before": filled[ahead - DAY],
        "the last value": np.broadcast_to(past[:, -1:], ahead.shape),
    }
    return pd.DataFrame(
        {
            "forecast": name,
            "forecasts": count,
            "mean absolute error, kW": np.nanmean(np.abs(x - values[ahead])),
        }
        for name, x in forecasts.items()
    )


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--days", type=int, default=30, help="at least 22")
    options.add_argument("--epochs", type=int, help="of training; by default the model's own rule")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Run both sides and compare them."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    values = minutes(arguments.days)
    networks = {
        "rimer-zero": zero_shot_network(),
        "trained on the history": trained(values, arguments.epochs),
    }
    rows, medians = [], {}
    for name, network in networks.items():
        own, medians[name] = both(name, network, values)
        rows += own
    tables = {
        "edge.csv": pd.DataFrame(rows),
        "edge-errors.csv": errors(values.astype(float), medians),
    }
    for name, table in tables.items():
        write_table(table, arguments.output / name, float_format="%.4g")
        print(f"\n{table.to_string(index=False)}")
    print(f"\n{versions()}.")


if __name__ == "__main__":
    main()
