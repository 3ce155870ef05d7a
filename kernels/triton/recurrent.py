# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The RWKV-7 recurrence on a GPU as its definition reads: step after step, the state in registers.

It takes any log decay and any card, and so serves where the chunks of `scan_launch` cannot hold the
decay or would spill registers. Also here: the single step for decoding.

The forward splits the rows of the state among programs, for rows do not meet. The backward keeps
the state at every 16th step and recomputes those between from it, never dividing by the decay.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N. `p_` pointer,
`b_` block, `o_` offset, `m_` mask, `i_` index.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from .device import Launch, aligned, empty, kernel_dtype, needs_gradient, nothing, on_device
from .tiles import load_state, place

__all__ = ["recurrent_scan", "triton_step"]

ROWS = tl.constexpr(16)
"""Rows of the state a forward program holds."""

INTERVAL = tl.constexpr(16)
"""Steps between two states that are kept for the backward."""

SETTINGS = {
    "recurrent_forward": {16: Launch(1), 32: Launch(1), 64: Launch(1), 128: Launch(2)},
    "recurrent_backward": {16: Launch(1), 32: Launch(2), 64: Launch(4), 128: Launch(8)},
    "step": {16: Launch(1), 32: Launch(1), 64: Launch(1), 128: Launch(2)},
}
"""Launch options by kernel and N, for every architecture."""


def held(N: int) -> int:
    """Return how many rows of the state a program of the backward holds without spilling."""
    return min(N, 64)


@triton.jit
def load_row(p_x, o_x):
    """Load one step's channels in float32."""
    return tl.load(p_x + o_x).to(tl.float32)


@triton.jit
def step_state(b_state, b_w, b_k, b_v, b_a, b_b):
    """Return the state after one step, (rows, K), and S_{t-1} a_t, (rows,)."""
    b_removed = tl.sum(b_state * b_a[None, :], 1)
    b_state = b_state * tl.exp(b_w)[None, :] + b_removed[:, None] * b_b[None, :]
    return b_state + b_v[:, None] * b_k[None, :], b_removed


_RUN_TIME = ["T", "H", "has_lengths", "has_start", "has_end", "has_states"]


@triton.jit(do_not_specialize=_RUN_TIME)
def recurrent_forward(
    p_r,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_lengths,
    p_start,
    p_o,
    p_end,
    p_states,
    T,
    H,
    has_lengths,
    has_start,
    has_end,
    has_states,
    N: tl.constexpr,
):
    """Outputs and last state of `ROWS` rows of one head: p_start and p_end (B*H, V, K).

    p_states (B*H, T / INTERVAL, V, K) takes the states for the backward.
    """
    i_program = tl.program_id(0).to(tl.int64)
    i_head = i_program // (N // ROWS)
    base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
    o_key = tl.arange(0, N)
    o_row = (i_program % (N // ROWS)).to(tl.int32) * ROWS + tl.arange(0, ROWS)
    o_state = o_row[:, None] * N + o_key[None, :]
    b_state = load_state(p_start + i_head * N * N, o_state, has_start, N)
    for t in range(0, length):
        if (has_states != 0) & (t // INTERVAL * INTERVAL == t):
            i_state = i_head * tl.cdiv(T, INTERVAL) + t // INTERVAL
            tl.store(p_states + i_state * N * N + o_state, b_state)
        o_k = base + t * stride + o_key
        o_v = base + t * stride + o_row
        b_state, _ = step_state(
            b_state,
            load_row(p_w, o_k),
            load_row(p_k, o_k),
            load_row(p_v, o_v),
            load_row(p_a, o_k),
            load_row(p_b, o_k),
        )
        b_o = tl.sum(b_state * load_row(p_r, o_k)[None, :], 1)
        tl.store(p_o + o_v, b_o.to(p_o.dtype.element_ty))
    b_zero = tl.zeros((ROWS,), p_o.dtype.element_ty)
    for t in range(length, T):
        tl.store(p_o + base + t * stride + o_row, b_zero)
    if has_end != 0:
        tl.store(p_end + i_head * N * N + o_state, b_state)


@triton.jit(do_not_specialize=_RUN_TIME)
def recurrent_backward(
    p_r,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_lengths,
    p_states,
    p_d_o,
    p_d_end,
    p_d_r,
    p_d_w,
    p_d_k,
    p_d_v,
    p_d_a,
    p_d_b,
    p_d_start,
    T,
    H,
    has_lengths,
    has_states,
    has_end,
    has_start,
    N: tl.constexpr,
    HELD: tl.constexpr,
):
    """Gradients of one head from those of its outputs and last state, p_d_end (B*H, V, K).

    A program holds `HELD` rows of the state; their shares of all gradients but d_v lie behind each
    other, (N / HELD, B, T, H, N). `has_end` is for the gradient that comes in, `has_start` for the
    one that goes out.
    """
    i_head = tl.program_id(0).to(tl.int64) // (N // HELD)
    i_part = tl.program_id(0) % (N // HELD)
    base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
    o_part = (tl.num_programs(0) // (N // HELD)).to(tl.int64) * T * N * i_part
    o_key = tl.arange(0, N)
    o_row = i_part * HELD + tl.arange(0, HELD)
    o_state = o_row[:, None] * N + o_key[None, :]
    b_d_state = load_state(p_d_end + i_head * N * N, o_state, has_end, N)
    for i_back in range(0, length):
        t = length - 1 - i_back
        i_state = i_head * tl.cdiv(T, INTERVAL) + t // INTERVAL
        b_state = load_state(p_states + i_state * N * N, o_state, has_states, N)
        for t_past in range(t // INTERVAL * INTERVAL, t):
            o_past = base + t_past * stride + o_key
            b_state, _ = step_state(
                b_state,
                load_row(p_w, o_past),
                load_row(p_k, o_past),
                load_row(p_v, base + t_past * stride + o_row),
                load_row(p_a, o_past),
                load_row(p_b, o_past),
            )
        o_x = base + t * stride + o_key
        o_v = base + t * stride + o_row
        b_w, b_k, b_v = load_row(p_w, o_x), load_row(p_k, o_x), load_row(p_v, o_v)
        b_a, b_b = load_row(p_a, o_x), load_row(p_b, o_x)
        b_removed = tl.sum(b_state * b_a[None, :], 1)
        b_decay = tl.exp(b_w)
        b_d_o = load_row(p_d_o, o_v)
        # S_t d_o without forming S_t
        b_d_r = tl.sum(b_state * b_d_o[:, None], 0) * b_decay
        b_d_r += b_b * tl.sum(b_removed * b_d_o, 0) + b_k * tl.sum(b_v * b_d_o, 0)
        tl.store(p_d_r + o_part + o_x, b_d_r.to(p_d_r.dtype.element_ty))
        b_d_state += b_d_o[:, None] * load_row(p_r, o_x)[None, :]
        b_d_w = tl.sum(b_d_state * b_state, 0) * b_decay
        tl.store(p_d_w + o_part + o_x, b_d_w.to(p_d_w.dtype.element_ty))
        b_d_k = tl.sum(b_d_state * b_v[:, None], 0)
        tl.store(p_d_k + o_part + o_x, b_d_k.to(p_d_k.dtype.element_ty))
        b_d_v = tl.sum(b_d_state * b_k[None, :], 1)
        tl.store(p_d_v + o_v, b_d_v.to(p_d_v.dtype.element_ty))
        b_d_b = tl.sum(b_d_state * b_removed[:, None], 0)
        tl.store(p_d_b + o_part + o_x, b_d_b.to(p_d_b.dtype.element_ty))
        b_d_removed = tl.sum(b_d_state * b_b[None, :], 1)
        b_d_a = tl.sum(b_state * b_d_removed[:, None], 0)
        tl.store(p_d_a + o_part + o_x, b_d_a.to(p_d_a.dtype.element_ty))
        b_d_state = b_d_state * b_decay[None, :] + b_d_removed[:, None] * b_a[None, :]
    b_zero = tl.zeros((N,), p_d_r.dtype.element_ty)
    b_zero_v = tl.zeros((HELD,), p_d_v.dtype.element_ty)
    for t in range(length, T):
        o_x = base + t * stride + o_key
        tl.store(p_d_r + o_part + o_x, b_zero)
        tl.store(p_d_w + o_part + o_x, b_zero)
        tl.store(p_d_k + o_part + o_x, b_zero)
        tl.store(p_d_v + base + t * stride + o_row, b_zero_v)
        tl.store(p_d_a + o_part + o_x, b_zero)
        tl.store(p_d_b + o_part + o_x, b_zero)
    if has_start != 0:
        tl.store(p_d_start + i_head * N * N + o_state, b_d_state)


@triton.jit
def replace_state(p_r, p_w, p_k, p_v, p_a, p_b, p_state, p_o, N: tl.constexpr):
    """One step of `ROWS` rows of one head; the state, (B*H, V, K), is replaced."""
    i_program = tl.program_id(0).to(tl.int64)
    i_head = i_program // (N // ROWS)
    o_row = (i_program % (N // ROWS)).to(tl.int32) * ROWS + tl.arange(0, ROWS)
    o_k = i_head * N + tl.arange(0, N)
    o_v = i_head * N + o_row
    p_tile = p_state + i_head * N * N + o_row[:, None] * N + tl.arange(0, N)[None, :]
    b_state, _ = step_state(
        tl.load(p_tile),
        load_row(p_w, o_k),
        load_row(p_k, o_k),
        load_row(p_v, o_v),
        load_row(p_a, o_k),
        load_row(p_b, o_k),
    )
    tl.store(p_tile, b_state)
    b_o = tl.sum(b_state * load_row(p_r, o_k)[None, :], 1)
    tl.store(p_o + o_v, b_o.to(p_o.dtype.element_ty))


def recurrent_scan(
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
    """Compute `wkv7` step by step on a GPU, for any log decay.

    Parameters and results are those of `wkv7` with K = V in `HEAD_SIZES`; see `unsupported`.
    """
    dtype = kernel_dtype(r.dtype)
    inputs = tuple(aligned(x.to(dtype)) for x in (r, w, k, v, a, b))
    state = None if initial_state is None else aligned(initial_state.float())
    steps = None if lengths is None else aligned(lengths.to(r.device, torch.int32))
    if needs_gradient(*inputs, state):
        o, final_state = _RecurrentScan.apply(*inputs, state, steps, output_final_state)
    else:
        o, final_state, _ = _run_steps(inputs, state, steps, output_final_state, False)
    return o.to(v.dtype), final_state


class _RecurrentScan(torch.autograd.Function):
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
        keep = r.shape[1] > INTERVAL.value
        o, final_state, states = _run_steps(
            inputs, initial_state, lengths, output_final_state, keep
        )
        ctx.save_for_backward(*inputs, states if keep else initial_state, lengths)
        ctx.has_initial_state = initial_state is not None
        ctx.set_materialize_grads(False)
        return o, final_state

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_o: Tensor | None, d_final_state: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *inputs, states, lengths = ctx.saved_tensors
        r, v = inputs[0], inputs[3]
        B, T, H, N = r.shape
        no_state = nothing(r.device, torch.float32)
        d_o = torch.zeros_like(v) if d_o is None else aligned(d_o)
        parts = N // held(N)
        if parts == 1:
            gradients = [empty(x.shape, x.dtype, x.device) for x in inputs]
        else:  # shares of the rows' programs, which are added below
            gradients = [empty((parts, *x.shape), torch.float32, x.device) for x in inputs]
            gradients[3] = empty(v.shape, v.dtype, v.device)
        d_initial_state = (
            empty((B, H, N, N), torch.float32, r.device) if ctx.has_initial_state else None
        )
        launch = SETTINGS["recurrent_backward"][N]
        with on_device(r):
            recurrent_backward[(B * H * parts,)](
                *inputs,
                nothing(r.device, torch.int32) if lengths is None else lengths,
                no_state if states is None else states,
                d_o,
                no_state if d_final_state is None else aligned(d_final_state),
                *gradients,
                no_state if d_initial_state is None else d_initial_state,
                T,
                H,
                int(lengths is not None),
                int(states is not None),
                int(d_final_state is not None),
                int(d_initial_state is not None),
                N=N,
                HELD=held(N),
                **launch._asdict(),
            )
        if parts > 1:
            gradients = [x if i == 3 else x.sum(0).to(r.dtype) for i, x in enumerate(gradients)]
        return *gradients, d_initial_state, None, None


def _run_steps(
    inputs: tuple[Tensor, ...],
    initial_state: Tensor | None,
    lengths: Tensor | None,
    output_final_state: bool,
    keep_states: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the output, the final state and the states at every interval's start."""
    r, v = inputs[0], inputs[3]
    B, T, H, N = r.shape
    no_state = nothing(r.device, torch.float32)
    o = empty(v.shape, v.dtype, v.device)
    final_state = states = None
    if output_final_state:
        final_state = empty((B, H, N, N), torch.float32, r.device)
    if keep_states:
        states = empty((B, H, triton.cdiv(T, INTERVAL.value), N, N), torch.float32, r.device)
    launch = SETTINGS["recurrent_forward"][N]
    with on_device(r):
        recurrent_forward[(B * H * (N // ROWS.value),)](
            *inputs,
            nothing(r.device, torch.int32) if lengths is None else lengths,
            no_state if initial_state is None else initial_state,
            o,
            no_state if final_state is None else final_state,
            no_state if states is None else states,
            T,
            H,
            int(lengths is not None),
            int(initial_state is not None),
            int(final_state is not None),
            int(states is not None),
            N=N,
            **launch._asdict(),
        )
    return o, final_state, states


def triton_step(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> Tensor:
    """Advance the recurrence by one step on a GPU, without gradients.

    Parameters
    ----------
    r, w, k, a, b
        (B, H, K), as in `wkv7` without the time axis.
    v
        (B, H, V).
    state
        (B, H, V, K), float32 and contiguous. It is overwritten with the new state.

    Returns
    -------
    o
        (B, H, V), in the dtype of `v`.

    Raises
    ------
    ValueError
        If the state could not be overwritten where it lies.
    """
    if state.dtype != torch.float32 or not state.is_contiguous() or state.data_ptr() % 16:
        raise ValueError(
            "triton_step needs a contiguous float32 state to overwrite, got "
            f"{state.dtype} with strides {state.stride()}."
        )
    B, H, N = r.shape
    o = empty(v.shape, kernel_dtype(r.dtype), v.device)
    with on_device(r):
        replace_state[(B * H * (N // ROWS.value),)](
            *(aligned(x) for x in (r, w, k, v, a, b)),
            state,
            o,
            N=N,
            **SETTINGS["step"][N]._asdict(),
        )
    return o.to(v.dtype)
