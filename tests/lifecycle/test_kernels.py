"""Kernels beside a state: an identity at first, then what does not decay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapt_cases import network, siblings
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import State, from_leaves, leaves
from rimer_forecaster.layers.parts.kernel_read import KERNELS, SUPPORTS, kernel_features
from rimer_forecaster.lifecycle import AdaptedState, adapt, half_life
from rimer_forecaster.lifecycle.kernels import Kernels, place_kernels
from rimer_forecaster.lifecycle.whole_series import WholeSeries
from rimer_forecaster.network.state import load_state, save_state

M = 6


def objective(net: RimerNetwork, count: int = 6) -> WholeSeries:
    return WholeSeries(net, siblings(count, 60), horizon=8, look_back=64, seasonal=False)


def adapted(net: RimerNetwork, **arguments: Any) -> AdaptedState:
    options = {"steps": 3, "keep": "always", "upscale": M, **arguments}
    return adapt(net, objective(net), **options)


def zeroed(state: State) -> State:
    """The start with its kernels at zero."""
    held = dict(leaves(state))
    return from_leaves({p: 0 * x if p.endswith(KERNELS) else x for p, x in held.items()})


def past(rows: int = 6) -> Tensor:
    values = torch.as_tensor(np.stack(siblings(rows, 60, seed=2)), dtype=torch.float32)
    values[0, :20] = float("nan")
    return values


def start_of(net: RimerNetwork, **arguments: Any) -> State:
    start = adapted(net, **arguments).start(6, net)
    assert start is not None
    return start


@pytest.mark.parametrize("layers", ["rwkv7*2", "rwkv7(sse=on)", "rwkv7(channel_mix=off)"])
def test_kernels_of_zeros_are_an_identity_bit_for_bit(layers: str) -> None:
    net = network(layers)
    start = start_of(net)
    zeros, held = zeroed(start), dict(leaves(start))
    without = from_leaves({path: x for path, x in held.items() if path.endswith("wkv")})
    with torch.no_grad():
        assert torch.equal(net(past(), start=zeros), net(past(), start=without))
        streamed = [net.forecast(net.observe(past(), start=x)) for x in (zeros, without)]
        assert not torch.equal(net(past(), start=start), net(past(), start=without))
    assert torch.equal(*streamed)


def test_a_kernel_is_one_at_its_support_and_falls_with_the_angle() -> None:
    supports = torch.tensor([[2.0, 0.0], [0.0, 3.0]])[None, None]
    receptance = torch.tensor([[5.0, 0.0], [1.0, 1.0], [0.0, -1.0]])[None, :, None]
    features = kernel_features(receptance, supports)[0, :, 0]
    cosine = torch.tensor([[1.0, 0.0], [0.5**0.5, 0.5**0.5], [0.0, -1.0]])
    squared = torch.tensor([4.0, 9.0])
    torch.testing.assert_close(features, (squared * (cosine - 1)).exp())


def test_what_kernels_add_does_not_decay_and_stays_as_it_is() -> None:
    """Streams of two starts: memories that tokens write over, and kernels that they do not."""
    net = network().double()
    start = start_of(net, steps=20)
    net_state = net.observe(past().double(), start=start)
    for path, x in leaves(net_state["reader"]["layers"]):
        if path.endswith((KERNELS, SUPPORTS)):
            assert torch.equal(x, dict(leaves(start))[path])
    long = torch.cat([past().double()[1:]] * 20, 1)
    held = dict(leaves({**start}))
    rows = {path: x[1:] for path, x in held.items()}
    memory = from_leaves({p: x for p, x in rows.items() if p.endswith("wkv")})
    with torch.no_grad():
        found = [
            net.forecast(net.observe(long, start=x)) for x in (None, memory, from_leaves(rows))
        ]
    by_memory, by_both = ((x - found[0]).abs().mean() for x in found[1:])
    assert by_both > 100 * by_memory


@pytest.mark.parametrize("rows", [1, 3])
def test_windows_streams_and_cuts_agree(rows: int) -> None:
    net = network().double()
    start = start_of(net, steps=5)
    start = from_leaves({path: x[1 : 1 + rows] for path, x in leaves(start)})
    values = past(6)[1 : 1 + rows].double()
    with torch.no_grad():
        window = net(values, start=start)
        state = net.update(net.observe(values[:, :33], start=start), values[:, 33:])
        torch.testing.assert_close(net.forecast(state), window, rtol=0, atol=1e-10)


def test_a_stream_with_kernels_is_saved_and_of_other_sizes_refused(tmp_path: Path) -> None:
    net = network()
    state = net.observe(past(), start=start_of(net))
    save_state(state, tmp_path / "stream.safetensors", network=net)
    loaded = load_state(tmp_path / "stream.safetensors", net)
    assert torch.equal(net.forecast(loaded), net.forecast(state))
    held = dict(leaves(state))
    path = f"reader/layers/0/token_mixer/{SUPPORTS}"
    for wrong in ({path: held[path][:, :, 1:]}, {path: held[path][1:]}):
        with pytest.raises(ValueError, match=r"kernels under .* are not of this model"):
            net.update(from_leaves(held | wrong), past())
    del held[path]
    with pytest.raises(ValueError, match=r"kernels under .* are not of this model"):
        net.update(from_leaves(held), past())


def test_a_file_keeps_kernels_and_rows_share_supports(tmp_path: Path) -> None:
    net = network()
    state = adapted(net, groups=["a", "b", "a", "b", "a", "b"], rank=1)
    assert state.tensors[f"0/token_mixer/wkv:{SUPPORTS}"].shape == (1, 2, M, 4)
    assert state.tensors[f"0/token_mixer/wkv:{KERNELS}"].shape == (2, 2, 4, M)
    state.save(tmp_path / "state.safetensors")
    rows = AdaptedState.load(tmp_path / "state.safetensors").of(["b", None, "a"])
    one, other = rows.start(3, net), state.of(["b", "a"]).start(2, net)
    assert one is not None
    assert other is not None
    for path, x in leaves(one):
        assert torch.equal(x[[0, 2]], dict(leaves(other))[path])
        assert path.endswith(SUPPORTS) or not x[1].any()
    with torch.no_grad():
        torch.testing.assert_close(net(past()[1:2]), net(past()[[1] * 3], start=one)[1:2])


def placed(net: RimerNetwork, *, decorrelate: bool) -> tuple[dict[str, Kernels], Tensor]:
    """Kernels, and the features of the second layer as they are mixed, (H, n, M)."""
    assert net.reader is not None
    layers, seen = net.reader.layers, []
    hook = layers.layers[1].token_mixer.receptance.register_forward_hook(
        lambda module, given, out: seen.append(out)
    )
    kernels = place_kernels(layers, lambda: net(past()[1:]), M, decorrelate=decorrelate)
    hook.remove()
    own = kernels["1/token_mixer/wkv"]
    receptance = seen[0].detach().flatten(0, 1).unflatten(-1, (-1, 4))[None]
    features = kernel_features(receptance, own.supports)[0].transpose(0, 1)
    return kernels, (features @ own.mixing[0].transpose(-1, -2)).double()


def correlation(features: Tensor) -> float:
    """Mean size of the correlations of different features."""
    found = torch.stack([torch.corrcoef(head.T) for head in features])
    return float((found - torch.eye(M)).abs().sum() / (len(found) * M * (M - 1)))


def test_decorrelated_features_correlate_five_times_less() -> None:
    net = network()
    plain, mixed = (correlation(placed(net, decorrelate=x)[1]) for x in (False, True))
    assert plain > 5 * mixed


def test_supports_stand_where_tokens_are_and_not_where_they_are_hidden() -> None:
    """Every support is near to a receptance; left padding is no token."""
    net = network()
    kernels, features = placed(net, decorrelate=False)
    assert (features.amax(1) > 0.5).all()
    assert net.reader is not None
    padded = torch.cat((torch.full((5, 64, 1), float("nan")), past()[1:]), 1)[:, -64:]
    again = place_kernels(net.reader.layers, lambda: net(padded), M, decorrelate=False)
    for path, own in kernels.items():
        torch.testing.assert_close(own.supports, again[path].supports, rtol=1e-4, atol=1e-4)


def test_kernels_learn() -> None:
    net = network()
    assert net.reader is not None
    judged = objective(net, 12)
    states = [
        adapt(net, judged, steps=40, keep="always", groups=["a"] * 12, upscale=count)
        for count in (0, 16)
    ]
    losses = []
    for state in states:
        with torch.no_grad():
            losses.append(float(judged.held_back(lambda s, x=state: x.start(len(s), net)).mean()))
    assert losses[1] < 0.98 * losses[0]
    assert half_life(net, states[1], siblings(1, 60)[0]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"upscale": -1}, "upscale=-1 must be a number of kernels per head, from 0"),
        ({"upscale": 2.5}, "upscale=2.5 must be a number of kernels"),
        ({"upscale": True}, "upscale=True must be a number of kernels"),
        ({"upscale": 0, "decorrelate": True}, "of which upscale=0 gives none"),
        ({"decorrelate": "yes"}, "decorrelate='yes' must be True or False"),
        ({"upscale": 256}, r"upscale=256 is beyond the \d+ tokens that the layers read"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapted(network(), **arguments)


def test_layers_that_are_not_rwkv7_throughout_are_refused() -> None:
    with pytest.raises(ValueError, match="upscale is for layers that are rwkv7 throughout"):
        adapted(network("parallel(attention, rwkv7)"))
