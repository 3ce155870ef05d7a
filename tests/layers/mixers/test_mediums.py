"""Mediums by an independent reading, what sees them and when, and what they change at the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_cases import normal, randomised
from torch import Tensor

from rimer_forecaster.layers import ChannelMix, Mediums, Mixer, Pass, build_layers, leaves

D, m, K = 6, 3, 2


def mediums() -> Mediums:
    return randomised(Mediums(D, segment=m, capacity=K).double(), 0.7, seed=0)


def by_hand(bank: Mediums, x: np.ndarray) -> np.ndarray:
    """Reads of one sequence (T, D), token by token."""
    p = {name: value.detach().numpy() for name, value in bank.named_parameters()}
    kept: list[np.ndarray] = []
    reads = []
    for t, token in enumerate(x):
        read = np.zeros(D)
        latest = kept[-K:]
        if latest:
            ages = p["age"][K - len(latest) :]
            query = p["query.weight"] @ token
            scores = np.array([query @ medium for medium in latest]) / D**0.5 + ages
            weights = np.exp(scores)
            read = (weights[:, None] * latest).sum(0) / (1 + weights.sum())
        reads.append(read)
        if t % m == m - 1:
            segment = x[t - m + 1 : t + 1]
            kept.append(p["summary.weight"] @ np.concatenate((segment.mean(0), token)))
    return np.array(reads)


def test_reads_are_those_of_the_equations() -> None:
    bank, x = mediums(), normal(2, 14, D)
    y, _ = bank(x)
    for sequence, read in zip(x, y, strict=True):
        np.testing.assert_allclose(read.detach(), by_hand(bank, sequence.numpy()), atol=1e-12)


def test_a_medium_is_seen_only_after_its_segment_has_ended() -> None:
    bank, x = mediums(), normal(1, 12, D)
    y, _ = bank(x)
    for t in range(12):
        changed = x.clone()
        changed[:, t] += 1
        moved = (bank(changed)[0] - y).abs().amax((0, 2)) > 1e-9
        end = m * (t // m + 1)
        # the token's own query aside, what comes after its segment, until K more have ended
        seen = [(s == t and t >= m) or end <= s < end + K * m for s in range(12)]
        assert moved.tolist() == seen


def test_before_the_first_segment_has_ended_nothing_is_read() -> None:
    y, _ = mediums()(normal(2, m, D))
    assert not y.any()


def test_the_bank_holds_the_latest_mediums_oldest_first() -> None:
    bank, x = mediums(), normal(1, 11, D)
    _, state = bank(x, bank.init_state(1))
    segments = x.unfold(1, m, m).mT[0]  # (3, m, D), two tokens left over
    made = bank.summary(torch.cat((segments.mean(1), segments[:, -1]), -1))
    torch.testing.assert_close(state["bank"][0], made[-K:])
    torch.testing.assert_close(state["sum"][0], x[0, 9:].sum(0))
    assert state["count"].tolist() == [11]


def test_shares_are_the_weights_of_the_read() -> None:
    bank, x = mediums(), normal(2, 9, D)
    shares = bank.shares(x)
    assert shares.shape == (2, 9, K)
    assert not shares[:, :m].any()
    _, state = bank(x[:, :6], bank.init_state(2))
    read, _ = bank(x[:, 6:], state)
    torch.testing.assert_close(shares[:, 6:] @ state["bank"], read)


# --- in a block -----------------------------------------------------------------------------------


def alike(options: str, size: float = 0.5, T: int = 20) -> tuple[Mixer, Mixer, Tensor]:
    """A layer without mediums, one with them whose other weights are the same, and tokens."""
    base, layer = (
        randomised(build_layers(f"rwkv7({text})", width=16, head_size=8), size)
        for text in ("channel_mix=relu2", options)
    )
    return base, layer, normal(2, T, 16).float()


def test_at_the_start_mediums_change_nothing_to_the_bit() -> None:
    base, layer, x = alike("retrospect=4")
    torch.nn.init.zeros_(layer.layers[0].token_mixer.medium_mix)
    torch.nn.init.zeros_(layer.layers[0].channel_mixer.medium_mix)
    assert torch.equal(layer(x)[0], base(x)[0])
    fresh = build_layers("rwkv7(retrospect=4)", width=16, head_size=8)
    fresh.reset_parameters(torch.Generator().manual_seed(0))
    mixes = [p for name, p in fresh.named_parameters() if "medium_mix" in name]
    assert len(mixes) == 2
    assert not any(mix.any() for mix in mixes)


@pytest.mark.parametrize("half", ["token_mixer", "channel_mixer"])
def test_both_mixers_mix_the_mediums_in(half: str) -> None:
    base, layer, x = alike("retrospect=4")
    for name in ("token_mixer", "channel_mixer"):
        if name != half:
            torch.nn.init.zeros_(getattr(layer.layers[0], name).medium_mix)
    moved = (layer(x)[0] - base(x)[0]).abs().amax((0, 2))
    assert not moved[:4].any()
    assert moved[4:].min() > 1e-4


def test_the_state_is_of_constant_size() -> None:
    _, layer, _ = alike("retrospect=4, mediums=5")
    sizes = []
    for T in (1, 100):
        _, state = layer(normal(2, T, 16).float(), layer.init_state(2))
        sizes.append(sum(leaf.nbytes for _, leaf in leaves(state)))
    of_bank = 2 * (4 * (5 * 16 + 16) + 8)
    base = build_layers("rwkv7", width=16, head_size=8).init_state(2)
    assert sizes == [of_bank + sum(leaf.nbytes for _, leaf in leaves(base))] * 2


def gradient_of_the_first_token(layer: Mixer, x: Tensor) -> float:
    x = x.clone().requires_grad_()
    y, _ = layer(x)
    (gradient,) = torch.autograd.grad(y[:, -1].square().sum(), x)
    return float(gradient[:, 0].norm())


def test_mediums_carry_gradients_where_the_state_has_forgotten() -> None:
    """2,048 tokens back, with a decay that leaves half of the state after six."""
    base, layer, x = alike("retrospect=64", T=2048)
    with torch.no_grad():
        for one in (base, layer):
            one.layers[0].token_mixer.decay.down.weight.zero_()
            one.layers[0].token_mixer.decay.up.bias.fill_(-1.5)
    assert gradient_of_the_first_token(layer, x) > 10 * gradient_of_the_first_token(base, x)
    assert gradient_of_the_first_token(layer, x) > 1e-6


def test_a_mixer_without_its_medium_says_so() -> None:
    mixer = randomised(ChannelMix(8, reads_medium=True))
    with pytest.raises(ValueError, match=r"reads_medium=True.*give Pass\(medium=...\)"):
        mixer(torch.randn(1, 4, 8))
    read = torch.randn(1, 4, 8)
    with_zero, _ = mixer(torch.ones(1, 4, 8), None, Pass(medium=0 * read))
    with_read, _ = mixer(torch.ones(1, 4, 8), None, Pass(medium=read))
    assert not torch.equal(with_zero, with_read)
