"""A bank of chunks of keys and values, of constant size and in the order of time.

Letters: B sequences, H heads, M chunks that are kept, C tokens of a chunk, N head size, Q queries,
n chunks to choose from.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Bank", "choose", "init_bank", "put", "read"]

Bank: TypeAlias = dict[str, Tensor]


def init_bank(weight: Tensor, heads: tuple[int, int], *, kept: int, chunk: int, size: int) -> Bank:
    """Return a bank without chunks, on the device and in the dtype of a weight.

    Parameters
    ----------
    weight
        Any tensor.
    heads
        B and H.
    kept, chunk, size
        M, C and N.

    Returns
    -------
    Bank
        ``key``, ``value`` (B, H, M, C, N), the kept chunks at the end and zeros before them;
        ``mean`` (B, H, M, N), by which a chunk is chosen; ``attention`` (B, H, M), what it has got;
        ``number`` (B, H, M), of the chunk in the sequence, -1 where there is none.
    """
    content = weight.new_zeros(*heads, kept, chunk, size)
    number = torch.full((*heads, kept), -1, dtype=torch.int64, device=weight.device)
    return {
        "key": content,
        "value": content.clone(),
        "mean": weight.new_zeros(*heads, kept, size),
        "attention": weight.new_zeros(*heads, kept),
        "number": number,
    }


def choose(query: Tensor, mean: Tensor, allowed: Tensor, topk: int) -> Tensor:
    """Mark the chunks whose mean key fits a query best.

    Parameters
    ----------
    query, mean
        (B, H, Q, N) and (B, H, n, N).
    allowed
        Which may be chosen, (B or 1, H or 1, Q or 1, n).
    topk
        How many at most.

    Returns
    -------
    Tensor
        (B, H, Q, n).
    """
    fit = (query @ mean.mT).masked_fill(~allowed, -torch.inf)
    best = fit.topk(min(topk, fit.shape[-1]), -1).indices
    return torch.zeros_like(fit, dtype=torch.bool).scatter(-1, best, True) & allowed


def read(
    plain: Tensor, placed: Tensor, row: Tensor, chunk: Bank, bank: Bank, topk: int
) -> tuple[Tensor, Tensor]:
    """Attend to the own chunk and to the `topk` chunks of a bank that fit best.

    Parameters
    ----------
    plain, placed
        Queries without and with positions, (B, H, Q, N).
    row
        Their rows in their chunk, (B or 1, Q).
    chunk
        That chunk: ``key`` and ``value``, (B, H, C, N).
    bank
        See `init_bank`.
    topk
        How many chunks of the bank are read.

    Returns
    -------
    y, attention
        (B, H, Q, N), and what each chunk of the bank got, (B, H, Q, M).
    """
    M, C, N = bank["key"].shape[2:]
    chosen = choose(plain, bank["mean"], bank["number"][:, :, None] >= 0, topk)
    own = torch.arange(C, device=row.device) <= row[:, None, :, None]  # (B, 1, Q, C)
    past = (placed @ bank["key"].flatten(2, 3).mT).unflatten(-1, (M, C))
    past = past.masked_fill(~chosen[..., None], -torch.inf).flatten(3)
    here = (placed @ chunk["key"].mT).masked_fill(~own, -torch.inf)
    share = (torch.cat((past, here), -1) * N**-0.5).softmax(-1)
    y = share @ torch.cat((bank["value"].flatten(2, 3), chunk["value"]), 2)
    return y, share[..., : M * C].unflatten(-1, (M, C)).sum(-1)


def put(bank: Bank, chunk: Bank, number: Tensor, finished: Tensor) -> Bank:
    """Put a chunk at the end of the bank, where it is finished.

    The first empty place goes, else the chunk with the least attention per chunk read since it; of
    equals the oldest.

    Parameters
    ----------
    bank
        See `init_bank`.
    chunk
        ``key``, ``value`` (B, H, C, N) and ``mean`` (B, H, N).
    number
        Of the chunk, (B,).
    finished
        (B,).
    """
    age = number[:, None, None] - bank["number"]
    rate = torch.where(bank["number"] < 0, -1.0, bank["attention"] / age)
    dropped = rate.argsort(dim=-1, stable=True)[..., :1]  # (B, H, 1)
    place = torch.arange(rate.shape[-1], device=rate.device)
    order = place + (place >= dropped)  # (B, H, M), the new one is the last of M + 1
    own = {
        **chunk,
        "attention": torch.zeros_like(rate[..., 0]),
        "number": number[:, None].expand(rate.shape[:2]),
    }
    after = {}
    for name, old in bank.items():
        all_of_them = torch.cat((old, own[name][:, :, None]), 2)
        index = order.view(*order.shape, *(1,) * (old.ndim - 3)).expand_as(old)
        changed = finished.view(-1, *(1,) * (old.ndim - 1))
        after[name] = all_of_them.gather(2, index).where(changed, old)
    return after
