"""The Triton kernels under Triton's interpreter, against the definition in float64.

The interpreter runs on the CPU and proves the arithmetic, the masks and the addresses; that the
kernels fit a card is for `compile_report`, and that they are fast for the benchmark.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rimer_forecaster.kernels import verification, wkv7, wkv7_step
from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import (
    MODES,
    incoming_gradient,
    relative_errors,
    run,
    state_like,
)

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton import recurrent, scan_launch
from rimer_forecaster.kernels.triton.device import nothing, unsupported
from rimer_forecaster.kernels.triton.recurrent import recurrent_scan, triton_step
from rimer_forecaster.kernels.triton.scan_launch import triton_scan

Scan = Callable[..., tuple[Tensor, Tensor | None]]
SCANS = [triton_scan, recurrent_scan]
GUARD = 64


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fill what the kernels are to fill with NaN, and check that nothing beside it was written."""
    given: list[tuple[Tensor, int]] = []

    def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        size = torch.Size(shape).numel()
        memory = torch.full((size + 2 * GUARD,), float("nan"), dtype=dtype, device=device)
        given.append((memory, size))
        return memory[GUARD : GUARD + size].view(shape)

    monkeypatch.setattr(scan_launch, "empty", empty)
    monkeypatch.setattr(recurrent, "empty", empty)
    yield
    for memory, size in given:
        assert memory[:GUARD].isnan().all()
        assert memory[GUARD + size :].isnan().all()
    for dtype in (torch.float32, torch.int32):
        assert not nothing(torch.device("cpu"), dtype).any()


def inputs(
    T: int, mode: str = "normal", *, B: int = 1, H: int = 1, N: int = 16
) -> tuple[Tensor, ...]:
    return verification.inputs(T, mode, B=B, H=H, K=N, V=N, seed=T)


def worst(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(relative_errors(actual, expected))


def check(
    scan: Scan, tensors: tuple[Tensor, ...], *, initial: bool = True, final: bool = True
) -> None:
    """Hold a scan in float32 to the tolerances of its issue: 1e-5 forward, 1e-4 backward."""
    state = state_like(tensors) if initial else None
    expected = run(loop_scan, tensors, state, torch.float64, output_final_state=final)
    actual = run(scan, tensors, state, torch.float32, output_final_state=final, lengths=None)
    outputs = 2 if final else 1
    assert worst(actual[:outputs], expected[:outputs]) < 1e-5
    assert worst(actual[outputs:], expected[outputs:]) < 1e-4


def cut_into(segment_length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_launch, "_segment_length", lambda heads, T, device: segment_length)


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("T", [1, 2, 15, 16, 17, 63, 64, 65, 150])
def test_chunks_equal_the_definition_at_every_length(T: int, with_state: bool) -> None:
    check(triton_scan, inputs(T), initial=with_state, final=with_state)


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("T", [1, 16, 17, 35])
def test_steps_equal_the_definition_at_every_length(T: int, with_state: bool) -> None:
    check(recurrent_scan, inputs(T), initial=with_state, final=with_state)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scan", SCANS)
def test_modes_of_decay_and_keys(scan: Scan, mode: str) -> None:
    check(scan, inputs(35, mode))


@pytest.mark.parametrize("scan", SCANS)
def test_heads_and_sequences_do_not_meet(scan: Scan) -> None:
    check(scan, inputs(18, B=3, H=2))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    T=st.integers(1, 90),
    B=st.integers(1, 2),
    H=st.integers(1, 2),
    mode=st.sampled_from(MODES),
    initial=st.booleans(),
    final=st.booleans(),
    scan=st.sampled_from(SCANS),
)
def test_any_shape(
    T: int, B: int, H: int, mode: str, initial: bool, final: bool, scan: Scan
) -> None:
    if scan is recurrent_scan:
        T = 1 + T % 20  # a step takes milliseconds
    check(scan, inputs(T, mode, B=B, H=H), initial=initial, final=final)


@pytest.mark.parametrize("scan", SCANS)
def test_wider_heads(scan: Scan) -> None:
    check(scan, inputs(20, N=32))


def test_heads_whose_rows_several_programs_hold() -> None:
    check(recurrent_scan, inputs(5, B=2, H=2, N=128))


def test_two_slices_a_head() -> None:
    check(triton_scan, inputs(20, N=64))


@pytest.mark.parametrize(("initial", "final"), [(True, False), (False, True)])
@pytest.mark.parametrize("scan", SCANS)
def test_either_state_alone(scan: Scan, initial: bool, final: bool) -> None:
    check(scan, inputs(17), initial=initial, final=final)
    check(scan, inputs(9), initial=initial, final=final)


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
def test_segments_beside_each_other_equal_the_definition(
    with_state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(64, monkeypatch)
    tensors = inputs(150, "repeated keys", H=2)
    check(triton_scan, tensors, initial=with_state, final=with_state)


def test_a_segment_of_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(128, monkeypatch)
    check(triton_scan, inputs(200))


def test_decay_far_below_the_bound_takes_the_steps() -> None:
    r, w, k, v, a, b = inputs(20)
    check(recurrent_scan, (r, w.clone().fill_(-30.0), k, v, a, b))


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("scan", SCANS)
def test_padding_is_neither_read_nor_written(
    scan: Scan, segmented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    T, lengths = (70, [70, 33, 0]) if scan is triton_scan else (20, [20, 7, 0])
    if segmented:
        cut_into(64, monkeypatch)
    tensors = inputs(T, B=3)
    padded = tuple(x.clone() for x in tensors)
    for x in padded:
        for i, length in enumerate(lengths):
            x[i, length:] = float("nan")
    state = state_like(tensors)
    actual = run(scan, padded, state, torch.float32, lengths=torch.tensor(lengths))
    for i, length in enumerate(lengths):
        for x in (actual[0], *actual[2:8]):
            assert torch.equal(x[i, length:], torch.zeros_like(x[i, length:]))
        if length:
            leaves = [x[i : i + 1, :length].requires_grad_() for x in tensors]
            leaves.append(state[i : i + 1].requires_grad_())
            o, end = loop_scan(*leaves[:6], initial_state=leaves[6], output_final_state=True)
            assert end is not None
            weight = incoming_gradient(tensors[0].shape)
            loss = (o * weight[i : i + 1, :length]).sum()
            loss = loss + (end * state_like(tensors, seed=3)[i : i + 1]).sum()
            expected = [o, end, *torch.autograd.grad(loss, leaves)]
            cut = [x[i : i + 1] for x in actual]
            cut = [x[:, :length] if x.shape[1] == T else x for x in cut]
            assert worst(cut, [x.detach() for x in expected]) < 1e-5
    assert torch.equal(actual[1][2], state[2].float().double())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["normal", "repeated keys"])
@pytest.mark.parametrize("scan", SCANS)
def test_half_precision_errs_as_its_rounding_does(
    scan: Scan, mode: str, dtype: torch.dtype
) -> None:
    tensors = inputs(33, mode)
    exact = run(loop_scan, tensors, state_like(tensors), torch.float64)
    rounded = tuple(x.to(dtype).double() for x in tensors)
    of_rounding = run(loop_scan, rounded, state_like(tensors), torch.float64)
    actual = run(scan, tensors, state_like(tensors), dtype, lengths=None)
    for x, y, z in zip(actual, of_rounding, exact, strict=True):
        assert (x - z).norm() < 1.5 * (y - z).norm() + 2 * torch.finfo(dtype).eps * z.norm()


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
    check(triton_scan, inputs(100, mode))
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


@pytest.mark.parametrize("scan", SCANS)
def test_strides_do_not_matter(scan: Scan) -> None:
    tensors = tuple(x.float() for x in inputs(18, B=2, H=2))
    o, state = scan(*tensors, initial_state=None, output_final_state=True, lengths=None)
    turned = tuple(x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0) for x in tensors)
    same_o, same_state = scan(*turned, initial_state=None, output_final_state=True, lengths=None)
    assert torch.equal(o, same_o)
    assert state is not None
    assert same_state is not None
    assert torch.equal(state, same_state)


@pytest.mark.parametrize("scan", SCANS)
def test_gradients_of_some_inputs_and_of_the_final_state_alone(scan: Scan) -> None:
    tensors = inputs(18)
    weight = state_like(tensors, seed=3)

    def gradient(function: Scan, dtype: torch.dtype, **options: None) -> list[Tensor]:
        xs = [x.to(dtype) for x in tensors]
        leaves = [xs[1].requires_grad_(), xs[3].requires_grad_()]
        _, final_state = function(*xs, initial_state=None, output_final_state=True, **options)
        assert final_state is not None
        loss = (final_state * weight.to(dtype)).sum()
        return [x.double() for x in torch.autograd.grad(loss, leaves)]

    expected = gradient(loop_scan, torch.float64)
    assert worst(gradient(scan, torch.float32, lengths=None), expected) < 1e-5


@pytest.mark.parametrize("scan", SCANS)
def test_two_runs_are_bit_equal(scan: Scan) -> None:
    tensors = inputs(35)
    first = run(scan, tensors, state_like(tensors), torch.float32, lengths=None)
    second = run(scan, tensors, state_like(tensors), torch.float32, lengths=None)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_step_equals_the_definition_and_overwrites_the_state(dtype: torch.dtype) -> None:
    tensors = tuple(x[:, 0].to(dtype) for x in inputs(1, B=2, H=3, N=32))
    state = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected_o, expected_state = wkv7_step(*tensors, state)
    memory = state.data_ptr()
    o = triton_step(*tensors, state)
    assert state.data_ptr() == memory
    assert o.dtype == dtype
    torch.testing.assert_close(state, expected_state)
    torch.testing.assert_close(o, expected_o)


def test_step_refuses_a_state_that_it_cannot_overwrite() -> None:
    tensors = tuple(x[:, 0].float() for x in inputs(1))
    with pytest.raises(ValueError, match=r"contiguous float32 state to overwrite, got torch\.flo"):
        triton_step(*tensors, torch.zeros(1, 1, 16, 16).double())


def test_what_cannot_run_is_said() -> None:
    r = torch.zeros(1, 1, 1, 16)
    assert unsupported(r, r) is None
    assert "got K = 24, V = 16" in str(unsupported(torch.zeros(1, 1, 1, 24), r))
    assert "got torch.float64" in str(unsupported(r.double(), r.double()))


def test_a_card_without_room_for_chunks_takes_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_launch, "architecture", lambda device: "gfx1100")
    check(triton_scan, inputs(5))


def test_the_operator_takes_the_kernels_and_for_a_strong_decay_the_steps() -> None:
    r, w, k, v, a, b = (x.float() for x in inputs(20))
    options = {"initial_state": None, "output_final_state": False, "lengths": None}
    o, _ = wkv7(r, w, k, v, a, b, backend="triton")
    assert torch.equal(o, triton_scan(r, w, k, v, a, b, **options)[0])
    strong = 60 * w
    o, _ = wkv7(r, strong, k, v, a, b, backend="triton")
    assert torch.equal(o, recurrent_scan(r, strong, k, v, a, b, **options)[0])


def test_no_kernel_uses_atomics() -> None:
    assert recurrent.__file__ is not None
    sources = [path.read_text() for path in Path(recurrent.__file__).parent.glob("*.py")]
    assert sum("@triton.jit" in source for source in sources) == 6
    assert not any("atomic" in source for source in sources)


def test_report_compiles_without_a_card() -> None:
    script = """
from rimer_forecaster.kernels.compile_report import measure, report, variants
for target, label in (("sm_90", "forward one chunk"), ("gfx942", "recurrent_forward")):
    variant = next(v for v in variants(target) if v.label == label)
    print(report([measure(variant)]))
"""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "| sm_90 | forward one chunk | fp32 | 16 |" in done.stdout
    assert "| gfx942 | recurrent_forward | fp32 | 16 |" in done.stdout
