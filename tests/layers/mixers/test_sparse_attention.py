"""Attention to chosen chunks: what it sees, and what its bank keeps."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, randomised
from torch import Tensor

from rimer_forecaster.layers import Attention, Pass, SparseAttention, build_layers, leaves
from rimer_forecaster.layers.parts.rotary import rotate

D, N = 16, 8


def mixer(**options: object) -> SparseAttention:
    net = SparseAttention(D, head_size=N, **options)  # type: ignore[arg-type]
    return randomised(net.double(), 0.5, seed=0)


def full(*, rotary: bool) -> Attention:
    return randomised(Attention(D, head_size=N, rotary=rotary).double(), 0.5, seed=0)


def tokens(T: int, B: int = 2, *, seed: int = 1) -> Tensor:
    return normal(B, T, D, seed=seed)


@torch.no_grad()
def by_hand(net: SparseAttention, x: Tensor) -> Tensor:
    """One sequence, token by token: which chunks are chosen, and a softmax over their tokens."""
    (T, _), C = x.shape, net.chunk
    q, k, v = (f(x).view(T, -1, N).transpose(0, 1) for f in (net.query, net.key, net.value))
    place = torch.arange(T)[None]
    placed = [rotate(z[None], place)[0] if net.rotary else z for z in (q, k)]
    rows = torch.zeros(T, D, dtype=x.dtype)
    for head in range(q.shape[0]):
        for t in range(T):
            past = range(t // C)
            fit = [float(q[head, t] @ k[head, i * C : (i + 1) * C].mean(0)) for i in past]
            best = sorted(past, key=lambda i: -fit[i])[: net.topk]
            seen = [s for s in range(t + 1) if s // C in best or s // C == t // C]
            score = placed[1][head, seen] @ placed[0][head, t] / N**0.5
            rows[t, head * N : (head + 1) * N] = score.softmax(0) @ v[head, seen]
    return net.output(rows)


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("T", [1, 4, 11, 12])
def test_it_is_full_attention_where_the_chosen_chunks_cover_all(T: int, rotary: bool) -> None:
    net, x = mixer(topk=2, chunk=4, rotary=rotary), tokens(T)
    expected = full(rotary=rotary)(x)[0]
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x, net.init_state(2))[0], expected, rtol=0, atol=1e-12)


def test_it_is_not_where_they_do_not() -> None:
    net, x = mixer(topk=2, chunk=4), tokens(13)
    y, z = net(x)[0], full(rotary=True)(x)[0]
    torch.testing.assert_close(y[:, :12], z[:, :12], rtol=0, atol=1e-12)
    assert (y - z)[:, 12].abs().max() > 1e-6


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize(("topk", "chunk"), [(1, 3), (2, 5), (3, 1)])
def test_each_token_sees_its_chunk_and_those_of_the_best_means(
    topk: int, chunk: int, rotary: bool
) -> None:
    net, x = mixer(topk=topk, chunk=chunk, kept=40, rotary=rotary), tokens(33)
    expected = torch.stack([by_hand(net, one) for one in x])
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(net(x, net.init_state(2))[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("at", [3, 4, 5, 7, 8])
def test_no_token_is_seen_before_it_comes_at_any_edge_of_a_chunk(at: int) -> None:
    net, x = mixer(topk=1, chunk=4, kept=2), tokens(24)
    changed = x.clone()
    changed[:, at] += 1
    for start in (None, net.init_state(2)):
        y, z = net(x, start)[0], net(changed, start)[0]
        assert torch.equal(y[:, :at], z[:, :at])
        assert (y - z)[:, at].abs().max() > 0


def streamed(net: SparseAttention, x: Tensor) -> dict[str, Tensor]:
    _, state = net(x, net.init_state(len(x)))
    assert state is not None
    return dict(leaves(state))


def test_kept_chunks_are_in_the_order_of_time_and_hold_what_was_read() -> None:
    net, x = mixer(topk=2, chunk=3, kept=4), tokens(40, B=5)
    state = streamed(net, x)
    number = state["bank/number"]
    assert (number.diff(dim=-1) > 0).all()
    assert (number[..., -1] == 12).all()  # of 13 finished chunks
    assert number.unique().numel() > 5, "heads and sequences keep others"
    k = net.key(x).view(5, 40, -1, N).transpose(1, 2)
    placed = rotate(k, torch.arange(40).expand(5, -1))
    for content, name in (
        (placed, "key"),
        (net.value(x).view(5, 40, -1, N).transpose(1, 2), "value"),
    ):
        chunks = content[:, :, :39].unflatten(2, (13, 3))
        index = number[..., None, None].expand(-1, -1, -1, 3, N)
        torch.testing.assert_close(state[f"bank/{name}"], chunks.gather(2, index))


def test_the_chunk_that_was_looked_at_stays_and_the_others_go() -> None:
    """Queries of one head fit the second chunk alone: it outlives later ones."""
    net = mixer(topk=1, chunk=2, kept=3, rotary=False)
    with torch.no_grad():
        for f in (net.query, net.key):
            f.weight.copy_(torch.eye(D))
            f.bias.zero_()
    x = torch.zeros(1, 40, D, dtype=torch.float64)
    x[:, :, 0] = 3.0  # what all tokens ask for
    x[:, :, 1::N] = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    x[:, 2:4, 0] = 9.0  # and only the second chunk has in plenty
    number = streamed(net, x)["bank/number"]
    assert 1 in number[0, 0]
    x[:, 2:4, 0] = -9.0
    assert 1 not in streamed(net, x)["bank/number"][0, 0]


def test_the_state_is_of_the_size_it_declares_after_any_length() -> None:
    net = mixer(topk=2, chunk=4, kept=3)
    declared = {name: x.nbytes for name, x in leaves(net.init_state(1))}
    for T in (1, 13, 300):
        assert {name: x.nbytes for name, x in streamed(net, tokens(T, B=1)).items()} == declared


def test_a_window_longer_than_the_bank_is_read_as_a_stream_is() -> None:
    net, x = mixer(topk=2, chunk=4, kept=3), tokens(50)
    assert net(x)[1] is None
    torch.testing.assert_close(net(x)[0], net(x, net.init_state(2))[0], rtol=0, atol=1e-12)


def test_hidden_tokens_give_no_gradient_that_is_not_finite() -> None:
    net = mixer(topk=1, chunk=2, kept=3)
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[0, 4:] = True
    for start in (None, net.init_state(2)):
        x = tokens(12).requires_grad_()
        y, _ = net(x, start, Pass(mask))
        y[0, 4:].sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert not x.grad[~mask].any()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("attention(topk=0)", "topk=0 of attention must be a whole number of at least 1"),
        ("attention(topk=1, chunk=2.5)", "chunk=2.5 of attention must be a whole number"),
        ("attention(topk=4, kept=3)", "topk=4 of attention exceeds the kept=3 chunks"),
        ("attention(chunk=8)", r"chunk of attention choose.*give topk and no window"),
        ("attention(topk=3, window=8)", "topk of attention choose.*give topk and no window"),
        ("attention(positions=on)", "positions=on of attention must be rotary or off"),
    ],
)
def test_an_option_out_of_range_is_named(layers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_layers(layers, width=8, head_size=4)


def test_heads_of_an_odd_size_need_positions_off() -> None:
    with pytest.raises(ValueError, match="head_size=3 must be even for attention"):
        build_layers("attention(topk=2)", width=9, head_size=3)
    build_layers("attention(topk=2, positions=off), attention(positions=off)", width=9, head_size=3)
