"""The quantile loss."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("pytorch_lightning", reason="training needs the extra 'sktime'")

from rimer_forecaster.training.held_out import quantile_loss

NAN = float("nan")


def test_quantile_loss_is_least_at_the_quantile() -> None:
    target = torch.randn(20000, 1, 1, generator=torch.Generator().manual_seed(0))
    for level in (0.1, 0.5, 0.9):
        exact = target.quantile(level)
        losses = [
            quantile_loss(torch.full((20000, 1, 1, 1), x), target, torch.tensor([level]))
            for x in (float(exact) - 0.1, float(exact), float(exact) + 0.1)
        ]
        assert losses[1] < losses[0]
        assert losses[1] < losses[2]


def test_quantile_loss_by_hand_and_without_what_was_not_observed() -> None:
    forecast = torch.tensor([1.0, 3.0, 9.0]).view(1, 3, 1, 1)
    target = torch.tensor([3.0, 2.0, NAN]).view(1, 3, 1)
    loss = quantile_loss(forecast, target, torch.tensor([0.9]))
    assert loss.item() == pytest.approx((0.9 * 2 + 0.1 * 1) / 2)
