"""The scan step by step and the single step, under Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from triton_cases import check_scan, inputs

from rimer_forecaster.kernels import wkv7_step
from rimer_forecaster.kernels.verification import relative_errors

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton.recurrent import recurrent_scan, triton_step


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("T", [1, 16, 17, 35])
def test_steps_equal_the_definition_at_every_length(T: int, with_state: bool) -> None:
    check_scan(recurrent_scan, inputs(T), initial=with_state, final=with_state)


def test_heads_whose_rows_several_programs_hold() -> None:
    check_scan(recurrent_scan, inputs(5, B=2, H=2, N=128))


def test_decay_far_below_the_bound_is_held() -> None:
    r, w, k, v, a, b = inputs(20)
    check_scan(recurrent_scan, (r, w.clone().fill_(-30.0), k, v, a, b))


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
