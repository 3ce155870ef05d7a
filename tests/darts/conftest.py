"""Files of a fitted model, to load and to spoil."""

from __future__ import annotations

import pathlib
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rimer_forecaster import RimerModel


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[RimerModel, pathlib.Path]:
    """A fitted model, with a folder that holds what it saved by itself and what was asked for."""
    pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")
    from file_cases import TINY, wave

    from rimer_forecaster import RimerModel

    folder = tmp_path_factory.mktemp("original")
    settings = {**TINY, "n_epochs": 3, "model_name": "m", "work_dir": str(folder)}
    model = RimerModel(**settings, save_checkpoints=True)
    model.fit(wave(), val_series=wave(seed=1))
    model.save(str(folder / "model.pt"))
    kept = folder.rename(folder.with_name("kept"))  # loaded models that train on write elsewhere
    return model, kept


@pytest.fixture
def folder(original: tuple[RimerModel, pathlib.Path], tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of that folder, to spoil."""
    shutil.copytree(original[1], tmp_path / "copy")
    return tmp_path / "copy"
