"""The RWKV-4 recurrence: means of values, weighted by keys and by how long ago they were written.

    y_t = (sum_{i<t} exp((t - 1 - i) w + k_i) v_i + exp(u + k_t) v_t) / (the same with v = 1)

channel by channel, with a log decay w below 0 and a bonus u of the token's own. A run of tokens is
two sums and the largest exponent, which both are divided by. Two neighbouring runs join into one,
so all prefixes come from log2(C) joins within chunks of C tokens and from the same over the chunks:
T * log2(C) element-wise operations and no loop over tokens. On a CPU with numba a compiled loop is
faster yet. Backward the gradients of the outputs are written in the reverse order, with the
logarithms of their denominators for keys: a token's own gradient is what is read there.

Source: Peng et al. (2023), "RWKV: Reinventing RNNs for the Transformer Era", arXiv:2305.13048,
equations 16 to 18 and appendix D.

Letters: B sequences, T tokens, D channels, C tokens of a chunk, n chunks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .precision import state_dtype

__all__ = ["EMPTY", "wkv4"]

EMPTY = -1e38
"""The exponent of a run without tokens; finite, so that no difference of two is NaN."""

_CHUNK_LENGTH = 32

_Run: TypeAlias = tuple[Tensor, Tensor]
"""Sums (2, B, ..., D), divided by the exponential of their exponent (B, ..., D)."""


def wkv4(
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor,
    bonus: Tensor,
    initial_state: Tensor | None = None,
    mask: Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute the recurrence; in float32, or float64 if the keys are.

    Parameters
    ----------
    k, v
        Keys and values, (B, T, D).
    log_decay, bonus
        w, below 0, and u, (D,).
    initial_state
        Numerator, denominator and exponent before the first token, (B, 3, D); none at all if not
        given.
    mask
        True for real tokens, (B, T). Others leave the state alone, bit for bit.
    output_final_state
        Whether to return the state after the last token.

    Returns
    -------
    y, final_state
        (B, T, D) and (B, 3, D) or None.
    """
    B, T, D = k.shape
    dtype = state_dtype(k.dtype)
    k, v, w, u = (x.to(dtype) for x in (k, v, log_decay, bonus))
    if initial_state is None:
        initial_state = torch.stack((*k.new_zeros(2, B, D), k.new_full((B, D), EMPTY)), 1)
    exponent, sums = k, torch.stack((v, torch.ones_like(v)))
    real = k.new_ones(1, T)
    if mask is not None:
        real = mask.to(dtype)
        exponent = exponent.where(mask[..., None], EMPTY)
        sums = sums.where(mask[..., None], 0.0)
    place = F.pad(real.cumsum(1), (1, 0))[..., None]  # (B, T + 1, 1), 0 for what came before
    start = initial_state.transpose(0, 1)[:, :, None]  # (3, B, 1, D)
    sums, exponent = torch.cat((start[:2], sums), 2), torch.cat((start[2], exponent), 1)
    if torch.compiler.is_exporting():
        y = _read(_prefixes((sums, exponent), place, w), k, v, u)[0]
    else:
        y = _WKV4.apply(sums, exponent, place, w, k, v, u)  # type: ignore[no-untyped-call]
    if not output_final_state:
        return y, None
    exponent = exponent + (place[:, -1:] - place) * w
    largest = exponent.amax(1)
    sums = (sums * (exponent - largest[:, None]).exp()).sum(2)
    return y, torch.stack((*sums, largest), 1)


class _WKV4(torch.autograd.Function):
    """Sums (2, B, T + 1, D), exponents (B, T + 1, D) of single tokens; the first is the state."""

    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        exponent: Tensor,
        place: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        u: Tensor,
    ) -> Tensor:
        prefix, largest = _any_prefixes((sums, exponent), place, w)
        y, log_weight = _read((prefix, largest), k, v, u)
        ctx.save_for_backward(
            sums, exponent, place, w, k, v, u, y, log_weight, prefix[:, :, :-1], largest[:, :-1]
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        sums, exponent, place, w, k, v, u, y, log_weight, prefix, largest = ctx.saved_tensors
        own = (k + u - log_weight).exp()  # share of the token's own in its mean
        d_v = own * d_y
        d_k = d_v * (v - y)
        # What reads after token i let flow back to it: sums over t > i, the nearest last.
        read = torch.stack((d_y, -d_y * y)).flip(2), (-log_weight).flip(1)
        suffix, weakest = _any_prefixes(read, -place[:, :-1].flip(1), w)
        suffix, weakest = suffix.flip(2), weakest.flip(1)  # from the first read on, T of them
        d_sums = suffix * (exponent[:, :-1] + weakest).exp()
        d_exponent = (sums[:, :, :-1] * d_sums).sum(0)
        # Through the decay from one prefix to the next.
        steps = place[:, 1:-1] - place[:, :-2]
        decayed = (largest[:, :-1] + weakest[:, 1:] + steps * w).exp()
        through = (prefix[:, :, :-1] * suffix[:, :, 1:]).sum(0) * decayed * steps
        unread = (0, 0, 0, 1)  # the last token is read by none
        return (
            F.pad(d_sums, unread),
            F.pad(d_exponent, unread),
            None,
            through.sum((0, 1)),
            d_k,
            d_v,
            d_k.sum((0, 1)),
        )


def _read(run: _Run, k: Tensor, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return each token's mean over those before it and itself, and the log of the sum of weights.

    (B, T, D) both, from the prefixes (2, B, T + 1, D).
    """
    before = run[0][:, :, :-1], run[1][:, :-1]
    sums, exponent = _join(before, (torch.stack((v, torch.ones_like(v))), k + u))
    return sums[0] / sums[1], sums[1].log() + exponent


def _join(earlier: _Run, later: _Run) -> _Run:
    """One run of two, whose exponents are those at the end of the later one."""
    largest = torch.maximum(earlier[1], later[1])
    sums = earlier[0] * (earlier[1] - largest).exp() + later[0] * (later[1] - largest).exp()
    return sums, largest


def _any_prefixes(run: _Run, place: Tensor, w: Tensor) -> _Run:
    """As `_prefixes`, compiled where that can be."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    compiled = _compiled_prefixes() if run[1].device.type == "cpu" and not traced else None
    return _prefixes(run, place, w) if compiled is None else compiled(*run, place, w)


@functools.cache
def _compiled_prefixes() -> Callable[..., _Run] | None:
    try:
        from .numba.prefixes import numba_prefixes
    except ImportError:
        return None
    return numba_prefixes


def _prefixes(run: _Run, place: Tensor, w: Tensor) -> _Run:
    """All runs from the first token on, each as of its end; tokens are along the last axis but one.

    `place` (..., T, 1) says where a token stands: weights decay by exp(w) from one place to the
    next.
    """
    if run[1].shape[-2] > _CHUNK_LENGTH:
        return _prefixes_of_chunks(run, place, w)
    reach = 1
    while reach < run[1].shape[-2]:
        sums, exponent = run
        decay = (place[..., reach:, :] - place[..., :-reach, :]) * w
        earlier = sums[..., :-reach, :], exponent[..., :-reach, :] + decay
        joined = _join(earlier, (sums[..., reach:, :], exponent[..., reach:, :]))
        run = (
            torch.cat((sums[..., :reach, :], joined[0]), -2),
            torch.cat((exponent[..., :reach, :], joined[1]), -2),
        )
        reach *= 2
    return run


def _prefixes_of_chunks(run: _Run, place: Tensor, w: Tensor) -> _Run:
    """Prefixes within chunks, each joined behind all chunks before it."""
    T, C = run[1].shape[-2], _CHUNK_LENGTH
    rest = -T % C
    last = place[..., -1:, :].expand(*place.shape[:-2], rest, 1)
    place = torch.cat((place, last), -2).unflatten(-2, (-1, C))  # (B, n, C, 1)
    padded = F.pad(run[0], (0, 0, 0, rest)), F.pad(run[1], (0, 0, 0, rest), value=EMPTY)
    chunks = padded[0].unflatten(-2, (-1, C)), padded[1].unflatten(-2, (-1, C))
    sums, exponent = _prefixes(chunks, place, w)  # (2, B, n, C, D), (B, n, C, D)
    ends = place[..., -1, :]  # (B, n, 1)
    whole = _prefixes((sums[..., -1, :], exponent[..., -1, :]), ends, w)  # (2, B, n, D), (B, n, D)
    first = (0, 0, 1, 0)  # nothing stands before the first chunk
    decay = place - F.pad(ends[..., :-1, :], first)[..., None, :]
    before = (
        F.pad(whole[0][..., :-1, :], first)[..., None, :],
        F.pad(whole[1][..., :-1, :], first, value=EMPTY)[..., None, :] + decay * w,
    )
    sums, exponent = _join(before, (sums, exponent))
    return sums.flatten(-3, -2)[..., :T, :], exponent.flatten(-3, -2)[..., :T, :]
