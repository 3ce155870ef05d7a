"""Compiled functions and their threads: bits, races, forks, and a cache that cannot be written."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from rimer_forecaster.kernels import verification, wkv7
from rimer_forecaster.kernels.numba import scan, spread
from rimer_forecaster.kernels.verification import relative_errors


def tensors(B: int = 6) -> list[Tensor]:
    """Draw enough work to spread it over threads, if B is 6."""
    return [x.float() for x in verification.inputs(60, B=B, H=3, K=16, V=16)]


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
    # 60 steps in float32, each with sums over 16 channels in another order
    (error,) = relative_errors([o.double()], [expected.double()])
    assert error < 60 * torch.finfo(torch.float32).eps
