"""Weights of the package: by name, once, frozen, and only if they are intact."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rimer_forecaster.network import transfer
from rimer_forecaster.zero_shot import catalogue, describe, names, zero_shot_network

FOLDER = Path(catalogue.__file__).parent / "weights"


def test_all_callers_get_the_same_frozen_network():
    network = zero_shot_network()

    assert network is zero_shot_network("rimer-zero") is zero_shot_network("rimer-zero-1")
    assert not any(x.requires_grad for x in network.parameters())
    assert {x.dtype for x in network.parameters()} == {torch.float32}
    assert not network.training


def test_loading_imports_nothing_that_takes_long():
    code = """
import sys
from rimer_forecaster.zero_shot import zero_shot_network
zero_shot_network()
print([x for x in ("sympy", "pytorch_lightning", "darts", "sktime") if x in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_copy_may_be_trained_and_leaves_the_network_alone():
    network = zero_shot_network()
    before = [x.clone() for x in network.parameters()]

    copy = transfer.trainable_copy(network)
    for parameter in copy.parameters():
        assert parameter.requires_grad
        parameter.data.add_(1)

    assert all(torch.equal(x, y) for x, y in zip(network.parameters(), before, strict=True))


def test_weights_of_the_package_are_small_and_say_what_they_are():
    for name in names():
        path = FOLDER / f"{name}.safetensors"
        assert path.stat().st_size <= 4e6
        known = describe(name)
        assert known["name"] == name
        assert known["dtype"] == "float16"
        assert known["quantiles"] == known["arguments"]["outputs"]
        for entry in ("arguments", "fingerprint", "hours", "machine", "plan", "prior", "series",
                      "sha256", "steps", "validation"):  # fmt: skip
            assert known[entry], entry
        assert {"train", "validation"} == set(known["series"])


def test_what_is_told_of_weights_is_a_copy():
    describe()["quantiles"].clear()

    assert describe()["quantiles"]


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"there are no weights 'rimer-one'.*'rimer-zero-1'"):
        zero_shot_network("rimer-one")
    with pytest.raises(ValueError, match="there are no weights 'rimer-one'"):
        describe("rimer-one")


def copied(folder, name="rimer-zero-1"):
    for suffix in (".safetensors", ".json"):
        shutil.copy(FOLDER / f"{name}{suffix}", folder / f"own{suffix}")
    return folder / "own.safetensors"


def test_a_file_is_read_by_its_path(tmp_path):
    network = zero_shot_network(copied(tmp_path))

    assert network is not zero_shot_network()
    assert not any(x.requires_grad for x in network.parameters())
    for own, other in zip(network.parameters(), zero_shot_network().parameters(), strict=True):
        assert torch.equal(own, other)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        zero_shot_network(tmp_path / "none.safetensors")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_refused(place, bit, tmp_path):
    path = copied(tmp_path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)

    with pytest.raises(ValueError, match="are damaged, or were changed"):
        zero_shot_network(path)


def test_a_changed_description_is_refused(tmp_path):
    path = copied(tmp_path)
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "steps": 1}))

    with pytest.raises(ValueError, match="it does not say the same as"):
        zero_shot_network(path)


def test_damaged_weights_of_the_package_are_refused_too(tmp_path, monkeypatch):
    path = copied(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(catalogue, "_FOLDER", tmp_path)

    assert names() == ["own"]
    with pytest.raises(ValueError, match="are damaged, or were changed"):
        zero_shot_network("own")


def test_weights_that_a_process_shares_are_not_cast() -> None:
    with pytest.raises(RuntimeError, match="'rimer-zero-1' are shared by all models"):
        zero_shot_network().double()
    assert zero_shot_network().dtype == torch.float32
    assert transfer.trainable_copy(zero_shot_network()).double().dtype == torch.float64
