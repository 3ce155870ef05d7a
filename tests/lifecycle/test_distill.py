"""A small network learns what a large one forecasts and remembers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import RandomModule
from rimer_forecaster.lifecycle import Distillation, distill
from rimer_forecaster.lifecycle.distill import Unlabelled, forecast_loss
from rimer_forecaster.network.state import fingerprint

L, H, C, COUNT = 24, 6, 2, 40
QUANTILES = (0.1, 0.5, 0.9)


def network(layers: str | None = "rwkv7", *, seed: int | None = None, **arguments: Any) -> Any:
    """A new one by default; random in all parameters by a seed."""
    options = {"width": 8, "head_size": 4, "patch_length": 4, "outputs": QUANTILES, **arguments}
    generator = torch.Generator().manual_seed(0)
    made = RimerNetwork(L, H, layers=layers, dropout=0.0, generator=generator, **options)
    return made.eval() if seed is None else randomised(made, 0.2, seed=seed).eval()


X = walk(COUNT, L, C).float()


def windows(places: list[int]) -> Unlabelled:
    return Unlabelled({"past_target": X[places]})


def learnt(small: RimerNetwork, large: RimerNetwork, **options: Any) -> Distillation:
    return distill(small, large, windows, COUNT, **{"steps": 60, "batch_size": 8, **options})


def difference(small: RimerNetwork, large: RimerNetwork) -> float:
    unit = X.std(1, correction=0)[:, None, :, None]
    with torch.no_grad():
        return float(((small(X) - large(X)) / unit).abs().mean())


@pytest.fixture(scope="module")
def large() -> RimerNetwork:
    made: RimerNetwork = network("rwkv7*2", seed=1, width=12, patch_length=6)
    return made


@pytest.mark.parametrize("states", [0.0, 0.1])
@pytest.mark.parametrize("layers", ["rwkv7", "rwkv7*3", "rwkv7(sse=on, heads=3, key_size=6)"])
def test_a_small_network_comes_nearer(large: RimerNetwork, layers: str, states: float) -> None:
    small, weights = network(layers), fingerprint(large)
    before = difference(small, large)
    report = learnt(small, large, states=states)
    after = difference(small, large)
    assert after < 0.75 * before
    assert report.forecasts == pytest.approx(after, rel=0.5)
    assert (report.states is None) == (states == 0)
    assert fingerprint(large) == weights
    assert not small.training


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_quantiles_of_windows_that_look_alike_are_those_of_both_together(shift: float) -> None:
    """Two windows of shifted distributions: their tails, and not the means of their tails."""
    own = torch.tensor([-1.0, 0.0, 1.0])
    target = torch.stack((own - shift, own + shift))[:, None, None]  # (B, H, C, Q)
    output = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([output], lr=0.5)
    for _ in range(1500):
        optimizer.zero_grad()
        forecast_loss(output.expand_as(target), target, QUANTILES).backward()
        optimizer.step()
    low, middle, high = output.tolist()
    assert low == pytest.approx(-1 - shift, abs=0.2)
    assert high == pytest.approx(1 + shift, abs=0.2)
    assert abs(middle) < 0.2 or abs(middle) < shift


def test_states_are_followed_where_they_weigh(large: RimerNetwork) -> None:
    """Of a network that does not learn them, linear maps explain less."""
    followed = learnt(network(), large, states=10.0, steps=150).states
    watched = learnt(network(), large, states=1e-9, steps=150).states
    assert followed is not None
    assert watched is not None
    assert followed < 0.9 * watched
    assert watched < 1.1


def test_the_same_call_learns_the_same(large: RimerNetwork) -> None:
    found = []
    for _ in range(2):
        small = network()
        learnt(small, large, steps=5)
        found.append(fingerprint(small))
    other = network()
    learnt(other, large, steps=5, generator=torch.Generator().manual_seed(1))
    assert found[0] == found[1] != fingerprint(other)


def test_covariates_missing_values_scales_and_other_layers_take_part() -> None:
    options: dict[str, Any] = {"future_covariates": 1, "outputs": ("location", "scale")}
    teacher = network("rwkv7*2", seed=1, initial_state="learned", **options)
    gaps, known = X.clone(), normal(COUNT, L + H, 1).float()
    gaps[3, :7] = float("nan")

    def given(places: list[int]) -> Unlabelled:
        inputs = {"past_target": gaps[places], "future_covariates": known[places]}
        return Unlabelled(inputs, torch.ones(()))

    for layers, states in (("rwkv7", 0.1), ("attention", 0.0), (None, 0.0)):
        small = network(layers, streaming=layers == "rwkv7", **options)
        first = distill(small, teacher, given, COUNT, steps=2, states=states)
        second = distill(small, teacher, given, COUNT, steps=40, states=states)
        assert math.isfinite(second.forecasts)
        assert second.forecasts < first.forecasts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outputs": (0.2, 0.5, 0.9)}, r"the teacher has outputs=\(0\.1, 0\.5, 0\.9\)"),
        ({"squash": True}, "the teacher has squash=False, but the model .* has True"),
        ({"least_scale": 1.0}, r"the teacher has least_scale=0\.0"),
        ({"read_gaps": True}, "the teacher has read_gaps=False"),
        ({"past_covariates": 1}, "the teacher has past_covariates=0"),
        ({"components": "cross", "target_components": ("a", "b")}, "has components='independent'"),
        ({"layers": "attention"}, "the model that is to learn has layers='attention'"),
        ({"layers": None}, "the model that is to learn has layers=None. Use states=0"),
    ],
)
def test_a_network_of_other_forecasts_is_refused(
    large: RimerNetwork, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        learnt(network(**{"layers": "rwkv7", **arguments}), large)


def test_other_look_backs_and_horizons_are_refused(large: RimerNetwork) -> None:
    for lengths, name in (((L + 1, H), "input_chunk_length=24"), ((L, 7), "output_chunk_length=6")):
        other = RimerNetwork(*lengths, width=8, head_size=4, outputs=QUANTILES)
        with pytest.raises(ValueError, match=f"the teacher has {name}, but the model"):
            learnt(other, large)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 must be"),
        ({"states": -1}, "states=-1 must be at least 0"),
        ({"states": float("nan")}, "states=nan must be"),
        ({"states": True}, "states=True must be"),
        ({"batch_size": 0}, "batch_size=0 must be"),
    ],
)
def test_nonsense_is_refused(large: RimerNetwork, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learnt(network(), large, **options)


def test_a_network_does_not_teach_itself(large: RimerNetwork) -> None:
    with pytest.raises(ValueError, match="the teacher is the model itself"):
        learnt(large, large)


def test_batches_are_of_all_windows_before_one_comes_again(large: RimerNetwork) -> None:
    seen: list[int] = []

    def noted(places: list[int]) -> Unlabelled:
        seen.extend(places)
        return windows(places)

    distill(network(), large, noted, COUNT, steps=5, batch_size=16, states=0.0)
    assert len(seen) == 80
    assert sorted(seen[:COUNT]) == list(range(COUNT))
    assert sorted(seen[COUNT:]) == list(range(COUNT))


def test_an_interrupted_training_leaves_the_network_as_it_should_be() -> None:
    small, large = network(), network("rwkv7*2", seed=1)
    seen: list[bool] = []

    def interrupted(*_: object) -> Unlabelled:
        seen.append(small.training)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(small, large, interrupted, COUNT, steps=2, states=0)
    assert seen == [True]
    assert not small.training
    assert all(x.generator is None for x in small.modules() if isinstance(x, RandomModule))
