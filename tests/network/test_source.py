"""Components that read each other: whom they read, in which order, at what cost, and what for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import normal, randomised, walk
from operation_counts import work_of
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network import load_network, save_weights
from rimer_forecaster.network.dense import dense_forecast
from rimer_forecaster.network.source import places_of

TINY: dict[str, Any] = {"width": 8, "head_size": 4, "patch_length": 4, "dropout": 0.0}
NAMES = ("a", "b", "c", "d")


def network(names: tuple[str, ...] = NAMES, **arguments: Any) -> RimerNetwork:
    arguments = {"components": "cross", "target_components": names, **TINY, **arguments}
    return RimerNetwork(24, 6, generator=torch.Generator().manual_seed(0), **arguments)


def crossing(names: tuple[str, ...] = NAMES, **arguments: Any) -> RimerNetwork:
    return randomised(network(names, **arguments)).double().eval()


def independent(**arguments: Any) -> RimerNetwork:
    return network((), components="independent", **arguments)


def with_head(net: RimerNetwork) -> RimerNetwork:
    """The network with a head that is not zero, and all else as it starts."""
    assert net.reader is not None
    randomised(net.reader.head)
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_at_the_start_forecasts_are_those_of_independent_components_bit_for_bit(
    dtype: torch.dtype, training: bool
) -> None:
    x = walk(3, 24, 4).to(dtype)
    x[1, :, 2] = x[2, 3:9, 1] = float("nan")
    nets = (with_head(net).to(dtype).train(training) for net in (network(), independent()))
    cross, alone = (net(x) for net in nets)
    assert torch.equal(cross, alone)


def test_one_component_is_forecast_as_without_it() -> None:
    one, alone = network(("a",)), independent()
    assert one.state_dict().keys() == alone.state_dict().keys()
    alone.load_state_dict(randomised(one).state_dict())
    x = walk(3, 24, 1).float()
    assert torch.equal(one(x), alone(x))


def test_every_component_reads_every_other() -> None:
    net, x = crossing(), walk(1, 24, 4).requires_grad_()
    for component in range(4):
        (gradient,) = torch.autograd.grad(net(x)[:, :, component].square().sum(), x)
        assert (gradient.abs().sum((0, 1)) > 0).all()


def test_forecasts_are_permuted_as_components_are() -> None:
    net, x = crossing(), walk(3, 24, 4)
    x[1, :, 2] = float("nan")
    orders = torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3], [3, 2, 1, 0]])
    moved = x.gather(2, orders[:, None].expand_as(x))
    expected = net(x).gather(2, orders[:, None, :, None].expand(-1, 6, -1, 1))
    torch.testing.assert_close(net(moved, places=orders), expected)
    assert not torch.allclose(net(moved), expected)


def test_streams_remember_which_component_is_which() -> None:
    net, x = crossing(), walk(2, 41, 4)
    order = torch.tensor([2, 0, 3, 1])
    expected = net.forecast(net.observe(x), 6)[:, :, order]
    state = net.observe(x[..., order], places=order.expand(2, -1))
    torch.testing.assert_close(net.forecast(state, 6), expected)
    with pytest.raises(ValueError, match=r"places=.* must hold every number from 0 to 3 once"):
        net.forecast({**state, "places": torch.zeros(2, 4, dtype=torch.int64)}, 6)


@pytest.mark.parametrize("cut", [1, 7, 24, 32])
def test_cut_a_stream_anywhere_and_carry_the_state(cut: int) -> None:
    net, x = crossing(), walk(2, 45, 4)
    x[0, 30:, 1] = x[1, 20:40, 2] = float("nan")
    whole = net.forecast(net.observe(x), 14)
    parts = net.forecast(net.update(net.observe(x[:, :cut]), x[:, cut:]), 14)
    torch.testing.assert_close(parts, whole)


def test_a_component_without_a_value_is_as_if_it_were_not_there() -> None:
    net, x = crossing(), walk(3, 24, 4)
    x[:, :, 1] = float("nan")
    without = crossing(("a", "c", "d"))
    weights = net.state_dict()
    weights["reader.cross.vectors"] = weights["reader.cross.vectors"][:, [0, 2, 3]]
    without.load_state_dict(weights)
    found = net(x)
    torch.testing.assert_close(found[:, :, [0, 2, 3]], without(x[:, :, [0, 2, 3]]))
    # Its own forecast is that of a component which reads nobody.
    alone = independent().double()
    alone.load_state_dict({k: w for k, w in weights.items() if "cross" not in k})
    torch.testing.assert_close(found[:, :, 1], alone(x[:, :, 1:2])[:, :, 0])


def test_what_lies_behind_a_mask_reaches_no_other_component() -> None:
    net, x = crossing(), walk(2, 24, 4)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, :, 2] = False
    expected = net(x, mask=mask)
    x[:, :, 2] = normal(2, 24)
    assert torch.equal(net(x, mask=mask), expected)


def test_the_work_grows_in_proportion_to_the_components() -> None:
    def work(C: int) -> int:
        net = network(tuple(map(str, range(C))))
        x = walk(1, 24, C).float()
        return work_of(lambda: net(x)).flops

    assert work(128) - work(64) == pytest.approx(2 * (work(64) - work(32)), rel=0.05)


def test_weights_are_saved_with_the_names_of_their_components(tmp_path: Path) -> None:
    net, x = crossing(), walk(2, 24, 4)
    save_weights(net, tmp_path / "w.safetensors")
    again = load_network(tmp_path / "w.safetensors")
    assert again.config == net.config
    assert torch.equal(again(x), net(x))


def test_another_number_of_components_is_refused() -> None:
    net = crossing()
    with pytest.raises(ValueError, match=r"past_target has 3 components, .* built for 4"):
        net(walk(2, 24, 3))
    with pytest.raises(ValueError, match=r"components=3 of a stream must be the 4 .*cross"):
        net.observe(walk(2, 24, 3))


def test_places_that_are_no_permutation_are_refused() -> None:
    with pytest.raises(ValueError, match=r"places=\[\[0, 1, 1, 3\]\] must hold every number"):
        crossing()(walk(1, 24, 4), places=torch.tensor([[0, 1, 1, 3]]))


def test_dense_forecasts_are_refused() -> None:
    with pytest.raises(ValueError, match="components='independent', not 'cross'"):
        dense_forecast(crossing(), walk(1, 40, 4), steps=40)


def test_places_are_found_by_name() -> None:
    assert places_of(NAMES, [NAMES, list(NAMES)]) is None
    assert places_of(("a",), [["z"]]) is None
    places = places_of(NAMES, [["d", "a", "c", "b"], NAMES])
    assert places is not None
    assert places.tolist() == [[3, 0, 2, 1], [0, 1, 2, 3]]
    with pytest.raises(ValueError, match=r"series 1 has components \['a', 'b'\].*by name"):
        places_of(NAMES, [NAMES, ["a", "b"]])


def test_a_component_that_follows_another_is_forecast_from_it() -> None:
    """The squared error of the follower falls to three tenths and less."""
    errors = {cross: _error_of_follower(cross) for cross in (True, False)}
    assert errors[False] > 0.8  # nothing in its own past says what comes: noise of variance 1
    assert errors[True] <= 0.3 * errors[False]


def _error_of_follower(cross: bool) -> float:
    """Squared error of noise that another component shows 4 steps before."""
    generator = torch.Generator().manual_seed(0)

    def windows(count: int) -> Tensor:
        noise = torch.randn(count, 24, generator=generator)
        return torch.stack((noise[:, :-4], noise[:, 4:]), -1)  # (B, 20, 2)

    own = {"components": "cross", "target_components": ("follower", "leader")} if cross else {}
    net = RimerNetwork(
        *(16, 4), width=16, head_size=8, patch_length=4, dropout=0.0, generator=generator, **own
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    steps = 150
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    for _ in range(steps):
        x = windows(64)
        loss = (net(x[:, :16])[..., 0] - x[:, 16:]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x = windows(500)
    with torch.no_grad():
        return float((net.eval()(x[:, :16])[:, :, 0, 0] - x[:, 16:, 0]).square().mean())
