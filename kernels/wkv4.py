"""The RWKV-4 recurrence: means of values, weighted by keys and by how long ago they were written.

    y_t = (sum_{i<t} exp((t - 1 - i) w + k_i) v_i + exp(u + k_t) v_t) / (the same with v = 1)

channel by channel, with a log decay w below 0 and a bonus u of the token's own. A run of tokens is
numerator, denominator and the largest exponent, which both are divided by. Two neighbouring runs
join into one, so all prefixes come from log2(C) joins within chunks of C tokens and from the same
over the chunks: T * log2(C) element-wise operations and no loop over tokens.

Source: Peng et al. (2023), "RWKV: Reinventing RNNs for the Transformer Era", arXiv:2305.13048,
equations 16 to 18 and appendix D.

Letters: B sequences, T tokens, D channels, C tokens of a chunk, n chunks.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["EMPTY", "wkv4"]

EMPTY = -1e38
"""The exponent of a run without tokens; finite, so that no difference of two is NaN."""

_CHUNK_LENGTH = 32

_Run: TypeAlias = tuple[Tensor, Tensor]
"""Numerator and denominator (2, ..., D), and their exponent (..., D)."""


def wkv4(
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor,
    bonus: Tensor,
    initial_state: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
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

    Returns
    -------
    y, final_state
        (B, T, D) and (B, 3, D).
    """
    B, T, D = k.shape
    dtype = torch.float64 if k.dtype == torch.float64 else torch.float32
    k, v, w, u = (x.to(dtype) for x in (k, v, log_decay, bonus))
    one = torch.ones_like(v)
    real = k.new_ones(1, T) if mask is None else mask.to(dtype)
    place = F.pad(real.cumsum(1), (1, 0))[..., None]  # (B, T + 1, 1), 0 for what came before
    exponent = k if mask is None else k.where(mask[..., None], EMPTY)
    if initial_state is None:
        initial_state = torch.stack((*k.new_zeros(2, B, D), k.new_full((B, D), EMPTY)), 1)
    before = initial_state.transpose(0, 1)[:, :, None]  # (3, B, 1, D)
    sums = torch.stack((v, one))
    if mask is not None:
        sums = sums.where(mask[..., None], 0.0)
    run = torch.cat((before[:2], sums), 2), torch.cat((before[2], exponent), 1)
    sums, exponent = _prefixes(run, place, w)  # of T + 1 tokens
    read, _ = _join((sums[:, :, :-1], exponent[:, :-1]), (torch.stack((v, one)), k + u), None)
    return read[0] / read[1], torch.stack((*sums[:, :, -1], exponent[:, -1]), 1)


def _join(earlier: _Run, later: _Run, decay: Tensor | None) -> _Run:
    """One run of two, the earlier of which has decayed by exp(decay) since its end."""
    (first, exponent), (second, own) = earlier, later
    if decay is not None:
        exponent = exponent + decay
    largest = torch.maximum(exponent, own)
    return first * (exponent - largest).exp() + second * (own - largest).exp(), largest


def _prefixes(run: _Run, place: Tensor, w: Tensor) -> _Run:
    """All runs from the first token on; tokens are along the last axis but one."""
    T, C = run[1].shape[-2], _CHUNK_LENGTH
    if T > C:
        return _prefixes_of_chunks(run, place, w)
    reach = 1
    while reach < T:
        sums, exponent = run
        decay = (place[..., reach:, :] - place[..., :-reach, :]) * w
        earlier = sums[..., :-reach, :], exponent[..., :-reach, :]
        joined = _join(earlier, (sums[..., reach:, :], exponent[..., reach:, :]), decay)
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
    whole = _prefixes((sums[..., -1, :], exponent[..., -1, :]), ends, w)
    earlier = (
        F.pad(whole[0][..., :-1, :], (0, 0, 1, 0))[..., None, :],
        F.pad(whole[1][..., :-1, :], (0, 0, 1, 0), value=EMPTY)[..., None, :],
    )
    decay = (place - F.pad(ends[..., :-1, :], (0, 0, 1, 0))[..., None, :]) * w
    sums, exponent = _join(earlier, (sums, exponent), decay)
    return sums.flatten(-3, -2)[..., :T, :], exponent.flatten(-3, -2)[..., :T, :]
