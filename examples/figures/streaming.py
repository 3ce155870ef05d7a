"""Compare streamed forecasts with windowed ones, at every phase of the patch.

    python examples/figures/streaming.py [--data FOLDER] [--output FOLDER]

A stream carries its state over the whole history; a window starts afresh. RimerModel is trained on
windows, with streaming=True. Then the whole series is streamed, and every step of the test part is
forecast both ways. A patch of the network ends every 16 or 24 steps; between two ends a stream is
forecast from one that overlaps with the last, which is why the table has a row for each phase.
Without --data the series is weekly CO2 at Mauna Loa from statsmodels; with it ETTh1, from
FOLDER/ETTh1.csv.xz, split by its standard protocol. Writes streaming.csv and streaming.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
import torch
from darts import TimeSeries
from darts.utils.missing_values import fill_missing_values
from records import write_table
from windows import etth1_hours

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.benchmark import versions


def load(data: Path | None) -> tuple[np.ndarray, int, int, int, int]:
    """Series (n, components), z-scored; ends of training and start of test; look-back, horizon."""
    if data is None:
        weeks = sm.datasets.co2.load_pandas().data["co2"]
        values = fill_missing_values(TimeSeries.from_series(weeks)).values()
        split = int(0.8 * len(values))
        values = (values - values[:split].mean(0)) / values[:split].std(0)
        return values.astype(np.float32), split, split, 104, 26
    return etth1_hours(data), 8_640, 11_520, 96, 96


@torch.inference_mode()
def compare(network: RimerNetwork, values: np.ndarray, test: int) -> pd.DataFrame:
    """Squared errors of both forecasts from every step of the test part, by phase."""
    L, H = network.config.input_chunk_length, network.config.output_chunk_length
    assert network.reader is not None
    x = torch.from_numpy(values)[None]  # (1, n, C)
    state = network.observe(x[:, :test])
    rows = []
    for t in range(test, x.shape[1] - H + 1):
        truth = x[:, t : t + H]
        streamed = network.forecast(state)[..., network.config.middle]
        windowed = network(x[:, t - L : t])[..., network.config.middle]
        rows.append(
            {
                "phase": t % network.reader.patch_length,
                "windowed": float((windowed - truth).square().mean()),
                "streamed": float((streamed - truth).square().mean()),
            }
        )
        state = network.update(state, x[:, t : t + 1])
    return pd.DataFrame(rows).groupby("phase").mean()


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--data", type=Path, help="folder with ETTh1.csv.xz, to take it for CO2")
    options.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options.add_argument("--layers", default="rwkv7*1", help="layer string")
    options.add_argument("--look-back", type=int, help="104 weeks, or 96 hours, by default")
    options.add_argument("--epochs", type=int, help="of every fit; by default RimerModel's choice")
    options.add_argument("--output", type=Path, default=Path(), help="folder of the table")
    return options


def main() -> None:
    """Train, stream, compare, for every seed."""
    arguments = parser().parse_args()
    values, train, test, look_back, horizon = load(arguments.data)
    look_back = arguments.look_back or look_back
    tables = []
    for seed in range(arguments.seeds):
        model = RimerModel(
            look_back,
            horizon,
            layers=arguments.layers,
            n_epochs=arguments.epochs,
            pretrained=None,
            streaming=True,
            random_state=seed,
            pl_trainer_kwargs={
                "accelerator": "cpu",
                "enable_model_summary": False,
                "enable_progress_bar": False,
            },
        )
        model.fit(TimeSeries.from_values(values[:train]))
        table = compare(model.network.eval(), values, test)
        ratio = table["streamed"] / table["windowed"]
        print(
            f"seed {seed}: MSE {table['windowed'].mean():.4f} windowed, streamed over windowed "
            f"{table['streamed'].mean() / table['windowed'].mean():.4f}, at the worst phase "
            f"{ratio.max():.4f}",
            flush=True,
        )
        tables.append(table.assign(seed=seed))
    every = pd.concat(tables).reset_index()
    by_phase = every.groupby("phase")[["windowed", "streamed"]].mean()
    by_phase["streamed / windowed"] = by_phase["streamed"] / by_phase["windowed"]
    name = "CO2" if arguments.data is None else "ETTh1"
    lines = [
        f"{name}, look-back {look_back}, horizon {horizon}, layers {arguments.layers}, "
        f"{arguments.seeds} seeds, streams of {test:,} to {len(values):,} steps; mean squared "
        "error of z-scored values.",
        f"{versions()}.",
        "",
        "```",
        by_phase.to_string(float_format="%.4f"),
        "```",
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_table(every, arguments.output / "streaming.csv", float_format="%.6f")
    (arguments.output / "streaming.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
