"""Prologue and epilogue of the time mix: the compiled forms against the plain ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import epilogue, prologue

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"this path needs {name}"
        ),
    )
    for name in ("triton", "numba")
]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="the fused kernels need triton"
)


def leaves(
    count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(count)
    ]


def run_prologue(
    backend: str,
    *,
    T: int,
    N: int,
    residual: bool,
    masked: bool,
    dtype: torch.dtype = torch.float32,
    as_dtype: torch.dtype | None = None,
) -> list[Tensor]:
    B, H = 2, 3
    big = leaves(6, B, T, H, N, dtype=dtype)
    small = leaves(2, H, N, seed=1)
    if as_dtype is not None:
        big = [x.detach().to(as_dtype).requires_grad_() for x in big]
        small = [x.detach().to(as_dtype).requires_grad_() for x in small]
    with torch.no_grad():
        big[1][0, 0] = 0.0  # a key without a direction
    mask = torch.arange(T).expand(B, T) >= torch.tensor([[0], [T // 2]]) if masked else None
    outputs = prologue(
        *big[:4],
        removal=small[0],
        replacement=small[1],
        first_value=big[4] if residual else None,
        value_residual=big[5] if residual else None,
        mask=mask,
        backend=backend,
    )
    inputs = [*big[: 6 if residual else 4], *small]
    return combine(outputs, inputs)


def run_epilogue(
    backend: str,
    *,
    T: int,
    N: int,
    dtype: torch.dtype = torch.float32,
    as_dtype: torch.dtype | None = None,
) -> list[Tensor]:
    B, H = 2, 3
    big = leaves(5, B, T, H, N, dtype=dtype)
    small = leaves(3, H, N, seed=1)
    if as_dtype is not None:
        big = [x.detach().to(as_dtype).requires_grad_() for x in big]
        small = [x.detach().to(as_dtype).requires_grad_() for x in small]
    bonus, weight, bias = small
    y = epilogue(*big, bonus=bonus, weight=weight, bias=bias, eps=64e-5, backend=backend)
    return combine((y,), [*big, *small])


def combine(outputs: tuple[Tensor, ...], inputs: list[Tensor]) -> list[Tensor]:
    """Outputs and the gradients of a fixed combination of them, in float64."""
    generator = torch.Generator().manual_seed(2)
    loss = sum((x * torch.randn(x.shape, generator=generator).to(x.dtype)).sum() for x in outputs)
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert all(x is not None for x in gradients)
    return [x.detach().double() for x in (*outputs, *gradients)]


SINGLE = 2e-6
"""Allowed in float32, relative to the norm: 16 roundings, some ten times what is measured."""


def worst(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(
        float((x - y).norm() / y.norm().clamp(min=1.0))
        for x, y in zip(actual, expected, strict=True)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("residual", [False, True], ids=["first layer", "value residual"])
@pytest.mark.parametrize(("T", "N"), [(1, 16), (16, 32), (37, 16), (9, 64), (3, 128)])
def test_compiled_prologue_equals_the_plain_one(
    backend: str, T: int, N: int, residual: bool, masked: bool
) -> None:
    shape = {"T": T, "N": N, "residual": residual, "masked": masked}
    expected = run_prologue("plain", as_dtype=torch.float64, **shape)
    assert worst(run_prologue(backend, **shape), expected) < SINGLE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("T", "N"), [(1, 16), (16, 32), (37, 16), (9, 64), (3, 128)])
def test_compiled_epilogue_equals_the_plain_one(backend: str, T: int, N: int) -> None:
    expected = run_epilogue("plain", T=T, N=N, as_dtype=torch.float64)
    assert worst(run_epilogue(backend, T=T, N=N), expected) < SINGLE


def test_compiled_for_the_cpu_they_are_exact_in_double_precision() -> None:
    pytest.importorskip("numba", reason="this path needs numba")
    shape = {"T": 9, "N": 6, "dtype": torch.float64, "as_dtype": torch.float64}
    for run, options in ((run_prologue, {"residual": True, "masked": True}), (run_epilogue, {})):
        expected = run("plain", **shape, **options)  # type: ignore[operator]
        # some hundred times what is measured
        assert worst(run("numba", **shape, **options), expected) < 1e-13  # type: ignore[operator]


def test_more_keys_than_values_are_exact_too() -> None:
    pytest.importorskip("numba", reason="this path needs numba")

    def run(backend: str) -> list[Tensor]:
        keys = leaves(4, 2, 5, 3, 7, dtype=torch.float64)
        values = leaves(3, 2, 5, 3, 4, seed=1, dtype=torch.float64)
        by_key = leaves(3, 3, 7, seed=2, dtype=torch.float64)
        by_value = leaves(2, 3, 4, seed=3, dtype=torch.float64)
        w, k, v, a, b = prologue(
            *(keys[0], keys[1], values[0], keys[2]),
            removal=by_key[0],
            replacement=by_key[1],
            backend=backend,
        )
        weight, bias = by_value
        options = {"bonus": by_key[2], "weight": weight, "bias": bias, "eps": 64e-5}
        y = epilogue(values[1], keys[3], k, v, values[2], backend=backend, **options)
        return combine((y, w, a, b), [*keys, *values, *by_key, *by_value])

    assert worst(run("numba"), run("plain")) < 1e-13  # some hundred times what is measured


@needs_triton
def test_fused_they_take_as_many_keys_as_values() -> None:
    keys, values = leaves(2, 1, 3, 2, 32), leaves(3, 1, 3, 2, 16)
    bonus, (weight, bias) = leaves(1, 2, 32)[0], leaves(2, 2, 16)
    weights = {"bonus": bonus, "weight": weight, "bias": bias, "eps": 1e-5}
    with pytest.raises(ValueError, match="take K = V in"):
        epilogue(values[0], *keys, *values[1:], backend="triton", **weights)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="this path needs numba")
    from rimer_forecaster.kernels.numba import spread

    def results() -> list[Tensor]:
        prologue_ = run_prologue("numba", T=37, N=16, residual=True, masked=False)
        return prologue_ + run_epilogue("numba", T=37, N=16)

    alone = results()
    started = []
    pool_of = spread._threads
    monkeypatch.setattr(spread, "_SMALL_WORK", 0)
    monkeypatch.setattr(spread, "_threads", lambda *key: started.append(key) or pool_of(*key))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert all(torch.equal(x, y) for x, y in zip(results(), alone, strict=True))
    assert len(started) == 4  # each of both, forward and backward


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="this path needs numba")
def test_the_compiled_form_is_the_default_on_a_cpu_and_takes_no_half_precision() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        big, small = leaves(5, 1, 3, 2, 16, dtype=dtype), leaves(3, 2, 16, dtype=dtype)
        weights = dict(zip(("bonus", "weight", "bias"), small, strict=True))
        y = epilogue(*big, **weights, eps=1e-5)
        assert ("Epilogue" in y.grad_fn.name()) is (dtype == torch.float32)
    with pytest.raises(ValueError, match=r"backend='numba' cannot run here: .* not in torch.bf"):
        epilogue(*big, **weights, eps=1e-5, backend="numba")


@needs_triton
def test_in_half_precision_only_results_are_rounded() -> None:
    shape = {"T": 20, "N": 32, "residual": True, "masked": True}
    cases: list[Callable[..., list[Tensor]]] = [
        lambda backend, **o: run_prologue(backend, **shape, **o),
        lambda backend, **o: run_epilogue(backend, T=20, N=32, **o),
    ]
    for run in cases:
        exact = run("plain", dtype=torch.bfloat16, as_dtype=torch.float64)
        one_unit_in_the_last_place = 2**-7  # the interpreter cuts digits off
        assert worst(run("triton", dtype=torch.bfloat16), exact) < one_unit_in_the_last_place


@needs_triton
def test_gradients_of_the_weights_do_not_depend_on_the_number_of_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rimer_forecaster.kernels.triton import time_mix as triton_time_mix

    several = run_epilogue("triton", T=37, N=16)
    monkeypatch.setattr(triton_time_mix, "PROGRAMS", 1)
    assert worst(run_epilogue("triton", T=37, N=16), several) < SINGLE


@needs_triton
def test_the_fused_kernels_fill_all_that_they_return(monkeypatch: pytest.MonkeyPatch) -> None:
    from rimer_forecaster.kernels.triton import time_mix

    def poisoned(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.full(shape, float("nan"), dtype=dtype, device=device)

    monkeypatch.setattr(time_mix, "empty", poisoned)
    shape = {"T": 37, "N": 16, "residual": True, "masked": True}
    expected = run_prologue("plain", as_dtype=torch.float64, **shape)
    assert worst(run_prologue("triton", **shape), expected) < SINGLE
    expected = run_epilogue("plain", T=37, N=16, as_dtype=torch.float64)
    assert worst(run_epilogue("triton", T=37, N=16), expected) < SINGLE


def test_what_autocast_leaves_in_float32_reaches_the_recurrence_in_one_dtype() -> None:
    decay, k, v, rate = leaves(4, 1, 3, 2, 16, dtype=torch.bfloat16)
    removal, replacement = leaves(2, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = prologue(decay, k, v, rate, removal=removal, replacement=replacement)
        assert {x.dtype for x in outputs} == {torch.bfloat16}
        weights = dict(zip(("bonus", "weight", "bias"), leaves(3, 2, 16), strict=True))
        assert epilogue(v, v, v, v, v, **weights, eps=1e-5).dtype == torch.bfloat16


def test_an_unknown_backend_is_named() -> None:
    decay, k, v, rate = leaves(4, 1, 3, 2, 16)
    removal, replacement = leaves(2, 2, 16)
    with pytest.raises(ValueError, match="backend='cuda' is unknown; use 'auto', 'triton', 'num"):
        prologue(decay, k, v, rate, removal=removal, replacement=replacement, backend="cuda")
