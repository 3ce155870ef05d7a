# mypy: disable-error-code="untyped-decorator"
"""What launchers ask of a device and its memory: does it run here, and on what tensors.

Letters: K key channels, V value channels.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from .tiles import load_tile

__all__ = [
    "HEAD_SIZES",
    "Launch",
    "aligned",
    "architecture",
    "empty",
    "kernel_dtype",
    "needs_gradient",
    "nothing",
    "on_device",
    "unsupported",
]

HEAD_SIZES = (16, 32, 64, 128)
"""At 128 a state and its gradient fill half of all registers; a backward that holds all spills."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Launch(NamedTuple):
    """How a kernel is launched."""

    num_warps: int
    num_stages: int = 1
    enable_fp_fusion: bool = True


def unsupported(r: Tensor, v: Tensor) -> str | None:
    """Return why these inputs, (..., K) and (..., V), cannot run here; None if they can."""
    if r.shape[-1] != v.shape[-1] or r.shape[-1] not in HEAD_SIZES:
        return (
            f"the Triton kernels take K = V in {HEAD_SIZES}, "
            f"got K = {r.shape[-1]}, V = {v.shape[-1]}"
        )
    if r.dtype not in DTYPES:
        return f"the Triton kernels take float32, bfloat16 or float16, got {r.dtype}"
    if r.device.type != "cuda" and isinstance(load_tile, triton.runtime.JITFunction):
        return f"the Triton kernels run on CUDA and ROCm devices, got a tensor on {r.device}"
    if r.device.type == "cuda" and architecture(r.device) is None:
        return f"the Triton kernels need compute capability 8.0, {r.device} is older"
    return None


@functools.cache
def architecture(device: torch.device) -> str | None:
    """Return the compilation target whose settings fit a device; None if none does."""
    if device.type != "cuda":
        return "interpreter"
    if torch.version.hip is not None:
        name = torch.cuda.get_device_properties(device).gcnArchName.split(":")[0]
        return {"gfx90a": "gfx90a", "gfx942": "gfx942", "gfx950": "gfx942"}.get(name, "gfx1100")
    major, _ = torch.cuda.get_device_capability(device)
    if major < 8:
        return None
    return {8: "sm_80", 9: "sm_90"}.get(major, "sm_100")


def kernel_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a kernel reads inputs: bfloat16 or float32.

    float16 runs in float32, so that half as many kernels must be compiled and watched.
    """
    return torch.bfloat16 if dtype == torch.bfloat16 else torch.float32


def aligned(x: Tensor) -> Tensor:
    """Return `x` contiguous and at a multiple of 16 bytes, as the kernels were compiled for."""
    x = x.contiguous()
    return x if x.data_ptr() % 16 == 0 else x.clone()


@functools.cache
def nothing(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return what stands for a tensor that a kernel is told not to touch."""
    with torch.inference_mode(False):
        return torch.zeros(16, device=device, dtype=dtype)


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory for a kernel to fill."""
    return torch.empty(shape, dtype=dtype, device=device)


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether anything must be kept for a backward."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def on_device(x: Tensor) -> AbstractContextManager[Any]:
    """Launch where the tensor lies, which need not be the current device."""
    return torch.cuda.device_of(x)
