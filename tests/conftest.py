"""Settings for all tests."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # networks this small only wait for each other's threads
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TRITON_INTERPRET"] = "1"  # GPU kernels run on the CPU; read when triton is imported

import torch

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def example() -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of examples/figures or examples/paper by its name."""
    examples, before = Path(__file__).parents[1] / "examples", list(sys.path)
    sys.path[:0] = [str(examples / "figures"), str(examples / "paper")]
    yield importlib.import_module
    sys.path[:] = before  # the scripts of paper/ add figures/ themselves
