"""A small model, its files, and what loads them, that tests of files of darts models share."""

from __future__ import annotations

import pathlib
import zipfile

import darts_cases
import numpy as np
import torch
from darts import TimeSeries

from rimer_forecaster import RimerModel

TINY = {
    **darts_cases.TINY,
    "input_chunk_length": 12,
    "output_chunk_length": 4,
    "width": 4,
}


def wave(n: int = 100, seed: int = 0) -> TimeSeries:
    values = np.sin(np.arange(n) / 2) + 0.1 * np.random.default_rng(seed).normal(size=n)
    return TimeSeries.from_values(values.astype(np.float32))


def weights(model: RimerModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.network.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def load(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load(str(folder / "model.pt"))


def load_from_checkpoint(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load_from_checkpoint("m", work_dir=str(folder), best=False)


def load_best_checkpoint(folder: pathlib.Path) -> RimerModel:
    return RimerModel.load_from_checkpoint("m", work_dir=str(folder))


def load_weights(folder: pathlib.Path) -> RimerModel:
    model = RimerModel(**TINY)
    model.load_weights(str(folder / "model.pt"))
    return model


def load_weights_from_checkpoint(folder: pathlib.Path) -> RimerModel:
    model = RimerModel(**TINY)
    model.load_weights_from_checkpoint("m", work_dir=str(folder), best=False)
    return model


def damage(path: pathlib.Path) -> None:
    """Flip a bit of a record."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        content = archive.read(largest)
    data = bytearray(path.read_bytes())
    data[data.index(content) + len(content) // 2] ^= 4
    path.write_bytes(data)
