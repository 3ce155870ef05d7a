"""Training through darts and through sktime does what the recipe says."""

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
from rimer_forecaster.training import Recipe

Weights = dict[str, torch.Tensor]


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
