"""What every test of the Triton kernels stands under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

GUARD = 64
"""Numbers beside each piece of memory that nothing may write."""


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fill what the kernels are to fill with NaN, and check that nothing beside it was written."""
    from rimer_forecaster.kernels.triton import recurrent, scan_launch
    from rimer_forecaster.kernels.triton.device import nothing

    given: list[tuple[Tensor, int]] = []

    def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        size = torch.Size(shape).numel()
        memory = torch.full((size + 2 * GUARD,), float("nan"), dtype=dtype, device=device)
        given.append((memory, size))
        return memory[GUARD : GUARD + size].view(shape)

    for module in (recurrent, scan_launch):
        monkeypatch.setattr(module, "empty", empty)
    yield
    for memory, size in given:
        assert memory[:GUARD].isnan().all()
        assert memory[GUARD + size :].isnan().all()
    for dtype in (torch.float32, torch.int32):
        assert not nothing(torch.device("cpu"), dtype).any()
