"""What tests of the Triton kernels hold a scan against."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from rimer_forecaster.kernels import verification


def inputs(
    T: int, mode: str = "normal", *, B: int = 1, H: int = 1, N: int = 16
) -> tuple[Tensor, ...]:
    """Inputs of a scan whose heads are square, others for each length."""
    return verification.inputs(T, mode, B=B, H=H, K=N, V=N, seed=T)


def check_scan(
    scan: Callable[..., tuple[Tensor, Tensor | None]],
    tensors: tuple[Tensor, ...],
    *,
    initial: bool = True,
    final: bool = True,
) -> None:
    """Fail where a scan is not the definition in float32, with an initial and a final state."""
    state = verification.state_like(tensors) if initial else None
    scan = functools.partial(scan, lengths=None)
    wrong = verification.failure(scan, tensors, state, torch.float32, output_final_state=final)
    assert wrong is None
