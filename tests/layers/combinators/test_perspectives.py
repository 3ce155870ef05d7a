"""Perspectives: equal ones are the layers themselves, lags look back by what they say."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, randomised
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rimer_forecaster.layers import Mixer, Perspectives, build_layers

D, N = 16, 8


def layer(string: str, *, width: int = D, size: float = 0.5) -> Perspectives:
    stack = build_layers(string, width=width, head_size=N)
    net = randomised(stack.layers[0].double(), size, seed=0)
    assert isinstance(net, Perspectives)
    return net


def tokens(T: int = 12) -> Tensor:
    return normal(2, T, D, seed=1)


def shifts(net: Mixer) -> list[torch.nn.Parameter]:
    return [p for name, p in net.named_parameters() if name.split(".")[-1] == "mix"]


def copy_into(base: Mixer, net: Perspectives) -> None:
    """Give layers without perspectives the weights of those with them, of the first for shifts."""
    with torch.no_grad():
        for own, other in zip(base.parameters(), net.layers.parameters(), strict=True):
            own.copy_(other if own.shape == other.shape else other[0])


@pytest.mark.parametrize("inner", ["rwkv7*2", "rwkv7(retrospect=3, sse=on)", "rwkv7, attention"])
@pytest.mark.parametrize("lags", ["1+1", "1+1+1"])
def test_equal_perspectives_are_the_layers_themselves(inner: str, lags: str) -> None:
    net, base = (
        layer(f"perspectives({inner}; lags={lags})"),
        build_layers(inner, width=D, head_size=N),
    )
    base = base.double()
    copy_into(base, net)
    different = net(tokens())[0]
    with torch.no_grad():
        for mix in shifts(net):
            mix.copy_(mix[:1].clone())
    y = net(tokens())[0]
    torch.testing.assert_close(y, base(tokens())[0], rtol=0, atol=1e-12)
    assert (different - y).abs().max() > 1e-3


def test_a_lag_stands_each_token_beside_the_one_that_far_before() -> None:
    """Every third token of a sequence, seen with a lag of 3, is a sequence of its own."""
    net, x = layer("perspectives(rwkv7(time_mix=off); lags=3)"), tokens()
    near = layer("perspectives(rwkv7(time_mix=off); lags=1)")
    near.load_state_dict(net.state_dict())
    y, _ = net(x)
    for start in range(3):
        torch.testing.assert_close(y[:, start::3], near(x[:, start::3])[0], rtol=0, atol=1e-12)
    assert (y - near(x)[0]).abs().max() > 1e-3


def test_the_mixture_is_a_softmax_of_the_mean_for_each_token() -> None:
    net, x = layer("perspectives(rwkv7; lags=1+4)"), tokens()
    alone = []
    for i, lag in enumerate((1, 4)):
        one = layer(f"perspectives(rwkv7; lags={lag})")
        copy_into(one.layers, net)
        with torch.no_grad():
            for own, mix in zip(shifts(one), shifts(net), strict=True):
                own.copy_(mix[i])
        alone.append(one(x)[0])
    mean = (alone[0] + alone[1]) / 2
    share = (mean @ (net.mixture[0] - net.mixture[1])).sigmoid()[..., None]
    expected = share * alone[0] + (1 - share) * alone[1]
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    assert share.std() > 0.1


def test_a_perspective_costs_at_most_one_percent_of_the_parameters() -> None:
    base = build_layers("rwkv7*2", width=64, head_size=16)
    counts = [
        sum(p.numel() for p in build_layers(string, width=64, head_size=16).parameters())
        for string in ("perspectives(rwkv7*2; lags=1+7)", "perspectives(rwkv7*2; lags=1+7+28)")
    ]
    own = sum(p.numel() for p in base.parameters())
    assert counts[1] - counts[0] == 2 * 7 * 64 + 64 <= 0.01 * own
    assert counts[0] - own <= 0.02 * own  # the first brings a row of the mixture for both


@pytest.mark.parametrize("n", [2, 4])
def test_cost_is_in_proportion_to_the_number_of_perspectives(n: int) -> None:
    def operations(count: int) -> int:
        net = layer(f"perspectives(rwkv7; lags={'+'.join(['2'] * count)})")
        with FlopCounterMode(display=False) as counter:
            net(tokens())
        return counter.get_total_flops()

    assert operations(n) == pytest.approx(n * operations(1), rel=0.05)


def test_perspectives_of_equal_lags_start_apart() -> None:
    net = layer("perspectives(rwkv7; lags=1+1)")
    net.reset_parameters(torch.Generator().manual_seed(0))
    base = build_layers("rwkv7", width=D, head_size=N).double()
    base.reset_parameters(torch.Generator().manual_seed(0))
    for mix, published in zip(shifts(net), shifts(base), strict=True):
        assert torch.equal(mix[0], published)
        assert 0.01 < (mix[1] - published).abs().mean() < 0.1
    assert not net.mixture.any()


def test_an_initial_state_may_be_learned_for_each_perspective() -> None:
    net = layer("perspectives(rwkv7, attention; lags=1+7)")
    assert net.memory == ("0/0/token_mixer/wkv", "1/0/token_mixer/wkv")
