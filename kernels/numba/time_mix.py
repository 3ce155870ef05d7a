"""Removal keys and the epilogue of `time_mix` compiled for the CPU by numba, forward and backward.

A small network is bound by the number of operations: these two are a quarter of the time mix's.
What has an exponential stays with torch, which has it in vectors and numba has not.

Letters: R rows (B * T), H heads, N channels of a head, K of its keys, V of its values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .spread import compiled, dtype_name, spread

__all__ = ["numba_epilogue", "numba_keys", "time_mix_unsupported"]

_WORK_OF_AN_ELEMENT = 8
"""How much of `spread`'s measure of work an element is."""


def time_mix_unsupported(k: Tensor, v: Tensor) -> str | None:
    """Return why these cannot take keys and values like `k` and `v`, or None."""
    if v.device.type != "cpu":
        return f"they run on the CPU, not on {v.device}"
    if v.dtype not in (torch.float32, torch.float64):
        return f"they compute in float32 or float64, not in {v.dtype}"
    return None


def numba_keys(
    k: Tensor, eta: Tensor, removal: Tensor, replacement: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return updated key and removal vectors a and b; see `time_mix.keys`."""
    return _NumbaKeys.apply(k, eta, removal, replacement)  # type: ignore[no-untyped-call]


def numba_epilogue(
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
    """Normalise, add the bonus and apply the gate; see `time_mix.epilogue`."""
    return _NumbaEpilogue.apply(o, r, k, v, gate, bonus, weight, bias, eps)  # type: ignore[no-untyped-call]


class _NumbaKeys(torch.autograd.Function):
    """k and eta (B, T, H, N), weights (H, N)."""

    @staticmethod
    def forward(
        ctx: Any, k: Tensor, eta: Tensor, removal: Tensor, replacement: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = tuple(x.contiguous() for x in (k, eta, removal, replacement))
        outputs = torch.empty_like(inputs[0]), torch.empty_like(k), torch.empty_like(k)
        _run_over_heads(_keys_kernel(dtype_name(k)), (*inputs, *outputs), k)
        ctx.save_for_backward(*inputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor, ...]:
        inputs = ctx.saved_tensors
        gradients = tuple(torch.empty_like(x) for x in inputs)
        arrays = (*inputs, *(x.contiguous() for x in d_outputs), *gradients)
        _run_over_heads(_keys_gradients_kernel(dtype_name(inputs[0])), arrays, inputs[0])
        return gradients


class _NumbaEpilogue(torch.autograd.Function):
    """r and k (B, T, H, K), bonus (H, K); o, v and gate (B, T, H, V), their weights (H, V)."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *inputs, ctx.eps = arguments
        inputs = [x.contiguous() for x in inputs]
        y = torch.empty_like(inputs[0])
        _run_over_heads(_epilogue_kernel(dtype_name(y)), (*inputs, y), y, ctx.eps)
        ctx.save_for_backward(*inputs)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        gradients = tuple(torch.empty_like(x) for x in inputs)
        arrays = (*inputs, d_y.contiguous(), *gradients)
        _run_over_heads(_epilogue_gradients_kernel(dtype_name(d_y)), arrays, d_y, ctx.eps)
        return *gradients, None


def _run_over_heads(
    kernel: Callable[..., None], tensors: tuple[Tensor, ...], like: Tensor, *options: float
) -> None:
    """Run a kernel over the heads, whose weights' gradients no two threads share."""
    arrays = tuple(x.view(-1, *x.shape[-2:]) if x.ndim > 2 else x for x in tensors)
    H = like.shape[-2]
    spread(kernel, arrays, *options, items=H, work=_WORK_OF_AN_ELEMENT * like.numel())


@functools.cache
def _keys_kernel(dtype: str) -> Callable[..., None]:
    zero, one, least = np.dtype(dtype).type([0, 1, 1e-12])

    @compiled
    def keys_of_heads(k, eta, removal, replacement, k_new, a, b, first, last):  # type: ignore[no-untyped-def]
        R, _, N = k.shape
        for h in range(first, last):
            removal_h, replacement_h = removal[h], replacement[h]
            for i in range(R):
                k_i, eta_i, new_i, a_i, b_i = k[i, h], eta[i, h], k_new[i, h], a[i, h], b[i, h]
                square = zero
                for c in range(N):
                    q = k_i[c] * removal_h[c]
                    square += q * q
                scale = one / max(np.sqrt(square), least)
                for c in range(N):
                    kappa = k_i[c] * removal_h[c] * scale
                    a_i[c] = -kappa
                    b_i[c] = kappa * eta_i[c]
                    new_i[c] = k_i[c] * (one + (eta_i[c] - one) * replacement_h[c])

    return keys_of_heads


@functools.cache
def _keys_gradients_kernel(dtype: str) -> Callable[..., None]:
    zero, one, least = np.dtype(dtype).type([0, 1, 1e-12])

    @compiled
    def keys_gradients_of_heads(  # type: ignore[no-untyped-def]
        k, eta, removal, replacement, d_new, d_a, d_b, d_k, d_eta, d_removal, d_replacement,
        first, last,
    ):  # fmt: skip
        R, _, N = k.shape
        for h in range(first, last):
            removal_h, replacement_h = removal[h], replacement[h]
            d_removal_h, d_replacement_h = d_removal[h], d_replacement[h]
            d_removal_h[:] = zero
            d_replacement_h[:] = zero
            for i in range(R):
                k_i, eta_i, d_k_i, d_eta_i = k[i, h], eta[i, h], d_k[i, h], d_eta[i, h]
                d_new_i, d_a_i, d_b_i = d_new[i, h], d_a[i, h], d_b[i, h]
                square = along = zero
                for c in range(N):
                    q = k_i[c] * removal_h[c]
                    square += q * q
                    along += q * (d_b_i[c] * eta_i[c] - d_a_i[c])
                norm = np.sqrt(square)
                scale = one / max(norm, least)
                along *= scale * scale * scale
                if norm < least:  # the norm is a constant then
                    along = zero
                for c in range(N):
                    q = k_i[c] * removal_h[c]
                    d_q = scale * (d_b_i[c] * eta_i[c] - d_a_i[c]) - along * q
                    rate = eta_i[c] - one
                    d_k_i[c] = d_new_i[c] * (one + rate * replacement_h[c]) + d_q * removal_h[c]
                    d_eta_i[c] = d_b_i[c] * q * scale + d_new_i[c] * k_i[c] * replacement_h[c]
                    d_removal_h[c] += d_q * k_i[c]
                    d_replacement_h[c] += d_new_i[c] * k_i[c] * rate

    return keys_gradients_of_heads


@functools.cache
def _epilogue_kernel(dtype: str) -> Callable[..., None]:
    zero, one = np.dtype(dtype).type([0, 1])

    @compiled
    def epilogue_of_heads(o, r, k, v, gate, bonus, weight, bias, y, eps, first, last):  # type: ignore[no-untyped-def]
        (R, _, V), K = o.shape, r.shape[2]
        for h in range(first, last):
            bonus_h, weight_h, bias_h = bonus[h], weight[h], bias[h]
            for i in range(R):
                o_i, r_i, k_i, v_i, g_i, y_i = (
                    o[i, h],
                    r[i, h],
                    k[i, h],
                    v[i, h],
                    gate[i, h],
                    y[i, h],
                )
                mean = own = zero
                for c in range(K):
                    own += r_i[c] * k_i[c] * bonus_h[c]
                for c in range(V):
                    mean += o_i[c]
                mean /= V
                variance = zero
                for c in range(V):
                    variance += (o_i[c] - mean) * (o_i[c] - mean)
                scale = o_i.dtype.type(one / np.sqrt(variance / V + eps))
                for c in range(V):
                    normal = (o_i[c] - mean) * scale
                    y_i[c] = (normal * weight_h[c] + bias_h[c] + own * v_i[c]) * g_i[c]

    return epilogue_of_heads


@functools.cache
def _epilogue_gradients_kernel(dtype: str) -> Callable[..., None]:
    zero, one = np.dtype(dtype).type([0, 1])

    @compiled
    def epilogue_gradients_of_heads(  # type: ignore[no-untyped-def]
        o, r, k, v, gate, bonus, weight, bias, d_y,
        d_o, d_r, d_k, d_v, d_gate, d_bonus, d_weight, d_bias, eps, first, last,
    ):  # fmt: skip
        (R, _, V), K = o.shape, r.shape[2]
        for h in range(first, last):
            bonus_h, weight_h, bias_h = bonus[h], weight[h], bias[h]
            d_bonus_h, d_weight_h, d_bias_h = d_bonus[h], d_weight[h], d_bias[h]
            d_bonus_h[:] = zero
            d_weight_h[:] = zero
            d_bias_h[:] = zero
            for i in range(R):
                o_i, r_i, k_i, v_i, g_i, d_y_i = (
                    o[i, h], r[i, h], k[i, h], v[i, h], gate[i, h], d_y[i, h]
                )  # fmt: skip
                d_o_i, d_r_i, d_k_i, d_v_i, d_g_i = (
                    d_o[i, h], d_r[i, h], d_k[i, h], d_v[i, h], d_gate[i, h]
                )  # fmt: skip
                mean = own = d_own = zero
                for c in range(K):
                    own += r_i[c] * k_i[c] * bonus_h[c]
                for c in range(V):
                    mean += o_i[c]
                    d_own += d_y_i[c] * g_i[c] * v_i[c]
                mean /= V
                variance = zero
                for c in range(V):
                    variance += (o_i[c] - mean) * (o_i[c] - mean)
                scale = o_i.dtype.type(one / np.sqrt(variance / V + eps))
                d_mean = d_scale = zero
                for c in range(V):
                    normal = (o_i[c] - mean) * scale
                    d_normal = d_y_i[c] * g_i[c] * weight_h[c]
                    d_mean += d_normal
                    d_scale += d_normal * normal
                d_mean /= V
                d_scale /= V
                for c in range(V):
                    normal = (o_i[c] - mean) * scale
                    d_z = d_y_i[c] * g_i[c]
                    d_g_i[c] = d_y_i[c] * (normal * weight_h[c] + bias_h[c] + own * v_i[c])
                    d_v_i[c] = d_z * own
                    d_o_i[c] = scale * (d_z * weight_h[c] - d_mean - normal * d_scale)
                    d_weight_h[c] += d_z * normal
                    d_bias_h[c] += d_z
                for c in range(K):
                    d_r_i[c] = d_own * k_i[c] * bonus_h[c]
                    d_k_i[c] = d_own * r_i[c] * bonus_h[c]
                    d_bonus_h[c] += d_own * r_i[c] * k_i[c]

    return epilogue_gradients_of_heads
