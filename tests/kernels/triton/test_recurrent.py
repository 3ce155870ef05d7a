"""The scan step by step and the single step, under Triton's interpreter."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import verification, wkv7_step
from rimer_forecaster.kernels.verification import failure, relative_errors, state_like

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton.recurrent import recurrent_scan, triton_step


def inputs(
    T: int, mode: str = "normal", *, B: int = 1, H: int = 1, N: int = 16
) -> tuple[Tensor, ...]:
    return verification.inputs(T, mode, B=B, H=H, K=N, V=N, seed=T)


def check(tensors: tuple[Tensor, ...], *, initial: bool = True, final: bool = True) -> None:
    state = state_like(tensors) if initial else None
    scan = functools.partial(recurrent_scan, lengths=None)
    assert failure(scan, tensors, state, torch.float32, output_final_state=final) is None


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("T", [1, 16, 17, 35])
def test_steps_equal_the_definition_at_every_length(T: int, with_state: bool) -> None:
    check(inputs(T), initial=with_state, final=with_state)


def test_heads_whose_rows_several_programs_hold() -> None:
    check(inputs(5, B=2, H=2, N=128))


def test_decay_far_below_the_bound_is_held() -> None:
    r, w, k, v, a, b = inputs(20)
    check((r, w.clone().fill_(-30.0), k, v, a, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_step_equals_the_definition_and_overwrites_the_state(dtype: torch.dtype) -> None:
    tensors = tuple(x[:, 0].to(dtype) for x in inputs(1, B=2, H=3, N=32))
    state = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected_o, expected_state = wkv7_step(*tensors, state)
    memory = state.data_ptr()
    o = triton_step(*tensors, state)
    assert state.data_ptr() == memory
    assert o.dtype == dtype
    o_error, state_error = relative_errors(
        [o.double(), state.double()], [expected_o.double(), expected_state.double()]
    )
    assert state_error < 32 * torch.finfo(torch.float32).eps  # sums over 32 channels
    # Both round what they return, the interpreter by cutting digits off.
    assert o_error < 2 * torch.finfo(dtype).eps + 32 * torch.finfo(torch.float32).eps


def test_step_refuses_a_state_that_it_cannot_overwrite() -> None:
    tensors = tuple(x[:, 0].float() for x in inputs(1))
    with pytest.raises(ValueError, match=r"contiguous float32 state to overwrite, got torch\.flo"):
        triton_step(*tensors, torch.zeros(1, 1, 16, 16).double())
