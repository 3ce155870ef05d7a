"""What compressing a network costs in error, and what it saves in bytes.

    python examples/figures/compress.py --data FOLDER [--seeds N] [--epochs N] [--output FOLDER]

FOLDER holds ETTh1.csv.xz and corpus.parquet. On ETTh1, 96 hours to 96, RimerModel is trained by the
standard split and compressed, with and without an epoch of training on; a linear map and seasonal
naive stand beside it. The weights of the package are compressed in several ways: rows of the corpus
that they were trained on choose between these, and its validation rows show what it cost. Writes
compress-etth1.csv, compress-zero-shot.csv and compress-neurons.csv, which says how many hidden
channels are zero and what to skip them would save.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from numpy.typing import NDArray
from records import write_table
from torch import nn
from windows import etth1_hours

from rimer_forecaster import RimerModel, RimerNetwork
from rimer_forecaster.benchmark import versions
from rimer_forecaster.edge.export import export
from rimer_forecaster.layers import ChannelMix
from rimer_forecaster.lifecycle import compress
from rimer_forecaster.network.compressed import weight_bytes
from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.corpus import FILE, Corpus, Held, read_held
from rimer_forecaster.zero_shot.validation import validation_score

LOOK_BACK, HORIZON, TRAIN, TEST = 96, 96, 8_640, 11_520


TABLES = ("neurons", "zero-shot", "etth1")


@torch.inference_mode()
def squared_error(
    forecast: Callable[[torch.Tensor], torch.Tensor], values: NDArray[np.float32]
) -> float:
    """Return the mean squared error over all origins of the test part."""
    x = torch.from_numpy(values[TEST - LOOK_BACK :]).unfold(0, LOOK_BACK + HORIZON, 1).mT
    errors = [
        (forecast(part[:, :LOOK_BACK]) - part[:, LOOK_BACK:]).square().mean((1, 2))
        for part in x.split(256)
    ]
    return float(torch.cat(errors).mean())


def of(network: RimerNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the point forecasts of a network."""
    network.eval()
    return lambda past: network(past)[..., network.config.middle]


def on_etth1(data: Path, seeds: int, epochs: int | None) -> pd.DataFrame:
    """Train and compress, for every seed."""
    values, rows = etth1_hours(data), []
    series = TimeSeries.from_values(values[:TRAIN])
    silent = {"enable_progress_bar": False, "enable_model_summary": False}

    def add(seed: int, name: str, network: RimerNetwork) -> None:
        error = squared_error(of(network), values)
        rows.append({"seed": seed, "model": name, "MSE": error, "bytes": weight_bytes(network)})
        print(rows[-1], flush=True)

    def fitted(seed: int, layers: str | None) -> RimerModel:
        model = RimerModel(
            *(LOOK_BACK, HORIZON),
            layers=layers,
            n_epochs=epochs,
            random_state=seed,
            pl_trainer_kwargs=silent,
        )
        return model.fit(series)

    for seed in range(seeds):
        model = fitted(seed, "rwkv7*1")
        add(seed, "RimerModel", model.network)
        add(seed, "whole numbers", model.compress(None)[0].network)
        add(seed, "rank 0.25, whole numbers", model.compress(0.25, calibrate=series)[0].network)
        middle, _ = model.compress(0.25, bits=None, calibrate=series)
        add(seed, "rank 0.25", middle.network)
        middle.fit(series, epochs=1)
        add(seed, "rank 0.25, an epoch", middle.network)
        add(seed, "rank 0.25, an epoch, whole numbers", middle.compress(None)[0].network)
        add(seed, "linear map", fitted(seed, None).network)
    naive = squared_error(lambda past: past[:, -24:].repeat(1, HORIZON // 24, 1), values)
    return pd.DataFrame([*rows, {"seed": 0, "model": "seasonal naive", "MSE": naive, "bytes": 0}])


def rows_trained_on(data: Path, count: int) -> list[Held]:
    """Return rows of the corpus that the weights saw, split before their last 24 values."""
    frame = pd.read_parquet(data / FILE)
    frame = frame[(frame["split"] == "train") & (frame["values"].map(len) >= 64)]
    frame = frame.iloc[np.linspace(0, len(frame) - 1, count, dtype=int)]
    parts = zip(frame["freq"], frame["season"], frame["values"], strict=True)
    return [
        Held(freq, int(season), np.float32(values[:-24]), np.float32(values[-24:]))
        for freq, season, values in parts
    ]


def zero_shot(data: Path) -> pd.DataFrame:
    """Compress the weights of the package in several ways, and score them on both kinds of rows."""
    large, rows = zero_shot_network(), []
    windows = torch.from_numpy(Corpus(data).windows(0, 0, 64, 1024, 0))[..., None]
    windows = windows[(~windows.isnan()).any(1).all(1)]
    seen, held = rows_trained_on(data, 300), read_held(data)
    ways = {
        "weights of the package": None,
        "whole numbers": (None, 8),
        "rank 0.75, whole numbers": (0.75, 8),
        "rank 0.5, whole numbers": (0.5, 8),
        "rank 0.25, whole numbers": (0.25, 8),
    }
    for name, way in ways.items():
        network = large
        if way is not None:
            network, _ = compress(large, way[0], bits=way[1], calibrate=windows)
        with TemporaryDirectory() as folder:
            export(network, Path(folder, "x.safetensors"))
            size = Path(folder, "x.safetensors").stat().st_size
        rows.append(
            {
                "weights": name,
                "rows that were trained on": validation_score(network, seen),
                "validation rows": validation_score(network, held),
                "bytes in single precision or whole numbers": weight_bytes(network),
                "bytes of the exported file": size,
            }
        )
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


@torch.inference_mode()
def neurons(data: Path) -> pd.DataFrame:
    """Return how many hidden channels are zero, and what it takes to skip them."""
    network, inputs = zero_shot_network(), {}
    windows = torch.from_numpy(Corpus(data).windows(0, 0, 16, 1024, 0))[..., None]
    mixes = [x for x in network.modules() if isinstance(x, ChannelMix)]

    def keep(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        inputs[module] = given[0]

    handles = [mix.value.register_forward_pre_hook(keep) for mix in mixes]
    network(windows[(~windows.isnan()).any(1).all(1)])
    for handle in handles:
        handle.remove()
    rows = []
    for i, mix in enumerate(mixes):
        hidden, weight = inputs[mix.value].flatten(0, 1), mix.value.weight
        columns = weight.T.contiguous()

        def dense(x: torch.Tensor, mix: ChannelMix = mix) -> torch.Tensor:
            return mix.value(x)

        def skipping(x: torch.Tensor, columns: torch.Tensor = columns) -> torch.Tensor:
            active = x.nonzero()[:, 0]
            return x[active] @ columns[active]

        times = {}
        for name, function in {"dense": dense, "skipping": skipping}.items():
            seconds = []
            for token in hidden[:400]:
                start = time.perf_counter()
                function(token)
                seconds.append(time.perf_counter() - start)
            times[f"{name}, microseconds per token"] = 1e6 * float(np.median(seconds))
        rows.append({"layer": i, "zero, share": float((hidden == 0).float().mean()), **times})
    return pd.DataFrame(rows)


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, help="of training; by default RimerModel's choice")
    options.add_argument("--output", type=Path, default=Path())
    return options


def main() -> None:
    """Make the tables."""
    arguments = parser().parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    tables = {
        "neurons": lambda: neurons(arguments.data),
        "zero-shot": lambda: zero_shot(arguments.data),
        "etth1": lambda: on_etth1(arguments.data, arguments.seeds, arguments.epochs),
    }
    for name in arguments.tables:
        made = tables[name]()
        write_table(made, arguments.output / f"compress-{name}.csv", float_format="%.5g")
        print(f"\n{made.to_string(index=False)}", flush=True)
    print(f"\n{versions()}.")


if __name__ == "__main__":
    main()
