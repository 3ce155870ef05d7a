"""Both Triton scans under Triton's interpreter, against the definition in float64.

The interpreter runs on the CPU and proves the arithmetic, the masks and the addresses; that the
kernels fit a card is for `compile_report`, and that they are fast for the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from triton_cases import check_scan, inputs

from rimer_forecaster.kernels import wkv7
from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import (
    MODES,
    incoming_gradient,
    relative_errors,
    run,
    state_like,
)

pytest.importorskip("triton", reason="the GPU kernels need triton")

from rimer_forecaster.kernels.triton import scan_launch
from rimer_forecaster.kernels.triton.recurrent import recurrent_scan
from rimer_forecaster.kernels.triton.scan_launch import triton_scan

Scan = Callable[..., tuple[Tensor, Tensor | None]]
SCANS = [triton_scan, recurrent_scan]


def worst(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(relative_errors(actual, expected))


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("T", [1, 2, 15, 16, 17, 63, 64, 65, 150])
def test_chunks_equal_the_definition_at_every_length(T: int, with_state: bool) -> None:
    check_scan(triton_scan, inputs(T), initial=with_state, final=with_state)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scan", SCANS)
def test_modes_of_decay_and_keys(scan: Scan, mode: str) -> None:
    check_scan(scan, inputs(35, mode))


@pytest.mark.parametrize("scan", SCANS)
def test_heads_and_sequences_do_not_meet(scan: Scan) -> None:
    check_scan(scan, inputs(18, B=3, H=2))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    T=st.integers(1, 70),
    heads=st.sampled_from([(1, 1), (1, 2), (2, 1)]),
    mode=st.sampled_from(MODES),
    initial=st.booleans(),
    final=st.booleans(),
    scan=st.sampled_from(SCANS),
)
def test_any_shape(
    T: int, heads: tuple[int, int], mode: str, initial: bool, final: bool, scan: Scan
) -> None:
    if scan is recurrent_scan:
        T = 1 + T % 20  # a step takes milliseconds
    B, H = heads
    check_scan(scan, inputs(T, mode, B=B, H=H), initial=initial, final=final)


@pytest.mark.parametrize("scan", SCANS)
def test_wider_heads(scan: Scan) -> None:
    check_scan(scan, inputs(20, N=32))


def test_two_slices_a_head() -> None:
    check_scan(triton_scan, inputs(20, N=64))


@pytest.mark.parametrize(("initial", "final"), [(True, False), (False, True)])
@pytest.mark.parametrize("scan", SCANS)
def test_either_state_alone(scan: Scan, initial: bool, final: bool) -> None:
    check_scan(scan, inputs(17), initial=initial, final=final)
    check_scan(scan, inputs(9), initial=initial, final=final)


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("scan", SCANS)
def test_padding_is_neither_read_nor_written(
    scan: Scan, segmented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    T, lengths = (70, [70, 33, 0]) if scan is triton_scan else (20, [20, 7, 0])
    if segmented:
        monkeypatch.setattr(scan_launch, "_segment_length", lambda heads, T, device: 64)
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


def test_the_operator_takes_the_kernels_and_for_a_strong_decay_the_steps() -> None:
    r, w, k, v, a, b = (x.float() for x in inputs(20))
    options = {"initial_state": None, "output_final_state": False, "lengths": None}
    o, _ = wkv7(r, w, k, v, a, b, backend="triton")
    assert torch.equal(o, triton_scan(r, w, k, v, a, b, **options)[0])
    strong = 60 * w
    o, _ = wkv7(r, strong, k, v, a, b, backend="triton")
    assert torch.equal(o, recurrent_scan(r, strong, k, v, a, b, **options)[0])
