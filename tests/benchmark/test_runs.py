"""One model, one seed: kept in a file by all that it depends on, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import frame

from rimer_forecaster import RimerForecaster
from rimer_forecaster.benchmark import Task, make_task, runs
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.runs import Run, measure, stored


def test_a_result_belongs_to_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(task: Task, model: Any = "rwkv7") -> str:
        return Run("model", model, task, Budget(), 0).digest()

    task = make_task(frame(), 6, look_back=24)
    shops = pd.concat({"a": frame(), "b": frame(seed=1)}, names=["shop"])
    weights = [
        RimerForecaster(24, n_epochs=1, random_state=seed, output_chunk_length=6).pretrain(shops)
        for seed in (0, 0, 1)
    ]
    same, again, other = (
        digest(task, RimerForecaster(24, n_epochs=0, pretrained=one.pretrained_)) for one in weights
    )
    assert same == again != other
    later = make_task(frame().shift(freq="D"), 6, look_back=24)
    assert digest(task) == digest(make_task(frame(), 6, look_back=24)) != digest(later)
    before = digest(task)
    assert replace(Run("model", "rwkv7", task, Budget(), 0), seed=1).digest() != before
    for change in (
        {"epochs": 3},
        {"seconds": 1.0},
        {"batch_size": 7},
        {"train_stride": 2},
        {"patience": 1},
        {"learning_rate": 1e-2},
        {"quantiles": (0.1, 0.5, 0.9)},
    ):
        assert Run("model", "rwkv7", task, Budget(**change), 0).digest() != before, change
    monkeypatch.setattr(runs, "_code", lambda: b"another recipe")
    assert digest(task) != before


def test_a_run_that_ends_without_a_result_is_named(monkeypatch: pytest.MonkeyPatch) -> None:

    ended = subprocess.CompletedProcess([], 0, "", "terminated")  # as Lightning does at SIGTERM
    monkeypatch.setattr(runs.subprocess, "run", lambda *_, **__: ended)
    task = make_task(frame(), 6, look_back=24)
    with pytest.raises(RuntimeError, match=r"dlinear, seed 0, failed:\nterminated"):
        runs.stored(Run("dlinear", "dlinear", task, Budget(epochs=1), 0), None)


@pytest.mark.slow
def test_a_run_in_its_own_process_is_as_in_this_one_and_tells_its_peak_of_memory() -> None:
    task = make_task(frame(150, columns=2), 4, look_back=16)
    run = Run("dlinear", "dlinear", task, Budget(epochs=1), 0)
    ballast = np.ones(2**26)  # 512 MiB, which the peak of another process must not begin with
    apart = stored(run, None)
    del ballast
    here = measure(run)
    assert {name: apart[name] for name in ("MSE", "MAE", "validation loss")} == pytest.approx(
        {name: here[name] for name in ("MSE", "MAE", "validation loss")}, rel=1e-4
    )
    assert sys.platform == "win32" or apart["peak memory, MiB"] > 0
