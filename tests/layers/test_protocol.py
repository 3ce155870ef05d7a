"""What every layer must do, whatever it computes: the state is the interface."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import normal, randomised
from safetensors.torch import load_file, save_file
from torch import Tensor

from rimer_forecaster.layers import (
    LAYERS,
    Attention,
    ChannelMix,
    Equilibrium,
    FeedForward,
    LayerPosition,
    LinearChannelMix,
    Mediums,
    Mixer,
    Pass,
    Recurrent,
    RWKV4ChannelMix,
    RWKV4TimeMix,
    RWKV7TimeMix,
    SparseAttention,
    Stack,
    State,
    Taylor,
    build_layers,
    from_leaves,
    leaves,
)

D, N = 16, 8


def layers(string: str) -> Callable[[], Stack]:
    return lambda: build_layers(string, width=D, head_size=N)


STRINGS = [
    "rwkv7*3",
    "rwkv7(time_mix=off)",
    "rwkv7(channel_mix=off)",
    "rwkv7(channel_mix=linear, icl_rate_max=2)*2",
    "attention",
    "gru*2",
    "lstm, rwkv7",
    "attention(window=3)*2",
    "(rwkv7, attention(window=5))*2",
    "equilibrium(rwkv7; tolerance=1e-13, max_iter=500)",
    "rwkv7, equilibrium(attention(window=4); tolerance=1e-13, max_iter=500), rwkv7",
    "rwkv7(sse=on, icl_rate_max=2)",
    "rwkv7(retrospect=4, mediums=3)",
    "rwkv7(time_mix=off, retrospect=1)",
    "perspectives(rwkv7*2; lags=1+3)",
    "perspectives(rwkv7(retrospect=3, sse=on), attention(window=4); lags=5+1+1)",
    "rwkv4",
    "taylor(feature=4)",
    "taylor(feature=3, kernel=elu), attention(window=5, positions=off)",
    "attention(topk=2, chunk=3, kept=4)",  # the bank overflows within the tests' 20 tokens
    "attention(topk=1, chunk=4, kept=8, positions=off)",
    "parallel(attention(window=4), rwkv7)",
    "parallel(gru, rwkv4, taylor(feature=2); fuse=add)",
    "parallel(rwkv4, rwkv7; fuse=concat)",
    "perspectives(parallel(rwkv4, taylor(feature=2)); lags=1+3)",
]

MAKERS: dict[str, Callable[[], Mixer]] = {
    "time mix": lambda: RWKV7TimeMix(D, head_size=N, position=LayerPosition(0, 2)),
    "full attention": lambda: Attention(D, head_size=N),
    "window attention": lambda: Attention(D, head_size=N, window=3),
    "gru cell": lambda: Recurrent(D, cell="gru"),
    "lstm cell": lambda: Recurrent(D, cell="lstm"),
    "channel mix": lambda: ChannelMix(D),
    "linear channel mix": lambda: LinearChannelMix(D),
    "feed forward": lambda: FeedForward(D),
    "mediums": lambda: Mediums(D, segment=3, capacity=4),
    "rwkv4 time mix": lambda: RWKV4TimeMix(D),
    "rwkv4 channel mix": lambda: RWKV4ChannelMix(D),
    "taylor mixer": lambda: Taylor(D, head_size=N, feature=5),
    "sparse attention": lambda: SparseAttention(D, head_size=N, topk=2, chunk=4, kept=3),
    **{string: layers(string) for string in STRINGS},
}


def test_every_layer_that_a_string_can_name_is_held_to_the_protocol() -> None:
    assert set(LAYERS) <= set(re.findall(r"\w+", " ".join(STRINGS)))


@pytest.fixture(params=MAKERS, ids=lambda name: name.replace(" ", "-"))
def mixer(request: pytest.FixtureRequest) -> Mixer:
    """A layer in float64 whose parameters are all random, so that nothing is zero by chance."""
    # Large random weights have no equilibrium.
    size = 0.2 if "equilibrium" in request.param else 0.5
    return randomised(MAKERS[request.param]().double(), size, seed=0)


def tokens(B: int = 2, T: int = 20) -> Tensor:
    return normal(B, T, D, seed=1)


def flat(state: State) -> dict[str, Tensor]:
    return dict(leaves(state))


def assert_states(actual: State, expected: State, **tolerance: Any) -> None:
    assert flat(actual).keys() == flat(expected).keys()
    for name, value in flat(actual).items():
        torch.testing.assert_close(
            value, flat(expected)[name], **(tolerance or {"rtol": 0, "atol": 1e-10})
        )


@pytest.mark.parametrize("cut", [1, 2, 13, 19])
def test_cut_anywhere_and_carry_the_state(mixer: Mixer, cut: int) -> None:
    x = tokens()
    whole, end = mixer(x, mixer.init_state(2))
    left, state = mixer(x[:, :cut], mixer.init_state(2))
    right, carried = mixer(x[:, cut:], state)
    torch.testing.assert_close(torch.cat((left, right), 1), whole, rtol=0, atol=1e-10)
    assert_states(carried, end)


def test_no_state_means_a_fresh_one(mixer: Mixer) -> None:
    x = tokens()
    y, state = mixer(x)
    fresh, _ = mixer(x, mixer.init_state(2))
    assert state is None
    torch.testing.assert_close(y, fresh, rtol=0, atol=1e-10)


def test_the_state_has_the_size_it_declares_however_long_the_sequence(mixer: Mixer) -> None:
    if any(isinstance(m, Attention) and m.window is None for m in mixer.modules()):
        pytest.skip("full attention remembers every token; test_attention holds it to that")
    declared = {name: x.shape for name, x in flat(mixer.init_state(2)).items()}
    for T in (1, 50):
        _, state = mixer(tokens(T=T), mixer.init_state(2))
        assert {name: x.shape for name, x in flat(state).items()} == declared


def test_no_token_sees_a_later_one(mixer: Mixer) -> None:
    x = tokens()
    changed = x.clone()
    changed[:, 10:] += 1
    y, _ = mixer(x)
    z, _ = mixer(changed)
    torch.testing.assert_close(z[:, :10], y[:, :10], rtol=0, atol=1e-12)
    assert (z[:, 10:] - y[:, 10:]).abs().amax((0, 2)).min() > 0


def test_masked_tokens_leave_the_state_bit_identical(mixer: Mixer) -> None:
    _, state = mixer(tokens(), mixer.init_state(2))
    _, after = mixer(3 * tokens(), state, Pass(torch.zeros(2, 20, dtype=torch.bool)))
    assert_states(after, state, rtol=0, atol=0)


def test_masked_tokens_are_as_if_they_were_not_there(mixer: Mixer) -> None:
    x = tokens(T=12)
    kept = torch.tensor([2, 3, 4, 7, 8, 11])  # left padding, and gaps of several lengths
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[:, kept] = True
    start = mixer.init_state(2)
    _, start = mixer(tokens(T=3), start)
    with_gaps, gaps_end = mixer(x, start, Pass(mask))
    without, end = mixer(x[:, kept], start)
    torch.testing.assert_close(with_gaps[:, kept], without, rtol=0, atol=1e-10)
    assert_states(gaps_end, end)


def test_a_mask_that_hides_nothing_changes_nothing(mixer: Mixer) -> None:
    x = tokens()
    y, end = mixer(x, mixer.init_state(2))
    z, masked_end = mixer(x, mixer.init_state(2), Pass(torch.ones(2, 20, dtype=torch.bool)))
    torch.testing.assert_close(z, y, rtol=0, atol=1e-12)
    assert_states(masked_end, end)


def test_sequences_do_not_see_each_other(mixer: Mixer) -> None:
    x = tokens(B=3)
    y, _ = mixer(x)
    alone, _ = mixer(x[1:2])
    torch.testing.assert_close(y[1:2], alone, rtol=0, atol=1e-12)


def test_every_parameter_is_drawn_from_the_generator_alone(mixer: Mixer) -> None:
    process = torch.get_rng_state()
    for parameter in mixer.parameters():
        parameter.data.fill_(float("nan"))
    mixer.reset_parameters(torch.Generator().manual_seed(5))
    drawn = [p.clone() for p in mixer.parameters()]
    assert all(p.isfinite().all() for p in drawn)
    mixer.reset_parameters(torch.Generator().manual_seed(5))
    assert all(torch.equal(p, q) for p, q in zip(mixer.parameters(), drawn, strict=True))
    assert torch.equal(torch.get_rng_state(), process)


def test_float32_agrees_with_float64(mixer: Mixer) -> None:
    x = tokens()
    y, _ = mixer(x)
    for module in mixer.modules():
        if isinstance(module, Equilibrium):
            module.tolerance = 1e-6
    z, state = mixer.float()(x.float(), mixer.init_state(2))
    assert (z - y).norm() / y.norm() < 1e-4
    counts = {"count", "number"}  # of tokens and chunks, whole numbers
    dtypes = {leaf.dtype for name, leaf in flat(state).items() if name.split("/")[-1] not in counts}
    assert dtypes <= {torch.float32}


def test_gradients_reach_every_parameter(mixer: Mixer) -> None:
    y, _ = mixer(tokens(), None, Pass(shared={}))
    y.square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_are_those_of_finite_differences(mixer: Mixer) -> None:
    """Along one random direction of tokens and parameters at once, of output and final state."""
    x, step = tokens(T=6).requires_grad_(), 1e-6
    inputs = [x, *mixer.parameters()]
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in inputs]

    def loss() -> Tensor:
        y, state = mixer(x, mixer.init_state(2))
        ends = [leaf for leaf in flat(state).values() if leaf.is_floating_point()]
        return sum((z.sin().sum() for z in ends), y.sin().sum())

    gradients = torch.autograd.grad(loss(), inputs, allow_unused=True)
    slope = sum(
        float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None
    )
    values = []
    with torch.no_grad():
        for sign in (1, -2):  # one step ahead, then one back
            for p, d in zip(inputs, direction, strict=True):
                p.add_(d, alpha=sign * step)
            values.append(float(loss()))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert abs(slope) > 1e-3


def test_mixed_precision_stays_close(mixer: Mixer) -> None:
    for module in mixer.modules():
        if isinstance(module, Equilibrium):
            module.tolerance = 1e-2  # about half of the digits
    x = tokens().float()
    y, _ = mixer.float()(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = mixer(x)
    assert (mixed.float() - y).norm() < 0.1 * y.norm()


def test_a_state_goes_through_a_file(mixer: Mixer, tmp_path: Path) -> None:
    x = tokens()
    _, state = mixer(x[:, :9], mixer.init_state(2))
    save_file(
        {name: leaf.contiguous().clone() for name, leaf in flat(state).items()}, tmp_path / "state"
    )
    loaded = from_leaves(load_file(tmp_path / "state"))
    y, end = mixer(x[:, 9:], state)
    again, same = mixer(x[:, 9:], loaded)
    torch.testing.assert_close(again, y, rtol=0, atol=1e-12)
    assert_states(same, end)


def test_compiles(mixer: Mixer) -> None:
    """Into one graph, but for what torch refuses: its recurrent cells, and the solver's loop."""
    whole = not any(isinstance(module, (Equilibrium, Recurrent)) for module in mixer.modules())
    for module in mixer.modules():
        if isinstance(module, Equilibrium):
            module.tolerance = 1e-2  # each further pass is compiled anew
    torch._dynamo.reset()
    compiled = torch.compile(mixer, backend="eager", fullgraph=whole)
    x, mask = tokens(), torch.ones(2, 20, dtype=torch.bool)
    mask[:, :3] = False
    for state in (None, mixer.init_state(2)):
        y, end = mixer(x, state, Pass(mask))
        z, same = compiled(x, state, Pass(mask))
        torch.testing.assert_close(z[:, 3:], y[:, 3:], rtol=0, atol=1e-10)
        if end is not None:
            assert_states(same, end)


def test_block_adds_both_mixers_to_its_input() -> None:
    """At the start both mixers give zero, so a block is the identity."""
    stack = build_layers("rwkv7*2", width=D, head_size=N).double()
    stack.reset_parameters(torch.Generator().manual_seed(0))
    x = tokens()
    assert torch.equal(stack(x)[0], x)
