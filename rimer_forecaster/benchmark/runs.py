"""One model, one seed: trained and tested in a process of its own, and kept in a file.

A process of its own, because only so its peak of memory can be told from that of others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import re
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import darts
import numpy as np
import sktime
import torch
from sktime.base import BaseObject

import rimer_forecaster.kernels

from ..diagnostics import mape_remark
from ..network.state import fingerprint
from ..sktime.pretrained import Pretrained
from .budget import Budget
from .contenders import Model, make_contender
from .scores import Scores
from .stream_cost import stream_cost
from .task import Task

__all__ = ["Run", "measure", "peak_memory", "shown_places", "stored"]

_VALUES_AT_ONCE = 5_000_000
_SHOWN = 3
"""Forecasts that are kept for a plot."""


@dataclass(frozen=True)
class Run:
    """What is measured; the rest of the comparison is the same for all."""

    label: str
    model: Model
    task: Task
    budget: Budget
    seed: int

    def digest(self) -> str:
        """Name the run by all that its result depends on."""
        parts = hashlib.sha256(_code())
        task = self.task
        for series in (task.series, task.future_covariates):
            if series is not None:
                times = (series.start_time(), series.end_time(), series.freq_str)
                parts.update(repr(times).encode())
                parts.update(np.ascontiguousarray(series.all_values()).tobytes())
        sizes = (task.train_end, task.validation_end, task.look_back, task.horizon, task.season)
        described = (
            _described(self.model),
            sizes,
            task.stride,
            asdict(self.budget),
            self.seed,
            [module.__version__ for module in (torch, darts, sktime)],
        )
        parts.update(repr(described).encode())
        return parts.hexdigest()[:24]


def stored(run: Run, folder: Path | None, *, isolated: bool = True) -> dict[str, Any]:
    """Return the result of a run, from its file if there is one, and write that file.

    Parameters
    ----------
    run
        What to measure.
    folder
        Where results are kept, or None.
    isolated
        Whether to measure it in a process of its own.
    """
    path = None if folder is None else folder / f"{run.digest()}.json"
    if path is not None and path.exists():
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result
    result = _in_own_process(run) if isolated else measure(run)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")  # a run that is interrupted leaves no half of a file
        beside.write_text(json.dumps(result), encoding="utf-8")
        beside.replace(path)
    return result


def measure(run: Run) -> dict[str, Any]:
    """Fit, forecast and score; plain values, which JSON can hold."""
    task, before = run.task, peak_memory()
    contender = make_contender(run.model, task, run.budget, run.seed)
    start = time.perf_counter()
    contender.fit()
    fit_seconds = time.perf_counter() - start

    mean, deviation = task.scale()
    values = task.series.values(copy=False).astype(float)
    origins, steps = task.origins, np.arange(task.horizon)
    outputs = len(run.budget.quantiles or (0,))
    at_once = max(1, _VALUES_AT_ONCE // (task.horizon * values.shape[1] * outputs))
    scores, shown = None, []
    kept = shown_places(task)
    for first in range(0, len(origins), at_once):
        block = origins[first : first + at_once]
        forecast = contender.forecast(block)
        if scores is None:
            given = run.budget.quantiles if forecast.shape[-1] > 1 else None
            scores = Scores(mean, deviation, task.naive_error() / deviation, given)
        scores.add(values[block[:, None] + steps], forecast)
        middle = forecast.shape[-1] // 2
        shown += [
            forecast[i - first, :, 0, middle].tolist()
            for i in kept
            if first <= i < first + len(block)
        ]
    assert scores is not None
    test = values[task.validation_end :]
    no_mape = mape_remark(test[~np.isnan(test)])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        contender.forecast(origins[-1:])
        times.append(1e3 * (time.perf_counter() - start))
    after = peak_memory()
    network = contender.streamed_network()
    before_test = task.z_scored().values(copy=False)[: task.validation_end][-task.look_back :]
    cost = None if network is None else stream_cost(network, before_test)
    return {
        **scores.table(),
        **({"MAPE, %": float("nan")} if no_mape else {}),
        "validation loss": contender.validation_loss,
        "fit, s": fit_seconds,
        "predict, ms": median(times),
        "peak memory, MiB": None if before is None or after is None else after - before,
        "peak GPU memory, MiB": (
            torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
        ),
        "parameters": contender.parameters(),
        "state, bytes": None if cost is None else cost.state_bytes,
        "update, ms": None if cost is None else cost.update_milliseconds,
        "mape_remark": no_mape,
        "reads_covariates": contender.reads_covariates,
        "by_step": scores.by_step().tolist(),
        "shown": shown,
    }


def shown_places(task: Task) -> list[int]:
    """Return which forecasts are kept for a plot, evenly over the test part."""
    return sorted({int(i) for i in np.linspace(0, len(task.origins) - 1, _SHOWN)})


def peak_memory() -> float | None:
    """Return the peak resident memory of this process, MiB; None where the system is silent."""
    with suppress(OSError):  # Linux: its getrusage begins at the peak of the process before
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            return int(found[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024.0 if sys.platform != "darwin" else 1024.0**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@cache
def _code() -> bytes:
    """Digest of this package: another recipe gives other results."""
    parts = hashlib.sha256()
    for module in (rimer_forecaster, rimer_forecaster.kernels):
        for file in sorted(Path(str(module.__file__)).parent.rglob("*.py")):
            parts.update(file.read_bytes())
    return parts.digest()


def _described(model: Any) -> str:
    """Text that is the same for equal models, in every process."""
    if isinstance(model, Pretrained):
        scaler = None if model.X_scaler is None else (model.X_scaler.mean_, model.X_scaler.scale_)
        return repr((fingerprint(model.network), model.network.config, model.X_columns, scaler))
    if isinstance(model, BaseObject):
        named = model.get_params(deep=False)
        return repr((type(model), {name: _described(value) for name, value in named.items()}))
    return repr(model)


def _in_own_process(run: Run) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="rimer-benchmark-") as folder:
        order, result = Path(folder) / "run.pickle", Path(folder) / "result.json"
        order.write_bytes(pickle.dumps((run, torch.get_num_threads())))
        command = [sys.executable, "-m", f"{__package__}.runs", str(order), str(result)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not result.exists():  # Lightning ends quietly when terminated
            raise RuntimeError(f"{run.label}, seed {run.seed}, failed:\n{done.stderr[-4000:]}")
        measured: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return measured


def _main() -> None:
    order, result = map(Path, sys.argv[1:])
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("darts").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    run, threads = pickle.loads(order.read_bytes())
    torch.set_num_threads(threads)
    result.write_text(json.dumps(measure(run)), encoding="utf-8")


if __name__ == "__main__":
    _main()
