"""Weights of one network in another: the first forecasts are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.transfer import arguments_like, take_over

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
PRETRAINED: dict[str, Any] = {
    "outputs": QUANTILES, "layers": "rwkv7*2", "width": 8, "head_size": 4, "patch_length": 4,
    "skip_length": 12, "squash": True, "read_gaps": True, "dropout": 0.0,
}  # fmt: skip


def pretrained(**arguments: Any) -> RimerNetwork:
    return randomised(RimerNetwork(64, 8, **{**PRETRAINED, **arguments})).double().eval()


def taken(source: RimerNetwork, L: int = 24, H: int = 8, **arguments: Any) -> RimerNetwork:
    arguments = {"outputs": QUANTILES, **arguments_like(source.config, L), **arguments}
    net = randomised(RimerNetwork(L, H, **arguments), seed=5).double().eval()
    take_over(net, source)
    return net


@pytest.mark.parametrize("L", [24, 64, 100])
def test_forecasts_are_the_same_for_another_look_back(L: int) -> None:
    source = pretrained()
    x = walk(3, min(L, 64), 2)
    torch.testing.assert_close(taken(source, L)(x), source(x))


def test_a_look_back_below_the_reach_of_the_skip_keeps_its_last_steps() -> None:
    source = pretrained()
    own = taken(source, 8)
    assert own.config.skip_length == 8
    torch.testing.assert_close(own.skip.weight, source.skip.weight[:, -8:])


def test_a_shorter_horizon_is_the_begin_of_the_longer_and_a_longer_one_goes_on() -> None:
    source, x = pretrained(), walk(3, 24, 2)
    expected = source(x)
    torch.testing.assert_close(taken(source, H=5)(x), expected[:, :5])
    longer = taken(source, H=11)(x)
    torch.testing.assert_close(longer[:, :8], expected)
    torch.testing.assert_close(longer[:, 8:], expected[:, 7:].expand(-1, 3, -1, -1))


def test_a_location_is_the_median_and_new_quantiles_lie_between_their_neighbours() -> None:
    source, x = pretrained(), walk(3, 24, 2)
    with torch.no_grad():  # quantiles that do not cross
        source.skip.offset.copy_(torch.linspace(-1, 1, 5).repeat(8))
        source.reader.head.weight.mul_(0.02)
    expected = source(x)
    torch.testing.assert_close(taken(source, outputs=("location",))(x), expected[..., 2:3])
    found = taken(source, outputs=(0.05, 0.25, 0.6, 0.9))(x)
    torch.testing.assert_close(found[..., 1], expected[..., 1])
    torch.testing.assert_close(found[..., 3], expected[..., 4])
    torch.testing.assert_close(found[..., 0], expected[..., 0])  # beyond all of them: the nearest
    assert (found[..., 2] >= expected[..., 2] - 1e-9).all()
    assert (found[..., 2] <= expected[..., 3] + 1e-9).all()
    assert not torch.allclose(found[..., 2], expected[..., 2])


def test_other_components_change_nothing_at_first_and_learn() -> None:
    source, x = pretrained(), walk(3, 24, 2)
    own = taken(source, components="cross", target_components=("a", "b"))
    assert own.reader is not None
    assert own.reader.cross is not None
    own.reader.cross.reset_parameters()  # as a new network's; `taken` drew anew
    found = own(x)
    torch.testing.assert_close(found, source(x))
    found.square().sum().backward()
    mixer = own.reader.cross.layers.layers[0].token_mixer
    assert mixer.output.weight.grad.abs().sum() > 0


def test_weights_of_components_that_read_each_other_are_refused() -> None:
    source = pretrained(components="cross", target_components=("a", "b"))
    with pytest.raises(ValueError, match="components='cross', which says something to its own"):
        taken(source)


def test_covariates_change_nothing_at_first_and_learn() -> None:
    source, x = pretrained(), walk(3, 24, 2)
    own = taken(source, past_covariates=1, future_covariates=2, static_covariates=1)
    covariates = {
        "past_covariates": normal(3, 24, 1),
        "future_covariates": normal(3, 32, 2, seed=1),
        "static_covariates": normal(3, 2, 1, seed=2),
    }
    found = own(x, **covariates)
    torch.testing.assert_close(found, source(x))
    found.square().mean().backward()
    for parameter in (
        own.skip.lag_filter.weight, own.reader.embed_covariates.weight,
        own.reader.embed_static.weight,
    ):  # fmt: skip
        assert parameter.grad.abs().sum() > 0


def test_a_learned_initial_state_comes_along() -> None:
    source, x = pretrained(initial_state="learned"), walk(3, 24, 2)
    torch.testing.assert_close(taken(source)(x), source(x))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"width": 16}, "width=8"),
        ({"layers": "rwkv7"}, "layers='rwkv7\\*2'"),
        ({"patch_length": 6}, "patch_length=4"),
        ({"squash": False}, "squash=True"),
    ],
)
def test_what_must_be_alike_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"weights are of a network with {named}, but this one"):
        taken(pretrained(), **arguments)


def test_scales_are_refused() -> None:
    source = pretrained(squash=False)
    with pytest.raises(ValueError, match="not the scale of a distribution"):
        taken(source, outputs=("location", "scale"))
