"""How the scan by chunks is launched: segments, precisions of a card, cards without room for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from triton_cases import check_scan, inputs

from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import MODES, relative_errors, run, state_like

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton import scan_launch
from rimer_forecaster.kernels.triton.scan_launch import triton_scan


def cut_into(segment_length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_launch, "_segment_length", lambda heads, T, device: segment_length)


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
def test_segments_beside_each_other_equal_the_definition(
    with_state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(64, monkeypatch)
    tensors = inputs(150, "repeated keys", H=2)
    check_scan(triton_scan, tensors, initial=with_state, final=with_state)


def test_a_segment_of_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(128, monkeypatch)
    check_scan(triton_scan, inputs(200))


def to_tf32(x: np.ndarray) -> np.ndarray:
    """Cut float32 to ten binary digits, as Triton and the matrix units do."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return (bits & ~np.uint32(2**13 - 1)).view(np.float32)


def to_bf16(x: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)).bfloat16().float().numpy()


def product(x: np.ndarray, y: np.ndarray, precision: str) -> np.ndarray:
    """Multiply matrices as Triton lets the matrix units of a card do."""
    rounded = to_tf32 if precision.startswith("TF32") else to_bf16
    x_high, y_high = rounded(x), rounded(y)
    if not precision.endswith("x3"):
        return x_high @ y_high
    x_low, y_low = rounded(x - x_high), rounded(y - y_high)
    return x_high @ y_low + x_low @ y_high + x_high @ y_high


@pytest.fixture
def matrix_units(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the interpreter the products of an NVIDIA card; return the names of those used."""
    from triton.runtime import interpreter

    used: list[str] = []

    def create_dot(a: Any, b: Any, d: Any, precision: Any, _: Any) -> Any:
        used.append(precision.name)
        data = product(a.data, b.data, precision.name) + d.data
        return interpreter.TensorHandle(data.astype(np.float32), d.dtype.scalar)

    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "create_dot", create_dot)
    options = dataclasses.replace(
        builder.options, allowed_dot_input_precisions=("tf32", "tf32x3", "bf16x3")
    )
    monkeypatch.setattr(builder, "options", options)
    precisions = scan_launch.precisions
    monkeypatch.setattr(scan_launch, "precisions", lambda target, *rest: precisions("sm_90", *rest))
    return used


@pytest.mark.parametrize("segment_length", [None, 64])
@pytest.mark.parametrize("mode", MODES)
def test_products_of_a_card_are_exact_enough_for_float32(
    mode: str, segment_length: int | None, matrix_units: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if segment_length is not None:
        cut_into(segment_length, monkeypatch)
    check_scan(triton_scan, inputs(100, mode))
    assert set(matrix_units) == {"TF32x3", "BF16x3"}


@pytest.mark.parametrize("T", [12, 100])
@pytest.mark.parametrize("mode", MODES)
def test_products_of_a_card_are_exact_enough_for_bfloat16(
    mode: str, T: int, matrix_units: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products as for bfloat16, results in float32: the error is the products' and the inputs'."""
    precisions = scan_launch.precisions
    monkeypatch.setattr(
        scan_launch,
        "precisions",
        lambda target, kernel, dtype: precisions(target, kernel, torch.bfloat16),
    )
    tensors = inputs(T, mode)
    state = state_like(tensors) if T > 16 else None
    rounded = tuple(x.bfloat16().double() for x in tensors)
    exact = run(loop_scan, tensors, state, torch.float64)
    of_rounding = relative_errors(run(loop_scan, rounded, state, torch.float64), exact)
    actual = run(triton_scan, rounded, state, torch.float32, lengths=None)
    for error, allowed in zip(relative_errors(actual, exact), of_rounding, strict=True):
        assert error <= 1.5 * allowed + 1e-6
    assert "TF32" in matrix_units


def test_a_card_without_room_for_chunks_takes_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_launch, "architecture", lambda device: "gfx1100")
    check_scan(triton_scan, inputs(5))
