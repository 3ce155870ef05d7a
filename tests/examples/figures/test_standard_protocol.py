"""The tasks of examples/figures/standard_protocol.py are those that its docstring says."""

from __future__ import annotations

import lzma
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")


def test_sentinels_duplicates_and_gaps_of_weather_are_missing_values(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    times = pd.date_range("2020-01-01", periods=2_000, freq="10min").delete(7)
    frame = pd.DataFrame({"date": times, "OT": np.arange(1_999.0)})
    frame.loc[3, "OT"] = -9999.0
    frame = pd.concat([frame[:5], frame[4:]])
    frame.to_csv(tmp_path / "weather.csv.xz", index=False)
    task = example("standard_protocol").task_of(tmp_path, "weather-96-96")
    values = task.series.values()[:, 0]
    assert len(values) == 2_000
    assert np.flatnonzero(np.isnan(values)).tolist() == [3, 7]
    assert (task.train_end, task.validation_end) == (1_400, 1_600)


def test_question_marks_of_nn5_are_missing_values(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    rows = [[str(i) for i in range(791)] for _ in range(2)]
    rows[1][4] = "?"
    text = "# remark\n@frequency daily\n@data\n" + "".join(
        f"T{i}:1996-03-18 00-00-00:{','.join(row)}\n" for i, row in enumerate(rows)
    )
    with lzma.open(tmp_path / "nn5_daily_dataset_with_missing_values.tsf.xz", "wt") as file:
        file.write(text)
    task = example("standard_protocol").task_of(tmp_path, "nn5-112-56")
    values = task.series.values()
    assert values.shape == (791, 2)
    assert np.argwhere(np.isnan(values)).tolist() == [[4, 1]]
    assert values[790, 0] == 790
    assert str(task.series.start_time().date()) == "1996-03-18"
    assert len(task.origins) == 57


def test_electricity_is_forecast_from_midnight_with_what_is_known_ahead(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    times = pd.date_range("2016-10-22", periods=1_680, freq="h")
    parts = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": scale * np.arange(1_680.0), "load": 5.0})
        for name, scale in (("BE", 1.0), ("NP", 2.0))
    ]
    pd.concat(parts).to_csv(tmp_path / "electricity-short-with-ex-vars.csv.xz", index=False)
    task = example("standard_protocol").task_of(tmp_path, "electricity-NP-168-24")
    assert task.series.values()[10, 0] == 20
    assert task.future_covariates.n_components == 1
    assert {task.series.time_index[origin].hour for origin in task.origins} == {0}
    assert len(task.origins) == 14


def test_the_tasks_of_the_data_are_those_of_the_literature(
    example: Callable[[str], ModuleType],
) -> None:
    if "RIMER_DATA" not in os.environ:
        pytest.skip("needs RIMER_DATA, a folder with the data sets")
    folder, protocol = Path(os.environ["RIMER_DATA"]), example("standard_protocol")
    origins = {name: len(protocol.task_of(folder, name).origins) for name in protocol.TASKS}
    assert origins["ETTh1-96-96"] == 2_785
    assert origins["ETTm1-96-96"] == 11_425
    assert origins["exchange_rate-336-720"] == 1_517 - 720 + 1
    assert all(origins.values())
