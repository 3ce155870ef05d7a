"""RWKV-4's layers against an independent reading of the paper. The rest is in test_protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_cases import randomised

from rimer_forecaster.layers import (
    LayerPosition,
    Pass,
    RWKV4ChannelMix,
    RWKV4TimeMix,
    build_layers,
    leaves,
)

D = 6


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def parameters_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def time_mix(mixer: RWKV4TimeMix, x: np.ndarray) -> np.ndarray:
    """One sequence (T, D), token by token, in NumPy: sums as they stand in equation 16."""
    p, previous, outputs = parameters_of(mixer), np.zeros(D), []
    numerator, denominator = np.zeros(D), np.zeros(D)
    for token in x:
        x_r, x_k, x_v = (token + mu * (previous - token) for mu in p["mix"])
        previous = token
        k, v = p["key.weight"] @ x_k, p["value.weight"] @ x_v
        own = np.exp(p["bonus"] + k)
        mean = (numerator + own * v) / (denominator + own)
        decay = np.exp(-np.exp(p["decay"]))
        numerator = decay * numerator + np.exp(k) * v
        denominator = decay * denominator + np.exp(k)
        outputs.append(p["output.weight"] @ (sigmoid(p["receptance.weight"] @ x_r) * mean))
    return np.array(outputs)


def channel_mix(mixer: RWKV4ChannelMix, x: np.ndarray) -> np.ndarray:
    p, previous, outputs = parameters_of(mixer), np.zeros(D), []
    for token in x:
        x_r, x_k = (token + mu * (previous - token) for mu in p["mix"])
        previous = token
        hidden = np.maximum(p["key.weight"] @ x_k, 0) ** 2
        outputs.append(sigmoid(p["receptance.weight"] @ x_r) * (p["value.weight"] @ hidden))
    return np.array(outputs)


@pytest.mark.parametrize(
    ("kind", "plain"), [(RWKV4TimeMix, time_mix), (RWKV4ChannelMix, channel_mix)]
)
def test_a_mixer_is_the_paper_token_by_token(kind: type, plain: object) -> None:
    mixer = randomised(kind(D).double(), 0.5, seed=0)
    x = torch.randn(2, 40, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = np.stack([plain(mixer, one.numpy()) for one in x])  # type: ignore[operator]
    np.testing.assert_allclose(mixer(x)[0].detach().numpy(), expected, rtol=0, atol=1e-12)


def test_a_layer_declares_five_numbers_per_channel() -> None:
    stack = build_layers("rwkv4", width=32, head_size=16)
    assert sum(leaf.numel() for _, leaf in leaves(stack.init_state(1))) == 5 * 32
    _, state = stack(torch.randn(1, 50, 32), stack.init_state(1))
    assert sum(leaf.numel() for _, leaf in leaves(state)) == 5 * 32


def test_it_starts_as_published_and_as_the_identity() -> None:
    mixer = RWKV4TimeMix(64, position=LayerPosition(0, 4))
    mixer.reset_parameters(torch.Generator().manual_seed(0))
    assert mixer.decay[0] == -5
    assert mixer.decay[-1] == 3
    torch.testing.assert_close(mixer.decay[32], torch.tensor(-5 + 8 * (32 / 63) ** 0.7))
    torch.testing.assert_close(mixer.bonus[:3].exp(), 0.3 * torch.tensor([0.0, 0.5, -0.5]).exp())
    # r, k and v look back less and less over the channels, in the last layer hardly.
    torch.testing.assert_close(mixer.mix[:, 16], torch.tensor([0.5, 0.75, 0.75]))
    last = RWKV4TimeMix(64, position=LayerPosition(3, 4))
    last.reset_parameters()
    torch.testing.assert_close(
        last.mix[:, 16], 1 - torch.tensor([0.25**0.125, 0.25**0.25, 0.25**0.25 + 0.3])
    )
    stack = build_layers("rwkv4*2", width=8, head_size=4)
    stack.reset_parameters()
    x = torch.randn(2, 5, 8)
    assert torch.equal(stack(x)[0], x)


def test_half_lives_are_those_of_the_state() -> None:
    """A masked token leaves it, a real one lets the weights of the past decay."""
    mixer = randomised(RWKV4TimeMix(D).double(), 0.5, seed=0)
    x = torch.randn(1, 3, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, state = mixer(x, mixer.init_state(1))
    assert state is not None
    decay = mixer.log_decay(x)
    assert decay.shape == (1, 3, 1, D)
    with torch.no_grad():
        mixer.key.weight.zero_()
        mixer.key.weight.fill_(0)
        _, after = mixer(x[:, :1], state)
    assert after is not None
    weight = after["wkv"][:, 1] * after["wkv"][:, 2].exp()  # the new token's own is exp(0)
    before = state["wkv"][:, 1] * state["wkv"][:, 2].exp()
    torch.testing.assert_close(weight - 1, before * decay[0, 0, 0].exp())
    _, same = mixer(x[:, :1], state, Pass(torch.zeros(1, 1, dtype=torch.bool)))
    assert same is not None
    assert torch.equal(same["wkv"], state["wkv"])
