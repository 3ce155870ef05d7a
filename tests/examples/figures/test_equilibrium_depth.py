"""What examples/figures/equilibrium_depth.py measures."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")

from rimer_forecaster.layers import build_layers


def test_an_equilibrium_is_measured_after_each_number_of_passes_and_a_stack_once(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("equilibrium_depth")
    net = build_layers(script.EQUILIBRIUM, width=8, head_size=4)
    net.reset_parameters(torch.Generator().manual_seed(0))
    (layer,) = net.layers
    with torch.no_grad():
        for parameter in layer.layers.parameters():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(2))
    seen = []

    def measure() -> float:
        seen.append(layer.max_iter)
        return float(net(x)[0].sum())

    rows = list(script.by_passes(net, measure))
    assert tuple(seen) == script.PASSES
    assert [row["passes"] for row in rows] == seen
    assert [row["taken"] for row in rows[:2]] == [1, 2]
    assert rows[0]["score"] != rows[-1]["score"]
    assert len(list(script.by_passes(build_layers("rwkv7", width=8, head_size=4), measure))) == 1


def test_an_equilibrium_keeps_less_than_a_deep_stack_and_a_stack_as_much_as_it_is_deep(
    example: Callable[[str], ModuleType],
) -> None:
    script = example("equilibrium_depth")
    one, four = script.bytes_of_a_step("rwkv7"), script.bytes_of_a_step("rwkv7*4")
    assert 3.5 < four / one < 4.5
    assert script.bytes_of_a_step(script.EQUILIBRIUM) < 0.75 * four
