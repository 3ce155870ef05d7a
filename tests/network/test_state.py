"""States and the weights they belong to: what changed is noticed, on disk and in memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from network_cases import normal, randomised
from safetensors.torch import save
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.layers import State, from_leaves, leaves
from rimer_forecaster.network.state import (
    KnownWeights,
    _digest,
    load_state,
    read_metadata,
    save_state,
)

LAYERS = [
    None,
    "rwkv7*2",
    "gru",
    "lstm",
    "attention",
    "attention(window=2)",
    "(rwkv7, attention)",
    "equilibrium(rwkv7)",
]


def network(layers: str | None = "rwkv7", **options: Any) -> RimerNetwork:
    sizes = {"width": 8, "head_size": 4, "patch_length": 4}
    return randomised(RimerNetwork(12, 3, layers=layers, **sizes, **options)).eval()


def observed(net: RimerNetwork, n: int = 30, **covariates: Any) -> State:
    with torch.no_grad():
        return net.observe(normal(2, n, 1).float(), **covariates)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("n", [1, 30])
def test_the_state_of_any_layer_is_finite_and_comes_back(
    layers: str | None, n: int, tmp_path: Path
) -> None:
    net = network(layers, future_covariates=1)
    state = observed(net, n, future_covariates=torch.zeros(2, n, 1))
    save_state(state, tmp_path / "s", network=net, metadata={"of": "two"})
    loaded = dict(leaves(load_state(tmp_path / "s", net)))
    assert loaded.keys() == dict(leaves(state)).keys()
    assert all(torch.equal(x.isnan(), loaded[name].isnan()) for name, x in leaves(state))
    assert all(torch.equal(x.nan_to_num(), loaded[name].nan_to_num()) for name, x in leaves(state))
    assert read_metadata(tmp_path / "s")["of"] == "two"


def write(path: Path, state: State, metadata: dict[str, str]) -> None:
    """Write a file whose digest agrees, whatever is in it."""
    tensors = {name: x.contiguous() for name, x in leaves(state)}
    metadata = {name: x for name, x in metadata.items() if name != "sha256"}
    path.write_bytes(save(tensors, {**metadata, "sha256": _digest(tensors, metadata)}))


def changed(state: State, name: str, change: Any) -> State:
    return from_leaves({path: change(x) if path == name else x for path, x in leaves(state)})


def first_as(value: float) -> Any:
    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x.flatten()[0] = value
        return x

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("target", first_as(float("nan")), "'target' in the state holds nan"),
        ("reader/layers/0/token_mixer/wkv", first_as(float("inf")), "holds inf"),
        ("covariates", first_as(float("-inf")), "'covariates' in the state holds -inf"),
        ("steps", lambda x: x - 100, "counts -70 steps"),
        ("steps", lambda x: x.float(), r"of torch.float32, but the network computes in"),
        ("target", lambda x: x[:, :-1], "of another model"),
        ("target", lambda x: x[0], "of another model"),
        ("observed", lambda x: x[:1], "of another model"),
    ],
)
def test_a_state_that_no_stream_can_leave_is_not_loaded(
    name: str, change: Any, message: str, tmp_path: Path
) -> None:
    """Even where the digest agrees."""
    net = network(future_covariates=1)
    state = observed(net, future_covariates=torch.zeros(2, 30, 1))
    save_state(state, tmp_path / "s", network=net)
    write(tmp_path / "t", state, read_metadata(tmp_path / "s"))
    load_state(tmp_path / "t", net)
    assert name in dict(leaves(state))
    write(tmp_path / "t", changed(state, name, change), read_metadata(tmp_path / "s"))
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "t", net)


def test_a_state_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    net = network()
    state = changed(observed(net), "target", first_as(float("nan")))
    with pytest.raises(ValueError, match="the state overflowed"):
        save_state(state, tmp_path / "s", network=net)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        lambda tensors, metadata: save(tensors, {"network": metadata["network"]}),
        lambda tensors, metadata: save(tensors, {**metadata, "end": "another"}),
        lambda tensors, metadata: save({**tensors, "steps": tensors["steps"] + 1}, metadata),
        lambda tensors, metadata: save(tensors),
        lambda tensors, metadata: save(tensors, metadata)[:-1],
        lambda tensors, metadata: b"",
        lambda tensors, metadata: b"no safetensors",
    ],
    ids=["no digest", "metadata", "a tensor", "no metadata", "cut", "empty", "another file"],
)
def test_a_file_that_changed_is_damaged(content: Any, tmp_path: Path) -> None:
    net = network()
    state = observed(net)
    save_state(state, tmp_path / "s", network=net)
    metadata = read_metadata(tmp_path / "s")
    tensors = {name: x.contiguous() for name, x in leaves(state)}
    metadata["sha256"] = _digest(tensors, metadata)
    (tmp_path / "t").write_bytes(content(tensors, metadata))
    for read in (lambda: load_state(tmp_path / "t", net), lambda: read_metadata(tmp_path / "t")):
        with pytest.raises(ValueError, match=r"t' is damaged, .*Take another copy of the file"):
            read()
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "nothing", net)


def trained(net: RimerNetwork, **options: Any) -> None:
    """One step, of the skip alone."""
    optimiser = torch.optim.AdamW([net.skip.weight], lr=1e-6, **options)
    net(normal(2, 12, 1).float()).sum().backward()
    optimiser.step()


def nudged(net: RimerNetwork) -> None:
    with torch.no_grad():
        net.reader.head.weight[-1, -1] += 1e-7


def replaced(net: RimerNetwork) -> None:
    weights = {name: x + 1e-7 for name, x in net.state_dict().items()}
    net.load_state_dict(weights, assign=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: trained(net),
        lambda net: trained(net, foreach=True),
        lambda net: trained(net, fused=True),
        nudged,
        replaced,
        lambda net: net.load_state_dict(randomised(copy.deepcopy(net), seed=5).state_dict()),
        lambda net: net.double(),
    ],
    ids=["for each", "foreach", "fused", "one value", "assigned", "loaded", "converted"],
)
def test_weights_that_changed_are_noticed(change: Any) -> None:
    net = network()
    known = KnownWeights(net)
    assert known.are_of(net)
    change(net)
    assert not known.are_of(net)
    assert KnownWeights(net).fingerprint != known.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.load_state_dict({name: x.clone() for name, x in net.state_dict().items()}),
        lambda net: net.load_state_dict(copy.deepcopy(net.state_dict()), assign=True),
        lambda net: net.double().float(),
        lambda net: net.train(),
    ],
    ids=["loaded", "assigned", "there and back", "training mode"],
)
def test_the_same_weights_are_the_same_wherever_they_lie(change: Any) -> None:
    net = network()
    known = KnownWeights(net)
    change(net)
    assert known.are_of(net)
    assert known.are_of(copy.deepcopy(net))
    trained(net, fused=True)
    assert not known.are_of(net)


def test_weights_nobody_wrote_to_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost a fifth of an update."""
    net = network()
    known = KnownWeights(net)
    monkeypatch.setattr("rimer_forecaster.network.state.fingerprint", lambda net: 1 / 0)
    assert known.are_of(net)
