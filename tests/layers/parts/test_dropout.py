"""Dropout with a generator of its own."""

from __future__ import annotations

import torch

from rimer_forecaster.layers import Dropout


def test_draws_from_its_own_generator_and_leaves_the_process_alone() -> None:
    dropout, x = Dropout(0.5), torch.ones(1000)
    process = torch.get_rng_state()
    draws = []
    for _ in range(2):
        dropout.generator = torch.Generator().manual_seed(3)
        draws.append(dropout(x))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(torch.get_rng_state(), process)
    assert 0.4 < (draws[0] == 0).float().mean() < 0.6
    assert set(draws[0].unique().tolist()) == {0.0, 2.0}


def test_without_one_it_is_the_usual_dropout() -> None:
    x = torch.ones(100)
    torch.manual_seed(0)
    expected = torch.nn.functional.dropout(x, 0.3)
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.3)(x), expected)


def test_zeroes_in_evaluation_where_that_is_wanted() -> None:
    dropout, x = Dropout(0.5).eval(), torch.ones(1000)
    dropout.in_evaluation = True
    for generator in (None, torch.Generator()):
        dropout.generator = generator
        assert 0.4 < (dropout(x) == 0).float().mean() < 0.6


def test_does_nothing_in_evaluation_or_with_probability_zero() -> None:
    x = torch.ones(100)
    for dropout in (Dropout(0.5).eval(), Dropout(0.0)):
        for generator in (None, torch.Generator()):
            dropout.generator = generator
            assert torch.equal(dropout(x), x)
