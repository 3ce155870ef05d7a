"""New tokens of sequences laid into chunks, behind those of the unfinished one.

Letters: B sequences, T tokens, H heads, N channels, C tokens of a chunk, n chunks.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ChunkRows"]


class ChunkRows:
    """Where real tokens stand in chunks; rows are counted from the unfinished chunk on.

    Parameters
    ----------
    count
        Real tokens seen before, (B,).
    real
        True for real tokens, (B, T).
    C
        Tokens of a chunk.

    Attributes
    ----------
    n : int
        Chunks with new tokens, whatever the unfinished one holds.
    first, end : Tensor
        Rows of the first new token and behind the last, (B,).
    row, place : Tensor
        Of each token, in the chunks and in its sequence, (B, T).
    """

    def __init__(self, count: Tensor, real: Tensor, C: int) -> None:
        T = real.shape[1]
        self.C, self.n = C, (T + 2 * C - 2) // C
        self.first = count % C
        self.end = self.first + real.sum(1)
        self.row = (self.first[:, None] + real.cumsum(1) - 1).clamp_min(0)
        self.place = (count - self.first)[:, None] + self.row
        self._to = torch.where(real, self.row, self.n * C)  # masked: behind all

    def lay(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Lay tokens behind those of the unfinished chunk, (B, H, T, N) -> (B, H, n + 1, C, N)."""
        rows = x.new_zeros(*x.shape[:2], (self.n + 1) * self.C, x.shape[3])
        if before is not None:
            rows = torch.cat((before, rows[:, :, self.C :]), 2)
        to = self._to[:, None, :, None].expand_as(x)
        return rows.scatter(2, to, x).unflatten(2, (-1, self.C))

    def take(self, y: Tensor) -> Tensor:
        """Take the tokens back: (B, H, n C, N) -> (B, H, T, N)."""
        index = self.row[:, None, :, None]
        return y.gather(2, index.expand(*y.shape[:2], -1, y.shape[3]))

    def unfinished(self, laid: Tensor) -> Tensor:
        """Return the chunk that is not finished: (B, H, n + 1, C, N) -> (B, H, C, N)."""
        content = self.of_unfinished(laid)
        rest = (self.end % self.C)[:, None, None, None]
        there = torch.arange(self.C, device=laid.device)[:, None] < rest
        return content.where(there, 0.0)

    def of_unfinished(self, x: Tensor) -> Tensor:
        """Return what belongs to that chunk: (B, H, n + 1, ...) -> (B, H, ...)."""
        last = self.end.div(self.C, rounding_mode="floor")
        index = last.view(-1, *(1,) * (x.ndim - 1)).expand_as(x[:, :, :1])
        return x.gather(2, index)[:, :, 0]
