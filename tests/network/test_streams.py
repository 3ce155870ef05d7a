"""Streams: the state that is carried gives what one pass over the history gives."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import randomised, walk
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import Equilibrium, State, leaves
from rimer_forecaster.network.state import load_state, save_state

L, H, C, P = 20, 6, 2, 5


def network(layers: str | None = "rwkv7*2", **arguments: Any) -> RimerNetwork:
    """A network in float64, in evaluation mode, with every parameter random."""
    options = {"width": 8, "head_size": 4, "patch_length": P, **arguments}
    net = randomised(RimerNetwork(L, H, layers=layers, **options).double())
    for module in net.modules():
        if isinstance(module, Equilibrium):
            module.tolerance, module.max_iter = 1e-13, 500
    return net.eval()


def history(n: int, *, components: int = C, B: int = 3, seed: int = 2) -> Tensor:
    return walk(B, n, components, seed=seed)


COVARIATES = {"past_covariates": 2, "future_covariates": 1, "static_covariates": 2}


def covariates(n: int) -> dict[str, Tensor]:
    """Covariates of n steps."""
    return {
        "past_covariates": history(n, seed=3),
        "future_covariates": history(n, components=1, seed=4),
    }


STATIC = history(C, seed=5)


def assert_same(state: State, other: State, *, atol: float = 1e-10) -> None:
    for (name, x), (other_name, y) in zip(leaves(state), leaves(other), strict=True):
        assert name == other_name
        torch.testing.assert_close(x, y, rtol=0, atol=atol, equal_nan=name == "covariates")


LAYERS = [
    None,
    "rwkv7*2",
    "attention(window=7)",
    "attention",
    "rwkv7, attention(window=2)",
    "equilibrium(rwkv7)",
    "rwkv7(sse=on, retrospect=2), rwkv7",
    "perspectives(rwkv7*2; lags=1+3)",
    "parallel(attention(topk=1, chunk=2), rwkv4), taylor(feature=2)",
]


@pytest.mark.parametrize("layers", LAYERS)
def test_cut_anywhere_gives_one_pass(layers: str | None) -> None:
    net, x = network(layers), history(67)
    whole = net.observe(x)
    for cuts in ([67], [1] * 67, [13, 0, 1, 29, 24], [5] * 13 + [2]):
        state, start = net.init_state(3, C), 0
        for n in cuts:
            if n:
                state = net.update(state, x[:, start : start + n])
            start += n
        assert_same(state, whole)
        torch.testing.assert_close(net.forecast(state), net.forecast(whole), rtol=0, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_cut_anywhere_with_covariates_and_missing_values(data: st.DataObject) -> None:
    net = network(**COVARIATES)
    n = data.draw(st.integers(1, 60))
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=4)) | {0, n})
    seed = data.draw(st.integers(0, 5))
    mask = torch.rand(3, n, C, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[:, 0] = True
    nan, known = float("nan"), covariates(n)
    x = history(n).where(mask, nan)
    for i, name in enumerate(known):
        there = torch.rand(known[name].shape, generator=torch.Generator().manual_seed(seed + i))
        known[name] = known[name].where(there < 0.6, nan)
    whole = net.observe(x, **known, static_covariates=STATIC)
    state = net.init_state(3, C, STATIC)
    for start, end in itertools.pairwise(cuts):
        part = {name: c[:, start:end] for name, c in known.items()}
        state = net.update(state, x[:, start:end], **part)
    assert_same(state, whole)
    future = history(H, components=1, seed=6)
    future[1, 2] = nan
    expected = net.forecast(whole, future_covariates=future)
    actual = net.forecast(state, future_covariates=future)
    assert expected.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("patch_length", [1, 5, 7, 20])
@pytest.mark.parametrize("outputs", [["location", "scale"], [0.1, 0.5, 0.9]])
def test_a_window_is_a_short_stream(
    layers: str | None, patch_length: int, outputs: list[Any]
) -> None:
    """The first patch of a window lacks what makes its last one end with it."""
    net, x = network(layers, patch_length=patch_length, outputs=outputs), history(L)
    lead = -L % patch_length
    state = net.init_state(3, C)
    if lead:
        nothing = torch.zeros(3, lead, C, dtype=torch.bool)
        state = net.update(state, torch.full((3, lead, C), float("nan")), mask=nothing)
    forecast = net.forecast(net.update(state, x))
    torch.testing.assert_close(forecast, net(x), rtol=0, atol=1e-9)


def test_a_window_with_covariates_and_missing_values_is_a_short_stream() -> None:
    net, x, known = network(**COVARIATES), history(L), covariates(L)
    mask = torch.rand(3, L, C, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[:, 4:11] = False
    future = history(H, components=1, seed=6)
    state = net.observe(x, **known, static_covariates=STATIC, mask=mask)
    both = torch.cat((known["future_covariates"], future), 1)
    expected = net(x, known["past_covariates"], both, STATIC, mask)
    actual = net.forecast(state, future_covariates=future)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)
    assert (net.forecast(state, future_covariates=-future) - actual).abs().max() > 1e-3


def test_what_lies_before_the_window_matters() -> None:
    net, x = network(), history(3 * L)
    changed = x.clone()
    changed[:, :L] += history(L, seed=9)
    one, other = net.forecast(net.observe(x)), net.forecast(net.observe(changed))
    assert (one - other).abs().max() > 1e-6
    torch.testing.assert_close(net(x[:, -L:]), net(changed[:, -L:]))


def test_the_future_changes_no_bit_of_what_was_read() -> None:
    net, x = network(), history(50)
    assert net.reader is not None
    seen: list[Tensor] = []
    net.reader.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    changed = x.clone()
    changed[:, 23:] *= -7
    net.observe(x)
    net.observe(changed)
    read = 23 // P  # patches that were finished before
    assert torch.equal(seen[0][:, :read], seen[1][:, :read])
    assert not torch.equal(seen[0][:, read], seen[1][:, read])


def test_streams_do_not_see_each_other() -> None:
    net, x = network(), history(33)
    together = net.forecast(net.observe(x))
    alone = net.forecast(net.observe(x[1:2]))
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-12)


def test_a_stream_in_float32_agrees_with_one_pass_in_float64() -> None:
    """10,000 steps, one at a time."""
    net, x = network("rwkv7"), torch.sin(torch.arange(10_000.0, dtype=torch.float64) / 9)
    x = (x + 0.1 * torch.randn(10_000, generator=torch.Generator().manual_seed(0)))[None, :, None]
    expected = net.forecast(net.observe(x))
    net = net.float()
    state = net.init_state(1, 1)
    for start in range(0, 10_000, 8):
        state = net.update(state, x[:, start : start + 8].float())
    actual = net.forecast(state)
    assert (actual - expected).norm() / expected.norm() < 1e-5


def test_the_state_has_the_same_size_after_any_history() -> None:
    net = network(**COVARIATES)
    sizes = {
        n: [
            x.nbytes
            for _, x in leaves(net.observe(history(n), **covariates(n), static_covariates=STATIC))
        ]
        for n in (1, 30, 400)
    }
    assert sizes[1] == sizes[30] == sizes[400]


@pytest.mark.parametrize("layers", ["rwkv7*2", "attention(window=2)", "gru"])
def test_a_state_keeps_no_history_alive(layers: str) -> None:
    """Also in the memory of tensors that are parts of larger ones, which a pickle would write."""
    net = network(layers)
    with torch.no_grad():
        state = net.update(net.observe(history(400)), history(300))
    for name, leaf in leaves(state):
        assert leaf.untyped_storage().nbytes() <= 2 * leaf.nbytes, name


def test_updating_and_forecasting_leave_the_state_as_it_was() -> None:
    net = network()
    state = net.observe(history(23))
    before = {name: x.clone() for name, x in leaves(state)}
    net.forecast(state, 2 * H)
    net.update(state, history(9))
    assert all(torch.equal(x, before[name]) for name, x in leaves(state))


def test_beyond_the_horizon_medians_are_fed_back() -> None:
    net = network(outputs=[0.1, 0.5, 0.9])
    state = net.observe(history(23))
    first = net.forecast(state)
    second = net.forecast(net.update(state, first[..., 1]))
    long = net.forecast(state, H + 4)
    torch.testing.assert_close(long, torch.cat((first, second[:, :4]), 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(net.forecast(state, 2), first[:, :2], rtol=0, atol=0)


def test_beyond_the_horizon_covariates_of_the_steps_are_read() -> None:
    net, n = network(outputs=[0.1, 0.5, 0.9], future_covariates=1), H + 4
    known = history(23 + n, components=1, seed=4)
    state = net.observe(history(23), future_covariates=known[:, :23])
    ahead = known[:, 23:]
    first = net.forecast(state, future_covariates=ahead[:, :H])
    later = net.update(state, first[..., 1], future_covariates=ahead[:, :H])
    second = net.forecast(later, 4, future_covariates=ahead[:, H:])
    long = net.forecast(state, n, future_covariates=ahead)
    torch.testing.assert_close(long, torch.cat((first, second), 1), rtol=0, atol=1e-12)


def test_a_window_of_counts_is_a_short_stream() -> None:
    net, x = network(outputs=["location", "scale"], least_scale=3.0), history(L)
    torch.testing.assert_close(net.forecast(net.observe(x)), net(x), rtol=0, atol=1e-10)


def test_long_histories_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), history(73)
    expected = net.observe(x)
    monkeypatch.setattr("rimer_forecaster.network.streams._MOST_VALUES", 3 * C * L * 2)
    assert_same(net.observe(x), expected)


def test_a_gap_as_long_as_the_window_is_read_alike_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Covariates are read in a gap of the target, once it has begun."""
    net, x, known = network(patch_length=L, **COVARIATES), history(3 * L), covariates(3 * L)
    mask = torch.ones(3, 3 * L, C, dtype=torch.bool)
    mask[:, L : 2 * L] = False
    expected = net.observe(x, **known, static_covariates=STATIC, mask=mask)
    monkeypatch.setattr("rimer_forecaster.network.streams._MOST_VALUES", 1)
    assert_same(net.observe(x, **known, static_covariates=STATIC, mask=mask), expected)


def test_a_state_comes_back_from_its_file_bit_for_bit(tmp_path: Path) -> None:
    net = network("rwkv7(time_mix=off), rwkv7, attention(window=3)", **COVARIATES)
    state = net.observe(history(23), **covariates(23), static_covariates=STATIC)
    save_state(state, tmp_path / "state.safetensors", network=net)
    loaded = load_state(tmp_path / "state.safetensors", net)
    assert_same(loaded, state, atol=0)
    new = history(9), *covariates(9).values()
    assert_same(net.update(loaded, *new), net.update(state, *new), atol=0)


def test_a_state_saved_with_other_weights_is_refused(tmp_path: Path) -> None:
    net = network()
    save_state(net.observe(history(9)), tmp_path / "state.safetensors", network=net)
    with torch.no_grad():
        net.skip.offset[0] += 1e-9
    with pytest.raises(ValueError, match="was not saved with this network"):
        load_state(tmp_path / "state.safetensors", net)


def test_a_state_of_another_model_or_batch_is_refused() -> None:
    net = network()
    state = net.observe(history(9))
    with pytest.raises(ValueError, match="lacks 'reader/last'"):
        net.update(network(None).observe(history(9)), history(3))
    with pytest.raises(ValueError, match="the state lacks 'begun'"):
        net.forecast({})
    with pytest.raises(ValueError, match="has, and this network's has not, 'covariates'"):
        net.forecast({**state, "covariates": state["target"]})
    with pytest.raises(
        ValueError, match=r"'begun' in the state has shape \(3, 2\), expected \(2, 2"
    ):
        net.update(state, history(3)[:2])
    with pytest.raises(ValueError, match="of another number of streams"):
        net.update(state, history(3, components=1))
    with pytest.raises(ValueError, match=r"has shape .*state of another model"):
        net.update(network(width=16).observe(history(9)), history(3))
    with pytest.raises(ValueError, match=r"of torch.float64, but the network computes"):
        network().float().update(state, history(3).float())
    window = network("attention(window=3)").observe(history(40))
    with pytest.raises(ValueError, match=r"cache|state of another model"):
        network("attention(window=4)").update(window, history(3))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *[
            (where, value)
            for where in ("past_target", "past_covariates", "future_covariates")
            for value in (float("-inf"), float("inf"))
        ],
        ("past_target", 1e200),  # which has no finite square
    ],
)
def test_an_infinite_value_is_named_and_harms_no_state(where: str, value: float) -> None:
    net = network(**COVARIATES)
    state = net.observe(history(23), **covariates(23), static_covariates=STATIC)
    before = {name: x.clone() for name, x in leaves(state)}
    new = {"past_target": history(7), **covariates(7)}
    new[where][1, 4, 0] = value
    with pytest.raises(
        ValueError, match=re.escape(f"{where} holds {value} in stream 1, step 4, comp")
    ):
        net.update(state, **new)
    assert all(torch.equal(x, before[name]) for name, x in leaves(state))


def test_a_stream_that_fell_silent_is_named_until_it_speaks_again() -> None:
    """Its level is that of the last L steps; without any it would forecast 0."""
    net = network(layers="rwkv7")
    state = net.observe(history(40))
    gap = history(L - 1)
    gap[1, :, 1] = math.nan
    state = net.update(state, gap)
    assert net.forecast(state).isfinite().all()
    last = history(1)
    last[1, 0, 1] = math.nan
    silent = net.update(state, last)
    with pytest.raises(ValueError, match=f"component 1 of stream 1 .* in the last {L} steps"):
        net.forecast(silent)
    assert net.forecast(net.update(silent, history(1))).isfinite().all()


def test_what_cannot_be_forecast_is_refused() -> None:
    net = network(**COVARIATES)
    with pytest.raises(ValueError, match=r"static_covariates has 0 components, but .* built for 2"):
        net.observe(history(3), **covariates(3))
    state = net.init_state(3, C, STATIC)
    future = history(H, components=1)
    with pytest.raises(ValueError, match="component 0 of stream 0 has observed nothing"):
        net.forecast(state, future_covariates=future)
    state = net.update(state, history(3), **covariates(3))
    with pytest.raises(ValueError, match="future_covariates has 3 steps, but the network reads 6"):
        net.forecast(state, future_covariates=future[:, :3])
    with pytest.raises(ValueError, match="steps=7 is beyond output_chunk_length=6"):
        net.forecast(state, 7, future_covariates=history(7, components=1))
    with pytest.raises(ValueError, match="steps=0 must be a whole number"):
        net.forecast(state, 0)
    with pytest.raises(ValueError, match=r"it must be \(B, n, C\) with at least one step"):
        net.update(state, history(0))


def test_a_forecast_that_is_too_large_to_feed_back_is_an_error() -> None:
    net = network(None).float()
    with torch.no_grad():
        net.skip.offset.fill_(1e21)
    state = net.window(history(L).float())
    assert net.forecast(state).max() > 1e20
    with pytest.raises(ValueError, match=r"holds .*e\+2\d, too large a value. The input is finite"):
        net.forecast(state, H + 1)
