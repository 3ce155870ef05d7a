# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The RWKV-7 recurrence as matrix products on a GPU: chunks of 16 steps, the state in registers.

The formulas are those of `chunked`, whose letters stand here too: q_a and q_r are the rows of q,
p_b and p_k those of p. One program walks one head's steps, or one segment of them, chunk by chunk.

    T <= 64            one launch each way; only the inputs are kept for the backward
    longer             the same kernels; the state at every 64th step is kept as well
    few long sequences segments of the time axis run beside each other, in three phases: each
                       segment's affine map S -> S M + W, the states between the segments, outputs

The backward recomputes the states inside 64 steps from the one before them; it never divides by
the decay. The triangular systems are solved by substitution on blocks that double in size, which
is as exact as row by row (4e-7 in float32 on repeated keys, where a Neumann product fails) and
takes six small products in place of fifteen dependent row sums.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N. Tiles are
(C, N) with C steps a chunk, states (V, K). `p_` pointer, `b_` block, `o_` offset, `m_` mask,
`i_` index.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from .recurrent import (
    Launch,
    aligned,
    architecture,
    empty,
    needs_gradient,
    nothing,
    on_device,
    recurrent_scan,
)
from .recurrent import unsupported as recurrent_unsupported

__all__ = ["triton_scan", "unsupported"]

C = tl.constexpr(16)
GROUP = tl.constexpr(64)
"""Steps between two states that are kept for the backward."""


# The algebra of one chunk. Every kernel is made of these. Registers are what is scarce, and so
# each function takes the channels slice by slice, loads what it needs and forgets it: the tiles
# come from the first-level cache, and so does the state.


@triton.jit
def load(p_x, start, o_tile, m_tile):
    """Load a tile in float32, zeros where the mask is off."""
    return tl.load(p_x + (start + o_tile), mask=m_tile, other=0.0).to(tl.float32)


@triton.jit
def store(p_x, start, o_tile, m_tile, m_valid, b_x):
    """Store a tile in the pointer's type, zeros in the padding."""
    b_x = tl.where(m_valid, b_x, 0.0).to(p_x.dtype.element_ty)
    tl.store(p_x + (start + o_tile), b_x, mask=m_tile)


@triton.jit
def slices(N: tl.constexpr, SLICE: tl.constexpr):
    """Return how many slices there are.

    A single one is counted at run time, by the grid's missing second axis: without a loop around
    them the compiler would share what the functions load, hold it all, and spill.
    """
    if N == SLICE:
        return tl.num_programs(1)
    else:
        return N // SLICE


@triton.jit
def slice_offsets(i_slice, H, N: tl.constexpr, SLICE: tl.constexpr):
    """Return the offsets of a slice of channels in a tile, (C, SLICE), and a state, (V, SLICE)."""
    o_channel = i_slice * SLICE + tl.arange(0, SLICE)[None, :]
    o_tile = tl.arange(0, C)[:, None] * (H * N) + o_channel
    return o_tile, tl.arange(0, N)[:, None] * N + o_channel


@triton.jit
def load_state(p_state, o_state, has_state, N: tl.constexpr):
    """Load a state or a slice of it, zeros where there is none."""
    return tl.load(p_state + o_state, mask=o_state < has_state * (N * N), other=0.0)


@triton.jit
def copy_state(p_to, p_from, has_state, N: tl.constexpr):
    """Copy a state, or zeros where there is none, for all to see."""
    o_state = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.debug_barrier()  # all have read what is overwritten
    tl.store(p_to + o_state, load_state(p_from, o_state, has_state, N))
    tl.debug_barrier()


@triton.jit
def decays(p_w, start, o_tile, m_tile):
    """Return exp(G_{t-1} - m), exp(G_t - m), exp(m - G_t), (C, K), and exp(m), (1, K)."""
    b_w = load(p_w, start, o_tile, m_tile)
    b_middle = 0.5 * tl.sum(b_w, 0)[None, :]
    b_after = tl.cumsum(b_w, 0) - b_middle
    return tl.exp(b_after - b_w), tl.exp(b_after), tl.exp(-b_after), tl.exp(b_middle)


@triton.jit
def future(b_pairs, DIAGONAL: tl.constexpr):
    """Clear what a row must not see: later steps, and its own without `DIAGONAL`; (C, C)."""
    o_row = tl.arange(0, C)[:, None]
    o_column = tl.arange(0, C)[None, :]
    if DIAGONAL:
        return tl.where(o_row >= o_column, b_pairs, 0.0)
    else:
        return tl.where(o_row > o_column, b_pairs, 0.0)


@triton.jit
def pairs(
    p_q,
    p_w,
    p_k,
    p_b,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    DIAGONAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return q p_b^T and q p_k^T, (C, C), for q_a, or for q_r, which sees its own step."""
    b_A_b = tl.zeros((C, C), tl.float32)
    b_A_k = tl.zeros((C, C), tl.float32)
    for i_slice in range(slices(N, SLICE)):
        o_tile, _o_unused = slice_offsets(i_slice, H, N, SLICE)
        b_before, b_after, b_inverse_after, _b_unused = decays(p_w, start, o_tile, m_tile)
        b_q = load(p_q, start, o_tile, m_tile)
        if DIAGONAL:
            b_q *= b_after
        else:
            b_q *= b_before
        b_p = tl.trans(load(p_b, start, o_tile, m_tile) * b_inverse_after)
        b_A_b = tl.dot(b_q, b_p, b_A_b, input_precision=PRECISION)
        b_p = tl.trans(load(p_k, start, o_tile, m_tile) * b_inverse_after)
        b_A_k = tl.dot(b_q, b_p, b_A_k, input_precision=PRECISION)
    return future(b_A_b, DIAGONAL), future(b_A_k, DIAGONAL)


@triton.jit
def inverse(b_A, SOLVE: tl.constexpr):
    """Return (I - A)^{-1} for a strictly lower triangular A, (C, C)."""
    o_row = tl.arange(0, C)[:, None]
    o_column = tl.arange(0, C)[None, :]
    # Blocks of two rows are inverted by a sign; then (X 0; YAX Y) joins neighbouring blocks X, Y.
    b_inverse = tl.where(o_row // 2 == o_column // 2, b_A, 0.0)
    b_inverse = tl.where(o_row == o_column, 1.0, b_inverse)
    for log_size in tl.static_range(1, 4):
        m_joint = (o_row >> (log_size + 1)) == (o_column >> (log_size + 1))
        m_below = m_joint & ((o_row >> log_size) != (o_column >> log_size))
        b_below = tl.where(m_below, b_A, 0.0)
        b_below = tl.dot(b_inverse, b_below, input_precision=SOLVE)
        b_inverse = tl.dot(b_below, b_inverse, b_inverse, input_precision=SOLVE)
    return b_inverse


@triton.jit
def read_state(
    b_o,
    p_q,
    p_w,
    p_state,
    has_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    OWN_STEP: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add q S^T, (C, V), for q_r, or without `OWN_STEP` for q_a."""
    for i_slice in range(slices(N, SLICE)):
        o_tile, o_state = slice_offsets(i_slice, H, N, SLICE)
        b_before, b_after, _b_unused, b_half = decays(p_w, start, o_tile, m_tile)
        b_q = load(p_q, start, o_tile, m_tile)
        if OWN_STEP:
            b_q *= b_after * b_half
        else:
            b_q *= b_before * b_half
        b_state = load_state(p_state, o_state, has_state, N)
        b_o = tl.dot(b_q, tl.trans(b_state), b_o, input_precision=PRECISION)
    return b_o


@triton.jit
def write_state(
    p_next,
    b_u,
    b_v,
    p_w,
    p_k,
    p_b,
    p_state,
    has_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Store the state after the chunk."""
    b_u = tl.trans(b_u)
    b_v = tl.trans(b_v)
    tl.debug_barrier()
    for i_slice in range(slices(N, SLICE)):
        o_tile, o_state = slice_offsets(i_slice, H, N, SLICE)
        _b_unused, _b_unused, b_inverse_after, b_half = decays(p_w, start, o_tile, m_tile)
        b_state = load_state(p_state, o_state, has_state, N) * b_half
        b_p = load(p_b, start, o_tile, m_tile) * b_inverse_after
        b_state = tl.dot(b_u, b_p, b_state, input_precision=PRECISION)
        b_p = load(p_k, start, o_tile, m_tile) * b_inverse_after
        b_state = tl.dot(b_v, b_p, b_state, input_precision=PRECISION)
        tl.debug_barrier()  # all have read what may be overwritten
        tl.store(p_next + o_state, b_state * b_half)
    tl.debug_barrier()  # all see what others have written


@triton.jit
def removals(
    p_w,
    p_k,
    p_a,
    p_b,
    b_v,
    p_state,
    has_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    CARRIED: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Return U, (C, V), whose rows are S_{t-1} a_t, with (I - A_ab)^{-1} and A_ak, (C, C)."""
    b_A_ab, b_A_ak = pairs(p_a, p_w, p_k, p_b, start, m_tile, H, N, SLICE, False, PRECISION)
    b_inverse = inverse(b_A_ab, SOLVE)
    b_u = tl.dot(b_A_ak, b_v, input_precision=PRECISION)
    if CARRIED:
        b_u = read_state(
            *(b_u, p_a, p_w, p_state, has_state, start, m_tile, H, N, SLICE, False, PRECISION)
        )
    return tl.dot(b_inverse, b_u, input_precision=PRECISION), b_inverse, b_A_ak


@triton.jit
def advance(
    p_next,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_state,
    has_state,
    start,
    m_tile,
    m_value,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Carry the state over one chunk without its outputs."""
    o_tile, _o_unused = slice_offsets(0, H, N, N)
    b_v = load(p_v, start, o_tile, m_value)
    b_u, _b_unused, _b_unused = removals(
        *(p_w, p_k, p_a, p_b, b_v, p_state, has_state, start, m_tile, H),
        *(N, SLICE, True, PRECISION, SOLVE),
    )
    write_state(
        *(p_next, b_u, b_v, p_w, p_k, p_b, p_state, has_state, start, m_tile, H),
        *(N, SLICE, PRECISION),
    )


@triton.jit
def removals_gradient(
    b_inverse,
    b_A_rb,
    b_d_o,
    p_w,
    p_b,
    p_d_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    CARRIED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return the gradient of what U solves for, (C, V)."""
    b_d_u = tl.dot(tl.trans(b_A_rb), b_d_o, input_precision=PRECISION)
    if CARRIED:
        b_d_u = read_gradient(b_d_u, p_b, p_w, p_d_state, start, m_tile, H, N, SLICE, PRECISION)
    return tl.dot(tl.trans(b_inverse), b_d_u, input_precision=PRECISION)


@triton.jit
def read_gradient(
    b_x,
    p_x,
    p_w,
    p_d_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add p d_S_C^T, (C, V), for p_b or p_k."""
    for i_slice in range(slices(N, SLICE)):
        o_tile, o_state = slice_offsets(i_slice, H, N, SLICE)
        _b_unused, _b_unused, b_inverse_after, b_half = decays(p_w, start, o_tile, m_tile)
        b_p = load(p_x, start, o_tile, m_tile) * (b_inverse_after * b_half)
        b_d_state = load_state(p_d_state, o_state, 1, N)
        b_x = tl.dot(b_p, tl.trans(b_d_state), b_x, input_precision=PRECISION)
    return b_x


@triton.jit
def pairs_gradient(
    p_d,
    start_d,
    H_d,
    p_u,
    p_v,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    DIAGONAL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return d U^T and d V^T, (C, C), for d_U, or with `DIAGONAL` for d_O; by slices of V."""
    b_d_A_b = tl.zeros((C, C), tl.float32)
    b_d_A_k = tl.zeros((C, C), tl.float32)
    for i_slice in range(slices(N, SLICE)):
        o_d, _o_unused = slice_offsets(i_slice, H_d, N, SLICE)
        b_d = load(p_d, start_d, o_d, m_tile)
        o_u, _o_unused = slice_offsets(i_slice, 1, N, SLICE)
        b_x = tl.trans(load(p_u, 0, o_u, m_tile))
        b_d_A_b = tl.dot(b_d, b_x, b_d_A_b, input_precision=PRECISION)
        o_v, _o_unused = slice_offsets(i_slice, H, N, SLICE)
        b_x = tl.trans(load(p_v, start, o_v, m_tile))
        b_d_A_k = tl.dot(b_d, b_x, b_d_A_k, input_precision=PRECISION)
    return future(b_d_A_b, DIAGONAL), future(b_d_A_k, DIAGONAL)


@triton.jit
def weigh_state(
    p_x,
    start,
    m_tile,
    H,
    p_state,
    has_state,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return x S, (C, K), by slices of V."""
    b_x = tl.zeros((C, N), tl.float32)
    for i_slice in range(slices(N, SLICE)):
        o_tile, _o_unused = slice_offsets(i_slice, H, N, SLICE)
        o_state = i_slice * (SLICE * N) + tl.arange(0, SLICE)[:, None] * N
        o_state += tl.arange(0, N)[None, :]
        b_state = load_state(p_state, o_state, has_state, N)
        b_x = tl.dot(load(p_x, start, o_tile, m_tile), b_state, b_x, input_precision=PRECISION)
    return b_x


@triton.jit
def overlap(p_state, has_state, p_d_state, N: tl.constexpr, SLICE: tl.constexpr):
    """Return the sum of S * d_S over V, (1, K)."""
    b_sum = tl.zeros((1, N), tl.float32)
    for i_slice in range(slices(N, SLICE)):
        o_state = i_slice * (SLICE * N) + tl.arange(0, SLICE)[:, None] * N
        o_state += tl.arange(0, N)[None, :]
        b_state = load_state(p_state, o_state, has_state, N)
        b_sum += tl.sum(b_state * load_state(p_d_state, o_state, 1, N), 0)[None, :]
    return b_sum


@triton.jit
def write_gradient(
    b_d_u,
    b_d_o,
    p_r,
    p_w,
    p_a,
    p_d_state,
    start,
    m_tile,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Replace the gradient of the state after the chunk by that of the state before it."""
    b_d_u = tl.trans(b_d_u)
    b_d_o = tl.trans(b_d_o)
    tl.debug_barrier()
    for i_slice in range(slices(N, SLICE)):
        o_tile, o_state = slice_offsets(i_slice, H, N, SLICE)
        b_before, b_after, _b_unused, b_half = decays(p_w, start, o_tile, m_tile)
        b_d_state = load_state(p_d_state, o_state, 1, N) * b_half
        b_q = load(p_a, start, o_tile, m_tile) * b_before
        b_d_state = tl.dot(b_d_u, b_q, b_d_state, input_precision=PRECISION)
        b_q = load(p_r, start, o_tile, m_tile) * b_after
        b_d_state = tl.dot(b_d_o, b_q, b_d_state, input_precision=PRECISION)
        tl.debug_barrier()  # all have read what is overwritten
        tl.store(p_d_state + o_state, b_d_state * b_half)
    tl.debug_barrier()  # all see what others have written


@triton.jit
def place(i_head, T, H, p_lengths, has_lengths, N: tl.constexpr):
    """Return where a head's first step lies, the steps' stride and the sequence's length."""
    i_b = i_head // H
    stride = tl.cast(H, tl.int64) * N
    base = i_b * T * stride + (i_head % H) * N
    length = tl.load(p_lengths + i_b, mask=has_lengths != 0, other=T)
    return base, stride, tl.minimum(length, T)


# The kernels. Flags are run-time integers: each compile-time one would double the variants. Those
# that need scratch memory take several walks, segments of heads, so that it stays small.

_RUN_TIME = [
    *("T", "H", "n_walks", "n_segments", "segment_length"),
    *("has_lengths", "has_start", "has_end", "has_states", "add_stride"),
]


@triton.jit(do_not_specialize=_RUN_TIME)
def forward(
    p_r,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_lengths,
    p_start,
    p_scratch,
    p_o,
    p_end,
    p_states,
    T,
    H,
    n_walks,
    n_segments,
    segment_length,
    has_lengths,
    has_start,
    has_end,
    has_states,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    CARRIED: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Outputs of segments of heads, their last states and the states at every group's start.

    p_start (B*H, n_segments, V, K), p_end (B*H, V, K), p_states (B*H, T / GROUP, V, K) without
    those at the segments' starts, p_scratch (programs, V, K). Without `CARRIED` there is one chunk
    and no state.
    """
    o_step = tl.arange(0, C)[:, None]
    p_scratch += tl.program_id(0).to(tl.int64) * (N * N)
    for i_walk in range(tl.program_id(0), n_walks, tl.num_programs(0)):
        i_head = tl.cast(i_walk // n_segments, tl.int64)
        i_segment = i_walk % n_segments
        base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
        o_value, _o_unused = slice_offsets(0, H, N, N)
        p_state = p_start + (i_head * n_segments + i_segment) * (N * N)
        has_state = has_start
        first = i_segment * segment_length
        last = tl.minimum(first + segment_length, T)
        for i_chunk in range(tl.cdiv(last - first, C)):
            t = first + C * i_chunk
            start = base + t * stride
            m_tile = t + o_step < length
            b_v = load(p_v, start, o_value, m_tile)
            b_u, _b_unused, _b_unused = removals(
                *(p_w, p_k, p_a, p_b, b_v, p_state, has_state, start, m_tile, H),
                *(N, SLICE, CARRIED, PRECISION, SOLVE),
            )
            b_A_rb, b_A_rk = pairs(
                *(p_r, p_w, p_k, p_b, start, m_tile, H, N, SLICE, True, PRECISION)
            )
            b_o = tl.dot(b_A_rb, b_u, input_precision=PRECISION)
            b_o = tl.dot(b_A_rk, b_v, b_o, input_precision=PRECISION)
            if CARRIED:
                b_o = read_state(
                    *(b_o, p_r, p_w, p_state, has_state, start, m_tile, H),
                    *(N, SLICE, True, PRECISION),
                )
            store(p_o, start, o_value, t + o_step < T, m_tile, b_o)
            if CARRIED and (t + C < last) | (has_end != 0) & (t + C >= T):
                p_next = p_scratch
                if t + C >= T:
                    p_next = p_end + i_head * (N * N)
                elif (has_states != 0) & ((t + C) % GROUP == 0):
                    p_next = p_states + (i_head * tl.cdiv(T, GROUP) + (t + C) // GROUP) * (N * N)
                write_state(
                    *(p_next, b_u, b_v, p_w, p_k, p_b, p_state, has_state, start, m_tile, H),
                    *(N, SLICE, PRECISION),
                )
                p_state = p_next
                has_state = 1


@triton.jit
def chunk_gradients(
    p_r,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_d_o,
    p_d_r,
    p_d_w,
    p_d_k,
    p_d_v,
    p_d_a,
    p_d_b,
    p_state,
    p_d_state,
    p_rows,
    start,
    m_tile,
    m_out,
    H,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    CARRIED: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Store a chunk's gradients; turn that of its last state, `p_d_state`, into its first's."""
    o_value, _o_unused = slice_offsets(0, H, N, N)
    b_v = load(p_v, start, o_value, m_tile)
    b_u, b_inverse, b_A_ak = removals(
        *(p_w, p_k, p_a, p_b, b_v, p_state, 1, start, m_tile, H),
        *(N, SLICE, CARRIED, PRECISION, SOLVE),
    )
    b_A_rb, b_A_rk = pairs(p_r, p_w, p_k, p_b, start, m_tile, H, N, SLICE, True, PRECISION)
    b_d_o = load(p_d_o, start, o_value, m_tile)
    b_d_u = removals_gradient(
        *(b_inverse, b_A_rb, b_d_o, p_w, p_b, p_d_state, start, m_tile, H),
        *(N, SLICE, CARRIED, PRECISION),
    )
    b_d_v = tl.dot(tl.trans(b_A_rk), b_d_o, input_precision=PRECISION)
    b_d_v = tl.dot(tl.trans(b_A_ak), b_d_u, b_d_v, input_precision=PRECISION)
    if CARRIED:
        b_d_v = read_gradient(b_d_v, p_k, p_w, p_d_state, start, m_tile, H, N, SLICE, PRECISION)
    store(p_d_v, start, o_value, m_out, m_tile, b_d_v)

    o_row = tl.arange(0, C)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(p_rows + o_row, b_u)
    tl.store(p_rows + C * N + o_row, b_d_u)
    tl.debug_barrier()  # all see them, and nothing loaded before is held: it would spill
    p_d_u = p_rows + C * N

    b_d_A_rb, b_d_A_rk = pairs_gradient(
        *(p_d_o, start, H, p_rows, p_v, start, m_tile, H, N, SLICE, True, PRECISION)
    )
    b_d_A_ab, b_d_A_ak = pairs_gradient(
        *(p_d_u, 0, 1, p_rows, p_v, start, m_tile, H, N, SLICE, False, PRECISION)
    )
    b_d_q_r = tl.zeros((C, N), tl.float32)
    b_d_q_a = tl.zeros((C, N), tl.float32)
    if CARRIED:
        b_d_q_r = weigh_state(p_d_o, start, m_tile, H, p_state, 1, N, SLICE, PRECISION)
        b_d_q_a = weigh_state(p_d_u, 0, m_tile, 1, p_state, 1, N, SLICE, PRECISION)
    tl.debug_barrier()
    b_before, b_after, b_inverse_after, b_half = decays(p_w, start, o_value, m_tile)
    if CARRIED:
        b_d_q_r *= b_half
        b_d_q_a *= b_half
    b_p = load(p_b, start, o_value, m_tile) * b_inverse_after
    b_d_q_r = tl.dot(b_d_A_rb, b_p, b_d_q_r, input_precision=PRECISION)
    b_d_q_a = tl.dot(b_d_A_ab, b_p, b_d_q_a, input_precision=PRECISION)
    b_p = load(p_k, start, o_value, m_tile) * b_inverse_after
    b_d_q_r = tl.dot(b_d_A_rk, b_p, b_d_q_r, input_precision=PRECISION)
    b_d_q_a = tl.dot(b_d_A_ak, b_p, b_d_q_a, input_precision=PRECISION)
    # G_t scales r_t and 1 / b_t, 1 / k_t; G_{t-1} scales a_t; G_C scales the final state.
    b_d_q_r *= b_after
    b_d_q_a *= b_before
    store(p_d_r, start, o_value, m_out, m_tile, b_d_q_r)
    store(p_d_a, start, o_value, m_out, m_tile, b_d_q_a)
    b_from_a = load(p_a, start, o_value, m_tile) * b_d_q_a
    b_from_r = load(p_r, start, o_value, m_tile) * b_d_q_r
    b_d_w = tl.cumsum(b_from_a + b_from_r, 0, reverse=True) - b_from_a

    b_d_p_b = tl.zeros((C, N), tl.float32)
    b_d_p_k = tl.zeros((C, N), tl.float32)
    if CARRIED:
        b_d_p_b = weigh_state(p_rows, 0, m_tile, 1, p_d_state, 1, N, SLICE, PRECISION)
        b_d_p_k = weigh_state(p_v, start, m_tile, H, p_d_state, 1, N, SLICE, PRECISION)
    tl.debug_barrier()
    b_before, b_after, b_inverse_after, b_half = decays(p_w, start, o_value, m_tile)
    if CARRIED:
        b_d_p_b *= b_half
        b_d_p_k *= b_half
        # The sum of d_S_C * S_C over V, without forming S_C.
        b_sum = load(p_b, start, o_value, m_tile) * b_d_p_b
        b_sum += load(p_k, start, o_value, m_tile) * b_d_p_k
        b_d_w += tl.sum(b_sum * b_inverse_after, 0)[None, :]
        b_d_w += overlap(p_state, 1, p_d_state, N, SLICE) * b_half * b_half
    b_q = load(p_a, start, o_value, m_tile) * b_before
    b_d_p_b = tl.dot(tl.trans(b_d_A_ab), b_q, b_d_p_b, input_precision=PRECISION)
    b_d_p_k = tl.dot(tl.trans(b_d_A_ak), b_q, b_d_p_k, input_precision=PRECISION)
    b_q = load(p_r, start, o_value, m_tile) * b_after
    b_d_p_b = tl.dot(tl.trans(b_d_A_rb), b_q, b_d_p_b, input_precision=PRECISION)
    b_d_p_k = tl.dot(tl.trans(b_d_A_rk), b_q, b_d_p_k, input_precision=PRECISION)
    b_d_p_b *= b_inverse_after
    b_d_p_k *= b_inverse_after
    store(p_d_b, start, o_value, m_out, m_tile, b_d_p_b)
    store(p_d_k, start, o_value, m_out, m_tile, b_d_p_k)
    b_from_p = load(p_b, start, o_value, m_tile) * b_d_p_b
    b_from_p += load(p_k, start, o_value, m_tile) * b_d_p_k
    b_d_w -= tl.cumsum(b_from_p, 0, reverse=True)
    store(p_d_w, start, o_value, m_out, m_tile, b_d_w)
    if CARRIED:
        write_gradient(
            *(load(p_d_u, 0, o_row, m_tile), load(p_d_o, start, o_value, m_tile)),
            *(p_r, p_w, p_a, p_d_state, start, m_tile, H, N, SLICE, PRECISION),
        )


@triton.jit(do_not_specialize=_RUN_TIME)
def backward(
    p_r,
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_lengths,
    p_start,
    p_states,
    p_scratch,
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
    n_walks,
    n_segments,
    segment_length,
    has_lengths,
    has_start,
    has_end,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    CARRIED: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Gradients of segments of heads, from those of their outputs and of their last states.

    p_start (B*H, n_segments, V, K), p_states as the forward left it, p_d_end like p_start,
    p_d_start (B*H, V, K); `has_start` is for both p_start and p_d_start, `has_end` for p_d_end.
    p_scratch holds a program's two tiles, (C, V), and if `CARRIED` GROUP / C + 1 states: the
    state's gradient and the states inside a group.
    """
    o_step = tl.arange(0, C)[:, None]
    if CARRIED:
        p_rows = p_scratch + tl.program_id(0).to(tl.int64) * ((GROUP // C + 1) * N * N + 2 * C * N)
    else:
        p_rows = p_scratch + tl.program_id(0).to(tl.int64) * (2 * C * N)
    p_d_state = p_rows + 2 * C * N
    p_inside = p_d_state + N * N
    for i_walk in range(tl.program_id(0), n_walks, tl.num_programs(0)):
        i_head = tl.cast(i_walk // n_segments, tl.int64)
        i_segment = i_walk % n_segments
        base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
        if CARRIED:
            copy_state(p_d_state, p_d_end + (i_head * n_segments + i_segment) * (N * N), has_end, N)
        first = i_segment * segment_length
        last = tl.minimum(first + segment_length, T)
        n_groups = tl.cdiv(last - first, GROUP)
        for i_back in range(n_groups):
            t_group = first + (n_groups - 1 - i_back) * GROUP
            n_chunks = tl.cdiv(tl.minimum(last - t_group, GROUP), C)
            if CARRIED:
                if t_group == first:
                    i_start = i_head * n_segments + i_segment
                    copy_state(p_inside, p_start + i_start * (N * N), has_start, N)
                else:
                    i_group = i_head * tl.cdiv(T, GROUP) + t_group // GROUP
                    copy_state(p_inside, p_states + i_group * (N * N), 1, N)
                for i_chunk in range(n_chunks - 1):
                    t = t_group + C * i_chunk
                    m_tile = t + o_step < length
                    p_state = p_inside + i_chunk * (N * N)
                    advance(
                        *(p_state + N * N, p_w, p_k, p_v, p_a, p_b, p_state, 1),
                        *(base + t * stride, m_tile, m_tile, H, N, SLICE, PRECISION, SOLVE),
                    )
            for i_chunk_back in range(n_chunks):
                i_chunk = n_chunks - 1 - i_chunk_back
                t = t_group + C * i_chunk
                chunk_gradients(
                    *(p_r, p_w, p_k, p_v, p_a, p_b, p_d_o),
                    *(p_d_r, p_d_w, p_d_k, p_d_v, p_d_a, p_d_b),
                    *(p_inside + i_chunk * (N * N), p_d_state, p_rows, base + t * stride),
                    *(t + o_step < length, t + o_step < T, H),
                    *(N, SLICE, CARRIED, PRECISION, SOLVE),
                )
        if CARRIED and (has_start != 0) & (i_segment == 0):
            copy_state(p_d_start + i_head * (N * N), p_d_state, 1, N)


@triton.jit(do_not_specialize=_RUN_TIME)
def segment_map(
    p_w,
    p_k,
    p_v,
    p_a,
    p_b,
    p_lengths,
    p_map,
    T,
    H,
    n_segments,
    segment_length,
    has_lengths,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Half of the map of one segment of one head: p_map (B*H, n_segments, 2, N, N) holds M, W.

    Rows of the state do not meet: those of the identity, with no values written, end as M, and
    those of zeros, with the values, as W.
    """
    i_program = tl.program_id(0).to(tl.int64)
    i_head = i_program // 2 // n_segments
    i_segment = (i_program // 2 % n_segments).to(tl.int32)
    i_half = (i_program % 2).to(tl.int32)
    base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
    o_step = tl.arange(0, C)[:, None]
    o_row = tl.arange(0, N)[:, None]
    o_column = tl.arange(0, N)[None, :]
    p_map += i_program * (N * N)
    b_first = tl.where(o_row == o_column, 1.0 - i_half, 0.0)
    tl.store(p_map + o_row * N + o_column, b_first)
    tl.debug_barrier()
    first = i_segment * segment_length
    for i_chunk in range(tl.cdiv(tl.minimum(segment_length, T - first), C)):
        t = first + C * i_chunk
        m_tile = t + o_step < length
        advance(
            *(p_map, p_w, p_k, p_v, p_a, p_b, p_map, 1, base + t * stride, m_tile),
            *(t + o_step < length * i_half, H, N, SLICE, PRECISION, SOLVE),
        )


@triton.jit(do_not_specialize=_RUN_TIME)
def segment_gradient(
    p_r,
    p_w,
    p_k,
    p_a,
    p_b,
    p_lengths,
    p_d_o,
    p_d_start,
    T,
    H,
    n_segments,
    segment_length,
    has_lengths,
    N: tl.constexpr,
    SLICE: tl.constexpr,
    PRECISION: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Gradient of one segment's first state from its outputs, (B*H, n_segments, V, K)."""
    i_program = tl.program_id(0).to(tl.int64)
    i_head = i_program // n_segments
    i_segment = (i_program % n_segments).to(tl.int32)
    base, stride, length = place(i_head, T, H, p_lengths, has_lengths, N)
    o_step = tl.arange(0, C)[:, None]
    o_value, _o_unused = slice_offsets(0, H, N, N)
    o_whole = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    p_d_start += i_program * (N * N)
    tl.store(p_d_start + o_whole, tl.zeros((N, N), tl.float32))
    tl.debug_barrier()
    first = i_segment * segment_length
    n_chunks = tl.cdiv(tl.minimum(segment_length, T - first), C)
    for i_chunk in range(n_chunks):
        t = first + (n_chunks - 1 - i_chunk) * C
        start = base + t * stride
        m_tile = t + o_step < length
        b_A_ab, _b_unused = pairs(p_a, p_w, p_k, p_b, start, m_tile, H, N, SLICE, False, PRECISION)
        b_A_rb, _b_unused = pairs(p_r, p_w, p_k, p_b, start, m_tile, H, N, SLICE, True, PRECISION)
        b_d_o = load(p_d_o, start, o_value, m_tile)
        b_d_u = removals_gradient(
            *(inverse(b_A_ab, SOLVE), b_A_rb, b_d_o, p_w, p_b, p_d_start, start, m_tile, H),
            *(N, SLICE, True, PRECISION),
        )
        write_gradient(
            *(b_d_u, b_d_o, p_r, p_w, p_a, p_d_start, start, m_tile, H, N, SLICE, PRECISION)
        )


@triton.jit(do_not_specialize=_RUN_TIME)
def carry(
    p_first,
    p_map,
    p_add,
    p_out,
    n_segments,
    add_stride,
    has_start,
    N: tl.constexpr,
    REVERSE: tl.constexpr,
    SOLVE: tl.constexpr,
):
    """Carry 16 rows of a state from segment to segment: S M + W, or backwards d_S M^T + D.

    p_first (B*H, N, N); p_map (B*H, n_segments, 2, N, N); p_add the same, or without the 2, by
    `add_stride`; p_out (B*H, n_segments, N, N): the state with which each segment begins.
    """
    i_program = tl.program_id(0).to(tl.int64)
    i_head = i_program // (N // C)
    o_rows = (i_program % (N // C)) * C * N
    o_rows += tl.arange(0, C)[:, None] * N + tl.arange(0, N)[None, :]
    o_state = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    b_rows = tl.load(
        p_first + i_head * N * N + o_rows, mask=o_rows < has_start * (N * N), other=0.0
    )
    for i_step in range(n_segments):
        i_segment = i_head * n_segments + i_step
        if REVERSE:
            i_segment = i_head * n_segments + (n_segments - 1 - i_step)
        tl.store(p_out + i_segment * N * N + o_rows, b_rows)
        b_map = tl.load(p_map + i_segment * (2 * N * N) + o_state)
        if REVERSE:
            b_map = tl.trans(b_map)
        b_add = tl.load(p_add + i_segment * add_stride + o_rows)
        b_rows = tl.dot(b_rows, b_map, b_add, input_precision=SOLVE)


# What runs where. `compile_report` compiles every entry, so that none can spill unseen.


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
"""Launch options of `carry` by N, for every architecture."""

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


def unsupported(r: Tensor, v: Tensor) -> str | None:
    """Return why these inputs, (B, T, H, K) and (B, T, H, V), cannot run here; None if they can."""
    return recurrent_unsupported(r, v)


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
    # float16 runs in float32, so that half as many kernels must be compiled and watched
    wide = torch.bfloat16 if r.dtype == torch.bfloat16 else torch.float32
    inputs = tuple(aligned(x.to(wide)) for x in (r, w, k, v, a, b))
    state = None if initial_state is None else aligned(initial_state.float())
    steps = None if lengths is None else aligned(lengths.to(r.device, torch.int32))
    if needs_gradient(*inputs, state):
        o, final_state = _TritonScan.apply(*inputs, state, steps, output_final_state)
    else:
        o, final_state, *_ = _run_forward(inputs, state, steps, output_final_state, False)
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
        o, final_state, start, states, maps = _run_forward(
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
        *gradients, d_initial_state = _run_backward(
            tuple(inputs), start, states, lengths, maps, d_o, d_end, ctx.has_initial_state
        )
        return *gradients, d_initial_state, None, None


def _run_forward(
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
                **_options(r, "segment_map"),
            )
            start = _run_carry(initial_state, maps, maps[:, :, 1], False)
        n_programs, scratch = _scratch(n_walks, N * N if C.value < T else 0, r.device)
        forward[(n_programs,)](
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
            **_options(r, "forward" if carried else "forward one chunk"),
        )
    return o, final_state, start, states, maps


def _run_backward(
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
                **_options(r, "segment_gradient"),
            )
            d_end = _run_carry(d_final_state, maps, d_starts, True)
        n_walks = B * H * n_segments
        size = 2 * C.value * N + (N * N * (GROUP.value // C.value + 1) if carried else 0)
        n_programs, scratch = _scratch(n_walks, size, r.device)
        backward[(n_programs,)](
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
            **_options(r, "backward" if carried else "backward one chunk"),
        )
    return *gradients, d_start if has_initial_state else None


def _scratch(n_walks: int, size: int, device: torch.device) -> tuple[int, Tensor]:
    """Return how many programs share the walks, and room for `size` numbers each if any."""
    if size == 0:
        return n_walks, nothing(device, torch.float32)
    n_programs = min(n_walks, PROGRAMS_PER_PROCESSOR * _processors(device))
    return n_programs, empty((n_programs, size), torch.float32, device)


def _run_carry(first: Tensor | None, maps: Tensor, add: Tensor, reverse: bool) -> Tensor:
    """Return the state, or its gradient, with which each segment begins; see `carry`."""
    heads, n_segments, _, N, _ = maps.shape
    out = empty((heads, n_segments, N, N), torch.float32, maps.device)
    carry[(heads * (N // C.value),)](
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


def compile_options(target: str, kernel: str, N: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return the compile-time arguments and options of a chunked kernel."""
    product, solve = precisions(target, kernel, dtype)
    options = {"N": N, "PRECISION": product, "SOLVE": solve}
    if target.startswith("sm_"):
        options["maxnreg"] = 255  # or ptxas spills a little to make room for one more program
    return {**options, **SETTINGS[target][kernel][N]._asdict()}


def _options(r: Tensor, kernel: str) -> dict[str, Any]:
    return compile_options(architecture(r.device) or "", kernel, r.shape[-1], r.dtype)


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
