"""The checks that tests and benchmark share find what is wrong."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import wkv7
from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import failure, inputs, state_like

right = functools.partial(wkv7, backend="chunked")


def wrong(*tensors: Tensor, **options: object) -> tuple[Tensor, Tensor | None]:
    r, *rest = tensors
    return loop_scan(r * 1.02, *rest, **options)  # type: ignore[arg-type]


def wrong_at_the_end(*tensors: Tensor, **options: object) -> tuple[Tensor, Tensor | None]:
    o, final_state = loop_scan(*tensors, **options)  # type: ignore[arg-type]
    assert final_state is not None
    return o, 1.02 * final_state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_wrong_scan_is_found(dtype: torch.dtype) -> None:
    tensors = inputs(20, K=16, V=16)
    assert failure(right, tensors, None, dtype) is None
    found = failure(wrong, tensors, None, dtype)
    assert found is not None
    assert found.startswith("output off by 2.")


def test_a_wrong_state_is_found_with_an_initial_one_or_without() -> None:
    tensors = inputs(20, K=16, V=16)
    for state in (state_like(tensors), None):
        arguments = (tensors, state, torch.float32)
        assert failure(right, *arguments, output_final_state=True) is None
        found = failure(wrong_at_the_end, *arguments, output_final_state=True)
        assert found is not None
        assert found.startswith("final state off by 2.")
