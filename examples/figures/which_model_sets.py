"""The data of which_model.py, kind by kind: series and panels with what is asked of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from short_series import real
from standard_protocol import MARKETS, load_long, task_of
from zero_shot import SETS, series_of

from rimer_forecaster.benchmark import Panel, Task, make_panel, make_task

LOOK_BACKS = {"monthly": 24, "quarterly": 16, "weekly": 52, "daily": 28}
STRIDES = {"ETTh1": 199, "ETTm1": 797, "weather": 797}


def sets(kind: str, folder: Path) -> list[Task | Panel]:
    """Return what is forecast."""
    if kind == "short":
        return [
            make_panel(
                [np.concatenate((row.past, row.future)) for row in rows],
                len(rows[0].future),
                look_back=look_back,
                season=rows[0].season,
                name=name,
            )
            for name, look_back in LOOK_BACKS.items()
            if (rows := [x for x in real(folder, 200)[name] if _long(x, look_back)])
        ]
    if kind == "panels":
        return [
            make_panel(
                series_of(folder, name),
                SETS[name].horizon,
                look_back=look_back,
                season=SETS[name].season,
                name=name,
            )
            for name, look_back in (("M4 hourly", 168), ("NN5 daily", 112))
        ]
    if kind == "long":
        tasks = {name: task_of(folder, f"{name}-96-96") for name in STRIDES}
        return [
            replace(task, name=x, stride=STRIDES[x], series=some_columns(task.series))
            for x, task in tasks.items()
        ]
    if kind == "prices":
        tasks = {x: task_of(folder, f"electricity-{x}-168-24") for x in MARKETS}
        return [replace(task, name=f"prices {x}") for x, task in tasks.items()]
    hours = load_long(folder, "ETTh1")["OT"]
    split = (6_912, 1_728, len(hours) - 8_640)
    return [make_task(hours, 24, look_back=168, split=split, season=24, stride=7, name="OT")]


def some_columns(series: TimeSeries) -> TimeSeries:
    """Return the first, the middle and the last column."""
    names = list(series.components)
    return series[[names[0], names[len(names) // 2], names[-1]]]


def _long(row: Any, look_back: int) -> bool:
    return len(row.past) >= look_back + 2 * len(row.future)


def sines(kind: str) -> list[Task | Panel]:
    """Return something small that needs no file."""
    rng, t = np.random.default_rng(0), np.arange(400)
    waves = [np.sin(t / 4 + i) + 0.2 * rng.standard_normal(400) for i in range(3)]
    if kind in ("short", "panels"):
        return [make_panel(waves, 12, look_back=24, season=25, name="sines")]
    frame = pd.DataFrame(np.stack(waves, 1), pd.date_range("2024", periods=400, freq="h"))
    return [make_task(frame, 12, look_back=24, season=25, stride=30, name="sines")]
