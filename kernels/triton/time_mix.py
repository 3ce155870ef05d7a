# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The prologue and the epilogue of `time_mix` as fused kernels: each one launch each way.

A program takes steps of one head, STEPS at a time, with all N channels in registers, so that sums
over a head stay inside. The backward recomputes what it needs from the inputs; gradients of the
(H, N) weights are summed by each program over its own steps and by torch over programs, so that two
runs are bit-equal.

Letters: B sequences, T steps, H heads, N channels of a head. `p_` pointer, `b_` block, `o_` offset,
`m_` mask, `i_` index.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..loop import LOG_DECAY_BOUND
from .device import Launch, aligned, empty, nothing, on_device
from .tiles import load_tile, store_tile

__all__ = ["triton_epilogue", "triton_prologue"]

STEPS = 16
"""Steps that a program takes at a time."""

LAUNCHES = {16: Launch(1), 32: Launch(2), 64: Launch(4), 128: Launch(8)}
"""Launch options by N, for every kernel here and every architecture."""

PROGRAMS = 1024
"""Most programs that a backward spreads over, each with a row of partial sums to add up."""

BOUND = tl.constexpr(LOG_DECAY_BOUND)
EPS = tl.constexpr(1e-12)
"""Lower bound of a removal key's norm."""

_RUN_TIME = ["n_steps", "H", "n_blocks", "has_first", "has_mask"]


@triton.jit
def sigmoid(b_x):
    """Return 1 / (1 + exp(-x)), without overflow."""
    b_small = tl.exp(-tl.abs(b_x))
    return tl.where(b_x >= 0, 1.0, b_small) / (1.0 + b_small)


@triton.jit
def steps_of_block(i_block, i_head, n_steps, H, STEPS: tl.constexpr, N: tl.constexpr):
    """Return the steps of a block, (STEPS, 1), their offsets and their mask, (STEPS, N)."""
    o_step = i_block * STEPS + tl.arange(0, STEPS)[:, None]
    o_x = o_step.to(tl.int64) * (H * N) + i_head * N + tl.arange(0, N)[None, :]
    return o_step, o_x, (o_step < n_steps) & (tl.arange(0, N)[None, :] >= 0)


@triton.jit
def real(p_mask, o_step, n_steps, has_mask):
    """Return which steps are real, (STEPS, 1)."""
    return tl.load(p_mask + o_step, mask=o_step < n_steps * has_mask, other=1) != 0


@triton.jit
def removal_key(b_k, b_removal):
    """Return the normalised removal key and the norm."""
    b_x = b_k * b_removal
    b_norm = tl.maximum(tl.sqrt(tl.sum(b_x * b_x, 1))[:, None], EPS)
    return b_x / b_norm, b_norm


@triton.jit(do_not_specialize=_RUN_TIME)
def prologue_forward(
    p_decay,
    p_k,
    p_v,
    p_rate,
    p_removal,
    p_replacement,
    p_first,
    p_residual,
    p_mask,
    p_w,
    p_k_out,
    p_v_out,
    p_a,
    p_b,
    n_steps,
    H,
    has_first,
    has_mask,
    STEPS: tl.constexpr,
    N: tl.constexpr,
):
    """Compute w, k, v, a, b of STEPS steps of one head."""
    i_head = tl.program_id(0) % H
    o_step, o_x, m_x = steps_of_block(tl.program_id(0) // H, i_head, n_steps, H, STEPS, N)
    o_weight = i_head * N + tl.arange(0, N)[None, :]
    m_real = m_x & real(p_mask, o_step, n_steps, has_mask)

    store_tile(p_w, o_x, m_x, tl.where(m_real, BOUND * sigmoid(load_tile(p_decay, o_x, m_x)), 0.0))
    b_eta = sigmoid(load_tile(p_rate, o_x, m_x))
    b_k = load_tile(p_k, o_x, m_x)
    b_kappa, _b_unused = removal_key(b_k, tl.load(p_removal + o_weight))
    b_kappa = tl.where(m_real, b_kappa, 0.0)
    store_tile(p_a, o_x, m_x, -b_kappa)
    store_tile(p_b, o_x, m_x, b_kappa * b_eta)
    b_k *= 1.0 + (b_eta - 1.0) * tl.load(p_replacement + o_weight)
    store_tile(p_k_out, o_x, m_x, tl.where(m_real, b_k, 0.0))
    if has_first != 0:
        b_v = load_tile(p_v, o_x, m_x)
        b_v += (load_tile(p_first, o_x, m_x) - b_v) * sigmoid(load_tile(p_residual, o_x, m_x))
        store_tile(p_v_out, o_x, m_x, b_v)


@triton.jit(do_not_specialize=_RUN_TIME)
def prologue_backward(
    p_decay,
    p_k,
    p_v,
    p_rate,
    p_removal,
    p_replacement,
    p_first,
    p_residual,
    p_mask,
    p_d_w,
    p_d_k_out,
    p_d_v_out,
    p_d_a,
    p_d_b,
    p_d_decay,
    p_d_k,
    p_d_v,
    p_d_rate,
    p_d_first,
    p_d_residual,
    p_d_weights,
    n_steps,
    H,
    n_blocks,
    has_first,
    has_mask,
    STEPS: tl.constexpr,
    N: tl.constexpr,
):
    """Gradients of every n-th block of one head; p_d_weights (programs, 2, H, N) in float32."""
    i_head = tl.program_id(0) % H
    i_program = tl.program_id(0) // H
    o_weight = i_head * N + tl.arange(0, N)[None, :]
    b_removal = tl.load(p_removal + o_weight)
    b_replacement = tl.load(p_replacement + o_weight)
    b_d_removal = tl.zeros((1, N), tl.float32)
    b_d_replacement = tl.zeros((1, N), tl.float32)
    for i_block in range(i_program, n_blocks, tl.num_programs(0) // H):
        o_step, o_x, m_x = steps_of_block(i_block, i_head, n_steps, H, STEPS, N)
        m_real = m_x & real(p_mask, o_step, n_steps, has_mask)
        b_share = sigmoid(load_tile(p_decay, o_x, m_x))
        b_d = BOUND * load_tile(p_d_w, o_x, m_real) * b_share * (1.0 - b_share)
        store_tile(p_d_decay, o_x, m_x, b_d)

        b_k = load_tile(p_k, o_x, m_x)
        b_eta = sigmoid(load_tile(p_rate, o_x, m_x))
        b_kappa, b_norm = removal_key(b_k, b_removal)
        b_d_k = load_tile(p_d_k_out, o_x, m_real)
        b_d_b = load_tile(p_d_b, o_x, m_real)
        b_d_eta = b_d_k * b_k * b_replacement + b_d_b * b_kappa
        store_tile(p_d_rate, o_x, m_x, b_d_eta * b_eta * (1.0 - b_eta))
        b_d_replacement += tl.sum(b_d_k * b_k * (b_eta - 1.0), 0)[None, :]
        b_d_k *= 1.0 + (b_eta - 1.0) * b_replacement
        b_d_kappa = b_d_b * b_eta - load_tile(p_d_a, o_x, m_real)
        b_along = tl.sum(b_kappa * b_d_kappa, 1)[:, None]
        b_d_x = (b_d_kappa - b_kappa * b_along) / b_norm
        b_d_removal += tl.sum(b_d_x * b_k, 0)[None, :]
        store_tile(p_d_k, o_x, m_x, b_d_k + b_d_x * b_removal)
        if has_first != 0:
            b_d_v = load_tile(p_d_v_out, o_x, m_x)
            b_share = sigmoid(load_tile(p_residual, o_x, m_x))
            b_difference = load_tile(p_first, o_x, m_x) - load_tile(p_v, o_x, m_x)
            store_tile(p_d_v, o_x, m_x, b_d_v * (1.0 - b_share))
            store_tile(p_d_first, o_x, m_x, b_d_v * b_share)
            b_d = b_d_v * b_difference * b_share * (1.0 - b_share)
            store_tile(p_d_residual, o_x, m_x, b_d)
    o_weight += i_program * (2 * H * N)
    tl.store(p_d_weights + o_weight, b_d_removal)
    tl.store(p_d_weights + H * N + o_weight, b_d_replacement)


@triton.jit
def normalised(b_o, eps, N: tl.constexpr):
    """Return o less its mean over its standard deviation, and one over that; by row."""
    b_o -= (tl.sum(b_o, 1) / N)[:, None]
    b_scale = tl.rsqrt(tl.sum(b_o * b_o, 1) / N + eps)[:, None]
    return b_o * b_scale, b_scale


@triton.jit(do_not_specialize=_RUN_TIME)
def epilogue_forward(
    p_o,
    p_r,
    p_k,
    p_v,
    p_gate,
    p_bonus,
    p_weight,
    p_bias,
    p_y,
    eps,
    n_steps,
    H,
    STEPS: tl.constexpr,
    N: tl.constexpr,
):
    """Compute y of STEPS steps of one head."""
    i_head = tl.program_id(0) % H
    _o_unused, o_x, m_x = steps_of_block(tl.program_id(0) // H, i_head, n_steps, H, STEPS, N)
    o_weight = i_head * N + tl.arange(0, N)[None, :]
    b_normal, _b_unused = normalised(load_tile(p_o, o_x, m_x), eps, N)
    b_y = b_normal * tl.load(p_weight + o_weight) + tl.load(p_bias + o_weight)
    b_match = load_tile(p_r, o_x, m_x) * load_tile(p_k, o_x, m_x) * tl.load(p_bonus + o_weight)
    b_y += tl.sum(b_match, 1)[:, None] * load_tile(p_v, o_x, m_x)
    store_tile(p_y, o_x, m_x, b_y * load_tile(p_gate, o_x, m_x))


@triton.jit(do_not_specialize=_RUN_TIME)
def epilogue_backward(
    p_o,
    p_r,
    p_k,
    p_v,
    p_gate,
    p_bonus,
    p_weight,
    p_bias,
    p_d_y,
    p_d_o,
    p_d_r,
    p_d_k,
    p_d_v,
    p_d_gate,
    p_d_weights,
    eps,
    n_steps,
    H,
    n_blocks,
    STEPS: tl.constexpr,
    N: tl.constexpr,
):
    """Gradients of every n-th block of one head; p_d_weights (programs, 3, H, N) in float32."""
    i_head = tl.program_id(0) % H
    i_program = tl.program_id(0) // H
    o_weight = i_head * N + tl.arange(0, N)[None, :]
    b_bonus = tl.load(p_bonus + o_weight)
    b_weight = tl.load(p_weight + o_weight)
    b_bias = tl.load(p_bias + o_weight)
    b_d_bonus = tl.zeros((1, N), tl.float32)
    b_d_weight = tl.zeros((1, N), tl.float32)
    b_d_bias = tl.zeros((1, N), tl.float32)
    for i_block in range(i_program, n_blocks, tl.num_programs(0) // H):
        _o_unused, o_x, m_x = steps_of_block(i_block, i_head, n_steps, H, STEPS, N)
        b_normal, b_scale = normalised(load_tile(p_o, o_x, m_x), eps, N)
        b_r = load_tile(p_r, o_x, m_x)
        b_k = load_tile(p_k, o_x, m_x)
        b_v = load_tile(p_v, o_x, m_x)
        b_match = tl.sum(b_r * b_k * b_bonus, 1)[:, None]
        b_d = load_tile(p_d_y, o_x, m_x)
        store_tile(p_d_gate, o_x, m_x, b_d * (b_normal * b_weight + b_bias + b_match * b_v))
        b_d *= load_tile(p_gate, o_x, m_x)
        b_d_bias += tl.sum(b_d, 0)[None, :]
        b_d_weight += tl.sum(b_d * b_normal, 0)[None, :]
        store_tile(p_d_v, o_x, m_x, b_d * b_match)
        b_d_match = tl.sum(b_d * b_v, 1)[:, None]
        b_d_bonus += tl.sum(b_d_match * b_r * b_k, 0)[None, :]
        store_tile(p_d_r, o_x, m_x, b_d_match * b_k * b_bonus)
        store_tile(p_d_k, o_x, m_x, b_d_match * b_r * b_bonus)
        b_d *= b_weight
        b_mean = (tl.sum(b_d, 1) / N)[:, None]
        b_along = (tl.sum(b_d * b_normal, 1) / N)[:, None]
        store_tile(p_d_o, o_x, m_x, b_scale * (b_d - b_mean - b_normal * b_along))
    o_weight += i_program * (3 * H * N)
    tl.store(p_d_weights + o_weight, b_d_bonus)
    tl.store(p_d_weights + H * N + o_weight, b_d_weight)
    tl.store(p_d_weights + 2 * H * N + o_weight, b_d_bias)


def triton_prologue(
    decay: Tensor,
    k: Tensor,
    v: Tensor,
    learning_rate: Tensor,
    removal: Tensor,
    replacement: Tensor,
    first_value: Tensor | None,
    value_residual: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute `time_mix.prologue`."""
    inputs = (decay, k, v, learning_rate, removal, replacement, first_value, value_residual)
    steps = None if mask is None else mask.to(torch.uint8)
    w, k, v_out, a, b = _TritonPrologue.apply(*inputs, steps)
    return w, k, v if first_value is None else v_out, a, b


def triton_epilogue(
    o: Tensor,
    r: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor,
    bonus: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Tensor:
    """Compute `time_mix.epilogue`."""
    return _TritonEpilogue.apply(o, r, k, v, gate, bonus, weight, bias, eps)


class _TritonPrologue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        ready: list[Any] = [None if x is None else aligned(x) for x in arguments]
        decay, k, v, rate, removal, replacement, first, residual, mask = ready
        inputs = (decay, k, v, rate, removal.float(), replacement.float(), first, residual, mask)
        outputs = [None if i == 2 and first is None else _like(v) for i in range(5)]
        with on_device(v):
            prologue_forward[(_blocks(v) * v.shape[2],)](
                *_pointers(inputs, v),
                *_pointers(outputs, v),
                *_sizes(v),
                *_flags(first, mask),
                **time_mix_options(v.shape[3]),
            )
        ctx.save_for_backward(*inputs)
        ctx.dtypes = removal.dtype, replacement.dtype
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        decay, k, v, rate, _, _, first, residual, mask = inputs
        given = [
            None if i == 2 and first is None else torch.zeros_like(v) if x is None else aligned(x)
            for i, x in enumerate(d_outputs)
        ]
        gradients = [_like(decay), _like(k), None, _like(rate), None, None]
        if first is not None:
            gradients = [
                _like(decay),
                _like(k),
                _like(v),
                _like(rate),
                _like(first),
                _like(residual),
            ]
        d_weights, grid = _partial_sums(v, 2)
        with on_device(v):
            prologue_backward[grid](
                *_pointers(inputs, v),
                *_pointers(given, v),
                *_pointers(gradients, v),
                *(d_weights, *_sizes(v), _blocks(v), *_flags(first, mask)),
                **time_mix_options(v.shape[3]),
            )
        d_removal, d_replacement = (
            x.to(dtype) for x, dtype in zip(d_weights.sum(0), ctx.dtypes, strict=True)
        )
        d_decay, d_k, d_v, d_rate, d_first, d_residual = gradients
        return d_decay, d_k, d_v, d_rate, d_removal, d_replacement, d_first, d_residual, None


class _TritonEpilogue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, eps = arguments
        inputs = [aligned(x) for x in tensors[:5]] + [aligned(x.float()) for x in tensors[5:]]
        v = inputs[3]
        y = _like(v)
        with on_device(v):
            epilogue_forward[(_blocks(v) * v.shape[2],)](
                *inputs, y, eps, *_sizes(v), **time_mix_options(v.shape[3])
            )
        ctx.save_for_backward(*inputs)
        ctx.eps, ctx.dtypes = eps, [x.dtype for x in tensors[5:]]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        v = inputs[3]
        gradients = [_like(x) for x in inputs[:5]]
        d_weights, grid = _partial_sums(v, 3)
        with on_device(v):
            epilogue_backward[grid](
                *(*inputs, aligned(d_y), *gradients, d_weights, ctx.eps, *_sizes(v), _blocks(v)),
                **time_mix_options(v.shape[3]),
            )
        weights = (x.to(dtype) for x, dtype in zip(d_weights.sum(0), ctx.dtypes, strict=True))
        return *gradients, *weights, None


def _like(x: Tensor) -> Tensor:
    return empty(tuple(x.shape), x.dtype, x.device)


def _sizes(v: Tensor) -> tuple[int, int]:
    return v.shape[0] * v.shape[1], v.shape[2]


def _blocks(v: Tensor) -> int:
    return math.ceil(v.shape[0] * v.shape[1] / STEPS)


def _pointers(tensors: Any, like: Tensor) -> list[Tensor]:
    return [nothing(like.device, like.dtype) if x is None else x for x in tensors]


def _flags(first: Tensor | None, mask: Tensor | None) -> tuple[int, int]:
    return int(first is not None), int(mask is not None)


def _partial_sums(v: Tensor, weights: int) -> tuple[Tensor, tuple[int]]:
    """Return room for each program's sums, (programs a head, weights, H, N), and the grid."""
    H, N = v.shape[2:]
    programs = min(_blocks(v), max(1, PROGRAMS // H))
    return empty((programs, weights, H, N), torch.float32, v.device), (programs * H,)


def time_mix_options(N: int) -> dict[str, Any]:
    """Return the compile-time arguments and options of every kernel here."""
    return {"STEPS": STEPS, "N": N, **LAUNCHES[N]._asdict()}
