"""The operator: every path against the definition, and the definition against what it must do."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from rimer_forecaster.kernels import chunked, wkv7, wkv7_step
from rimer_forecaster.kernels.loop import loop_scan
from rimer_forecaster.kernels.verification import (
    LENGTHS,
    MODES,
    failure,
    inputs,
    relative_errors,
    run,
    state_like,
)
from rimer_forecaster.kernels.wkv7 import wkv7 as wkv7_of_module

BACKENDS = ["loop", "chunked", "numba"]


def through(backend: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
    return functools.partial(wkv7, backend=backend)


@pytest.mark.parametrize("with_state", [False, True], ids=["no state", "state"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("T", LENGTHS)
def test_every_path_equals_the_definition(T: int, mode: str, with_state: bool) -> None:
    tensors = inputs(T, mode)
    state = state_like(tensors) if with_state else None
    expected = run(loop_scan, tensors, state, torch.float64)
    for backend in ("chunked", "numba"):
        actual = run(through(backend), tensors, state, torch.float64)
        assert max(relative_errors(actual, expected)) < 1e-12, backend


@settings(max_examples=25, deadline=None)
@given(
    T=st.integers(1, 140),
    B=st.integers(1, 3),
    H=st.integers(1, 3),
    K=st.sampled_from([1, 5, 8]),
    V=st.sampled_from([2, 6]),
    mode=st.sampled_from(MODES),
    with_state=st.booleans(),
)
def test_every_path_equals_the_definition_at_any_shape(
    T: int, B: int, H: int, K: int, V: int, mode: str, with_state: bool
) -> None:
    tensors = inputs(T, mode, B=B, H=H, K=K, V=V, seed=T)
    state = state_like(tensors) if with_state else None
    expected = run(loop_scan, tensors, state, torch.float64)
    for backend in ("chunked", "numba"):
        actual = run(through(backend), tensors, state, torch.float64)
        assert max(relative_errors(actual, expected)) < 1e-12, backend


def test_long_sequences_in_float32() -> None:
    tensors = inputs(8192, "weak decay", B=1, H=1, K=16, V=16)
    expected = run(through("numba"), tensors, None, torch.float64)
    for backend in ("chunked", "numba"):
        errors = relative_errors(run(through(backend), tensors, None, torch.float32), expected)
        assert errors[0] < 1e-5, backend
        assert max(errors[1:]) < 1e-4, backend


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_each_precision_is_as_exact_as_it_allows(
    dtype: torch.dtype, backend: str, mode: str
) -> None:
    tensors = inputs(257, mode, K=16, V=16)
    assert failure(through(backend), tensors, state_like(tensors), dtype) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_with_initial_and_final_state(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "MAX_CHUNK_LENGTH", 3)  # several chunks, the last one padded
    tensors = inputs(7, B=1, H=2, K=3, V=2)
    leaves = [x.requires_grad_() for x in (*tensors, state_like(tensors))]

    def scan(*xs: Tensor) -> tuple[Tensor, Tensor | None]:
        return wkv7(*xs[:6], initial_state=xs[6], output_final_state=True, backend=backend)

    assert gradcheck(scan, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_the_final_state_alone(backend: str) -> None:
    tensors = inputs(5, B=1, H=1, K=3, V=2)
    leaves = [x.requires_grad_() for x in tensors]

    def scan(*xs: Tensor) -> Tensor | None:
        return wkv7(*xs, output_final_state=True, backend=backend)[1]

    assert gradcheck(scan, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_where_nobody_asks_for_the_final_state(backend: str) -> None:
    tensors = inputs(5, B=1, H=1, K=3, V=2)
    leaves = [x.requires_grad_() for x in (*tensors, state_like(tensors))]

    def scan(*xs: Tensor) -> Tensor:
        return wkv7(*xs[:6], initial_state=xs[6], backend=backend)[0]

    assert gradcheck(scan, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", [1, 2, 63, 64, 65, 128, 199])
def test_cut_anywhere_and_carry_the_state(cut: int, backend: str) -> None:
    tensors = inputs(200)
    state = state_like(tensors)
    whole, end = wkv7(*tensors, initial_state=state, output_final_state=True, backend=backend)
    left, middle = wkv7(
        *(x[:, :cut] for x in tensors),
        initial_state=state,
        output_final_state=True,
        backend=backend,
    )
    right, carried = wkv7(
        *(x[:, cut:] for x in tensors),
        initial_state=middle,
        output_final_state=True,
        backend=backend,
    )
    torch.testing.assert_close(torch.cat((left, right), 1), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(carried, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [1, 5, 130])
def test_masked_steps_leave_the_state_bit_identical(T: int, backend: str) -> None:
    r, w, k, v, a, b = (x.float() for x in inputs(T))
    state = state_like((r, w, k, v, a, b))
    zero = torch.zeros_like(k)
    _, final_state = wkv7(
        r, zero, zero, v, zero, zero, initial_state=state, output_final_state=True, backend=backend
    )
    assert torch.equal(final_state, state)


@pytest.mark.parametrize("backend", BACKENDS)
def test_right_padding_is_neither_read_nor_written(backend: str) -> None:
    T, lengths = 70, torch.tensor([70, 33, 0])
    tensors = inputs(T, B=3)
    state = state_like(tensors)
    padded = tuple(x.clone() for x in tensors)
    for x in padded:
        for i, length in enumerate(lengths):
            x[i, length:] = float("nan")
    o, final_state = wkv7(
        *padded, initial_state=state, output_final_state=True, lengths=lengths, backend=backend
    )
    assert final_state is not None
    for i, length in enumerate(lengths):
        assert torch.equal(o[i, length:], torch.zeros_like(o[i, length:]))
        if length:
            alone, end = wkv7(
                *(x[i : i + 1, :length] for x in tensors),
                initial_state=state[i : i + 1],
                output_final_state=True,
                backend=backend,
            )
            torch.testing.assert_close(o[i : i + 1, :length], alone, rtol=0, atol=1e-12)
            torch.testing.assert_close(final_state[i : i + 1], end, rtol=0, atol=1e-12)
    assert torch.equal(final_state[2], state[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_learning_rate_of_two_reflects_and_tracks_a_thousand_swaps(backend: str) -> None:
    swaps, n = 1000, 6
    generator = torch.Generator().manual_seed(0)
    kappa = torch.zeros(1, swaps, 1, n, dtype=torch.float32)
    permutation = list(range(n))
    for t in range(swaps):
        i, j = torch.randperm(n, generator=generator)[:2].tolist()
        kappa[0, t, 0, i], kappa[0, t, 0, j] = 0.5**0.5, -(0.5**0.5)
        permutation[i], permutation[j] = permutation[j], permutation[i]
    zero = torch.zeros_like(kappa)
    _, state = wkv7(
        *(zero, zero, zero, zero, -kappa, 2 * kappa),
        initial_state=torch.eye(n)[None, None],
        output_final_state=True,
        backend=backend,
    )
    assert state is not None
    assert state[0, 0].argmax(0).tolist() == permutation
    # A swap is off by a few roundings of its entries, all of one size: they add up at most.
    allowed = 8 * torch.finfo(torch.float32).eps * swaps
    assert (state[0, 0] - torch.eye(n)[:, permutation]).abs().max() < allowed


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_step_from_nothing_writes_and_reads_without_recurrence(backend: str) -> None:
    r, w, k, v, a, b = inputs(1)
    o, _ = wkv7(r, w, k, v, a, b, backend=backend)
    torch.testing.assert_close(o, (k * r).sum(-1, keepdim=True) * v)


def test_step_continues_a_sequence() -> None:
    tensors = inputs(9)
    whole, end = wkv7(*tensors, output_final_state=True)
    _, state = wkv7(*(x[:, :-1] for x in tensors), output_final_state=True)
    assert state is not None
    before = state.clone()
    o, state_after = wkv7_step(*(x[:, -1] for x in tensors), state)
    torch.testing.assert_close(o, whole[:, -1], rtol=0, atol=1e-12)
    torch.testing.assert_close(state_after, end, rtol=0, atol=1e-12)
    assert torch.equal(state, before), "the given state is not changed"


def test_step_in_place_overwrites_the_state_it_is_given() -> None:
    tensors = inputs(1)
    state = state_like(tensors)
    step = [x[:, 0] for x in tensors]
    expected, expected_state = wkv7_step(*step, state)
    o, same = wkv7_step(*step, state, in_place=True)
    assert same is state
    assert torch.equal(state, expected_state)
    assert torch.equal(o, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_accumulates_in_float32(backend: str, dtype: torch.dtype) -> None:
    rounded = tuple(x.to(dtype) for x in inputs(65))
    o, final_state = wkv7(*rounded, output_final_state=True, backend=backend)
    exact, _ = wkv7(*(x.double() for x in rounded), backend="loop")
    assert o.dtype == dtype
    assert final_state is not None
    assert final_state.dtype == torch.float32
    rounding = (exact.to(dtype).double() - exact).norm()
    assert (o.double() - exact).norm() < 1.05 * rounding


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_lower_the_scan(backend: str) -> None:
    tensors = tuple(x.float() for x in inputs(40))
    plain, _ = wkv7(*tensors, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = wkv7(*tensors, backend=backend)
    assert torch.equal(mixed, plain)


def test_compiled_and_matrix_form_keep_a_tenth_of_the_loop_for_the_backward() -> None:
    saved = dict.fromkeys(BACKENDS, 0)
    for backend in BACKENDS:

        def count(x: Tensor, backend: str = backend) -> Tensor:
            saved[backend] += x.numel()
            return x

        tensors = tuple(x.requires_grad_() for x in inputs(256, B=1, H=1, K=64, V=64))
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            wkv7(*tensors, backend=backend)
    assert saved["chunked"] < saved["loop"] / 10
    assert saved["numba"] < saved["loop"] / 10


def test_module_and_package_give_the_same_function() -> None:
    assert wkv7 is wkv7_of_module


def bad_calls() -> list[tuple[str, dict[str, object], str]]:
    r, _, k, v, _, b = inputs(4)
    return [
        ("three axes", {"r": r[0]}, r"r must be \(B, T, H, K\)"),
        ("no steps", {"r": r[:, :0]}, "no empty axis"),
        ("other key shape", {"k": k[:, :3]}, r"k must have the shape of r, \(2, 4, 2, 8\)"),
        ("other value shape", {"v": v[:, :3]}, r"v must be \(B, T, H, V\)"),
        ("mixed dtypes", {"b": b.float()}, "b is torch.float32 on cpu but r is torch.float64"),
        ("state of another size", {"initial_state": torch.zeros(2, 2, 8, 6)}, r"\(2, 2, 6, 8\)"),
        ("lengths as floats", {"lengths": torch.tensor([1.0, 2.0])}, "lengths must be 2 integers"),
        ("lengths of another batch", {"lengths": torch.tensor([1])}, "lengths must be 2 integers"),
        ("no GPU", {"backend": "triton"}, "backend='triton' cannot run here: "),
        ("unknown backend", {"backend": "cuda"}, "backend='cuda' is unknown; use 'auto' or one of"),
    ]


@pytest.mark.parametrize(
    ("change", "message"), [(c, m) for _, c, m in bad_calls()], ids=[n for n, _, _ in bad_calls()]
)
def test_wrong_arguments_are_named(change: dict[str, object], message: str) -> None:
    names = ("r", "w", "k", "v", "a", "b")
    arguments: dict[str, object] = dict(zip(names, inputs(4), strict=True))
    with pytest.raises(ValueError, match=message):
        wkv7(**{**arguments, **change})  # type: ignore[arg-type]


def test_whole_numbers_are_refused() -> None:
    integers = tuple(torch.ones_like(x, dtype=torch.int64) for x in inputs(4))
    with pytest.raises(ValueError, match=r"r must be floating point, got torch\.int64"):
        wkv7(*integers)
