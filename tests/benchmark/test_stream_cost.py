"""What a stream of a fitted network costs: all of its state, and every update of a patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import QUICK, frame

from rimer_forecaster import RimerForecaster, RimerNetwork
from rimer_forecaster.benchmark import compare, stream_cost
from rimer_forecaster.layers import State, state_size

L, P, C = 24, 6, 2
VALUES = np.random.default_rng(0).normal(size=(L, C)).astype(np.float32)


def network(layers: str | None = "rwkv7", **options: Any) -> RimerNetwork:
    return RimerNetwork(L, 6, layers=layers, patch_length=P, **options).eval()


@pytest.mark.parametrize("layers", ["rwkv7", "rwkv4*2", "parallel(attention(window=2), rwkv7)"])
def test_the_bytes_are_those_of_the_layers_of_all_components_and_of_the_window(layers: str) -> None:
    alone = stream_cost.stream_cost(network(None), VALUES).state_bytes
    fixed, per_token = state_size(layers, width=32, head_size=16)
    assert per_token == 0
    held = stream_cost.stream_cost(network(layers), VALUES).state_bytes
    assert held - alone >= C * fixed
    assert held - alone - C * fixed < 200 * C, "a token of 32 numbers and little more"
    assert alone >= VALUES.nbytes


@pytest.mark.parametrize("options", [{}, {"past_covariates": 1}, {"static_covariates": 3}])
def test_updates_are_of_one_step_over_whole_patches(
    options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, read = network(**options, future_covariates=2), []
    update = net.update

    def counted(state: State, steps: torch.Tensor, *covariates: Any, **known: Any) -> State:
        read.append(steps.shape[1])
        return update(state, steps, *covariates, **known)

    monkeypatch.setattr(net, "update", counted)
    stream_cost.stream_cost(net, VALUES[:5])  # shorter than the look-back: taken over and over
    assert read == [L] + 6 * P * [1]


def test_the_time_is_the_median_patch_by_its_steps_without_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(np.array([[0, 900], [0, 1], [0, 2], [0, 3], [0, 4], [0, 500]]).flatten())
    monkeypatch.setattr(stream_cost.time, "perf_counter", lambda: float(next(clock)))
    cost = stream_cost.stream_cost(network(), VALUES)
    assert cost.update_milliseconds == pytest.approx(1e3 * 3 / P)


def test_only_models_that_stream_have_a_cost_in_a_comparison() -> None:
    models = {"ours": "rwkv7", "in sktime": RimerForecaster(24, n_epochs=1), "other": "dlinear"}
    found = compare(frame(columns=2), 6, look_back=24, models=models, stride=9, **QUICK)
    for column in ("state, bytes", "update, ms"):
        there = found.table[column].notna()
        assert list(there.index[there]) == ["ours", "in sktime", "rlinear"]
        assert (found.table.loc[there, column] > 0).all()
    assert found.table.loc["ours", "state, bytes"] > found.table.loc["rlinear", "state, bytes"]
    (header,) = (x for x in found.to_markdown().splitlines() if x.startswith("| model |"))
    place = header.split(" | ").index("state, bytes")
    (row,) = (x for x in found.to_markdown().splitlines() if x.startswith("| other |"))
    assert row.split(" | ")[place] == "-"
