"""Attention: what a token sees, and the cache that stands for it. The rest is in test_protocol."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, randomised
from rounding import assert_same_but_for_rounding
from torch import Tensor

from rimer_forecaster.layers import Attention, Pass
from rimer_forecaster.layers.mixers.attention import rotate

D, N = 16, 8


def mixer(window: int | None = None) -> Attention:
    return randomised(Attention(D, head_size=N, window=window).double(), 0.5, seed=0)


def tokens(T: int, B: int = 2) -> Tensor:
    return normal(B, T, D, seed=1)


def plain(mixer: Attention, x: Tensor, window: int | None) -> Tensor:
    """Softmax attention written out, token by token."""
    B, T, _ = x.shape
    heads = [f(x).view(B, T, -1, N) for f in (mixer.query, mixer.key, mixer.value)]
    place = torch.arange(T).expand(B, T)
    q, k = (rotate(z.transpose(1, 2), place).transpose(1, 2) for z in heads[:2])
    rows = []
    for t in range(T):
        start = 0 if window is None else max(0, t - window + 1)
        score = torch.einsum("bhn,bshn->bhs", q[:, t], k[:, start : t + 1]) / N**0.5
        rows.append(torch.einsum("bhs,bshn->bhn", score.softmax(-1), heads[2][:, start : t + 1]))
    return mixer.output(torch.stack(rows, 1).flatten(2))


@pytest.mark.parametrize("window", [None, 1, 3, 7, 20, 50])
def test_a_token_sees_itself_and_what_lies_in_the_window_before(window: int | None) -> None:
    net, x = mixer(window), tokens(20)
    expected = plain(net, x, window)
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    y, _ = net(x, net.init_state(2))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


def test_a_window_of_all_tokens_is_full_attention() -> None:
    x = tokens(20)
    torch.testing.assert_close(mixer(20)(x)[0], mixer()(x)[0], rtol=0, atol=1e-12)
    assert (mixer(19)(x)[0] - mixer()(x)[0])[:, -1].abs().max() > 1e-6


def test_the_cache_of_full_attention_grows_by_what_is_real() -> None:
    net = mixer()
    _, state = net(tokens(7), net.init_state(2))
    assert state is not None
    assert state["key"].shape[2] == 7
    _, state = net(tokens(5), state, Pass(torch.tensor([[True] * 5, [True, False] * 2 + [True]])))
    assert state is not None
    assert state["key"].shape[2] == 12
    assert state["count"].tolist() == [12, 10]
    assert not state["key"][1, :, :2].any()


def test_the_cache_of_a_window_never_grows() -> None:
    net = mixer(6)
    state = net.init_state(2)
    size = sum(x.nbytes for x in state.values())
    for T in (1, 3, 40):
        _, after = net(tokens(T), state)
        assert after is not None
        state = after
        assert sum(x.nbytes for x in state.values()) == size


def test_only_distances_count() -> None:
    """Far into a stream the same tokens give the same, in float32 too."""
    net = mixer(6).float()
    x = tokens(30).float()
    _, early = net(x[:, :10], net.init_state(2))
    assert early is not None
    far = net.init_state(2)
    far["count"] += 10**9
    far["key"].fill_(float("nan")).zero_()
    _, late = net(x[:, :10], far)
    assert late is not None
    y, _ = net(x[:, 10:], early)
    z, _ = net(x[:, 10:], late)
    assert_same_but_for_rounding(z.detach(), y.detach())


def test_positions_matter() -> None:
    net, x = mixer(), tokens(10)
    swapped = x[:, [1, 0, *range(2, 10)]]
    assert (net(swapped)[0] - net(x)[0])[:, -1].abs().max() > 1e-6


def test_the_state_of_another_window_is_refused() -> None:
    state = mixer(4).init_state(2)
    with pytest.raises(ValueError, match="cache holds 4 tokens, but the window of attention is 6"):
        mixer(6)(tokens(3), state)


def test_hidden_tokens_give_no_gradient_that_is_not_finite() -> None:
    net, x = mixer(3), tokens(8).requires_grad_()
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[0, 4:] = True
    y, _ = net(x, None, Pass(mask))
    y[0, 4:].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[~mask].any()
