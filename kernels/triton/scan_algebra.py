# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The algebra of one chunk of 16 steps, of which the scan's kernels are made.

The formulas are those of `chunked`, whose letters stand here too: q_a and q_r are the rows of q,
p_b and p_k those of p. Registers are what is scarce, and so each function takes the channels slice
by slice, loads what it needs and forgets it: the tiles come from the first-level cache, and so does
the state.

The triangular systems are solved by substitution on blocks that double in size, which is as exact
as row by row (4e-7 in float32 on repeated keys, where a Neumann product fails) and takes six small
products in place of fifteen dependent row sums.

Letters: B sequences, T steps, H heads, K key channels, V value channels, K = V = N. Tiles are
(C, N) with C steps a chunk, states (V, K). `p_` pointer, `b_` block, `o_` offset, `m_` mask,
`i_` index.
"""

import triton
import triton.language as tl

from .tiles import load_state, load_tile, store_tile

__all__ = [
    "C",
    "advance",
    "clear_future",
    "copy_state",
    "decays",
    "inverse",
    "pairs",
    "read_state",
    "removals",
    "slice_offsets",
    "slices",
    "store_with_padding",
    "write_state",
]

C = tl.constexpr(16)
"""Steps of a chunk."""


@triton.jit
def store_with_padding(p_x, o_x, m_x, m_valid, b_x):
    """Store a tile with zeros in the padding, which `m_x` covers and `m_valid` does not."""
    store_tile(p_x, o_x, m_x, tl.where(m_valid, b_x, 0.0))


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
def copy_state(p_to, p_from, has_state, N: tl.constexpr):
    """Copy a state, or zeros where there is none, for all to see."""
    o_state = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    tl.debug_barrier()  # all have read what is overwritten
    tl.store(p_to + o_state, load_state(p_from, o_state, has_state, N))
    tl.debug_barrier()


@triton.jit
def decays(p_w, start, o_tile, m_tile):
    """Return exp(G_{t-1} - m), exp(G_t - m), exp(m - G_t), (C, K), and exp(m), (1, K)."""
    b_w = load_tile(p_w, start + o_tile, m_tile)
    b_middle = 0.5 * tl.sum(b_w, 0)[None, :]
    b_after = tl.cumsum(b_w, 0) - b_middle
    return tl.exp(b_after - b_w), tl.exp(b_after), tl.exp(-b_after), tl.exp(b_middle)


@triton.jit
def clear_future(b_pairs, DIAGONAL: tl.constexpr):
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
        b_q = load_tile(p_q, start + o_tile, m_tile)
        if DIAGONAL:
            b_q *= b_after
        else:
            b_q *= b_before
        b_p = tl.trans(load_tile(p_b, start + o_tile, m_tile) * b_inverse_after)
        b_A_b = tl.dot(b_q, b_p, b_A_b, input_precision=PRECISION)
        b_p = tl.trans(load_tile(p_k, start + o_tile, m_tile) * b_inverse_after)
        b_A_k = tl.dot(b_q, b_p, b_A_k, input_precision=PRECISION)
    return clear_future(b_A_b, DIAGONAL), clear_future(b_A_k, DIAGONAL)


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
        b_q = load_tile(p_q, start + o_tile, m_tile)
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
        b_p = load_tile(p_b, start + o_tile, m_tile) * b_inverse_after
        b_state = tl.dot(b_u, b_p, b_state, input_precision=PRECISION)
        b_p = load_tile(p_k, start + o_tile, m_tile) * b_inverse_after
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
    b_v = load_tile(p_v, start + o_tile, m_value)
    b_u, _b_unused, _b_unused = removals(
        *(p_w, p_k, p_a, p_b, b_v, p_state, has_state, start, m_tile, H),
        *(N, SLICE, True, PRECISION, SOLVE),
    )
    write_state(
        *(p_next, b_u, b_v, p_w, p_k, p_b, p_state, has_state, start, m_tile, H),
        *(N, SLICE, PRECISION),
    )
