"""Token shift by hand."""

from __future__ import annotations

import torch

from rimer_forecaster.layers.parts.token_shift import token_shift


def test_every_token_gets_its_predecessor() -> None:
    x = torch.arange(1.0, 5.0).view(1, 4, 1)
    previous, last = token_shift(x, None, None)
    assert previous.flatten().tolist() == [0, 1, 2, 3]
    assert last.item() == 4


def test_the_first_token_gets_the_one_before() -> None:
    x = torch.arange(1.0, 5.0).view(1, 4, 1)
    previous, _ = token_shift(x, torch.tensor([[9.0]]), None)
    assert previous.flatten().tolist() == [9, 1, 2, 3]


def test_masked_tokens_are_passed_over() -> None:
    x = torch.arange(1.0, 7.0).view(1, 6, 1)
    mask = torch.tensor([[False, True, False, False, True, False]])
    previous, last = token_shift(x, torch.tensor([[9.0]]), mask)
    assert previous[mask].flatten().tolist() == [9, 2]
    assert last.item() == 5


def test_nothing_but_masked_tokens_keeps_the_one_before() -> None:
    _, last = token_shift(torch.ones(1, 3, 1), torch.tensor([[9.0]]), torch.zeros(1, 3).bool())
    assert last.item() == 9
