"""How long a state lasts."""

from __future__ import annotations

import math

import numpy as np
import torch
from adapt_cases import network, siblings

from rimer_forecaster.layers import leaves
from rimer_forecaster.lifecycle import AdaptedState, half_life
from rimer_forecaster.network.state import fingerprint


def state_of(net: torch.nn.Module, kept: bool = True) -> AdaptedState:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{i}/token_mixer/wkv": torch.randn(1, 2, 4, 4, generator=generator) for i in range(2)
    }
    return AdaptedState(("a",), (kept,), fingerprint(net), tensors)


def test_half_of_a_state_is_left_after_its_half_life() -> None:
    net, values = network(), siblings(1, 200)[0]
    state = state_of(net)
    steps = half_life(net, state, values)
    norms = []
    target = torch.as_tensor(values, dtype=torch.float32)[None]
    start = state.start(1, net)
    for n in (0, math.floor(steps / 4) * 4, math.ceil(steps / 4) * 4):
        streams = [net.init_state(1, 1, start=x) for x in (start, None)]
        if n:
            with torch.no_grad():
                streams = [net.update(x, target[:, :n]) for x in streams]
        ours, theirs = (dict(leaves(x["reader"]["layers"])) for x in streams)
        squares = [(ours[p] - theirs[p]).square().sum() for p in state.tensors]
        norms.append(math.sqrt(float(torch.stack(squares).sum().detach())))
    assert norms[1] > norms[0] / 2 >= norms[2]


def test_slower_decay_lasts_longer_and_padding_does_not_count() -> None:
    net, values = network(), siblings(1, 200)[0]
    slow = network()
    with torch.no_grad():
        for name, parameter in slow.named_parameters():
            if name.endswith("decay.up.bias"):
                parameter.sub_(6.0)
    assert half_life(slow, state_of(slow), values) > 2 * half_life(net, state_of(net), values)
    assert half_life(net, state_of(net), np.full((40, 1), np.nan)) == math.inf


def test_nothing_has_no_half_life() -> None:
    net = network()
    assert math.isnan(half_life(net, state_of(net, kept=False), siblings(1, 50)[0]))
