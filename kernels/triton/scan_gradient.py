# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The gradients of one chunk of 16 steps, made of the same pieces as its `scan_algebra`.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N. Tiles are
(C, N) with C steps a chunk, states (V, K). `p_` pointer, `b_` block, `o_` offset, `m_` mask,
`i_` index.
"""

import triton
import triton.language as tl

from .scan_algebra import (
    C,
    clear_future,
    decays,
    pairs,
    removals,
    slice_offsets,
    slices,
    store_with_padding,
)
from .tiles import load_state, load_tile

__all__ = ["chunk_gradients", "removals_gradient", "write_gradient"]


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
        b_p = load_tile(p_x, start + o_tile, m_tile) * (b_inverse_after * b_half)
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
        b_d = load_tile(p_d, start_d + o_d, m_tile)
        o_u, _o_unused = slice_offsets(i_slice, 1, N, SLICE)
        b_x = tl.trans(load_tile(p_u, o_u, m_tile))
        b_d_A_b = tl.dot(b_d, b_x, b_d_A_b, input_precision=PRECISION)
        o_v, _o_unused = slice_offsets(i_slice, H, N, SLICE)
        b_x = tl.trans(load_tile(p_v, start + o_v, m_tile))
        b_d_A_k = tl.dot(b_d, b_x, b_d_A_k, input_precision=PRECISION)
    return clear_future(b_d_A_b, DIAGONAL), clear_future(b_d_A_k, DIAGONAL)


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
        b_rows = load_tile(p_x, start + o_tile, m_tile)
        b_x = tl.dot(b_rows, b_state, b_x, input_precision=PRECISION)
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
        b_q = load_tile(p_a, start + o_tile, m_tile) * b_before
        b_d_state = tl.dot(b_d_u, b_q, b_d_state, input_precision=PRECISION)
        b_q = load_tile(p_r, start + o_tile, m_tile) * b_after
        b_d_state = tl.dot(b_d_o, b_q, b_d_state, input_precision=PRECISION)
        tl.debug_barrier()  # all have read what is overwritten
        tl.store(p_d_state + o_state, b_d_state * b_half)
    tl.debug_barrier()  # all see what others have written


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
    b_v = load_tile(p_v, start + o_value, m_tile)
    b_u, b_inverse, b_A_ak = removals(
        *(p_w, p_k, p_a, p_b, b_v, p_state, 1, start, m_tile, H),
        *(N, SLICE, CARRIED, PRECISION, SOLVE),
    )
    b_A_rb, b_A_rk = pairs(p_r, p_w, p_k, p_b, start, m_tile, H, N, SLICE, True, PRECISION)
    b_d_o = load_tile(p_d_o, start + o_value, m_tile)
    b_d_u = removals_gradient(
        *(b_inverse, b_A_rb, b_d_o, p_w, p_b, p_d_state, start, m_tile, H),
        *(N, SLICE, CARRIED, PRECISION),
    )
    b_d_v = tl.dot(tl.trans(b_A_rk), b_d_o, input_precision=PRECISION)
    b_d_v = tl.dot(tl.trans(b_A_ak), b_d_u, b_d_v, input_precision=PRECISION)
    if CARRIED:
        b_d_v = read_gradient(b_d_v, p_k, p_w, p_d_state, start, m_tile, H, N, SLICE, PRECISION)
    store_with_padding(p_d_v, start + o_value, m_out, m_tile, b_d_v)

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
    b_p = load_tile(p_b, start + o_value, m_tile) * b_inverse_after
    b_d_q_r = tl.dot(b_d_A_rb, b_p, b_d_q_r, input_precision=PRECISION)
    b_d_q_a = tl.dot(b_d_A_ab, b_p, b_d_q_a, input_precision=PRECISION)
    b_p = load_tile(p_k, start + o_value, m_tile) * b_inverse_after
    b_d_q_r = tl.dot(b_d_A_rk, b_p, b_d_q_r, input_precision=PRECISION)
    b_d_q_a = tl.dot(b_d_A_ak, b_p, b_d_q_a, input_precision=PRECISION)
    # G_t scales r_t and 1 / b_t, 1 / k_t; G_{t-1} scales a_t; G_C scales the final state.
    b_d_q_r *= b_after
    b_d_q_a *= b_before
    store_with_padding(p_d_r, start + o_value, m_out, m_tile, b_d_q_r)
    store_with_padding(p_d_a, start + o_value, m_out, m_tile, b_d_q_a)
    b_from_a = load_tile(p_a, start + o_value, m_tile) * b_d_q_a
    b_from_r = load_tile(p_r, start + o_value, m_tile) * b_d_q_r
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
        b_sum = load_tile(p_b, start + o_value, m_tile) * b_d_p_b
        b_sum += load_tile(p_k, start + o_value, m_tile) * b_d_p_k
        b_d_w += tl.sum(b_sum * b_inverse_after, 0)[None, :]
        b_d_w += overlap(p_state, 1, p_d_state, N, SLICE) * b_half * b_half
    b_q = load_tile(p_a, start + o_value, m_tile) * b_before
    b_d_p_b = tl.dot(tl.trans(b_d_A_ab), b_q, b_d_p_b, input_precision=PRECISION)
    b_d_p_k = tl.dot(tl.trans(b_d_A_ak), b_q, b_d_p_k, input_precision=PRECISION)
    b_q = load_tile(p_r, start + o_value, m_tile) * b_after
    b_d_p_b = tl.dot(tl.trans(b_d_A_rb), b_q, b_d_p_b, input_precision=PRECISION)
    b_d_p_k = tl.dot(tl.trans(b_d_A_rk), b_q, b_d_p_k, input_precision=PRECISION)
    b_d_p_b *= b_inverse_after
    b_d_p_k *= b_inverse_after
    store_with_padding(p_d_b, start + o_value, m_out, m_tile, b_d_p_b)
    store_with_padding(p_d_k, start + o_value, m_out, m_tile, b_d_p_k)
    b_from_p = load_tile(p_b, start + o_value, m_tile) * b_d_p_b
    b_from_p += load_tile(p_k, start + o_value, m_tile) * b_d_p_k
    b_d_w -= tl.cumsum(b_from_p, 0, reverse=True)
    store_with_padding(p_d_w, start + o_value, m_out, m_tile, b_d_w)
    if CARRIED:
        write_gradient(
            *(load_tile(p_d_u, o_row, m_tile), load_tile(p_d_o, start + o_value, m_tile)),
            *(p_r, p_w, p_a, p_d_state, start, m_tile, H, N, SLICE, PRECISION),
        )
