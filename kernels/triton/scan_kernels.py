# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The launched kernels of the scan: one program walks a head's steps, or a segment of them.

Flags are run-time integers: each compile-time one would double the variants. Kernels that need
scratch memory take several walks, segments of heads, so that it stays small. The backward
recomputes the states inside 64 steps from the one before them; it never divides by the decay.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N. Tiles are
(C, N) with C steps a chunk, states (V, K). `p_` pointer, `b_` block, `o_` offset, `m_` mask,
`i_` index.
"""

import triton
import triton.language as tl

from .scan_algebra import (
    C,
    advance,
    copy_state,
    inverse,
    pairs,
    read_state,
    removals,
    slice_offsets,
    store_with_padding,
    write_state,
)
from .scan_gradient import chunk_gradients, removals_gradient, write_gradient
from .tiles import load_state, load_tile, place

__all__ = [
    "GROUP",
    "carry_state",
    "scan_backward",
    "scan_forward",
    "segment_gradient",
    "segment_map",
]

GROUP = tl.constexpr(64)
"""Steps between two states that are kept for the backward."""

_RUN_TIME = [
    *("T", "H", "n_walks", "n_segments", "segment_length"),
    *("has_lengths", "has_start", "has_end", "has_states", "add_stride"),
]


@triton.jit(do_not_specialize=_RUN_TIME)
def scan_forward(
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
            b_v = load_tile(p_v, start + o_value, m_tile)
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
            store_with_padding(p_o, start + o_value, t + o_step < T, m_tile, b_o)
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


@triton.jit(do_not_specialize=_RUN_TIME)
def scan_backward(
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
        b_d_o = load_tile(p_d_o, start + o_value, m_tile)
        b_d_u = removals_gradient(
            *(inverse(b_A_ab, SOLVE), b_A_rb, b_d_o, p_w, p_b, p_d_start, start, m_tile, H),
            *(N, SLICE, True, PRECISION),
        )
        write_gradient(
            *(b_d_u, b_d_o, p_r, p_w, p_a, p_d_start, start, m_tile, H, N, SLICE, PRECISION)
        )


@triton.jit(do_not_specialize=_RUN_TIME)
def carry_state(
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
    b_rows = load_state(p_first + i_head * N * N, o_rows, has_start, N)
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
