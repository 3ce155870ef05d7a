"""Which path computes for which tensors: by device, dtype, shape and strength of the decay.

Paths are records that say what they take. Compiled code is imported when its path is first asked
for; where its package is missing, the path takes nothing and says what to install.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from .chunked import MAX_CHUNK_LENGTH, chunked_scan
from .loop import loop_scan

__all__ = ["Path", "TimeMixPath", "choose_in_place_step", "choose_path", "choose_time_mix"]

_SAFE_EXPONENT = 80.0
"""Largest fall of the log decay over one chunk that its centred exponents hold in float32."""


def _takes_all(*tensors: Tensor) -> None:
    """No tensors are refused."""


class Path(NamedTuple):
    """One way to compute `wkv7`."""

    name: str
    """What ``backend=`` calls it."""

    scan: Callable[..., tuple[Tensor, Tensor | None]]

    unsupported: Callable[[Tensor, Tensor], str | None] = _takes_all
    """Return why it cannot take tensors like r and v, or None."""

    masks_itself: bool = False
    """Whether `scan` takes ``lengths`` and any dtype, and accumulates in float32 by itself."""

    chunk_length: int = 1
    """Steps whose decays `scan` multiplies, which bounds how strong they may be."""

    beyond: Path | None = None
    """The path for decays that its chunks cannot hold; None where it holds all."""

    in_place_step: Callable[..., Tensor] | None = None
    """Advance a state by one step where it lies; None where there is no such kernel."""


class TimeMixPath(NamedTuple):
    """One way to compute what `time_mix` does; what is None here runs in its plain form."""

    name: str
    """What ``backend=`` calls it."""

    unsupported: Callable[[Tensor, Tensor], str | None] = _takes_all
    """Return why it cannot take tensors like k and v, or None."""

    prologue: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] | None = None
    keys: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None
    epilogue: Callable[..., Tensor] | None = None


AnyPath = TypeVar("AnyPath", Path, TimeMixPath)

LOOP = Path("loop", loop_scan)
CHUNKED = Path("chunked", chunked_scan, chunk_length=MAX_CHUNK_LENGTH, beyond=LOOP)
PLAIN = TimeMixPath("plain")


@functools.cache
def numba_path() -> Path:
    """Return the loop compiled for the CPU."""
    try:
        from .numba.scan import numba_scan, scan_unsupported
    except ImportError as error:
        return _missing("numba", error, LOOP)
    return Path("numba", numba_scan, scan_unsupported)


@functools.cache
def triton_path() -> Path:
    """Return the GPU kernels: chunks, and beyond them step by step."""
    try:
        from .triton.device import unsupported
        from .triton.recurrent import recurrent_scan, triton_step
        from .triton.scan_algebra import C
        from .triton.scan_launch import triton_scan
    except ImportError as error:
        return _missing("triton", error, LOOP)
    steps = Path("triton", recurrent_scan, unsupported, masks_itself=True)
    return Path(
        *("triton", triton_scan, unsupported),
        masks_itself=True,
        chunk_length=C.value,
        beyond=steps,
        in_place_step=triton_step,
    )


@functools.cache
def numba_time_mix() -> TimeMixPath:
    """Return what of the time mix is compiled for the CPU."""
    try:
        from .numba.time_mix import numba_epilogue, numba_keys, time_mix_unsupported
    except ImportError as error:
        return _missing("numba", error, PLAIN)
    return TimeMixPath("numba", time_mix_unsupported, keys=numba_keys, epilogue=numba_epilogue)


@functools.cache
def triton_time_mix() -> TimeMixPath:
    """Return the fused kernels of the time mix."""
    try:
        from .triton.device import unsupported
        from .triton.time_mix import triton_epilogue, triton_prologue
    except ImportError as error:
        return _missing("triton", error, PLAIN)
    return TimeMixPath(
        *("triton", unsupported),
        prologue=triton_prologue,
        epilogue=triton_epilogue,
    )


def _missing(package: str, error: ImportError, plain: AnyPath) -> AnyPath:
    """Return a path that takes nothing, for want of its package."""
    reason = f"{package} cannot be imported ({error}); install it with pip install {package}"
    return plain._replace(name=package, unsupported=lambda *tensors: reason)


def choose_path(
    backend: str, r: Tensor, w: Tensor, v: Tensor, lowest_log_decay: float | None
) -> Path:
    """Return the path for the inputs of `wkv7`; parameters and errors are those of `wkv7`."""
    if backend != "auto":
        return _forced_path(backend, r, w, v, lowest_log_decay)
    T = r.shape[1]
    if _is_traced():
        # No branch on data. An exported graph can hold neither a backward of our own nor a
        # triangular solution; a compiled one can, and layers keep a chunk's bound.
        return LOOP if T == 1 or _is_exported() else CHUNKED
    path = CHUNKED
    if r.is_cuda and r.dtype != torch.float64:
        path = _gpu_path(r, v) or CHUNKED
    elif T == 1:
        return LOOP
    elif r.device.type == "cpu":
        compiled = numba_path()
        if compiled.unsupported(r, v) is None:
            return compiled
    return _for_decay(path, w, lowest_log_decay)


def _forced_path(
    backend: str, r: Tensor, w: Tensor, v: Tensor, lowest_log_decay: float | None
) -> Path:
    path = _require(_named_path(backend), r, v)
    chosen = _for_decay(path, w, lowest_log_decay)
    if chosen.name != backend:
        limit = _lowest_held(path, r.shape[1])
        raise ValueError(
            f"backend={backend!r} cannot run here: it cannot hold a log decay of "
            f"{float(w.detach().amin()):.3g}, which must be at least {limit:.3g} here. "
            "Use backend='auto'."
        )
    return chosen


def _named_path(backend: str) -> Path:
    match backend:
        case "triton":
            return triton_path()
        case "numba":
            return numba_path()
        case "chunked":
            return CHUNKED
        case "loop":
            return LOOP
    raise ValueError(
        f"backend={backend!r} is unknown; "
        "use 'auto' or one of 'triton', 'numba', 'chunked', 'loop'."
    )


def choose_in_place_step(r: Tensor, v: Tensor, state: Tensor) -> Callable[..., Tensor] | None:
    """Return the kernel that advances a state where it lies, None where plain PyTorch must."""
    if not r.is_cuda or state.dtype != torch.float32 or _is_traced():
        return None
    path = _gpu_path(r, v)
    return None if path is None else path.in_place_step


def choose_time_mix(backend: str, k: Tensor, v: Tensor) -> TimeMixPath:
    """Return the path for such keys and values; parameters and errors are those of `time_mix`."""
    if backend != "auto":
        return _require(_named_time_mix(backend), k, v)
    if _is_traced():
        return PLAIN
    path = triton_time_mix() if v.is_cuda else numba_time_mix()
    return path if path.unsupported(k, v) is None else PLAIN


def _named_time_mix(backend: str) -> TimeMixPath:
    match backend:
        case "triton":
            return triton_time_mix()
        case "numba":
            return numba_time_mix()
        case "plain":
            return PLAIN
    raise ValueError(f"backend={backend!r} is unknown; use 'auto', 'triton', 'numba' or 'plain'.")


def _require(path: AnyPath, *tensors: Tensor) -> AnyPath:
    """Return a path that was asked for by name; raise where it cannot take the tensors."""
    obstacle = path.unsupported(*tensors)
    if obstacle is not None:
        raise ValueError(f"backend={path.name!r} cannot run here: {obstacle}. Use backend='auto'.")
    return path


def _is_traced() -> bool:
    """Whether torch records a graph, which can hold none of our compiled code."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def _is_exported() -> bool:
    return torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None


def _gpu_path(r: Tensor, v: Tensor) -> Path | None:
    """Return the GPU kernels, or None and a warning where they cannot run."""
    path = triton_path()
    obstacle = path.unsupported(r, v)
    if obstacle is None:
        return path
    _warn_of_slow_path(obstacle)
    return None


@functools.cache
def _warn_of_slow_path(obstacle: str) -> None:
    # The stack ends: caller, operator, its choice, `_gpu_path`, this.
    warnings.warn(
        f"The RWKV-7 scan runs without its GPU kernels: {obstacle}. Results are the same, slower.",
        stacklevel=5,
    )


def _for_decay(path: Path, w: Tensor, lowest_log_decay: float | None) -> Path:
    """Return the path itself if its chunks hold the decay within float32, or the one beyond."""
    if path.beyond is None:
        return path
    if lowest_log_decay is None:
        lowest_log_decay = float(w.detach().amin())
    return path if lowest_log_decay >= _lowest_held(path, w.shape[1]) else path.beyond


def _lowest_held(path: Path, T: int) -> float:
    """Return the lowest log decay whose exponents stay within the range of float32 in a chunk."""
    return -_SAFE_EXPONENT / min(T, path.chunk_length)
