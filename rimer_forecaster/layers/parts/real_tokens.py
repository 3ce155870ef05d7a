"""Tokens that count, moved to the front: where places are numbered among them alone.

Letters: B sequences, T tokens, n rows taken, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["real_tokens_first", "take_rows"]


def real_tokens_first(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens with the masked ones left out, and the places of all of them.

    Parameters
    ----------
    x
        Tokens, (B, T, D).
    mask
        True for real tokens, (B, T); None if all are.

    Returns
    -------
    front, place, number
        Real tokens in their order and zeros behind them, (B, T, D); the place of each token among
        the real ones, (B, T), for masked ones that of another; how many are real, (B,).
    """
    B, T, D = x.shape
    if mask is None:
        place = torch.arange(T, device=x.device).expand(B, T)
        return x, place, place.new_full((B,), T)
    after = mask.cumsum(1)
    place = (after - 1).clamp_min(0)
    row = torch.where(mask, place, T)  # masked tokens to a row of their own, which is dropped
    front = x.new_zeros(B, T + 1, D).scatter(1, row[..., None].expand(B, T, D), x)
    return front[:, :T], place, after[:, -1]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Take rows of each sequence, (B, T, D) and (B, n) -> (B, n, D)."""
    return x.gather(1, index[..., None].expand(*index.shape, x.shape[2]))
