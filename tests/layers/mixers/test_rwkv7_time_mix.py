"""The time mix against an independent reading of the paper, and its published initialisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from network_cases import randomised

from rimer_forecaster.layers import (
    Block,
    ChannelMix,
    LayerPosition,
    Pass,
    RWKV7TimeMix,
    build_layers,
)
from rimer_forecaster.layers.parts.low_rank import rank_of

D, N = 12, 4
H = D // N
LATER = frozenset({"first_value"})


def layer(position: LayerPosition = LayerPosition(), *, seed: int = 0) -> RWKV7TimeMix:  # noqa: B008
    """A layer in float64 in which every parameter is far from its initial value."""
    return randomised(RWKV7TimeMix(D, head_size=N, position=position).double(), 0.7, seed=seed)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def paper(mix: RWKV7TimeMix, x: np.ndarray, first_value: np.ndarray | None) -> np.ndarray:
    """Time mix of one sequence (T, D), token by token and head by head, in NumPy."""
    p = {name: value.detach().numpy() for name, value in mix.named_parameters()}
    previous, S = np.zeros(D), np.zeros((H, N, N))
    outputs = []
    for t, token in enumerate(x):
        shifted = [token + mu * (previous - token) for mu in p["mix"]]
        x_r, x_w, x_k, x_v, x_a, x_g = shifted
        previous = token
        r, k, v = (
            p[f"{name}.weight"] @ z
            for name, z in (("receptance", x_r), ("key", x_k), ("value", x_v))
        )
        raw = p["decay.up.weight"] @ np.tanh(p["decay.down.weight"] @ x_w) + p["decay.up.bias"]
        w = np.exp(-np.exp(-0.5) * sigmoid(raw))
        a = sigmoid(
            p["learning_rate.up.weight"] @ p["learning_rate.down.weight"] @ x_a
            + p["learning_rate.up.bias"]
        )
        g = p["gate.up.weight"] @ sigmoid(p["gate.down.weight"] @ x_g)
        if first_value is not None:
            share = sigmoid(
                p["value_residual.up.weight"] @ p["value_residual.down.weight"] @ x_v
                + p["value_residual.up.bias"]
            )
            v = v + (first_value[t] - v) * share
        kappa = k * p["removal"]
        k = k * (1 + (a - 1) * p["replacement"])
        y = np.zeros(D)
        for h in range(H):
            s = slice(h * N, (h + 1) * N)
            unit = kappa[s] / np.linalg.norm(kappa[s])
            S[h] = S[h] @ (np.diag(w[s]) - np.outer(unit, a[s] * unit)) + np.outer(v[s], k[s])
            o = S[h] @ r[s]
            o = (o - o.mean()) / np.sqrt(o.var() + 64e-5)
            o = o * p["norm.weight"][s] + p["norm.bias"][s]
            y[s] = o + (r[s] * k[s] * p["bonus"][h]).sum() * v[s]
            if "second_read" in p:
                y[s] = y[s] + p["second_read"][s] * (S[h] @ y[s])
        outputs.append(p["output.weight"] @ (y * g))
    return np.array(outputs)


def test_layer_equals_the_paper_token_by_token() -> None:
    mix = layer()
    x = torch.randn(3, 7, D, dtype=torch.float64)
    y, _ = mix(x)
    for sequence, output in zip(x, y, strict=True):
        np.testing.assert_allclose(
            output.detach().numpy(), paper(mix, sequence.numpy(), None), atol=1e-11
        )


def test_later_layer_takes_a_share_of_the_first_layers_value() -> None:
    first, later = layer(), layer(LayerPosition(1, 2, LATER), seed=1)
    x = torch.randn(1, 5, D, dtype=torch.float64)
    shared: dict[str, torch.Tensor] = {}
    first(x, None, Pass(shared=shared))
    y, _ = later(x, None, Pass(shared=shared))
    expected = paper(later, x[0].numpy(), shared["first_value"][0].detach().numpy())
    np.testing.assert_allclose(y[0].detach().numpy(), expected, atol=1e-11)


def test_first_layer_has_no_value_residual_so_that_no_parameter_is_unused() -> None:
    mix = layer()
    y, _ = mix(torch.randn(2, 5, D, dtype=torch.float64), None, Pass(shared={}))
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in mix.parameters())
    assert not any("value_residual" in name for name, _ in mix.named_parameters())


@pytest.mark.parametrize(
    ("width", "factor", "rank"),
    [
        (512, 2.5, 64),  # the published rule: steps of 32 around factor * sqrt(width)
        (512, 1.7, 32),
        (512, 5.0, 128),
        (2048, 2.5, 128),
        (128, 1.7, 32),
        (32, 2.5, 16),  # at most half of a small width
        (32, 5.0, 16),
        (32, 1.7, 8),
        (8, 2.5, 4),
        (1, 2.5, 1),
    ],
)
def test_low_ranks_follow_the_paper_and_shrink_with_small_widths(
    width: int, factor: float, rank: int
) -> None:
    assert rank_of(width, factor) == rank


def initial(index: int, depth: int, width: int = 64) -> RWKV7TimeMix:
    given = LATER if index else frozenset()
    mix = RWKV7TimeMix(width, head_size=16, position=LayerPosition(index, depth, given))
    mix.reset_parameters(torch.Generator().manual_seed(0))
    return mix


def test_a_single_layer_starts_finite() -> None:
    assert all(p.isfinite().all() for p in initial(0, 1).parameters())


def test_published_initialisation() -> None:
    first, last = initial(0, 4), initial(3, 4)
    for mix, index in ((first, 0), (last, 3)):
        assert torch.equal(mix.output.weight, torch.zeros(64, 64))
        assert torch.equal(mix.decay.down.weight, torch.zeros_like(mix.decay.down.weight))
        orthogonal = mix.decay.up.weight.T @ mix.decay.up.weight
        torch.testing.assert_close(orthogonal, 0.01 * torch.eye(len(orthogonal)))
        assert torch.all(mix.norm.weight == ((index + 1) / 4) ** 0.7)
        assert torch.all(mix.replacement == 1.02)
        assert torch.all(mix.bonus == -0.04)
        torch.testing.assert_close(mix.removal.mean(), torch.tensor(0.71))
        for name, bound in (("receptance", 0.5), ("key", 0.05), ("value", 0.5)):
            weight = getattr(mix, name).weight
            assert bound / 8 * 0.9 < weight.abs().max() <= bound / 8
    assert last.value_residual is not None
    torch.testing.assert_close(last.value_residual.up.bias.mean(), torch.tensor(0.73))
    # Within a head the biases climb, those of the decay from long memory to short.
    for part, climb in ((first.learning_rate, 0.6 + 0.4 * 15 / 63), (first.decay, 5 + 6 * 15 / 63)):
        bias = part.up.bias.view(4, 16)
        torch.testing.assert_close(bias[:, -1] - bias[:, 0], torch.full((4,), climb))
    torch.testing.assert_close(first.learning_rate.up.bias.mean(), torch.tensor(-0.19))
    # The decay biases climb from head to head, from long memory to short, later in late layers.
    means = first.decay.up.bias.view(4, 16).mean(1)
    torch.testing.assert_close(means.diff(), torch.full((3,), 6 * 16 / 63))
    torch.testing.assert_close(means.mean(), torch.tensor(-2.5))
    assert torch.all(last.decay.up.bias.view(4, 16).mean(1) < means)
    # The first layer mixes in the last token by channel, the last layer hardly does.
    torch.testing.assert_close(first.mix[1, 32], torch.tensor(1 - 0.5**0.9))
    torch.testing.assert_close(last.mix[1, 32], torch.tensor(1 - 0.5 ** (0.9 / 4)))


@pytest.mark.parametrize(("index", "exponent"), [(0, 1.0), (3, 0.25**4)])
def test_published_initialisation_of_the_channel_mix(index: int, exponent: float) -> None:
    mix = ChannelMix(64, position=LayerPosition(index, 4))
    mix.reset_parameters(torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix.mix[32], torch.tensor(1 - 0.5**exponent))
    assert not mix.value.weight.any()


def test_the_state_of_a_layer_in_bfloat16_is_float32() -> None:
    mix = RWKV7TimeMix(8, head_size=4).bfloat16()
    assert mix.init_state(2)["wkv"].dtype == torch.float32
    assert mix.double().init_state(2)["wkv"].dtype == torch.float64


def test_low_rank_maps_start_as_constants() -> None:
    mix = initial(1, 2)
    x = torch.randn(2, 5, 64)
    assert mix.value_residual is not None
    for low_rank_map in (mix.decay, mix.learning_rate, mix.value_residual):
        torch.testing.assert_close(low_rank_map(x), low_rank_map.up.bias.expand_as(x))
    torch.testing.assert_close(mix.gate(x), mix.gate(torch.zeros_like(x)))


def test_decay_stays_within_the_published_bounds() -> None:
    mix = layer()
    seen = []
    with torch.no_grad():
        for bias in (-100.0, 100.0):
            mix.decay.up.bias.fill_(bias)
            state = mix.init_state(1)
            state["wkv"] += 1
            mix.key.weight.zero_()  # nothing is written or removed: the state only decays
            _, after = mix(torch.randn(1, 1, D, dtype=torch.float64), state)
            seen.append(after["wkv"].mean().item())
    assert seen == pytest.approx([1.0, math.exp(-math.exp(-0.5))])


def test_mixed_precision_runs_and_stays_close() -> None:
    mixer = RWKV7TimeMix(32, head_size=16)
    mixer.reset_parameters(torch.Generator().manual_seed(0))
    torch.nn.init.normal_(mixer.output.weight, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(2))
    y, _ = mixer(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = mixer(x)
    mixed.float().sum().backward()
    assert (mixed.float() - y).norm() < 0.02 * y.norm()


def with_second_read(**options: Any) -> RWKV7TimeMix:
    """`layer` with the same weights, and a second read that matters."""
    mix = RWKV7TimeMix(D, head_size=N, second_read=True, **options).double()
    return randomised(mix, 0.7, seed=0)


def test_the_state_is_read_again_by_what_was_read() -> None:
    mix, x = with_second_read(), torch.randn(3, 7, D, dtype=torch.float64)
    y, _ = mix(x)
    for sequence, output in zip(x, y, strict=True):
        np.testing.assert_allclose(output.detach(), paper(mix, sequence.numpy(), None), atol=1e-11)
    assert (y - layer()(x)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_at_the_start_the_second_read_adds_nothing_to_the_bit(dtype: torch.dtype) -> None:
    mix, base, x = with_second_read(), layer(), torch.randn(2, 20, D, dtype=torch.float64)
    torch.nn.init.zeros_(mix.second_read)
    mix, base, x = mix.to(dtype), base.to(dtype), x.to(dtype)
    y, state = mix(x, mix.init_state(2))
    expected, end = base(x, base.init_state(2))
    assert torch.equal(y, expected)
    assert torch.equal(state["wkv"], end["wkv"])
    mix.float().reset_parameters(torch.Generator().manual_seed(0))
    assert not mix.second_read.any()


def test_the_second_read_has_no_matrix_and_no_state() -> None:
    own = {name: p.shape for name, p in with_second_read().named_parameters()}
    base = {name: p.shape for name, p in layer().named_parameters()}
    assert own == base | {"second_read": (D,)}
    assert with_second_read().init_state(2).keys() == layer().init_state(2).keys()


def written_by_a_source() -> RWKV7TimeMix:
    """`layer` with the same weights, whose state another sequence writes."""
    other = RWKV7TimeMix(D, head_size=N, from_source=True).double()
    other.load_state_dict(layer().state_dict())
    return other


def test_a_source_equal_to_the_tokens_is_the_layer_itself_to_the_bit() -> None:
    x, z = torch.randn(2, 3, 9, D, dtype=torch.float64)
    mix, other = layer(), written_by_a_source()
    y, state = mix(x, mix.init_state(3))
    same, end = other(x, other.init_state(3), Pass(source=x))
    assert torch.equal(same, y)
    assert torch.equal(end["wkv"], state["wkv"])
    block = Block(mix, None, width=D).double()
    crossed = Block(other, None, width=D).double()
    assert torch.equal(crossed(x, None, Pass(source=x))[0], block(x)[0])
    assert not torch.allclose(crossed(x, None, Pass(source=z))[0], block(x)[0])


def test_a_source_is_cut_with_its_tokens_and_read_up_to_each_of_them() -> None:
    x, source = torch.randn(2, 3, 9, D, dtype=torch.float64)
    other = written_by_a_source()
    y, _ = other(x, other.init_state(3), Pass(source=source))
    left, state = other(x[:, :4], other.init_state(3), Pass(source=source[:, :4]))
    right, _ = other(x[:, 4:], state, Pass(source=source[:, 4:]))
    torch.testing.assert_close(torch.cat((left, right), 1), y, rtol=0, atol=1e-12)
    later = source.clone()
    later[:, 5:] += 1
    changed, _ = other(x, None, Pass(source=later))
    torch.testing.assert_close(changed[:, :5], y[:, :5], rtol=0, atol=1e-12)
    assert (changed[:, 5:] - y[:, 5:]).abs().amax((0, 2)).min() > 0


def test_a_missing_source_is_named() -> None:
    with pytest.raises(ValueError, match=r"from_source=True.*give Pass\(source"):
        written_by_a_source()(torch.randn(1, 4, D, dtype=torch.float64))


@pytest.mark.parametrize("string", ["rwkv7", "gru", "attention", "parallel(attention, rwkv7)"])
def test_layers_that_no_source_can_write_refuse_one_by_name(string: str) -> None:
    layers, x = build_layers(string, width=D, head_size=N), torch.randn(2, 5, D)
    with pytest.raises(ValueError, match=r"tokens of \w+.*, which cannot be written by one"):
        layers(x, None, Pass(source=x))
