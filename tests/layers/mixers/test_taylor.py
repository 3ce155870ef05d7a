"""Taylor attention: its map, its two forms, what its state is. The rest is in test_protocol."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, randomised
from operation_counts import work_of
from torch import Tensor

from rimer_forecaster.layers import Taylor, build_layers, leaves
from rimer_forecaster.layers.mixers.taylor import taylor_features
from rimer_forecaster.layers.parts.token_shift import token_shift

D, N = 8, 4


def mixer(**options: object) -> Taylor:
    return randomised(Taylor(D, head_size=N, **options).double(), 0.7, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("d", [1, 2, 7, 16])
def test_products_of_features_are_the_series_of_the_exponential(d: int) -> None:
    q, k = normal(50, d, seed=1), normal(50, d, seed=2)
    s = (q * k).sum(-1) / d**0.5
    products = (taylor_features(q) * taylor_features(k)).sum(-1)
    torch.testing.assert_close(products, 1 + s + s**2 / 2, rtol=0, atol=1e-12)


def test_features_are_packed() -> None:
    assert taylor_features(torch.zeros(16)).numel() == 153
    full = 1 + 16 + 16**2  # each product of two features would stand twice
    assert full == 273


def plain(net: Taylor, x: Tensor) -> Tensor:
    """Weights written out for every pair of tokens."""
    B, T, _ = x.shape
    previous, _ = token_shift(x, None, None)
    q, k, v = (
        f(x + mu * (previous - x)).view(B, T, D // N, -1)
        for mu, f in zip(net.mix, (net.query, net.key, net.value), strict=True)
    )
    if net.is_taylor:
        s = torch.einsum("bthd,bshd->bhts", q, k) / net.feature**0.5
        weight = 1 + s + s**2 / 2
    else:
        q, k = (torch.where(z > 0, z + 1, z.exp()) for z in (q, k))
        weight = torch.einsum("bthd,bshd->bhts", q, k)
    weight = weight.tril()
    y = torch.einsum("bhts,bshn->bthn", weight / weight.sum(-1, keepdim=True), v)
    return net.output(y.flatten(2))


@pytest.mark.parametrize("kernel", ["taylor", "elu"])
@pytest.mark.parametrize("T", [1, 9, 64, 65, 150])
def test_it_is_its_definition_within_chunks_and_across(kernel: str, T: int) -> None:
    net, x = mixer(kernel=kernel, feature=3), normal(2, T, D, seed=1)
    torch.testing.assert_close(net(x)[0], plain(net, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", ["taylor", "elu"])
def test_token_by_token_in_float32_is_all_at_once(kernel: str) -> None:
    net, x = mixer(kernel=kernel).float(), normal(2, 200, D, seed=1).float()
    state, ys = net.init_state(2), []
    for t in range(200):
        y, after = net(x[:, t : t + 1], state)
        assert after is not None
        state = after
        ys.append(y)
    whole, end = net(x, net.init_state(2))
    assert end is not None
    size = whole.abs().max()
    assert (torch.cat(ys, 1) - whole).abs().max() < 1e-5 * size
    assert (state["memory"] - end["memory"]).abs().max() < 1e-5 * end["memory"].abs().max()


def test_the_memory_is_a_mean_which_does_not_grow_with_the_stream() -> None:
    net = mixer()
    sizes = []
    for T in (100, 10_000):
        _, state = net(normal(1, T, D, seed=1), net.init_state(1))
        assert state is not None
        sizes.append(float(state["memory"].detach().norm()))
    assert 0 < sizes[1] < 1.5 * sizes[0]


def test_a_memory_given_at_the_start_counts_as_one_token() -> None:
    """What y reads of it is in proportion to its weight among the tokens."""
    net, x = mixer(), normal(1, 40, D, seed=1)
    start = net.init_state(1)
    given = {**start, "memory": normal(*start["memory"].shape, seed=2)}
    changed = net(x, given)[0] - net(x, start)[0]
    assert changed[:, 0].norm() > 5 * changed[:, -1].norm() > 0
    left, state = net(x[:, :7], given)
    right, _ = net(x[:, 7:], state)
    torch.testing.assert_close(torch.cat((left, right), 1), net(x, given)[0], rtol=0, atol=1e-10)


def test_the_state_grows_with_the_feature_and_the_work_with_the_tokens() -> None:
    sizes = []
    for feature in (4, 8, 16):
        stack = build_layers(f"taylor(feature={feature})", width=32, head_size=16)
        sizes.append(sum(leaf.nbytes for _, leaf in leaves(stack.init_state(1))))
    assert sizes == sorted(sizes)
    net = mixer()
    short, long = (work_of(lambda T=T: net(normal(1, T, D))) for T in (1024, 8192))
    assert 7 < long.total / short.total < 9
    assert long.operations == short.operations


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("taylor(feature=0)", "feature=0 of taylor must be a whole number of at least 1"),
        ("taylor(feature=1.5)", "feature=1.5 of taylor must be a whole number"),
        ("taylor(kernel=relu)", "kernel=relu of taylor must be taylor or elu"),
    ],
)
def test_an_option_out_of_range_is_named(layers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_layers(layers, width=8, head_size=4)
