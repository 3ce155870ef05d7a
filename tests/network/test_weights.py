"""Weights in safetensors, and the JSON beside them."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chance import cases, damaged
from network_cases import randomised
from safetensors.torch import load_file, save_file

import rimer_forecaster
from rimer_forecaster import RimerNetwork
from rimer_forecaster.network import NetworkConfig
from rimer_forecaster.network.weights import load_network, read_description, save_weights


def network(**arguments: Any) -> RimerNetwork:
    """A small network whose every parameter is random."""
    net = RimerNetwork(**{"input_chunk_length": 12, "output_chunk_length": 4, **SMALL, **arguments})
    return randomised(net, seed=next(_SEEDS)).eval()


def describe(path: Path, description: dict[str, Any]) -> None:
    """Write a description beside weights, with their digest."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({**description, "sha256": digest}))


_SEEDS = itertools.count()
"""No two networks are alike."""

SMALL: dict[str, Any] = {"width": 4, "head_size": 4}


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        ({}, torch.float32),
        ({"layers": None, "outputs": (0.1, np.float32(0.5), 0.9)}, torch.float64),
        ({"layers": "attention", "outputs": ("location", "scale")}, torch.bfloat16),
        ({"initial_state": "static", "static_covariates": np.int64(2)}, torch.float32),
        ({"layers": "(rwkv7, equilibrium(rwkv7))", "dropout": 0}, torch.float32),
    ],
)
def test_a_network_comes_back_from_its_files(
    arguments: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    net = network(**arguments).to(dtype)
    save_weights(net, tmp_path / "w.safetensors")
    state = torch.get_rng_state()
    loaded = load_network(tmp_path / "w.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.config == net.config
    assert not loaded.training
    static = arguments.get("static_covariates")
    inputs = {
        "past_target": torch.randn(3, 12, 2, dtype=dtype),
        "static_covariates": torch.randn(3, 2, int(static), dtype=dtype) if static else None,
    }
    assert torch.equal(loaded(**inputs), net(**inputs))


def test_the_description_says_what_the_weights_belong_to(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(), path, {"note": 1})
    description = read_description(path)
    assert description == json.loads((tmp_path / "w.json").read_text())
    assert description["version"] == rimer_forecaster.__version__
    assert description["dtype"] == "float32"
    assert description["note"] == 1
    assert description["arguments"]["patch_length"] == 3  # None, when the network was made
    assert len(description["fingerprint"]) == 64
    assert description["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("kind", ["flips", "truncations"])
def test_of_many_damaged_files_none_is_loaded(suffix: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    net = network()
    save_weights(net, path)
    spoilt = path.with_suffix(suffix)
    loaded, count = 0, cases(500)
    for changed in damaged(spoilt.read_bytes(), kind, count):
        spoilt.write_bytes(changed)
        try:
            back = load_network(path)
        except ValueError:
            continue
        loaded += 1  # white space in the JSON is nothing
        assert back.config == net.config
        for name, weight in net.state_dict().items():
            assert torch.equal(back.state_dict()[name], weight)
    assert loaded <= (0.05 * count if suffix == ".json" else 0)


def test_changed_weights_and_files_of_two_networks_are_named(tmp_path: Path) -> None:
    path, other = tmp_path / "w.safetensors", tmp_path / "other.safetensors"
    save_weights(network(), path)
    save_weights(network(), other)
    beside = path.with_suffix(".json")
    description = beside.read_text()
    beside.write_text(other.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match=r"w\.safetensors' are damaged.*does not say the same as"):
        load_network(path)
    inner = json.loads(description)
    del inner["sha256"]
    tensors = load_file(path)
    tensors["skip.offset"][0] += 1
    save_file(tensors, path, metadata={"description": json.dumps(inner)})
    beside.write_text(description)
    with pytest.raises(ValueError, match=r"its SHA-256 is \w{64}, not \w{64}"):
        load_network(path)
    describe(path, inner)
    with pytest.raises(ValueError, match="not those whose fingerprint it holds"):
        load_network(path)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="are damaged, or were changed: KeyError"):
        load_network(path)


def test_arguments_of_another_version_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    arguments = network().config.to_json() | {"later": 1}
    monkeypatch.setattr(NetworkConfig, "to_json", lambda config: arguments)
    monkeypatch.setattr("rimer_forecaster.network.weights.__version__", "9.9")
    save_weights(network(), path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"rimer_forecaster 9\.9, and version .* 'later'"):
        load_network(path)


def test_missing_files_and_other_names_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=r"w\.safetensors' does not exist"):
        load_network(path)
    save_weights(network(), path)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"w\.json' does not exist.*belong together"):
        load_network(path)
    with pytest.raises(ValueError, match=r"path='w\.pt' must end with \.safetensors"):
        save_weights(network(), "w.pt")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("input_chunk_length", 10**9, "input_chunk_length=1000000000 is too large"),
        ("layers", "rwkv7*99999999", "there can be 500 at most"),
        ("layers", "(" * 5000, "brackets can lie 20 deep"),
        ("layers", "attention(window=9999999999)", "window=9999999999 of attention must be"),
        ("width", 2**20, "has .* weights. There can be 1,073,741,824 at most"),
        ("output_chunk_length", 2**20, "input_chunk_length=2000, .*There can be 1,073,741,824"),
    ],
)
def test_sizes_in_a_file_are_refused_before_anything_is_built(
    argument: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(), path)
    inner = {x: y for x, y in read_description(path).items() if x != "sha256"}
    inner["arguments"] |= {"input_chunk_length": 2000} if "output" in argument else {}
    inner["arguments"][argument] = value
    save_file(load_file(path), path, metadata={"description": json.dumps(inner)})
    describe(path, inner)
    with pytest.raises(ValueError, match=message):
        load_network(path)


@pytest.mark.parametrize("key", ["arguments", "dtype", "fingerprint"])
def test_what_a_file_lacks_is_named(key: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(), path)
    inner = {x: y for x, y in read_description(path).items() if x not in ("sha256", key)}
    save_file(load_file(path), path, metadata={"description": json.dumps(inner)})
    describe(path, inner)
    with pytest.raises(ValueError, match=f"w.safetensors' are damaged.*it holds no '{key}'"):
        load_network(path)


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk_leaves_the_weights_that_were_there(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "w.safetensors", network()
    save_weights(old, path)
    names, write = [path.name, "w.json"], Path.write_bytes
    left = iter(range(written))

    def full(file: Path, content: bytes) -> int:
        if next(left, None) is None:
            file.touch()
            raise OSError(28, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=rf"No space left on device; .*/{names[written]}'$"):
        save_weights(network(), path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    assert torch.equal(load_network(path).skip.weight, old.skip.weight)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file or directory; .*/nowhere/w\.safetensors'"):
        save_weights(network(), tmp_path / "nowhere" / "w.safetensors")
