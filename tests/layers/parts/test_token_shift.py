"""Token shift by hand."""

from __future__ import annotations

import pytest
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


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values)[None, :, None]


def test_a_longer_memory_gives_the_token_that_many_places_before() -> None:
    previous, last = token_shift(numbers(1, 2, 3, 4), numbers(7, 8, 9), None)
    assert previous.flatten().tolist() == [7, 8, 9, 1]
    assert last.flatten().tolist() == [2, 3, 4]


def test_places_before_are_counted_among_real_tokens() -> None:
    mask = torch.tensor([[False, True, True, False, True, False, True]])
    x = numbers(1, 2, 3, 4, 5, 6, 7)
    previous, last = token_shift(x, numbers(8, 9), mask)
    assert previous[mask].flatten().tolist() == [8, 9, 2, 3]
    assert last.flatten().tolist() == [5, 7]
    nothing = torch.zeros(1, 7).bool()
    assert torch.equal(token_shift(x, numbers(8, 9), nothing)[1], numbers(8, 9))


@pytest.mark.parametrize("mask", [None, torch.ones(1, 5).bool()])
def test_a_memory_of_one_token_is_the_one_before(mask: torch.Tensor | None) -> None:
    x, before = torch.randn(1, 5, 2), torch.randn(1, 2)
    previous, last = token_shift(x, before, mask)
    same, end = token_shift(x, before[:, None], mask)
    assert torch.equal(same, previous)
    assert torch.equal(end[:, 0], last)
