"""The compiled CPU path: threads, forks, its cache, and what it refuses."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import wkv7
from rimer_forecaster.kernels.numba import scan, spread


def tensors(B: int = 6, T: int = 60, H: int = 3, N: int = 16) -> list[Tensor]:
    """Enough work to spread it over threads."""
    generator = torch.Generator().manual_seed(0)
    r, w, k, v, a, b = (torch.randn(B, T, H, N, generator=generator) for _ in range(6))
    kappa = torch.nn.functional.normalize(a, dim=-1)
    return [r, -0.6 * torch.sigmoid(w), k, v, -kappa, kappa * torch.sigmoid(b)]


def results(inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    o, state = wkv7(*leaves, output_final_state=True, backend="numba")
    assert state is not None
    return [o.detach(), state.detach(), *torch.autograd.grad(o.sum() + state.sum(), leaves)]


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scan spread over four threads; torch itself keeps to one, as it can't be forked."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spread._SMALL_WORK < 6 * 60 * 3 * 16 * 16
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = results(tensors())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for many, one in zip(results(tensors()), alone, strict=True):
        assert torch.equal(many, one)


@pytest.mark.parametrize(("B", "expected"), [(1, 0), (6, 16)])
def test_work_is_spread_over_threads_where_there_is_enough(
    B: int, expected: int, four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(ThreadPoolExecutor):
        tasks = 0

        def submit(self, *task: Any, **options: Any) -> Any:
            self.tasks += 1
            return super().submit(*task, **options)

    pool = Counting(4)
    monkeypatch.setattr(spread, "_threads", lambda count, process: pool)
    wkv7(*tensors(B=B), backend="numba")
    assert pool.tasks == expected


def test_threads_of_the_caller_do_not_race(four_threads: None) -> None:
    expected = results(tensors())
    with ThreadPoolExecutor(8) as pool:
        for actual in pool.map(lambda _: results(tensors()), range(16)):
            for x, y in zip(actual, expected, strict=True):
                assert torch.equal(x, y)


def _in_a_fork(queue: multiprocessing.SimpleQueue[float]) -> None:
    queue.put(float(wkv7(*tensors(), backend="numba")[0].sum()))


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the way of Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own(four_threads: None) -> None:
    expected = float(wkv7(*tensors(), backend="numba")[0].sum())  # this process has threads now
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_in_a_fork, args=(queue,))
    process.start()
    process.join(60)
    alive = process.is_alive()
    process.kill()
    assert not alive, "the child waits for threads that only its parent has"
    assert process.exitcode == 0
    assert queue.get() == expected


def test_compiles_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = spread.njit

    def without_folder(*, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(spread, "njit", without_folder)
    kernel = scan._scan_kernel.__wrapped__("float32")
    monkeypatch.setattr(scan, "_scan_kernel", lambda dtype: kernel)
    expected, _ = wkv7(*tensors(), backend="chunked")
    o, _ = wkv7(*tensors(), backend="numba")
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-4)


def test_missing_values_stay_missing() -> None:
    inputs = tensors(B=2)
    inputs[3][0, 20, 0, 0] = torch.nan
    o, _ = wkv7(*inputs, backend="numba")
    assert torch.isnan(o[0, 20:, 0, 0]).all()
    assert torch.isfinite(o[1]).all()
    assert torch.isfinite(o[0, :20]).all()


def test_odd_value_channels_are_refused_when_forced_and_go_elsewhere_when_not() -> None:
    r, w, k, v, a, b = tensors(B=1)
    v = v[..., :5].contiguous()
    with pytest.raises(ValueError, match="takes value channels in pairs, not 5"):
        wkv7(r, w, k, v, a, b, backend="numba")
    o, _ = wkv7(r, w, k, v, a, b)
    assert torch.equal(o, wkv7(r, w, k, v, a, b, backend="chunked")[0])


@pytest.mark.parametrize("unused", range(6))
def test_any_input_alone_may_want_a_gradient(unused: int) -> None:
    inputs = [x.clone() for x in tensors(B=1, T=70, H=1, N=8)]
    leaf = inputs[unused].requires_grad_()
    (gradient,) = torch.autograd.grad(wkv7(*inputs, backend="numba")[0].sum(), leaf)
    (expected,) = torch.autograd.grad(wkv7(*inputs, backend="chunked")[0].sum(), leaf)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)
