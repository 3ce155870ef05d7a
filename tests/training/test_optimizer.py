"""The recipe's optimiser beside torch's own."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("pytorch_lightning", reason="the recipe is one for Lightning")

from rimer_forecaster import RimerNetwork
from rimer_forecaster.training import Recipe
from rimer_forecaster.training.optimizer import GroupedAdamW

Change = Callable[[RimerNetwork, GroupedAdamW], None]


def network() -> tuple[RimerNetwork, GroupedAdamW]:
    net = RimerNetwork(16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return net, Recipe().optimisation(net, total_steps=10)["optimizer"]


def draw_gradients(net: RimerNetwork, generator: torch.Generator) -> None:
    for x in net.parameters():
        x.grad = torch.randn(x.shape, generator=generator)


def load(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    """As a checkpoint: through memory, in which all counts of steps lie in one place."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    optimizer.load_state_dict(torch.load(file))


def lose_a_gradient(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    net.skip.weight.grad = None


def forget(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    optimizer.state.clear()


def replace_states(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    """As Lightning does when it moves them."""
    for x, state in optimizer.state.items():
        optimizer.state[x] = copy.deepcopy(state)


def slow_down(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    for group in optimizer.param_groups:
        group["lr"] /= 2


def add_a_group(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    group = {"params": [torch.nn.Parameter(torch.ones(3))], "ratio": 1.0}
    optimizer.add_param_group(group)


def nothing(net: RimerNetwork, optimizer: GroupedAdamW) -> None:
    """Go on."""


CHANGES = [nothing, load, lose_a_gradient, forget, replace_states, slow_down, add_a_group]


def weights_after(change: Change, monkeypatch: pytest.MonkeyPatch, *, by_torch: bool) -> Any:
    net, optimizer = network()
    if by_torch:
        monkeypatch.setattr(optimizer, "_gathered", lambda: None)
    generator = torch.Generator().manual_seed(1)
    for step in range(8):
        draw_gradients(net, generator)
        if step == 4:
            change(net, optimizer)
        optimizer.step()
    assert (optimizer._lists is None) is by_torch or change is add_a_group
    counts = [float(optimizer.state[x]["step"]) for x in net.parameters()]
    return [x.detach() for x in net.parameters()], counts


@pytest.mark.parametrize("change", CHANGES)
def test_a_step_is_that_of_torch_bit_for_bit(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, own_counts = weights_after(change, monkeypatch, by_torch=False)
    expected, counts = weights_after(change, monkeypatch, by_torch=True)
    assert own_counts == counts
    for one, other in zip(own, expected, strict=True):
        assert torch.equal(one, other)


def test_from_the_second_step_on_torch_gathers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, optimizer = network()
    draw_gradients(net, torch.Generator())
    optimizer.step()
    monkeypatch.setattr(torch.optim.AdamW, "_init_group", None)
    before = net.skip.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(net.skip.weight, before)


@pytest.mark.parametrize("options", [{"amsgrad": True}, {"fused": False}, {"maximize": True}])
def test_other_options_are_left_to_torch(options: dict[str, Any]) -> None:
    net, _ = network()
    optimizer = Recipe().optimisation(net, total_steps=10, **options)["optimizer"]
    draw_gradients(net, torch.Generator())
    for _ in range(3):
        optimizer.step()
    assert optimizer._lists is None
