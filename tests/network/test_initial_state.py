"""A learned state before the first token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import build_layers
from rimer_forecaster.network.initial_state import InitialState

L, H, C = 20, 6, 2


def network(initial_state: str, layers: str = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    """A network in float64 with random weights, but for the learned start."""
    net = RimerNetwork(
        *(L, H),
        layers=layers,
        width=8,
        head_size=4,
        patch_length=5,
        initial_state=initial_state,
        static_covariates=2,
        **arguments,
    ).double()
    randomised(net)
    assert net.reader is not None
    if net.reader.initial_state is not None:
        net.reader.initial_state.reset_parameters()
    return net.eval()


def draw(net: RimerNetwork) -> InitialState:
    """Give a network a start that is not zero."""
    assert net.reader is not None
    start = net.reader.initial_state
    assert start is not None
    return randomised(start, 1.0, seed=2)


def windows(B: int = 3) -> Tensor:
    return walk(B, L, C, seed=3)


def static() -> Tensor:
    return normal(3, C, 2, seed=4)


@pytest.mark.parametrize("kind", ["learned", "static"])
def test_the_start_is_zero_at_first(kind: str) -> None:
    plain, net = network("zero"), network(kind)
    expected = plain(windows(), static_covariates=static())
    assert torch.equal(net(windows(), static_covariates=static()), expected)
    draw(net)
    assert (net(windows(), static_covariates=static()) - expected).abs().max() > 1e-3


def test_a_start_from_static_covariates_differs_from_series_to_series() -> None:
    net = network("static")
    start = draw(net)
    layers = net.reader.layers  # type: ignore[union-attr]
    features = static().flatten(0, 1)
    state = start(layers.init_state(len(features)), features)
    wkv = state["0"]["token_mixer"]["wkv"].flatten(1)
    size = wkv.shape[1]
    assert start.from_static is not None
    weight = start.from_static.weight[:size]
    torch.testing.assert_close(wkv, start.learned[:size] + features @ weight.T)
    assert not state["0"]["token_mixer"]["shift"].any()


@pytest.mark.parametrize("kind", ["learned", "static"])
def test_padding_leaves_a_learned_start_alone(kind: str) -> None:
    """Bit for bit: the state before and after a thousand padded steps."""
    net = network(kind)
    draw(net)
    state = net.init_state(3, C, static())
    nothing = torch.zeros(3, 1000, C, dtype=torch.bool)
    padded = net.update(state, torch.zeros(3, 1000, C, dtype=torch.float64), mask=nothing)
    for name in ("0", "1"):
        before = state["reader"]["layers"][name]["token_mixer"]["wkv"]
        assert before.any()
        assert torch.equal(padded["reader"]["layers"][name]["token_mixer"]["wkv"], before)
    net_window = windows()
    mask = torch.ones(3, L, C, dtype=torch.bool)
    mask[:, :10] = False
    short = net.update(state, net_window[:, 10:])
    torch.testing.assert_close(
        net(net_window, static_covariates=static(), mask=mask),
        net.forecast(short),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("layers", ["rwkv7", "rwkv7, attention(window=3)", "equilibrium(rwkv7)"])
def test_every_training_step_reaches_the_start(layers: str) -> None:
    """Also where windows start from carried states: a parameter without use breaks DDP."""
    net = network("static", layers=layers, streaming=True).train()
    start = draw(net)
    generator = torch.Generator().manual_seed(0)
    net.draw_from(generator)
    moved = []
    for _ in range(20):
        net.zero_grad()
        net(windows(), static_covariates=static()).square().sum().backward()
        gradients = [parameter.grad for parameter in start.parameters()]
        assert all(gradient is not None for gradient in gradients)
        moved.append(all(bool(gradient.any()) for gradient in gradients if gradient is not None))
    assert sum(moved) > 10


def test_what_cannot_learn_a_start_is_refused() -> None:
    with pytest.raises(ValueError, match="initial_state='one' must be 'zero', 'learned'"):
        RimerNetwork(L, H, initial_state="one")
    with pytest.raises(ValueError, match="initial_state='static' needs static covariates"):
        RimerNetwork(L, H, initial_state="static")
    with pytest.raises(ValueError, match="initial_state='learned' needs layers"):
        RimerNetwork(L, H, initial_state="learned", layers=None)
    with pytest.raises(ValueError, match="must be 'zero' for layers without a memory"):
        RimerNetwork(L, H, initial_state="learned", layers="attention")
    with pytest.raises(ValueError, match="must be 'zero' for layers without a memory"):
        InitialState(build_layers("attention", width=8, head_size=4))
