"""What the scripts behind docs/results/open-questions.md measure, and their common table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")

from darts import TimeSeries

from rimer_forecaster.layers import build_layers


def test_means_and_spreads_are_those_of_the_seeds_of_one_case(
    example: Callable[[str], ModuleType],
) -> None:
    runs = [
        {"data": data, "layers": layers, "seed": seed, "MSE": value + seed, "fit, s": 2.0 * seed}
        for data in ("loads", "weather")
        for layers, value in (("rwkv7", 1.0), ("gru", 3.0))
        for seed in range(3)
    ]
    table = example("open_questions").summarise(runs)
    assert list(table["layers"]) == ["rwkv7", "gru"] * 2
    assert list(table["MSE"]) == [2.0, 4.0] * 2
    assert list(table["MSE spread"]) == [2.0] * 4
    assert list(table["fit, s"]) == [2.0] * 4
    assert list(table["seeds"]) == [3] * 4


def test_an_interrupted_table_goes_on_and_made_up_series_are_apart(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    script, made = example("open_questions"), []

    def run(value: float) -> dict[str, Any]:
        made.append(value)
        return {"MSE": value}

    cases = [({"layers": f"rwkv7*{n}", "seed": 0}, partial(run, float(n))) for n in (1, 2)]
    arguments = argparse.Namespace(output=tmp_path, data=None, steps=2)
    script.tabulate(cases[:1], "x", arguments)
    script.tabulate(cases, "x", arguments)
    assert made == [1.0, 2.0]
    assert list(pd.read_csv(tmp_path / "open-questions-x.csv")["MSE"]) == [1.0, 2.0]
    arguments.data = tmp_path
    script.tabulate(cases, "x", arguments)
    assert made == [1.0, 2.0, 1.0, 2.0]


def test_hybrids_have_equal_parameters(example: Callable[[str], ModuleType]) -> None:
    counts = {}
    for layers, width in example("hybrids").WIDTHS.items():
        stack = build_layers(layers, width=width, head_size=width // 2)
        counts[layers] = sum(parameter.numel() for parameter in stack.parameters())
    share = np.array(list(counts.values())) / counts["rwkv7*4"] - 1
    assert len(counts) > 5
    assert np.abs(share).max() < 0.12, counts


def test_every_look_back_has_the_same_test_windows(
    example: Callable[[str], ModuleType],
) -> None:
    script, parts = example("long_context"), []
    for _, task in script.tasks(None, (96, 512, 1_000)):
        parts.append(task.test[task.look_back :])
        assert len(task.train) >= task.look_back + task.horizon
    assert len(parts) == 3
    assert all(part.time_index.equals(parts[0].time_index) for part in parts)
    np.testing.assert_array_equal(parts[0].values(), parts[2].values())


def test_a_short_skip_reads_512_steps_and_the_layers_all(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("long_context")
    [(_, task)] = script.tasks(None, (600,))
    rows = script.ROWS
    whole, short = (
        script.run(task, rows[name], steps=1, seed=0) for name in ("rwkv7", "rwkv7, short skip")
    )
    assert whole["parameters"] - short["parameters"] == (600 - script.SKIP) * task.horizon
    assert whole["tokens"] == short["tokens"] == 25
    assert whole["MSE"] != short["MSE"]
    assert not rows["rwkv7, short skip"].at("weather", 512)
    assert rows["rwkv7, short skip"].at("weather", 513)
    assert rows["rwkv7, ten times the steps"].at("AEP loads", 96)
    assert not rows["rwkv7, ten times the steps"].at("weather", 96)


def test_smaller_shares_are_parts_of_larger_ones(example: Callable[[str], ModuleType]) -> None:
    chosen = example("data_scaling").chosen
    shares = [set(chosen(414, share=share, seed=1)) for share in (1, 10, 50, 100)]
    assert [len(one) for one in shares] == [4, 41, 207, 414]
    assert all(few < more for few, more in pairwise(shares))
    assert chosen(414, share=1, seed=1) != chosen(414, share=1, seed=2)
    assert len(chosen(12, share=1, seed=0)) == 1


def test_a_model_of_chosen_series_forecasts_all(example: Callable[[str], ModuleType]) -> None:
    panel, fitted = example("panel"), []

    class Zero:
        """Forecasts zeros."""

        def __init__(self, **_: object) -> None:
            self.trainer = argparse.Namespace(global_step=1)
            self.model = argparse.Namespace(parameters=list)

        def fit(self, series: list[TimeSeries]) -> None:
            fitted.extend(float(one.values()[0, 0]) for one in series)

        def predict(self, n: int, series: list[TimeSeries]) -> list[TimeSeries]:
            return [TimeSeries.from_values(np.zeros((n, 1))) for _ in series]

    rows = [np.arange(400.0) * (i + 1) + 10 * i**2 for i in range(4)]
    rows[2][0] = 5_000.0  # above its mean, where the others begin below theirs
    found = panel.through_darts(Zero, rows, steps=1, seed=0, trained_on=[2])
    assert len(fitted) == 1
    assert fitted[0] > 0
    assert found["forecasts"].shape == (4, panel.HORIZON)
    np.testing.assert_allclose(found["forecasts"][:, 0], [row.mean() for row in rows], rtol=1e-6)


@pytest.mark.parametrize("name", ["hybrids", "long_context", "data_scaling"])
def test_a_case_is_named_once_and_has_a_seasonal_naive_row(
    example: Callable[[str], ModuleType], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = example(name)
    monkeypatch.setattr(sys, "argv", [name])
    arguments = script.parser().parse_args(["--seeds", "2"])
    if name == "long_context":
        arguments.look_backs = [96, 600]
    found = [tuple(case.items()) for case, _ in script.cases(arguments)]
    assert len(set(found)) == len(found)
    layers = {dict(case)["layers"] for case in found}
    assert {"seasonal naive", "rlinear", "gru*4" if name == "hybrids" else "gru"} <= layers
    if name != "data_scaling":
        trained = [dict(case) for case in found if dict(case)["layers"] != "seasonal naive"]
        assert {case["seed"] for case in trained} == {0, 1}
