"""One series on a gateway: its history is observed, then every minute comes by itself.

    python examples/figures/edge_gateway.py numpy|torch WEIGHTS VALUES.npy PATCH FORECASTS.npy

`edge.py` starts it, in a process of its own whose memory it measures. With `numpy` it imports
neither torch nor pandas, as on a device that has neither. Prints its figures as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HISTORY, EVERY, HORIZON = 21 * 1440, 60, 60
"""Minutes that are observed at once, between two forecasts, and in a forecast."""

Functions = tuple[Callable[..., Any], Callable[..., Any], Callable[..., NDArray[np.float32]]]


def with_numpy(weights: str) -> Functions:
    """Return observe, update and forecast by NumPy."""
    from rimer_forecaster.edge import EdgeForecaster

    edge = EdgeForecaster(weights)
    return edge.observe, edge.update, edge.forecast


def with_torch(weights: str) -> Functions:
    """Return observe, update and forecast by torch, of weights that `save_weights` wrote."""
    import torch

    from rimer_forecaster.network import load_network

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    network = load_network(weights)

    def tensor(values: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(values)[None, :, None]

    return (
        lambda values: network.observe(tensor(values)),
        lambda state, values: network.update(state, tensor(values)),
        lambda state, steps: network.forecast(state, steps)[0].numpy(),
    )


class Clock:
    """Milliseconds of calls, on the wall and of the processor: others may use it meanwhile."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def call(self, names: list[str], function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, and note under some names how long it took."""
        start = time.perf_counter(), time.process_time()
        made = function(*arguments)
        took = 1e3 * (time.perf_counter() - start[0]), 1e3 * (time.process_time() - start[1])
        for name in names:
            self.times.setdefault(name, []).append(took)
        return made

    def medians(self) -> dict[str, float]:
        """Return the medians of both times, by name."""
        found = {}
        for name, times in self.times.items():
            wall, processor = np.median(times, axis=0)
            found |= {f"{name}, ms": wall, f"{name}, ms of processor": processor}
        return found


def run(
    functions: Functions, values: NDArray[np.float32], patch_length: int
) -> tuple[dict[str, float], Any]:
    """Live through the minutes after the history; return figures, and all forecasts."""
    observe, update, forecast = functions
    clock, forecasts = Clock(), []
    state = clock.call(["history"], observe, values[:HISTORY])
    for minute in range(HISTORY, len(values) - HORIZON + 1):
        if (minute - HISTORY) % EVERY == 0:
            forecasts.append(clock.call(["forecast"], forecast, state, HORIZON))
        names = ["update"]
        if (minute + 1) % patch_length == 0:
            names.append("update that ends a patch")
        state = clock.call(names, update, state, values[minute : minute + 1])
    return clock.medians(), np.stack(forecasts)


def megabytes() -> float:
    """Return the largest resident memory of this process so far, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run by NumPy or by torch, and print what it took."""
    kind, weights, data, patch_length, out = sys.argv[1:]
    values = np.load(data)
    before = megabytes()
    functions = {"numpy": with_numpy, "torch": with_torch}[kind](weights)
    figures, forecasts = run(functions, values, int(patch_length))
    figures["memory beyond NumPy, MB"] = megabytes() - before
    assert kind != "numpy" or not {"torch", "pandas"} & set(sys.modules)
    np.save(out, forecasts)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
