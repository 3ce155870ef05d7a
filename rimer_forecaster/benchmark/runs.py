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
from collections.abc import Mapping, Sequence
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
from numpy.typing import NDArray
from sktime.base import BaseObject
from tqdm.auto import tqdm

import rimer_forecaster.kernels

from ..diagnostics import mape_remark
from ..network.state import fingerprint
from ..sktime.pretrained import Pretrained
from .budget import Budget
from .contender import Contender
from .contenders import SEEDLESS, Model, make_contender
from .panel import Panel
from .panel_contenders import make_panel_contender
from .scores import PanelScores, Scores
from .stream_cost import stream_cost
from .task import Task

__all__ = ["Run", "all_stored", "every_run", "measure", "peak_memory", "shown_places", "stored"]

_VALUES_AT_ONCE = 5_000_000
_SLOW = 1.0
"""Seconds above which a forecast is not made again to time it."""

_SHOWN = 3
"""Forecasts that are kept for a plot."""


@dataclass(frozen=True)
class Run:
    """What is measured; the rest of the comparison is the same for all."""

    label: str
    model: Model
    task: Task | Panel
    budget: Budget
    seed: int

    def digest(self) -> str:
        """Name the run by all that its result depends on."""
        parts = hashlib.sha256(_code() + self.task.fingerprint())
        described = (
            _described(self.model),
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


def every_run(
    models: Mapping[str, Model], given: Task | Panel, budget: Budget, seeds: int
) -> list[Run]:
    """Return a run for each label and seed, and one where seeds change nothing."""
    return [
        Run(label, model, given, budget, seed)
        for label, model in models.items()
        for seed in range(1 if model in SEEDLESS else seeds)
    ]


def all_stored(
    runs: Sequence[Run], results: str | Path | None, *, isolated: bool, progress: bool
) -> list[dict[str, Any]]:
    """Return the result of each run, or why it failed; see `stored`."""
    folder, found = None if results is None else Path(results), []
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for run in tqdm(runs, disable=not progress, unit="run"):
        try:
            found.append(stored(run, folder, isolated=isolated))
        except Exception as error:  # of any model: the other rows are worth having
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            found.append({"failed": f"{run.label}, seed {run.seed}, failed: {reason}"})
    return found


def measure(run: Run) -> dict[str, Any]:
    """Fit, forecast and score; plain values, which JSON can hold."""
    task, before = run.task, peak_memory()
    contender = (
        make_panel_contender(run.model, task, run.budget, run.seed)
        if isinstance(task, Panel)
        else make_contender(run.model, task, run.budget, run.seed)
    )
    fit = _Clock()
    contender.fit()
    fit.stop()

    mean, deviation = task.scale()
    origins, test = task.origins, _Clock()
    outputs = len(run.budget.quantiles or (0,))
    at_once = max(1, _VALUES_AT_ONCE // (task.horizon * len(mean) * outputs))
    kind = PanelScores if isinstance(task, Panel) else Scores
    scores = kind(mean, deviation, task.naive_error() / deviation, run.budget.quantiles)
    shown = []
    kept = shown_places(task)
    for first in range(0, len(origins), at_once):
        block = origins[first : first + at_once]
        test.go_on()
        forecast = contender.forecast(block)
        test.stop()
        scores.add(task.true_values(block), forecast)
        middle = forecast.shape[-1] // 2
        shown += [
            forecast[i - first, :, 0, middle].tolist()
            for i in kept
            if first <= i < first + len(block)
        ]
    known = task.test_values()
    no_mape = mape_remark(known[~np.isnan(known)])
    seconds, of_processor = _seconds_of_one(contender, origins, test)
    after = peak_memory()
    weights = list(contender.weights())
    network = contender.streamed_network()
    cost = None
    if network is not None and isinstance(task, Task):
        before_test = task.z_scored().values(copy=False)[: task.validation_end][-task.look_back :]
        cost = stream_cost(network, before_test)
    return {
        **scores.table(),
        **({"MAPE, %": float("nan")} if no_mape else {}),
        "validation loss": contender.validation_loss,
        "fit, s": fit.seconds,
        "fit, CPU s": fit.of_processor,
        "predict, ms": 1e3 * seconds,
        "predict, CPU ms": 1e3 * of_processor,
        "test, CPU s": test.of_processor,
        "peak memory, MiB": None if before is None or after is None else after - before,
        "peak GPU memory, MiB": (
            torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
        ),
        "parameters": sum(x.numel() for x in weights),
        "weights, bytes": sum(x.nbytes for x in weights),
        "state, bytes": None if cost is None else cost.state_bytes,
        "update, ms": None if cost is None else cost.update_milliseconds,
        "update, CPU ms": None if cost is None else cost.update_of_processor,
        "mape_remark": no_mape,
        "reads_covariates": contender.reads_covariates,
        "by_step": scores.by_step().tolist(),
        "shown": shown,
    }


class _Clock:
    """Seconds of the wall and of the processor; the second are the same on a busy machine."""

    def __init__(self) -> None:
        self.seconds = self.of_processor = 0.0
        self.go_on()

    def go_on(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._begun[0]
        self.of_processor += time.process_time() - self._begun[1]


def _seconds_of_one(
    contender: Contender, origins: NDArray[np.int64], test: _Clock
) -> tuple[float, float]:
    """Return the median of five forecasts from the last step; of slow ones, the mean of all."""
    if test.seconds > _SLOW * len(origins):
        return test.seconds / len(origins), test.of_processor / len(origins)
    clocks = []
    for _ in range(5):
        clocks.append(_Clock())
        contender.forecast(origins[-1:])
        clocks[-1].stop()
    return median(x.seconds for x in clocks), median(x.of_processor for x in clocks)


def shown_places(task: Task | Panel) -> list[int]:
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
