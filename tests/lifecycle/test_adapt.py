"""State tuning: what learns, what stays, and what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adapt_cases import network, siblings
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import from_leaves, leaves
from rimer_forecaster.lifecycle import adapt
from rimer_forecaster.lifecycle.objective import Objective, StartOf
from rimer_forecaster.lifecycle.whole_series import WholeSeries
from rimer_forecaster.zero_shot import forecast, zero_shot_network

PATH = "0/token_mixer/wkv"


class Towards(Objective):
    """Series whose states are to reach a target; held back is another one."""

    def __init__(self, target: Tensor, held: Tensor, seen: list[list[int]]) -> None:
        self.target, self.held, self.seen = target, held, seen

    @property
    def count(self) -> int:
        return len(self.target)

    def loss(
        self, start_of: StartOf, among: Tensor, generator: torch.Generator, *, whole: bool
    ) -> Tensor:
        self.seen.append(among.tolist())
        mean = dict(leaves(start_of(among)))[PATH].mean((1, 2, 3))
        return (mean - self.target[among]).square().mean()

    def held_back(self, start_of: StartOf | None) -> Tensor:
        everyone = torch.arange(self.count)
        mean = torch.zeros(self.count)
        if start_of is not None:
            mean = dict(leaves(start_of(everyone)))[PATH].mean((1, 2, 3))
        held = self.held if self.held.ndim > 1 else self.held[:, None]
        return (mean[:, None] - held).square()


def tuned(target: list[float], held: list[Any], **arguments: Any) -> tuple[Any, list[list[int]]]:
    seen: list[list[int]] = []
    objective = Towards(torch.tensor(target), torch.tensor(held), seen)
    return adapt(network(), objective, **{"steps": 60, **arguments}), seen


def test_a_state_is_kept_only_where_it_helps_on_what_was_held_back() -> None:
    state, seen = tuned([0.5, 0.5, -0.5, 0.5], [0.5, -0.5, -0.5, 1.0])
    assert state.kept == (True, False, True, True)
    memory = state.memory()[PATH].mean((1, 2, 3))
    torch.testing.assert_close(memory, torch.tensor([0.5, 0, -0.5, 0.5]), rtol=0, atol=0.05)
    assert not any(x[1].any() for x in state.tensors.values())
    assert seen[0] == [0, 1, 2, 3]
    assert seen[-1] == [0, 2, 3]  # what does not help is not trained again


def test_a_gain_that_may_be_chance_is_none() -> None:
    """Three series of one group gain much, and three lose as much."""
    held = [0.5, 0.5, 0.5, -0.5, -0.5, -0.5]
    state, _ = tuned([0.5] * 6, held, groups=["a"] * 6)
    assert state.kept == (False,)
    state, _ = tuned([0.5] * 6, [0.5, 0.6, 0.4, 0.5, 0.6, 0.4], groups=["a"] * 6)
    assert state.kept == (True,)


def test_a_gain_that_most_series_have_at_one_time_alone_is_none() -> None:
    """All gain in the mean of two parts, but only few in the second one."""
    first, second = [1.0] * 6, [0.13, 0.13, 0.13, 0.13, 1.0, 1.0]
    held = list(map(list, zip(first, second, strict=True)))
    state, _ = tuned([0.3] * 6, held, groups=["a"] * 6)
    assert state.kept == (False,)
    state, _ = tuned([0.3] * 6, [[1.0, 0.9]] * 6, groups=["a"] * 6)
    assert state.kept == (True,)


def test_everything_may_be_kept() -> None:
    state, seen = tuned([0.5, 0.5], [-0.5, -0.5], keep="always")
    assert state.kept == (True, True)
    assert len(seen) == 60


def test_series_of_a_group_share_a_state() -> None:
    state, _ = tuned([0.2, 0.6, -0.5], [0.4, 0.4, -0.5], groups=["x", "x", 7], keep="always")
    assert state.names == ("x", "7")
    memory = state.memory()[PATH].mean((1, 2, 3))
    torch.testing.assert_close(memory, torch.tensor([0.4, -0.5]), rtol=0, atol=0.05)


def test_a_low_rank_is_one() -> None:
    state, _ = tuned([0.3, 0.3], [0.3, 0.3], rank=1)
    assert state.tensors[f"{PATH}:left"].shape == (2, 2, 4, 1)
    assert torch.linalg.matrix_rank(state.memory()[PATH]).eq(1).all()
    torch.testing.assert_close(
        state.memory()[PATH].mean((1, 2, 3)), torch.tensor([0.3, 0.3]), rtol=0, atol=0.05
    )


def test_weights_stay_bit_for_bit_and_learn_on_afterwards() -> None:
    net = network()
    before = {name: x.clone() for name, x in net.state_dict().items()}
    objective = WholeSeries(net, siblings(4, 60), horizon=8, look_back=64, seasonal=False)
    state = adapt(net, objective, steps=3, keep="always")
    assert all(torch.equal(x, before[name]) for name, x in net.state_dict().items())
    assert all(x.requires_grad and x.grad is None for x in net.parameters())
    assert all(x.any() for x in state.tensors.values())


def test_the_same_call_gives_the_same_state_whatever_was_drawn() -> None:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = network()
        objective = WholeSeries(net, siblings(4, 60), horizon=8, look_back=64, seasonal=False)
        found.append(adapt(net, objective, steps=3, keep="always", rank=2).tensors)
        assert torch.initial_seed() == seed
    assert all(torch.equal(found[0][path], found[1][path]) for path in found[0])


@pytest.mark.parametrize("layers", ["rwkv7*2", "rwkv7(sse=on)", "parallel(attention, rwkv7)"])
def test_a_state_of_zeros_is_none_bit_for_bit(layers: str) -> None:
    net = network(layers)
    assert net.reader is not None
    stack = net.reader.layers
    fresh = dict(leaves(stack.init_state(3)))
    zeros = from_leaves({path: fresh[path] for path in stack.memory})
    past = torch.randn(3, 50, 2, generator=torch.Generator().manual_seed(0))
    past[0, :20] = float("nan")
    with torch.no_grad():
        assert torch.equal(net(past, start=zeros), net(past))
        far = [net.forecast_windows(past, 20, start=x) for x in (zeros, None)]
        streamed = [net.forecast(net.observe(past, start=x)) for x in (zeros, None)]
    assert torch.equal(*far)
    assert torch.equal(*streamed)


def test_a_start_moves_windows_streams_and_dense_forecasts_alike() -> None:
    """A series shorter than the look-back: a window and a stream of it are the same."""
    net = network()
    generator = torch.Generator().manual_seed(0)
    assert net.reader is not None
    fresh = dict(leaves(net.reader.layers.init_state(2)))
    start = from_leaves(
        {path: torch.randn(x.shape, generator=generator) for path, x in fresh.items()
         if path in net.reader.layers.memory}
    )  # fmt: skip
    past = torch.randn(2, 12, 2, generator=generator)
    with torch.no_grad():
        window = net(past, start=start)
        assert (window - net(past)).abs().max() > 0.01
        streamed = net.forecast(net.observe(past, start=start))
    torch.testing.assert_close(window, streamed, rtol=0, atol=1e-5)


def test_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        tuned([0.1], [0.1], steps=0)
    with pytest.raises(ValueError, match="rank=5"):
        tuned([0.1], [0.1], rank=5)
    with pytest.raises(ValueError, match="keep='never' must be 'better'"):
        tuned([0.1], [0.1], keep="never")
    with pytest.raises(ValueError, match="groups has 1 entries, but there are 2 series"):
        tuned([0.1, 0.2], [0.1, 0.2], groups=["a"])
    with pytest.raises(ValueError, match="too short to adapt to"):
        tuned([0.1], [float("nan")])
    net = RimerNetwork(16, 4, layers="attention", outputs=(0.5,))
    with pytest.raises(ValueError, match="adapt is for layers with a memory of their own"):
        adapt(net, Towards(torch.zeros(1), torch.zeros(1), []))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"0": {"token_mixer": {"wkv": torch.zeros(2, 2, 4, 4)}}}, "start lacks '1/token"),
        ({"x": torch.zeros(2)}, "start lacks '0/token"),
    ],
)
def test_a_start_of_another_network_is_named(start: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().window(torch.zeros(2, 8, 1), start=start)


@pytest.mark.slow
def test_a_new_series_of_three_values_begins_with_what_its_siblings_showed() -> None:
    """Cold start on the weights of the package: half of the squared error, at least."""
    net = zero_shot_network()
    series = siblings(40, 48)
    objective = WholeSeries(net, series, horizon=12, look_back=2048, seasonal=True)
    state = adapt(net, objective, steps=150, groups=["all"] * 40, keep="always")
    new = np.array(siblings(50, 15, seed=2))[:, :, 0]
    errors = []
    for start in (None, state.start(50, net)):
        medians = forecast(net, list(new[:, :3]), 12, start=start)[:, :, 4]
        errors.append(np.square(medians - new[:, 3:]).mean())
    assert errors[1] < 0.5 * errors[0]


def test_groups_that_differ_have_names_that_differ() -> None:
    with pytest.raises(ValueError, match="1 and '1' would both be named '1'"):
        tuned([0.1, 0.2], [0.1, 0.2], groups=[1, "1"])
