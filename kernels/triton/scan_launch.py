# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The RWKV-7 recurrence as matrix products on a GPU: chunks of 16 steps, the state in registers.

    T <= 64            one launch each way; only the inputs are kept for the backward
    longer             the same kernels; the state at every 64th step is kept as well
    few long sequences segments of the time axis run beside each other, in three phases: each
                       segment's affine map S -> S M + W, the states between the segments, outputs

What runs where, and how it is launched; `compile_report` compiles every entry of the settings, so
that none can spill unseen.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from .device import (
    Launch,
    aligned,
    architecture,
    empty,
    kernel_dtype,
    needs_gradient,
    nothing,
    on_device,
)
from .recurrent import recurrent_scan
from .scan_algebra import C
from .scan_kernels import (
    GROUP,
    carry_state,
    scan_backward,
    scan_forward,
    segment_gradient,
    segment_map,
)

__all__ = ["triton_scan"]


class ChunkLaunch(NamedTuple):
    """How a chunked kernel is launched: with how many channels at a time, too."""

    SLICE: int
    num_warps: int
    num_stages: int = 1
    enable_fp_fusion: bool = True


_FORWARD = {16: ChunkLaunch(16, 1), 32: ChunkLaunch(16, 2), 64: ChunkLaunch(32, 4)}
_BACKWARD = {16: ChunkLaunch(16, 2), 32: ChunkLaunch(16, 4), 64: ChunkLaunch(32, 8)}
_NVIDIA = {
    "forward": _FORWARD,
    "forward one chunk": _FORWARD,
    "backward": _BACKWARD,
    "backward one chunk": _FORWARD,
    "segment_map": _FORWARD,
    "segment_gradient": _FORWARD,
}

SETTINGS: dict[str, dict[str, dict[int, ChunkLaunch]]] = {
    "sm_80": _NVIDIA,
    "sm_90": _NVIDIA,
    "sm_100": _NVIDIA,
    # Threads hand the state to each other through memory. On AMD Triton's barrier compiles to a
    # bare s_barrier, which does not wait for stores (no s_waitcnt vmcnt(0); 3.9.0): not safe.
    "gfx90a": {},
    "gfx942": {},
    "gfx1100": {},
    "interpreter": _NVIDIA,
}
"""Launch options by architecture, kernel and N. What is missing here takes the recurrent pair."""

PROGRAMS_PER_PROCESSOR = 4
"""Programs of the backward a processor; more would not reside on it at once."""

CARRY = {16: Launch(1), 32: Launch(2), 64: Launch(4)}
"""Launch options of `carry_state` by N, for every architecture."""

SEGMENTED_FROM = 1024
"""Steps below which a sequence is not worth cutting into segments."""


def precisions(target: str, kernel: str, dtype: torch.dtype) -> tuple[str, str]:
    """Return how products, and how those of the triangular solution, treat float32 operands.

    Against float64, three products of halves (bf16x3) err by 7e-6 and take half the registers of
    three products of tf32, without which the backward would spill; one of tf32 errs by 4e-4.
    """
    if not target.startswith("sm_"):
        return "ieee", "ieee"
    if kernel == "backward" or (kernel == "backward one chunk" and dtype == torch.float32):
        return "bf16x3", "tf32x3"
    return ("tf32x3" if dtype == torch.float32 else "tf32"), "tf32x3"


def chunks_fit(device: torch.device, N: int) -> bool:
    """Whether the chunked kernels run on a device without spilling; if not, the recurrent do."""
    return N in SETTINGS[architecture(device) or "gfx1100"].get("backward", {})


def triton_scan(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    initial_state: Tensor | None,
    output_final_state: bool,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Compute `wkv7` on a GPU by chunks of 16 steps, for log decays of at least -10.

    Parameters and results are those of `wkv7` with K = V in {16, 32, 64}; see `unsupported`.
    Where the chunked kernels would spill, the recurrent ones run.
    """
    if not chunks_fit(r.device, r.shape[-1]):
        return recurrent_scan(
            *(r, w, k, v, a, b),
            initial_state=initial_state,
            output_final_state=output_final_state,
            lengths=lengths,
        )
    dtype = kernel_dtype(r.dtype)
    inputs = tuple(aligned(x.to(dtype)) for x in (r, w, k, v, a, b))
    state = None if initial_state is None else aligned(initial_state.float())
    steps = None if lengths is None else aligned(lengths.to(r.device, torch.int32))
    if needs_gradient(*inputs, state):
        o, final_state = _TritonScan.apply(*inputs, state, steps, output_final_state)
    else:
        o, final_state, *_ = _run_chunks(inputs, state, steps, output_final_state, False)
    return o.to(v.dtype), final_state


class _TritonScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        a: Tensor,
        b: Tensor,
        initial_state: Tensor | None,
        lengths: Tensor | None,
        output_final_state: bool,
    ) -> tuple[Tensor, Tensor | None]:
        inputs = (r, w, k, v, a, b)
        keep = r.shape[1] > GROUP.value
        o, final_state, start, states, maps = _run_chunks(
            inputs, initial_state, lengths, output_final_state, keep
        )
        ctx.save_for_backward(*inputs, start, states, lengths, maps)
        ctx.has_initial_state = initial_state is not None
        ctx.set_materialize_grads(False)
        return o, final_state

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_o: Tensor | None, d_final_state: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *inputs, start, states, lengths, maps = ctx.saved_tensors
        d_o = torch.zeros_like(inputs[3]) if d_o is None else aligned(d_o)
        d_end = None if d_final_state is None else aligned(d_final_state)
        *gradients, d_initial_state = _run_chunks_back(
            tuple(inputs), start, states, lengths, maps, d_o, d_end, ctx.has_initial_state
        )
        return *gradients, d_initial_state, None, None


def _run_chunks(
    inputs: tuple[Tensor, ...],
    initial_state: Tensor | None,
    lengths: Tensor | None,
    output_final_state: bool,
    keep_states: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return output, final state, states before segments and before groups, and maps M, W."""
    r, w, k, v, a, b = inputs
    B, T, H, N = r.shape
    no_state = nothing(r.device, torch.float32)
    steps = nothing(r.device, torch.int32) if lengths is None else lengths
    o = empty(v.shape, v.dtype, v.device)
    final_state = states = maps = None
    if output_final_state:
        final_state = empty((B, H, N, N), torch.float32, r.device)
    if keep_states:
        states = empty((B, H, triton.cdiv(T, GROUP.value), N, N), torch.float32, r.device)
    start = initial_state
    segment_length = _segment_length(B * H, T, r.device)
    n_segments = triton.cdiv(T, segment_length)
    sizes = (T, H, n_segments, segment_length, int(lengths is not None))
    n_walks = B * H * n_segments
    carried = C.value < T or initial_state is not None or output_final_state
    with on_device(r):
        if n_segments > 1:
            maps = empty((B * H, n_segments, 2, N, N), torch.float32, r.device)
            segment_map[(B * H * n_segments * 2,)](
                *(w, k, v, a, b, steps, maps, *sizes),
                **_options_on(r, "segment_map"),
            )
            start = _run_carry(initial_state, maps, maps[:, :, 1], False)
        n_programs, scratch = _scratch(n_walks, N * N if C.value < T else 0, r.device)
        scan_forward[(n_programs,)](
            *inputs,
            steps,
            no_state if start is None else start,
            scratch,
            o,
            no_state if final_state is None else final_state,
            no_state if states is None else states,
            *(T, H, n_walks, *sizes[2:]),
            int(start is not None),
            int(final_state is not None),
            int(states is not None),
            CARRIED=carried,
            **_options_on(r, "forward" if carried else "forward one chunk"),
        )
    return o, final_state, start, states, maps


def _run_chunks_back(
    inputs: tuple[Tensor, ...],
    start: Tensor | None,
    states: Tensor | None,
    lengths: Tensor | None,
    maps: Tensor | None,
    d_o: Tensor,
    d_final_state: Tensor | None,
    has_initial_state: bool,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the inputs and of the initial state, None if there was none."""
    r, w, k, _, a, b = inputs
    B, T, H, N = r.shape
    no_state = nothing(r.device, torch.float32)
    steps = nothing(r.device, torch.int32) if lengths is None else lengths
    gradients = [empty(x.shape, x.dtype, x.device) for x in inputs]
    d_start = None if start is None else empty((B, H, N, N), torch.float32, r.device)
    d_end = d_final_state
    n_segments = 1 if maps is None else maps.shape[1]
    segment_length = T if maps is None else _segment_length(B * H, T, r.device)
    sizes = (T, H, n_segments, segment_length, int(lengths is not None))
    carried = C.value < T or start is not None or d_final_state is not None
    with on_device(r):
        if maps is not None:
            d_starts = empty((B * H, n_segments, N, N), torch.float32, r.device)
            segment_gradient[(B * H * n_segments,)](
                *(r, w, k, a, b, steps, d_o, d_starts, *sizes),
                **_options_on(r, "segment_gradient"),
            )
            d_end = _run_carry(d_final_state, maps, d_starts, True)
        n_walks = B * H * n_segments
        size = 2 * C.value * N + (N * N * (GROUP.value // C.value + 1) if carried else 0)
        n_programs, scratch = _scratch(n_walks, size, r.device)
        scan_backward[(n_programs,)](
            *inputs,
            steps,
            no_state if start is None else start,
            no_state if states is None else states,
            scratch,
            d_o,
            no_state if d_end is None else d_end,
            *gradients,
            no_state if d_start is None else d_start,
            *(T, H, n_walks, *sizes[2:]),
            int(start is not None),
            int(d_end is not None),
            CARRIED=carried,
            **_options_on(r, "backward" if carried else "backward one chunk"),
        )
    return *gradients, d_start if has_initial_state else None


def _scratch(n_walks: int, size: int, device: torch.device) -> tuple[int, Tensor]:
    """Return how many programs share the walks, and room for `size` numbers each if any."""
    if size == 0:
        return n_walks, nothing(device, torch.float32)
    n_programs = min(n_walks, PROGRAMS_PER_PROCESSOR * _processors(device))
    return n_programs, empty((n_programs, size), torch.float32, device)


def _run_carry(first: Tensor | None, maps: Tensor, add: Tensor, reverse: bool) -> Tensor:
    """Return the state, or its gradient, with which each segment begins; see `carry_state`."""
    heads, n_segments, _, N, _ = maps.shape
    out = empty((heads, n_segments, N, N), torch.float32, maps.device)
    carry_state[(heads * (N // C.value),)](
        nothing(maps.device, torch.float32) if first is None else first,
        maps,
        add,
        out,
        n_segments,
        add.stride(1),
        int(first is not None),
        N=N,
        REVERSE=reverse,
        SOLVE=precisions(architecture(maps.device) or "", "carry", torch.float32)[1],
        **CARRY[N]._asdict(),
    )
    return out


def scan_options(target: str, kernel: str, N: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return the compile-time arguments and options of a chunked kernel."""
    product, solve = precisions(target, kernel, dtype)
    options = {"N": N, "PRECISION": product, "SOLVE": solve}
    if target.startswith("sm_"):
        options["maxnreg"] = 255  # or ptxas spills a little to make room for one more program
    return {**options, **SETTINGS[target][kernel][N]._asdict()}


def _options_on(r: Tensor, kernel: str) -> dict[str, Any]:
    return scan_options(architecture(r.device) or "", kernel, r.shape[-1], r.dtype)


@functools.cache
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 2  # the interpreter: few, so that programs take several walks
    return torch.cuda.get_device_properties(device).multi_processor_count


def _segment_length(heads: int, T: int, device: torch.device) -> int:
    """Return how many steps one program walks: all, unless few long sequences leave cards idle.

    The two walks and the carry take about 1.5 L / 16 + T / L chunk times for segments of L steps,
    least near L = sqrt(11 T); and four programs a processor are as many as help.
    """
    if device.type != "cuda" or T < SEGMENTED_FROM:
        return T
    n_segments = min(4 * _processors(device) // heads, int(T / math.sqrt(11 * T)))
    if n_segments < 2:
        return T
    return triton.cdiv(triton.cdiv(T, n_segments), GROUP.value) * GROUP.value
