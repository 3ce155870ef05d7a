"""The RWKV-7 recurrence as matrix products: one chunk, or chunks with a carried state.

Within a chunk of C steps let G_t be the running sum of the log decay and m half of its end. With

    q = [a_t exp(G_{t-1} - m); r_t exp(G_t - m)]      p = [b_s exp(m - G_s); k_s exp(m - G_s)]

all pairwise decayed products stand in one matrix A = mask(q p^T), whose four C x C blocks pair
(a, r) with (b, k). Unrolling the recurrence of `wkv7` from a chunk's first state S_0 gives

    (I - A_ab) U = A_ak V + q_a S_0'^T        u_t = S_{t-1} a_t, S_0' = S_0 exp(m)
    O   = A_r [U; V] + q_r S_0'^T
    S_C = (S_0' + [U; V]^T p) exp(G_C - m)

so a chunk costs one triangular substitution and a few products, and the state passes from chunk to
chunk through an affine map that is computed for all chunks at once. The centre m keeps both
exponents small: 64 steps at the lowest decay of RWKV-7 reach exp(19.4). Substitution, not the
Neumann product of the inverse: on similar keys, the usual case of a flat or periodic series, that
product loses several per cent.

Source: the chunked delta rule of Yang et al. (2024), "Parallelizing Linear Transformers with the
Delta Rule over Sequence Length", with the diagonal decay and free a, b of RWKV-7.

Letters: B sequences, T steps, H heads, K key channels, V value channels, C steps a chunk, and
n chunks; G stands for B * H.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["MAX_CHUNK_LENGTH", "chunked_scan"]

MAX_CHUNK_LENGTH = 64


def chunked_scan(
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
    """Compute `wkv7` by chunks; shapes as there, float32 or float64."""
    B, T, H, _ = r.shape
    n = math.ceil(T / MAX_CHUNK_LENGTH)
    C = math.ceil(T / n)

    def to_chunks(x: Tensor) -> Tensor:
        if n * C > T:  # zeros are exact no-ops: no decay, nothing removed, nothing written
            x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, n * C - T))
        x = x.view(B, n, C, H, -1).permute(0, 3, 1, 2, 4)
        return x.reshape(B * H, n, C, x.shape[-1])

    state = None if initial_state is None else initial_state.flatten(0, 1)
    o, final_state = _ChunkedScan.apply(  # type: ignore[no-untyped-call]
        *(to_chunks(x) for x in (r, w, k, v, a, b)), state, output_final_state
    )
    o = o.view(B, H, n * C, -1)[:, :, :T].transpose(1, 2)
    return o, None if final_state is None else final_state.unflatten(0, (B, H))


class _ChunkedScan(torch.autograd.Function):
    """(G, n, C, K or V) inputs and (G, V, K) states; see the head of the file for the formulas."""

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
        n, C = w.shape[1:3]
        before, after, centre, end = _centred_decays(w)
        q = torch.cat((a * before, r * after), -2)  # (G, n, 2C, K)
        p = torch.cat((b, k), -2) / torch.cat((after, after), -2)
        A = (q @ p.mT).masked_fill_(_future(C, w.device), 0.0)  # (G, n, 2C, 2C)
        u = A[..., :C, C:] @ v
        states = x = None
        if n == 1 and initial_state is None and not output_final_state:
            uv = torch.cat((_substitute(A, u), v), -2)
            o = A[..., C:, :] @ uv
        else:
            u, x = _substitute(A, torch.cat((u, q[..., :C, :]), -1)).split(
                (v.shape[-1], w.shape[-1]), -1
            )
            uv = torch.cat((u, v), -2)
            states = _carry(initial_state, _transition(x, p, centre, end), uv.mT @ p * end)
            start = states[:, :-1] * centre  # (G, n, V, K)
            uv[..., :C, :] += x @ start.mT
            o = A[..., C:, :] @ uv + q[..., C:, :] @ start.mT
        ctx.save_for_backward(w, q, p, A, uv, x, states)
        ctx.has_initial_state = initial_state is not None
        return o, states[:, -1] if states is not None and output_final_state else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_o: Tensor, d_final_state: Tensor | None) -> tuple[Tensor | None, ...]:
        w, q, p, A, uv, x, states = ctx.saved_tensors
        C = w.shape[2]
        before, after, centre, end = _centred_decays(w)
        A_r = A[..., C:, :]
        d_uv = A_r.mT @ d_o
        if states is not None:
            # The state's gradient passes back through the chunks as the state passed forward.
            read = (q[..., C:, :] + A_r[..., :C] @ x) * centre  # o = read S_0^T + ...
            d_end = _carry_back(d_final_state, _transition(x, p, centre, end), d_o.mT @ read)
            d_end_centred = d_end * end
            d_uv += p @ d_end_centred.mT
        d_u = _substitute_back(A, d_uv[..., :C, :])
        d_v = d_uv[..., C:, :] + A[..., :C, C:].mT @ d_u
        d_rows = torch.cat((d_u, d_o), -2)  # (G, n, 2C, V)
        d_A = (d_rows @ uv.mT).masked_fill_(_future(C, w.device), 0.0)
        d_q = d_A @ p
        d_p = d_A.mT @ q
        d_initial_state = None
        if states is not None:
            d_q += d_rows @ (states[:, :-1] * centre)
            d_p += uv @ d_end_centred
            if ctx.has_initial_state:
                first = d_rows[:, 0].mT @ q[:, 0] + d_end_centred[:, 0]
                d_initial_state = first * centre[:, 0]
        # G_t scales r_t and 1 / b_t, 1 / k_t; G_{t-1} scales a_t; G_C scales the final state.
        from_q, from_p = q * d_q, p * d_p
        from_a = from_q[..., :C, :]
        d_G = from_a + from_q[..., C:, :] - from_p[..., :C, :] - from_p[..., C:, :]
        d_w = d_G.flip(-2).cumsum(-2).flip(-2) - from_a
        if states is not None:
            d_w += (d_end * states[:, 1:]).sum(-2, keepdim=True)
        d_a, d_r = d_q[..., :C, :] * before, d_q[..., C:, :] * after
        d_b, d_k = d_p[..., :C, :] / after, d_p[..., C:, :] / after
        return d_r, d_w, d_k, d_v, d_a, d_b, d_initial_state, None


def _centred_decays(w: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return exp(G_{t-1} - m) and exp(G_t - m), by step, and exp(m) and exp(G_C - m), by chunk."""
    total = w.cumsum(-2)
    end = total[..., -1:, :]
    centre = end / 2
    after = total - centre
    return (after - w).exp(), after.exp(), centre.exp(), (end - centre).exp()


def _future(C: int, device: torch.device) -> Tensor:
    """Mark what a row of A must not see: (a, .) rows see s < t, (r, .) rows s <= t; (2C, 2C)."""
    if torch.compiler.is_compiling():  # the compiler complains of caches
        return _make_future(C, device)
    return _kept_future(C, device)


def _make_future(C: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        step = torch.arange(C, device=device)
        rows = torch.cat((step - 1, step))
        return rows[:, None] < step.repeat(2)


_kept_future = functools.cache(_make_future)


def _substitute(A: Tensor, right: Tensor) -> Tensor:
    """Solve (I - A_ab) x = right."""
    C = A.shape[-1] // 2
    return torch.linalg.solve_triangular(-A[..., :C, :C], right, upper=False, unitriangular=True)


def _substitute_back(A: Tensor, right: Tensor) -> Tensor:
    """Solve (I - A_ab)^T x = right."""
    C = A.shape[-1] // 2
    return torch.linalg.solve_triangular(-A[..., :C, :C].mT, right, upper=True, unitriangular=True)


def _transition(x: Tensor, p: Tensor, centre: Tensor, end: Tensor) -> Tensor:
    """Return the matrix that multiplies the state of each chunk from the right, (G, n, K, K)."""
    C = x.shape[-2]
    product = x.mT @ p[..., :C, :]
    product.diagonal(dim1=-2, dim2=-1).add_(1.0)
    return centre.mT * product * end


def _carry(initial_state: Tensor | None, transition: Tensor, writes: Tensor) -> Tensor:
    """States before the first chunk and after each, (G, n + 1, V, K)."""
    state = torch.zeros_like(writes[:, 0]) if initial_state is None else initial_state
    states = [state]
    for matrix, write in zip(transition.unbind(1), writes.unbind(1), strict=True):
        states.append(torch.baddbmm(write, states[-1], matrix))
    return torch.stack(states, 1)


def _carry_back(d_final_state: Tensor | None, transition: Tensor, d_start: Tensor) -> Tensor:
    """Gradients of the states after each chunk, (G, n, V, K)."""
    d_state = torch.zeros_like(d_start[:, 0]) if d_final_state is None else d_final_state
    d_ends = [d_state]
    for c in range(transition.shape[1] - 1, 0, -1):
        d_ends.append(torch.baddbmm(d_start[:, c], d_ends[-1], transition[:, c].mT))
    return torch.stack(d_ends[::-1], 1)
