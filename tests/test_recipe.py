"""The training recipe."""

from __future__ import annotations

import pytest
import torch

from rimer_forecaster import RimerNetwork
from rimer_forecaster.recipe import default_epochs, default_optimisation


@pytest.mark.parametrize(
    ("windows", "batch_size", "epochs"),
    [(1, 32, 100), (640, 32, 100), (6400, 32, 10), (6401, 32, 10), (10**7, 32, 5)],
)
def test_epochs_make_about_two_thousand_steps(windows: int, batch_size: int, epochs: int) -> None:
    assert default_epochs(windows, batch_size) == epochs


def trained(factor: float) -> torch.Tensor:
    """Forecasts of a small network after training on a series times a factor."""
    generator = torch.Generator().manual_seed(0)
    series = factor * torch.randn(200, generator=generator, dtype=torch.float64).cumsum(0)
    windows = series.unfold(0, 24, 1)[..., None]  # (B, L + H, 1)
    net = RimerNetwork(16, 8, dropout=0.0, generator=generator).double()
    optimizer = default_optimisation(net, total_steps=20, lr=1e-3, weight_decay=0.01)["optimizer"]
    net.draw_from(generator)
    for _ in range(20):
        loss = (net(windows[:, :16])[..., 0] - windows[:, 16:]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net(windows[:, :16]).detach() / factor


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-10])
def test_training_does_not_depend_on_the_units_of_the_series(factor: float) -> None:
    torch.testing.assert_close(trained(factor), trained(1.0), rtol=1e-5, atol=1e-5)


def test_learning_rates_fall_to_zero_along_a_cosine() -> None:
    net = RimerNetwork(16, 8, layers="rwkv7")
    parts = default_optimisation(net, total_steps=10, lr=1.0, weight_decay=0.0)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert parts["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert set(rates[0]) == {1.0, 2.0, 10.0}
    assert rates[5] == pytest.approx([rate / 2 for rate in rates[0]])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0] * len(rates[0]))


def test_without_an_end_the_rate_stays() -> None:
    net = RimerNetwork(16, 8)
    parts = default_optimisation(net, total_steps=float("inf"), lr=1.0, weight_decay=0.0)
    assert set(parts) == {"optimizer"}


def test_further_arguments_reach_the_optimiser() -> None:
    net = RimerNetwork(16, 8)
    parts = default_optimisation(net, total_steps=1, lr=1.0, weight_decay=0.3, betas=(0.5, 0.6))
    assert parts["optimizer"].defaults["betas"] == (0.5, 0.6)
    assert {group["weight_decay"] for group in parts["optimizer"].param_groups} == {0.0, 0.3}
