"""The RWKV-7 recurrence compiled for the CPU by numba, forward and backward.

The recurrence of `wkv7` treats each row of the state, one value channel, on its own: a row is
decayed, corrected by its product with `a`, written and read, all within the first-level cache. The
backward pass never divides by the decay: the forward pass keeps the state of every
`STEPS_PER_CHECKPOINT`-th step, and the rows between two checkpoints are computed again. Heads are
spread over threads.

Letters: B sequences, T steps, H heads, K key channels, V value channels.
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

__all__ = ["numba_scan", "scan_unsupported"]

STEPS_PER_CHECKPOINT = 64


def scan_unsupported(r: Tensor, v: Tensor) -> str | None:
    """Return why `numba_scan` cannot take tensors like these, or None."""
    if r.device.type != "cpu":
        return f"it runs on the CPU, not on {r.device}"
    if v.shape[3] % 2:
        return f"it takes value channels in pairs, not {v.shape[3]}"
    return None


def numba_scan(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    initial_state: Tensor | None,
    output_final_state: bool,
) -> tuple[Tensor, Tensor | None]:
    """Compute `wkv7` step by step in compiled code; shapes as there, float32 or float64."""
    o, final_state = _NumbaScan.apply(  # type: ignore[no-untyped-call]
        r, w, k, v, a, b, initial_state, output_final_state
    )
    return o, final_state


class _NumbaScan(torch.autograd.Function):
    """(B, T, H, K or V) inputs and (B, H, V, K) states; to the kernels, B = 0 is no state."""

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
        output_final_state: bool,
    ) -> tuple[Tensor, Tensor | None]:
        B, T, H, K = r.shape
        V = v.shape[3]
        r, w, k, v, a, b = (x.contiguous() for x in (r, w, k, v, a, b))
        # By numpy: in vectors, which numba has not, and without threads, which torch would leave
        # spinning where ours want to run.
        inputs = r, torch.from_numpy(np.exp(w.detach().numpy())), k, v, a, b
        start = _state_or_none(initial_state, H, V, K, r)
        o = torch.empty_like(inputs[3])
        end = r.new_empty(B if output_final_state else 0, H, V, K)
        kept = (T - 1) // STEPS_PER_CHECKPOINT if any(ctx.needs_input_grad) else 0
        checkpoints = r.new_empty(B * H, kept, V, K)
        arguments = (*inputs, start, o, end, checkpoints)
        spread(_scan_kernel(dtype_name(r)), arguments, items=B * H, work=r.numel() * V)
        ctx.save_for_backward(*inputs, start, checkpoints)
        ctx.set_materialize_grads(False)
        return o, end if output_final_state else None

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_o: Tensor | None, d_final_state: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *inputs, start, checkpoints = ctx.saved_tensors
        r, v = inputs[0], inputs[3]
        (H, K), V = r.shape[2:], v.shape[3]
        d_o = torch.zeros_like(v) if d_o is None else d_o.contiguous()
        d_end = _state_or_none(d_final_state, H, V, K, r)
        d_start = torch.empty_like(start)
        gradients = tuple(torch.empty_like(x) for x in inputs)
        arguments = (*inputs, start, checkpoints, d_o, d_end, d_start, *gradients)
        items = r.shape[0] * H
        spread(_scan_gradients_kernel(K, dtype_name(r)), arguments, items=items, work=r.numel() * V)
        return *gradients, d_start if len(start) else None, None


def _state_or_none(state: Tensor | None, H: int, V: int, K: int, like: Tensor) -> Tensor:
    return like.new_empty(0, H, V, K) if state is None else state.contiguous()


@functools.cache
def _scan_kernel(dtype: str) -> Callable[..., None]:
    zero = np.dtype(dtype).type(0)

    @compiled
    def scan_of_heads(  # type: ignore[no-untyped-def]
        r, d, k, v, a, b, start, o, end, checkpoints, first, last
    ):
        T, H, K = r.shape[1:]
        V = v.shape[3]
        S = np.empty((V, K), r.dtype)
        kept = checkpoints.shape[1]
        for head in range(first, last):
            i, h = head // H, head % H
            if start.shape[0] > 0:
                S[:] = start[i, h]
            else:
                S[:] = zero
            for t in range(T):
                if t > 0 and t % STEPS_PER_CHECKPOINT == 0 and t // STEPS_PER_CHECKPOINT <= kept:
                    checkpoints[head, t // STEPS_PER_CHECKPOINT - 1] = S
                r_t, d_t, k_t, a_t = r[i, t, h], d[i, t, h], k[i, t, h], a[i, t, h]
                b_t, v_t, o_t = b[i, t, h], v[i, t, h], o[i, t, h]
                for j in range(V):
                    row = S[j]
                    removed = zero
                    for c in range(K):
                        removed += row[c] * a_t[c]
                    written = v_t[j]
                    read = zero
                    for c in range(K):
                        s = row[c] * d_t[c] + removed * b_t[c] + written * k_t[c]
                        row[c] = s
                        read += s * r_t[c]
                    o_t[j] = read
            if end.shape[0] > 0:
                end[i, h] = S

    return scan_of_heads


@functools.cache
def _scan_gradients_kernel(K: int, dtype: str) -> Callable[..., None]:
    # The steps between two checkpoints are packed into records, all vectors at fixed distances in
    # one array: what the compiler knows not to overlap it can vectorise. Two rows of the state at a
    # time halve the traffic of the five accumulated gradients, and what the end of step t and the
    # start of the step before it do to the state's gradient is one pass. Records 1 to n are steps;
    # record 0 is one that does nothing, and so is record n + 1, which holds the last state.
    zero = np.dtype(dtype).type(0)
    R, D, A, B, KEY, S0, S1 = range(0, 7 * K, K)
    DR, DW, DA, DB, DK = range(7 * K, 12 * K, K)
    RECORD = 12 * K

    @compiled
    def scan_gradients_of_heads(  # type: ignore[no-untyped-def]
        r, d, k, v, a, b, start, checkpoints, d_o, d_end, d_start, d_r, d_w, d_k, d_v, d_a, d_b,
        first, last,
    ):  # fmt: skip
        T, H = r.shape[1:3]
        V = v.shape[3]
        steps = min(T, STEPS_PER_CHECKPOINT)
        packed = np.zeros((steps + 2) * RECORD, r.dtype)
        packed[D : D + K] = 1
        removed = np.zeros((steps + 2, 2), r.dtype)
        S = np.empty((V, K), r.dtype)
        d_state = np.empty((V, K), r.dtype)
        dS = np.empty(2 * K, r.dtype)
        for head in range(first, last):
            i, h = head // H, head % H
            if d_end.shape[0] > 0:
                d_state[:] = d_end[i, h]
            else:
                d_state[:] = zero
            for part in range((T - 1) // STEPS_PER_CHECKPOINT, -1, -1):
                before = part * STEPS_PER_CHECKPOINT - 1  # record t is step before + t
                n = min(T - before - 1, STEPS_PER_CHECKPOINT)
                if part > 0:
                    S[:] = checkpoints[head, part - 1]
                elif start.shape[0] > 0:
                    S[:] = start[i, h]
                else:
                    S[:] = zero
                for t in range(1, n + 1):
                    p, s = packed[t * RECORD : (t + 1) * RECORD], before + t
                    for c in range(K):  # an assignment of slices takes several times as long
                        p[R + c], p[D + c], p[A + c] = r[i, s, h, c], d[i, s, h, c], a[i, s, h, c]
                        p[B + c], p[KEY + c] = b[i, s, h, c], k[i, s, h, c]
                        p[DR + c] = p[DW + c] = p[DA + c] = p[DB + c] = p[DK + c] = zero
                packed[(n + 1) * RECORD + D : (n + 1) * RECORD + D + K] = 1
                packed[(n + 1) * RECORD + A : (n + 1) * RECORD + A + K] = zero
                for j in range(0, V, 2):
                    for c in range(K):
                        packed[S0 + c], packed[S1 + c] = S[j, c], S[j + 1, c]
                        dS[c], dS[K + c] = d_state[j, c], d_state[j + 1, c]
                    u0 = u1 = v0 = v1 = zero
                    for t in range(n + 1):
                        p = packed[t * RECORD : (t + 2) * RECORD]
                        if t > 0:
                            v0, v1 = v[i, before + t, h, j], v[i, before + t, h, j + 1]
                        next0 = next1 = zero
                        for c in range(K):
                            d_c, b_c, k_c, a_c = p[D + c], p[B + c], p[KEY + c], p[RECORD + A + c]
                            s0 = p[S0 + c] * d_c + u0 * b_c + v0 * k_c
                            s1 = p[S1 + c] * d_c + u1 * b_c + v1 * k_c
                            p[RECORD + S0 + c] = s0
                            p[RECORD + S1 + c] = s1
                            next0 += s0 * a_c
                            next1 += s1 * a_c
                        u0, u1 = next0, next1
                        removed[t + 1, 0], removed[t + 1, 1] = u0, u1
                    du0 = du1 = zero
                    for t in range(n, -1, -1):
                        p = packed[t * RECORD : (t + 2) * RECORD]
                        g0 = g1 = v0 = v1 = zero
                        if t > 0:
                            g0, g1 = d_o[i, before + t, h, j], d_o[i, before + t, h, j + 1]
                            v0, v1 = v[i, before + t, h, j], v[i, before + t, h, j + 1]
                        u0, u1 = removed[t, 0], removed[t, 1]
                        next0 = next1 = dv0 = dv1 = zero
                        for c in range(K):
                            s0, s1 = p[RECORD + S0 + c], p[RECORD + S1 + c]
                            e0, e1 = dS[c] * p[RECORD + D + c], dS[K + c] * p[RECORD + D + c]
                            p[RECORD + DW + c] += e0 * s0 + e1 * s1
                            p[RECORD + DA + c] += du0 * s0 + du1 * s1
                            e0 += du0 * p[RECORD + A + c] + g0 * p[R + c]
                            e1 += du1 * p[RECORD + A + c] + g1 * p[R + c]
                            dS[c], dS[K + c] = e0, e1
                            p[DR + c] += g0 * s0 + g1 * s1
                            p[DK + c] += v0 * e0 + v1 * e1
                            p[DB + c] += u0 * e0 + u1 * e1
                            next0 += e0 * p[B + c]
                            next1 += e1 * p[B + c]
                            dv0 += e0 * p[KEY + c]
                            dv1 += e1 * p[KEY + c]
                        du0, du1 = next0, next1
                        if t > 0:
                            d_v[i, before + t, h, j] = dv0
                            d_v[i, before + t, h, j + 1] = dv1
                    for c in range(K):
                        d_state[j, c], d_state[j + 1, c] = dS[c], dS[K + c]
                for t in range(1, n + 1):
                    p, s = packed[t * RECORD : (t + 1) * RECORD], before + t
                    for c in range(K):
                        d_r[i, s, h, c], d_w[i, s, h, c] = p[DR + c], p[DW + c]
                        d_a[i, s, h, c], d_b[i, s, h, c] = p[DA + c], p[DB + c]
                        d_k[i, s, h, c] = p[DK + c]
            if d_start.shape[0] > 0:
                d_start[i, h] = d_state

    return scan_gradients_of_heads
