"""What a device can run, and how its kernels may write."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton import device
from rimer_forecaster.kernels.triton.device import unsupported


def test_what_cannot_run_is_said() -> None:
    r = torch.zeros(1, 1, 1, 16)
    assert unsupported(r, r) is None
    assert "got K = 24, V = 16" in str(unsupported(torch.zeros(1, 1, 1, 24), r))
    assert "got torch.float64" in str(unsupported(r.double(), r.double()))


def test_no_kernel_uses_atomics() -> None:
    assert device.__file__ is not None
    sources = [path.read_text() for path in Path(device.__file__).parent.glob("*.py")]
    kernels = [source for source in sources if "@triton.jit" in source]
    assert kernels
    assert not any("atomic" in source for source in kernels)
