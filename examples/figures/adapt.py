"""State tuning on groups of series that no weights were trained on, beside four other forecasts.

    python examples/figures/adapt.py --data FOLDER [--output FOLDER] [--groups N] [--workers N]

The groups are source and frequency of the validation rows of corpus.parquet, of at least five
series each. What follows is held back: 48 values, 30 of daily, 13 of weekly, 18 of monthly, 8 of
quarterly and 6 of yearly series. Errors are absolute errors over those of seasonal naive, between
1/20 and 20, as a geometric mean over the series of a group.

- zero-shot: the weights of the package.
- adapted: one state per group, the weights as they are; where every state is kept; with 16 kernels
  beside the state of each head; and with features of these that do not correlate.
- fine-tuned: all weights by the same loss in as many steps, AdamW at 3e-4, which falls to zero.
- trained from scratch: one RimerForecaster per group, which reads two seasons.
- linear map: ridge regression from a window to what follows, both in units of the window; one for
  all series of a group.

Before anything is timed or scored, forecasts from a state of zeros are compared bit by bit with
those without a state. Writes adapt-groups.csv and adapt-cold-start.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from records import write_table
from sklearn.linear_model import Ridge

from rimer_forecaster import RimerForecaster, RimerNetwork
from rimer_forecaster.layers import fresh_memory, from_leaves
from rimer_forecaster.lifecycle import AdaptedState, adapt, half_life
from rimer_forecaster.lifecycle.whole_series import WholeSeries
from rimer_forecaster.network.transfer import trainable_copy
from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.corpus import FILE, Held, kind_of, read_held
from rimer_forecaster.zero_shot.forecast import forecast
from rimer_forecaster.zero_shot.scores import Array, seasonal_naive

LOOK_BACK = 2048
FEWEST = 5
KERNELS = 16


def groups_of(folder: Path) -> Iterator[tuple[str, list[Held]]]:
    """Yield the validation rows by source and frequency."""
    frame = pd.read_parquet(folder / FILE)
    frame = frame[frame["split"] == "validation"]
    shortest = {"daily": 38, "weekly": 21, "monthly": 26, "quarterly": 16, "yearly": 14}
    long = [
        len(x) >= shortest.get(kind_of(freq), 56)
        for x, freq in zip(frame["values"], frame["freq"], strict=True)
    ]
    names = (frame["source"].str.rpartition("/")[2] + ", " + frame["freq"])[long]
    rows = read_held(folder)
    assert len(names) == len(rows)
    for name in sorted(set(names)):
        own = [row for row, its in zip(rows, names, strict=True) if its == name]
        if len(own) >= FEWEST:
            yield name, own


def errors(medians: Array, rows: list[Held]) -> float:
    """Relative absolute errors of medians, (series, steps), as a geometric mean."""
    found = []
    for median, row in zip(medians, rows, strict=True):
        H = len(row.future)
        naive = seasonal_naive(row.past.astype(float), row.season, H)
        own, theirs = (np.nansum(np.abs(x[:H] - row.future)) for x in (median, naive))
        if theirs:
            found.append(np.clip(own / theirs, 1 / 20, 20))
    return float(np.exp(np.mean(np.log(found))))


def medians(network: RimerNetwork, rows: list[Held], state: AdaptedState | None = None) -> Array:
    """Forecast by the network, from a state if there is one."""
    start = None if state is None else state.start(len(rows), network)
    outputs = forecast(network, [row.past for row in rows], len(rows[0].future), start=start)
    return outputs[:, :, network.config.middle]


def series_of(network: RimerNetwork, rows: list[Held]) -> WholeSeries:
    """Return what a state is tuned on: all but what is held back for the scores."""
    return WholeSeries(
        network,
        [row.past.astype(float)[:, None] for row in rows],
        horizon=len(rows[0].future),
        look_back=LOOK_BACK,
        seasonal=True,
    )


def fine_tuned(rows: list[Held], steps: int) -> RimerNetwork:
    """Train all weights by the loss that states are tuned by."""
    network = trainable_copy(zero_shot_network()).eval()
    objective, generator = series_of(network, rows), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    nothing = {path: torch.zeros(1, *x.shape[1:]) for path, x in memory_of(network)}

    def start_of(series: torch.Tensor) -> dict[str, object]:
        return from_leaves({p: x.expand(len(series), *x.shape[1:]) for p, x in nothing.items()})

    for _ in range(steps):
        among = torch.arange(len(rows))
        loss = objective.loss(start_of, among, generator, whole=True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network


def memory_of(network: RimerNetwork) -> list[tuple[str, torch.Tensor]]:
    """Return what the layers of a network may start from, for one series."""
    assert network.reader is not None
    return list(fresh_memory(network.reader.layers).items())


def linear_map(rows: list[Held]) -> Array:
    """Forecast by one linear map from window to horizon."""
    H = len(rows[0].future)
    shortest = min(len(row.past) for row in rows)
    L = max(4, min(2 * rows[0].season if rows[0].season > 1 else 12, shortest - H))
    series = [pd.Series(row.past[-LOOK_BACK:].astype(float)).interpolate(limit_direction="both")
              for row in rows]  # fmt: skip
    pairs = [np.lib.stride_tricks.sliding_window_view(x.to_numpy(), L + H) for x in series]
    windows = np.concatenate(pairs)
    scale = windows[:, :L].std(1, keepdims=True)
    windows, scale = windows[scale[:, 0] > 0], scale[scale > 0][:, None]
    scaled = (windows - windows[:, :L].mean(1, keepdims=True)) / scale
    fitted = Ridge().fit(scaled[:, :L], scaled[:, L:])
    ends = np.stack([x.to_numpy()[-L:] for x in series])
    mean, deviation = ends.mean(1, keepdims=True), ends.std(1, keepdims=True) + 1e-9
    found: Array = mean + deviation * fitted.predict((ends - mean) / deviation)
    return found


def from_scratch(rows: list[Held]) -> Array:
    """Forecast by one network of its own, trained on the series of the group."""
    H, season = len(rows[0].future), rows[0].season
    values = [row.past[-LOOK_BACK:].astype(float) for row in rows]
    y = pd.concat({i: pd.DataFrame({"y": x}) for i, x in enumerate(values)}, names=["series", "t"])
    forecaster = RimerForecaster(max(2 * season, 12), H, pretrained=None, random_state=0)
    forecasts: Array = forecaster.fit(y, fh=range(1, H + 1)).predict().to_numpy().reshape(-1, H)
    return forecasts


def check(network: RimerNetwork, rows: list[Held]) -> None:
    """Refuse to go on where a state of zeros is not exactly none."""
    zeros = {path: torch.zeros(len(rows), *x.shape[1:]) for path, x in memory_of(network)}
    past, H = [row.past for row in rows], len(rows[0].future)
    same = forecast(network, past, H, start=from_leaves(zeros)) == forecast(network, past, H)
    assert same.all(), "forecasts from a state of zeros are others than those without a state"


def score_group(name: str, rows: list[Held], steps: int) -> dict[str, Any]:
    """Score one group."""
    torch.set_num_threads(1)
    network = zero_shot_network()
    check(network, rows[:8])
    begin = time.perf_counter(), time.process_time()
    state = adapt(network, series_of(network, rows), steps=steps, groups=[name] * len(rows))
    seconds, of_processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    always, kernels, decorrelated = (
        adapt(
            network,
            series_of(network, rows),
            steps=steps,
            groups=[name] * len(rows),
            keep="always" if upscale == 0 else "better",
            upscale=upscale,
            decorrelate=decorrelate,
        )
        for upscale, decorrelate in ((0, False), (KERNELS, False), (KERNELS, True))
    )
    row = {
        "group": name,
        "series": len(rows),
        "median_length": int(np.median([len(row.past) for row in rows])),
        "zero_shot": errors(medians(network, rows), rows),
        "adapted": errors(medians(network, rows, state), rows),
        "kept": state.kept[0],
        "always_kept": errors(medians(network, rows, always), rows),
        "with_kernels": errors(medians(network, rows, kernels), rows),
        "decorrelated": errors(medians(network, rows, decorrelated), rows),
        "fine_tuned": errors(medians(fine_tuned(rows, steps), rows), rows),
        "from_scratch": errors(from_scratch(rows), rows),
        "linear_map": errors(linear_map(rows), rows),
        "seasonal_naive": 1.0,
        "seconds": seconds,
        "processor_seconds": of_processor,
        "half_life": half_life_of(network, always, rows),
    }
    print(pd.DataFrame([row]).to_string(index=False), flush=True)
    return row


def half_life_of(network: RimerNetwork, state: AdaptedState, rows: list[Held]) -> float:
    """Ask after how many steps half of what a state adds is left, as a median of eight series."""
    values = [row.past[-LOOK_BACK:].astype(float)[:, None] for row in rows[:8]]
    return float(np.median([half_life(network, state, x) for x in values]))


def cold_start_table(seeds: int = 3) -> pd.DataFrame:
    """Score new series of which three values are known, of templates that siblings show."""
    network, table = zero_shot_network(), []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        template = rng.normal(size=12)

        def draw(count: int, n: int, rng: np.random.Generator, template: Array) -> list[Array]:
            return [
                np.resize(template, n) * rng.uniform(0.5, 2)
                + 3 * rng.normal()
                + 0.1 * rng.normal(size=n)
                for _ in range(count)
            ]

        siblings, new = draw(40, 48, rng, template), draw(50, 15, rng, template)
        given = [x[:, None] for x in siblings]
        objective = WholeSeries(network, given, horizon=12, look_back=LOOK_BACK, seasonal=True)
        state = adapt(network, objective, steps=150, groups=["all"] * 40, keep="always")
        truth = np.array([x[3:] for x in new])
        row: dict[str, float] = {"seed": seed}
        for column, start in (("zero_shot", None), ("adapted", state.start(50, network))):
            found = forecast(network, [x[:3] for x in new], 12, start=start)
            median = found[:, :, network.config.middle]
            row[column] = float(np.square(median - truth).mean())
        row["last_value"] = float(np.square(np.array([x[2] for x in new])[:, None] - truth).mean())
        table.append(row)
        print(row, flush=True)
    return pd.DataFrame(table)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, required=True, help="folder of corpus.parquet")
    options.add_argument("--output", type=Path, default=Path("docs/results/data"))
    options.add_argument("--groups", type=int, help="take the first groups alone")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--workers", type=int, default=1, help="groups that are scored at once")
    return options


def main() -> None:
    """Write both tables."""
    arguments = parser().parse_args()
    torch.set_num_threads(1)
    groups = list(groups_of(arguments.data))[: arguments.groups]
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as executor:
        names, rows = zip(*groups, strict=True)
        scored = executor.map(score_group, names, rows, repeat(arguments.steps))
        write_table(pd.DataFrame(scored), arguments.output / "adapt-groups.csv")
    write_table(cold_start_table(), arguments.output / "adapt-cold-start.csv")


if __name__ == "__main__":
    main()
