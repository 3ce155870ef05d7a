"""The training recipe."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("pytorch_lightning", reason="the recipe is one for Lightning")

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.scale import unit_of
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.recipe import parameter_groups


@pytest.mark.parametrize(
    ("windows", "batch_size", "epochs"),
    [(1, 32, 100), (640, 32, 100), (6400, 32, 10), (6401, 32, 10), (10**7, 32, 5)],
)
def test_epochs_make_about_two_thousand_steps(windows: int, batch_size: int, epochs: int) -> None:
    assert Recipe().epochs(windows, batch_size) == epochs


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("inf")),
        ("weight_decay", -1.0),
        ("weight_decay", "0.1"),
        ("averaging", 1.0),
        ("training_on", 0),
        ("steps", 0),
        ("most_epochs", 2.5),
        ("fewest_epochs", True),
    ],
)
def test_a_value_out_of_range_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{argument}={value!r} must be"):
        Recipe(**{argument: value})


def trained(factor: float) -> torch.Tensor:
    """Forecasts of a small network after training on a series times a factor."""
    generator = torch.Generator().manual_seed(0)
    series = factor * torch.randn(200, generator=generator, dtype=torch.float64).cumsum(0)
    windows = series.unfold(0, 24, 1)[..., None]  # (B, L + H, 1)
    net = RimerNetwork(16, 8, dropout=0.0, generator=generator).double()
    recipe, unit = Recipe(), unit_of(series[None, :, None])
    optimizer = recipe.optimisation(net, total_steps=20)["optimizer"]
    net.draw_from(generator)
    for _ in range(20):
        error = net(windows[:, :16])[..., 0] - windows[:, 16:]
        loss = (error / recipe.unit(windows[:, :16], unit)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net(windows[:, :16]).detach() / factor


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-10])
def test_training_does_not_depend_on_the_units_of_the_series(factor: float) -> None:
    torch.testing.assert_close(trained(factor), trained(1.0), rtol=1e-5, atol=1e-5)


def test_learning_rates_fall_to_zero_along_a_cosine() -> None:
    net = RimerNetwork(16, 8, layers="rwkv7")
    parts = Recipe(learning_rate=1.0, weight_decay=0.0).optimisation(net, total_steps=10)
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
    parts = Recipe().optimisation(net, total_steps=float("inf"))
    assert set(parts) == {"optimizer"}


def test_further_arguments_reach_the_optimiser() -> None:
    net = RimerNetwork(16, 8)
    parts = Recipe().optimisation(net, total_steps=1, lr=2.0, weight_decay=0.3, betas=(0.5, 0.6))
    assert parts["optimizer"].defaults["betas"] == (0.5, 0.6)
    groups = parts["optimizer"].param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}
    assert {group["initial_lr"] for group in groups} == {2.0, 4.0, 20.0}


ALL_COVARIATES = {"past_covariates": 2, "future_covariates": 1, "static_covariates": 2}


def test_linear_parts_and_decay_biases_learn_faster_and_only_matrices_decay() -> None:
    net = RimerNetwork(16, 8, layers="rwkv7*2", **ALL_COVARIATES)
    groups = parameter_groups(net, lr=1.0, weight_decay=0.5)
    settings = {
        id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]
    }
    assert len(settings) == sum(len(group["params"]) for group in groups)
    faster = {"skip.weight": 10.0, "skip.offset": 10.0, "skip.lag_filter.weight": 3.0}
    for name, parameter in net.named_parameters():
        rate = 2.0 if name.endswith("decay.up.bias") else faster.get(name, 1.0)
        decay = 0.0 if parameter.ndim < 2 else 0.5
        assert settings[id(parameter)] == (rate, decay), name


def test_a_learned_start_learns_as_fast_as_the_skip() -> None:
    net = RimerNetwork(16, 8, initial_state="learned")
    assert net.reader is not None
    assert net.reader.initial_state is not None
    groups = parameter_groups(net, lr=1.0, weight_decay=0.0)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(net.reader.initial_state.learned)] == rates[id(net.skip.weight)] == 10


def test_the_rate_of_the_layers_leaves_the_linear_skips_alone() -> None:
    rates = []
    for layers_rate in (1.0, 0.1):
        net = RimerNetwork(16, 8, layers="rwkv7*2", layers_rate=layers_rate, **ALL_COVARIATES)
        groups = parameter_groups(net, lr=1.0, weight_decay=0.5)
        of = {id(p): group["lr"] for group in groups for p in group["params"]}
        rates.append({name: of[id(p)] for name, p in net.named_parameters()})
    for name, rate in rates[1].items():
        factor = 0.1 if name.startswith("reader.") else 1.0
        assert rate == pytest.approx(factor * rates[0][name]), name


def test_frozen_parameters_are_not_trained() -> None:
    net = RimerNetwork(16, 8)
    net.requires_grad_(False)
    net.skip.requires_grad_(True)
    groups = parameter_groups(net, lr=1.0, weight_decay=0.0)
    assert [group["params"] for group in groups] == [[net.skip.weight], [net.skip.offset]]


@pytest.mark.parametrize(
    ("kind", "lag"), [("past_covariates", 15), ("future_covariates", 0), ("future_covariates", 3)]
)
def test_a_target_that_is_a_lagged_covariate_is_learnt(kind: str, lag: int) -> None:
    """An error of at most 0.3 of that without the covariate, which cannot be below 1."""
    generator = torch.Generator().manual_seed(0)
    cause = torch.randn(3000, generator=generator)
    target = cause.roll(lag)
    net = RimerNetwork(32, 8, generator=generator, **{kind: 1})
    optimizer = torch.optim.AdamW(parameter_groups(net, lr=3e-3, weight_decay=0.01))
    window = torch.arange(40)

    def error(first: int, last: int, count: int) -> Tensor:
        rows = torch.randint(first, last - 40, (count, 1), generator=generator) + window
        known = cause[rows][..., None]
        known = known[:, :32] if kind == "past_covariates" else known
        return net(target[rows][:, :32, None], **{kind: known})[..., 0, 0] - target[rows][:, 32:]

    for _ in range(300):
        loss = error(100, 2000, 64).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert error(2000, 3000, 500).square().mean() < 0.3
