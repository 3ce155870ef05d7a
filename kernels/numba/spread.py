"""Functions compiled by numba, and their work spread over threads.

The threads are our own, as many as torch uses. Numba's parallel loops are not used: depending on
how it was installed, they end the process when two threads enter them or when it forks, which
backtests and searches do.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from numba import njit
from torch import Tensor

__all__ = ["compiled", "dtype_name", "spread"]

_SMALL_WORK = 2**18
"""Products of B, T, H, K and V, or as much other work, below which a second thread does not pay."""


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile at the first call, kept on disk for later processes where a folder can be written."""
    # Sums may be reordered into vector lanes; NaN and infinity keep their meaning.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder for its cache
        return njit(**options)(function)


def dtype_name(x: Tensor) -> str:
    """Return numpy's name of a tensor's dtype."""
    return str(x.dtype).removeprefix("torch.")


def spread(
    kernel: Callable[..., None],
    tensors: tuple[Tensor, ...],
    *options: float,
    items: int,
    work: int,
) -> None:
    """Run a kernel over a number of items, on torch's number of threads.

    The kernel takes the tensors as arrays, the options, and the first item and that after the last.
    """
    arrays = [x.detach().numpy() for x in tensors]
    threads = min(torch.get_num_threads(), items)
    if threads == 1 or work < _SMALL_WORK:
        kernel(*arrays, *options, 0, items)
        return
    pieces = min(items, 4 * threads)  # some spare: a thread may find its core busy
    edges = [i * items // pieces for i in range(pieces + 1)]
    pool = _threads(threads, os.getpid())
    runs = [pool.submit(kernel, *arrays, *options, *edge) for edge in itertools.pairwise(edges)]
    for run in runs:
        run.result()


@functools.cache
def _threads(count: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork inherits the pool but not its threads."""
    return ThreadPoolExecutor(count, thread_name_prefix="rimer-wkv7")
