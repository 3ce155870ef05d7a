"""Trainings of few windows hold some back: they stop in time, and their intervals hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_cases import normal, randomised

pytest.importorskip("pytorch_lightning", reason="training needs the extra 'sktime'")

from rimer_forecaster import RimerNetwork
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.fit import train
from rimer_forecaster.training.held_out import KeepBest, quantile_loss, widening
from rimer_forecaster.training.windows import Windows

QUANTILES = (0.1, 0.5, 0.9)


@pytest.mark.parametrize(("width", "expected"), [(0.5, 2.0), (0.25, 4.0), (1.0, 1.0), (3.0, 1.0)])
def test_quantiles_are_widened_to_what_came_and_never_narrowed(
    width: float, expected: float
) -> None:
    target = normal(4000, 1, 1)
    deviations = torch.tensor([-1.2816, 0.0, 1.2816])
    forecast = (width * deviations).expand(4000, 1, 1, 3)
    factor = widening(forecast, target, torch.tensor(QUANTILES), middle=1)
    assert factor == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("layers", [None, "rwkv7"])
def test_a_network_is_widened_in_all_its_forecasts(layers: str | None) -> None:
    net = RimerNetwork(32, 5, outputs=(0.05, 0.5, 0.8, 0.95), layers=layers, width=8, head_size=8)
    net = randomised(net).double().eval()
    with torch.no_grad():
        net.skip.offset.copy_(torch.tensor([-1.0, 0.0, 0.5, 1.0]).repeat(5))
        if net.reader is not None:
            net.reader.head.weight.mul_(0.01)  # quantiles do not cross
        x = normal(6, 32, 2).double()
        before = net(x)
        net.widen_quantiles(1.7)
        after = net(x)
    median = before[..., 1:2]
    torch.testing.assert_close(after, median + 1.7 * (before - median))


def trained(recipe: Recipe, *, held_back: bool) -> tuple[RimerNetwork, Windows]:
    noise = normal(230, 1).float()
    first = 184
    sizes: dict[str, Any] = {"input_chunk_length": 24, "output_chunk_length": 12}
    net = RimerNetwork(24, 12, outputs=QUANTILES, generator=torch.Generator().manual_seed(0))
    held = Windows([noise], None, first_origins=[first], **sizes)
    train(
        net,
        Windows([noise[:first]], None, **sizes),
        validation=held if held_back else None,
        held_back=held_back,
        recipe=recipe,
        batch_size=32,
        n_epochs=None,
        generator=torch.Generator().manual_seed(0),
        trainer_kwargs={"accelerator": "cpu"},
    )
    return net, held


def test_noise_is_not_learnt_by_heart_and_its_intervals_hold() -> None:
    fresh = normal(400, 24 + 12, 1, seed=9).float()
    found = {}
    for held_back in (False, True):
        net, _ = trained(Recipe(), held_back=held_back)
        with torch.no_grad():
            low, middle, high = net(fresh[:, :24]).unbind(-1)
        truth = fresh[:, 24:]
        inside = ((truth >= low) & (truth <= high)).double().mean()
        found[held_back] = float((middle - truth).abs().mean()), float(inside)
    least = float(fresh[:, 24:].abs().mean())  # of the mean of the noise
    assert found[True][0] < 1.06 * least < found[False][0]
    assert found[False][1] < 0.68
    assert 0.7 < found[True][1] < 0.93


def test_patience_ends_the_training() -> None:
    steps: list[int] = []

    class Count(KeepBest):
        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            super().on_validation_epoch_end(trainer, pl_module)
            steps.append(trainer.global_step)

    from rimer_forecaster.training import fit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "KeepBest", Count)
        trained(Recipe(patience=20), held_back=True)
        patient, steps[:] = steps[-1], []
        trained(Recipe(patience=100_000), held_back=True)
    assert patient < 0.5 * steps[-1]


def test_what_is_kept_survives_a_checkpoint() -> None:
    before = KeepBest(5)
    before.lowest, before.step, before.epoch = 0.5, 7, 2
    before.weights, before.validated = (
        {"x": torch.ones(2)},
        [(torch.ones(1, 1, 1, 3), torch.ones(1))],
    )
    after = KeepBest(5)
    after.load_state_dict(before.state_dict())
    assert after.state_dict() == before.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"held_out": 1.0}, "held_out=1.0"), ({"few_windows": 0}, "few_windows=0"),
     ({"patience": -1}, "patience=-1")],
)  # fmt: skip
def test_recipes_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**arguments)


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
    target = torch.tensor([3.0, 2.0, float("nan")]).view(1, 3, 1)
    loss = quantile_loss(forecast, target, torch.tensor([0.9]))
    assert loss.item() == pytest.approx((0.9 * 2 + 0.1 * 1) / 2)
