"""The table of layers: every layer is in it, with the size that its state has."""

from __future__ import annotations

import sys

import pytest
import torch

from rimer_forecaster.benchmark import __main__ as command
from rimer_forecaster.benchmark import layer_table
from rimer_forecaster.layers import LAYERS, build_layers, leaves


def test_every_layer_has_a_row_with_its_paper_and_cost() -> None:
    table = layer_table()
    assert all(any(name in string for string in table.index) for name in LAYERS)
    assert table[["paper", "cost"]].map(len).gt(0).all(axis=None)


@pytest.mark.parametrize("layers", ["rwkv7", "rwkv4", "taylor(feature=16)", "attention(window=64)"])
def test_the_bytes_are_those_of_a_state_after_many_tokens(layers: str) -> None:
    stack = build_layers(layers, width=32, head_size=16)
    _, state = stack(torch.zeros(1, 100, 32), stack.init_state(1))
    assert state is not None
    assert layer_table().loc[layers, "state, bytes"] == sum(x.nbytes for _, x in leaves(state))
    assert layer_table().loc[layers, "streams"] == "yes"


def test_full_attention_grows_by_a_key_and_a_value_per_token() -> None:
    row = layer_table(width=64, head_size=16).loc["attention"]
    assert row["per token"] == 2 * 64 * 4
    assert row["streams"] == "grows"


def test_the_command_prints_it_and_asks_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--layers"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code in (None, 0)
    assert "rwkv7(icl_rate_max=2)" in capsys.readouterr().out
