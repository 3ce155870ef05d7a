"""Files of darts models that are damaged, or hold code: none is loaded."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from chance import cases, damaged
from file_cases import (
    assert_equal,
    damage,
    load,
    load_best_checkpoint,
    load_from_checkpoint,
    load_weights,
    load_weights_from_checkpoint,
    wave,
    weights,
)

from rimer_forecaster import RimerModel
from rimer_forecaster.darts.archives import check_saved_file

FILES: dict[str, tuple[str, Callable[[pathlib.Path], RimerModel]]] = {
    "model": ("model.pt", load),
    "its weights": ("model.pt.ckpt", load),
    "initial model": ("m/_model.pth.tar", load_from_checkpoint),
    "last checkpoint": ("m/checkpoints/last-*", load_from_checkpoint),
}


@pytest.mark.parametrize("kind", ["flips", "truncations"])
@pytest.mark.parametrize("file", FILES)
def test_of_many_damaged_files_none_gives_another_model(
    file: str, kind: str, original: tuple[RimerModel, pathlib.Path], folder: pathlib.Path
) -> None:
    pattern, loader = FILES[file]
    (path,) = folder.glob(pattern)
    window = torch.from_numpy(wave(12).values()[None])
    expected = weights(original[0]), original[0].model.network.eval()(window)
    loaded, count = 0, cases(100)
    for data in damaged(path.read_bytes(), kind, count):
        path.write_bytes(data)
        try:
            model = loader(folder)
        except Exception:
            continue
        assert kind == "flips"  # of what nobody reads
        loaded += 1
        assert_equal(weights(model), expected[0])
        assert torch.equal(model.network.eval()(window), expected[1])
        if model.training_series is not None:
            np.testing.assert_array_equal(model.training_series.values(), wave().values())
    assert loaded < 0.4 * count


@pytest.mark.parametrize(
    ("pattern", "loader"),
    [
        *FILES.values(),
        ("m/checkpoints/best-*", load_best_checkpoint),
        ("model.pt", load_weights),
        ("model.pt.ckpt", load_weights),
        ("m/_model.pth.tar", load_weights_from_checkpoint),
        ("m/checkpoints/last-*", load_weights_from_checkpoint),
    ],
)
def test_every_loader_names_the_damaged_file_and_the_remedy(
    pattern: str, loader: Callable[[pathlib.Path], RimerModel], folder: pathlib.Path
) -> None:
    loader(folder)
    (path,) = folder.glob(pattern)
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name}' is damaged .*Take another copy"):
        loader(folder)


def central_records(data: bytes) -> list[int]:
    return [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]


@pytest.mark.parametrize(
    ("offset", "bit"),
    [
        (38, 0x10),  # a directory: torch would leave memory as it was
        (24, 0x40),  # another size
    ],
)
def test_what_torch_reads_otherwise_than_zipfile_is_refused(
    offset: int, bit: int, folder: pathlib.Path
) -> None:
    path = folder / "model.pt.ckpt"
    data = path.read_bytes()
    for start in central_records(data):
        spoilt = bytearray(data)
        spoilt[start + offset] ^= bit
        path.write_bytes(spoilt)
        with pytest.raises(ValueError, match="is damaged"):
            check_saved_file(path)
    path.write_bytes(data)
    check_saved_file(path)


def test_bytes_after_the_end_and_other_files_are_refused(folder: pathlib.Path) -> None:
    path = folder / "model.pt"
    data = path.read_bytes()
    for content in (data + b"\0", b"", b"text", data[:100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pt' is damaged"):
            check_saved_file(path)
    with pytest.raises(FileNotFoundError):
        RimerModel.load(str(folder / "nothing.pt"))


class Intruder:
    def __init__(self, trace: pathlib.Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (self.trace,)


@pytest.mark.parametrize("suffix", ["", ".ckpt"])
def test_code_in_a_file_is_refused_and_does_not_run(suffix: str, folder: pathlib.Path) -> None:
    trace = folder / "trace"
    torch.save({"state_dict": Intruder(trace)}, folder / f"model.pt{suffix}")
    with pytest.raises(RuntimeError, match="not allow-listed for safe loading"):
        load(folder)
    assert not trace.exists()
