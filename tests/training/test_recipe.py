"""The training recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("pytorch_lightning", reason="the recipe is one for Lightning")

import pytorch_lightning as pl

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.scale import unit_of
from rimer_forecaster.training import Recipe

Weights = dict[str, torch.Tensor]


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


# --- averaged weights ---------------------------------------------------------------------------


class Recorder(pl.Callback):
    """Hands on the weights after every step, and those that are validated with their loss."""

    def __init__(self, steps: list[Weights], validated: list[tuple[int, Weights, float]]) -> None:
        # Methods of a built-in are not copied when a trainer copies its callbacks.
        self.step, self.validate, self.count = steps.append, validated.append, 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.count += 1
        self.step(copied(pl_module.network))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            loss = float(trainer.callback_metrics["val_loss"])
            self.validate((self.count, copied(pl_module.network), loss))


def copied(network: torch.nn.Module) -> Weights:
    return {name: x.detach().clone() for name, x in network.named_parameters()}


def averaged(steps: list[Weights], most: float = 0.995) -> Weights:
    """The averages by hand: each step's weights, and less of those before."""
    average = steps[0]
    for n, weights in enumerate(steps[1:], 1):
        kept = min(most, (1 + n) / (10 + n))
        average = {name: kept * x + (1 - kept) * weights[name] for name, x in average.items()}
    return average


def values(n: int) -> np.ndarray:
    return np.sin(np.arange(n) / 3) + 0.3 * np.random.default_rng(0).normal(size=n)


def in_darts(recorder: pl.Callback, *, validate: bool, **options: Any) -> RimerNetwork:
    darts = pytest.importorskip("darts", reason="needs the extra 'darts'")
    from rimer_forecaster import RimerModel

    series = darts.TimeSeries.from_values(values(160))  # float64
    trainer = {"accelerator": "cpu", "callbacks": [recorder], "enable_progress_bar": False}
    options |= {"batch_size": 8, "n_epochs": 4, "random_state": 0, "pl_trainer_kwargs": trainer}
    model = RimerModel(16, 4, **options)
    model.fit(series[:120], val_series=series[100:] if validate else None)
    return model.network


def in_sktime(
    recorder: pl.Callback, *, validate: bool, accumulate_grad_batches: int = 1, **options: Any
) -> RimerNetwork:
    pytest.importorskip("sktime", reason="needs the extra 'sktime'")
    from rimer_forecaster import RimerForecaster

    forecaster = RimerForecaster(
        16,
        4,
        batch_size=8,
        n_epochs=4,
        random_state=0,
        validation_fraction=0.3 if validate else None,
        trainer_kwargs={
            "accelerator": "cpu",
            "callbacks": [recorder],
            "accumulate_grad_batches": accumulate_grad_batches,
        },
        **options,
    )
    return forecaster.fit(pd.Series(values(160)), fh=[1, 2, 3, 4]).network_


@pytest.mark.parametrize("train", [in_darts, in_sktime])
def test_training_leaves_averaged_weights(train: Callable[..., RimerNetwork]) -> None:
    steps: list[Weights] = []
    left = copied(train(Recorder(steps, []), validate=False))
    assert len(steps) > 40
    torch.testing.assert_close(left, averaged(steps))
    assert not torch.equal(left["skip.weight"], steps[-1]["skip.weight"])


@pytest.mark.parametrize("train", [in_darts, in_sktime])
def test_averages_forget_at_the_rate_of_the_recipe(train: Callable[..., RimerNetwork]) -> None:
    steps: list[Weights] = []
    left = copied(train(Recorder(steps, []), validate=False, recipe=Recipe(averaging=0.5)))
    torch.testing.assert_close(left, averaged(steps, most=0.5))
    left = copied(train(Recorder(steps, []), validate=False, recipe=Recipe(averaging=0.0)))
    torch.testing.assert_close(left, steps[-1], rtol=0, atol=0)


def test_batches_between_two_steps_are_not_averaged() -> None:
    steps: list[Weights] = []
    left = copied(in_sktime(Recorder(steps, []), validate=False, accumulate_grad_batches=3))
    after_steps = steps[2::3]  # 18 batches an epoch
    assert not torch.equal(steps[2]["skip.offset"], steps[1]["skip.offset"])
    assert torch.equal(steps[3]["skip.offset"], steps[2]["skip.offset"])
    torch.testing.assert_close(left, averaged(after_steps))


def test_an_optimiser_of_the_user_leaves_its_last_weights() -> None:
    steps: list[Weights] = []
    options = {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": {"lr": 1e-2}}
    left = in_darts(Recorder(steps, []), validate=False, **options)
    torch.testing.assert_close(copied(left), steps[-1], rtol=0, atol=0)


@pytest.mark.parametrize("train", [in_darts, in_sktime])
def test_averaged_weights_are_validated(train: Callable[..., RimerNetwork]) -> None:
    steps: list[Weights] = []
    validated: list[tuple[int, Weights, float]] = []
    left = copied(train(Recorder(steps, validated), validate=True))
    assert len(validated) == 4
    for count, weights, _ in validated:
        torch.testing.assert_close(weights, averaged(steps[:count]))
    if train is in_sktime:  # which keeps the best weights of its own accord
        best = min(validated, key=lambda one: one[2])
        torch.testing.assert_close(left, best[1])


# --- the rate of the layers -------------------------------------------------------------------


class RatesRecorder(pl.Callback):
    """Hands on the learning rates of the skip and of the head at the start of training."""

    def __init__(self, rates: dict[str, float]) -> None:
        self.put = rates.update  # a method of a built-in is not copied with the callback

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        network = pl_module.network
        parts = {"skip": network.skip.weight, "head": network.reader.head.weight}
        for group in trainer.optimizers[0].param_groups:
            for name, part in parts.items():
                if any(one is part for one in group["params"]):
                    self.put({name: group["initial_lr"]})


@pytest.mark.parametrize("train", [in_darts, in_sktime])
def test_layers_learn_at_their_own_rate_in_both_doors(train: Callable[..., RimerNetwork]) -> None:
    rates: dict[str, float] = {}
    train(RatesRecorder(rates), validate=False, layers_rate=0.25)
    assert rates == pytest.approx({"skip": 1e-2, "head": 0.25e-3})


# --- from the libraries to the optimiser ----------------------------------------------------------


class LastGroups(pl.Callback):
    """Hands on learning rate and weight decay of each group at the end of training."""

    def __init__(self, groups: list[tuple[float, float]]) -> None:
        self.put = groups.extend  # a method of a built-in is not copied with the callback

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        groups = trainer.optimizers[0].param_groups
        self.put((group["lr"], group["weight_decay"]) for group in groups)


@pytest.mark.parametrize("train", [in_darts, in_sktime])
def test_the_schedule_ends_with_the_training(train: Callable[..., RimerNetwork]) -> None:
    groups: list[tuple[float, float]] = []
    train(LastGroups(groups), validate=False)
    assert len(groups) > 2
    assert [rate for rate, _ in groups] == pytest.approx([0.0] * len(groups), abs=1e-12)


@pytest.mark.parametrize(
    ("train", "options"),
    [
        (in_darts, {"optimizer_kwargs": {"weight_decay": 0.3}}),
        (in_sktime, {"weight_decay": 0.3}),
    ],
)
def test_weight_decay_reaches_the_matrices(
    train: Callable[..., RimerNetwork], options: dict[str, Any]
) -> None:
    groups: list[tuple[float, float]] = []
    train(LastGroups(groups), validate=False, **options)
    assert {decay for _, decay in groups} == {0.0, 0.3}
