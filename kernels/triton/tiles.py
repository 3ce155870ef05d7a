# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Tiles, states and heads in memory, as every Triton kernel here finds, reads and writes them.

`p_` pointer, `b_` block, `o_` offset, `m_` mask, `i_` index.
"""

import triton
import triton.language as tl

__all__ = ["load_state", "load_tile", "place", "store_tile"]


@triton.jit
def place(i_head, T, H, p_lengths, has_lengths, N: tl.constexpr):
    """Return where a head's first step lies, the steps' stride and the sequence's length."""
    i_b = i_head // H
    stride = tl.cast(H, tl.int64) * N
    base = i_b * T * stride + (i_head % H) * N
    length = tl.load(p_lengths + i_b, mask=has_lengths != 0, other=T)
    return base, stride, tl.minimum(length, T)


@triton.jit
def load_tile(p_x, o_x, m_x):
    """Load in float32, zeros where the mask is off."""
    return tl.load(p_x + o_x, mask=m_x, other=0.0).to(tl.float32)


@triton.jit
def store_tile(p_x, o_x, m_x, b_x):
    """Store in the pointer's type where the mask is on."""
    tl.store(p_x + o_x, b_x.to(p_x.dtype.element_ty), mask=m_x)


@triton.jit
def load_state(p_state, o_state, has_state, N: tl.constexpr):
    """Load a state or a part of it, zeros where there is none."""
    return tl.load(p_state + o_state, mask=o_state < has_state * (N * N), other=0.0)
