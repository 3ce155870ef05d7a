"""Attention to the own chunk and to the few chunks of the past whose mean key fits best: RWKV-X.

Source: Hou, Li and others (2025), "RWKV-X: A Linear Complexity Hybrid Language Model",
arXiv:2504.21463. There kept keys are not in the order of time; here they are.

Letters: B sequences, T tokens, D width, H heads, N head size (H * N = D), C tokens of a chunk, n
chunks, M chunks that are kept, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..parts.chunk_bank import choose, init_bank, put, read
from ..parts.chunk_rows import ChunkRows
from ..parts.initialisation import uniform_linear
from ..parts.rotary import check_pairs, rotate
from ..protocol import ALONE, Mixer, Pass, State

__all__ = ["SparseAttention"]


class SparseAttention(Mixer):
    """Multi-head causal attention of each token to its own chunk and to `topk` chunks before it.

    A head chooses for each token by the product of the query with the mean of a chunk's keys, both
    without positions. M chunks are kept. When one more is finished, the one goes that got the least
    attention per token read since; a chunk that nobody has looked at is forgotten first.

    Parameters
    ----------
    width
        D.
    head_size
        N; even with positions.
    topk, chunk, kept
        How many chunks are chosen, C and M.
    rotary
        Whether positions rotate keys and queries.

    State
    -----
    ``bank``, the kept chunks, see `init_bank`; ``key``, ``value`` (B, H, C, N), those of the
    unfinished chunk, zeros behind them; ``sum`` (B, H, N), of its keys without positions; ``count``
    (B,), real tokens seen so far.

    Raises
    ------
    ValueError
        If a number is out of range, or more chunks are chosen than kept.
    """

    def __init__(
        self,
        width: int,
        *,
        head_size: int,
        topk: int = 3,
        chunk: int = 64,
        kept: int = 32,
        rotary: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("topk", topk), ("chunk", chunk), ("kept", kept)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{name}={value!r} of attention must be a whole number of at least 1."
                )
        if topk > kept:
            raise ValueError(
                f"topk={topk} of attention exceeds the kept={kept} chunks that it chooses from."
            )
        if rotary:
            check_pairs(head_size)
        self.width, self.head_size, self.rotary = width, head_size, rotary
        self.topk, self.chunk, self.kept = topk, chunk, kept
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def init_state(self, batch_size: int) -> State:
        """Return an empty cache; see `Mixer`."""
        weight, N = self.key.weight, self.head_size
        heads = (batch_size, self.width // N)
        unfinished = weight.new_zeros(*heads, self.chunk, N)
        return {
            "bank": init_bank(weight, heads, kept=self.kept, chunk=self.chunk, size=N),
            "key": unfinished,
            "value": unfinished.clone(),
            "sum": weight.new_zeros(*heads, N),
            "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
        }

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        B, T, _ = x.shape
        heads = (B, T, -1, self.head_size)
        q, k, v = (f(x).view(heads).transpose(1, 2) for f in (self.query, self.key, self.value))
        mask = companions.mask
        real = x.new_ones(B, T, dtype=torch.bool) if mask is None else mask
        if state is None and (self.kept + 1) * self.chunk >= T:  # all chunks are kept
            y, after = self._attend(q, k, v, real), None
        else:
            y, after = self._attend_by_chunks(q, k, v, real, state or self.init_state(B))
        y = self.output(y.transpose(1, 2).reshape(x.shape))
        return y, None if state is None else after

    def _placed(self, x: Tensor, place: Tensor) -> Tensor:
        return rotate(x, place) if self.rotary else x

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor) -> Tensor:
        """Attend among the tokens of one pass, (B, H, T, N)."""
        T, C = q.shape[2], self.chunk
        n = -(-T // C)
        place = real.cumsum(1) - 1  # (B, T), among the real tokens
        seen = (place[:, None] <= place[:, :, None]) & real[:, None]  # (B, T, T)
        # A masked token may see itself alone: its output is undefined, but must not be NaN.
        seen = (seen | torch.eye(T, dtype=torch.bool, device=q.device))[:, None]
        if n - 1 > self.topk:
            own = place.clamp_min(0).div(C, rounding_mode="floor")  # (B, T), the token's chunk
            member = F.one_hot(own, n) * real[..., None]  # (B, T, n)
            mean = member.to(k.dtype).mT[:, None] @ k / C  # (B, H, n, N)
            number = torch.arange(n, device=q.device)
            past = (number < own[..., None])[:, None]  # (B, 1, T, n)
            chosen = choose(q, mean, past, self.topk) | (number == own[..., None])[:, None]
            seen = seen & chosen.gather(3, own[:, None, None].expand(-1, q.shape[1], T, T))
        q, k = self._placed(q, place), self._placed(k, place)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)

    def _attend_by_chunks(
        self, q: Tensor, k: Tensor, v: Tensor, real: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Attend chunk after chunk, from the chunks that a state holds on."""
        T, C = q.shape[2], self.chunk
        count, bank = state["count"], state["bank"]
        q, k, v = (x.to(state["key"].dtype) for x in (q, k, v))
        rows = ChunkRows(count, real, C)
        placed = self._placed(q, rows.place)
        keys = rows.lay(self._placed(k, rows.place), state["key"])
        values = rows.lay(v, state["value"])
        sums = rows.lay(k).sum(3)  # (B, H, n + 1, N)
        sums = torch.cat((sums[:, :, :1] + state["sum"][:, :, None], sums[:, :, 1:]), 2)
        if T == 1:  # the one query need not stand in its row
            asking = [(rows.row, q, placed)]
        else:
            at = torch.arange(rows.n * C, device=q.device).view(rows.n, 1, C)
            asking = list(zip(at, *(rows.lay(x).unbind(2) for x in (q, placed)), strict=False))
        outputs = []
        for j, (at, plain, placed) in enumerate(asking):
            chunk = {"key": keys[:, :, j], "value": values[:, :, j], "mean": sums[:, :, j] / C}
            y, got = read(plain, placed, at - j * C, chunk, bank, self.topk)
            outputs.append(y)
            asked = (at >= rows.first[:, None]) & (at < rows.end[:, None])  # (B, Q)
            got = (got * asked[:, None, :, None]).sum(2)
            bank = {**bank, "attention": bank["attention"] + got}
            finished = rows.end >= (j + 1) * C
            if torch.compiler.is_compiling() or bool(finished.any()):
                bank = put(bank, chunk, count.div(C, rounding_mode="floor") + j, finished)
        y = torch.cat(outputs, 2)
        after: State = {
            "bank": bank,
            "key": rows.unfinished(keys),
            "value": rows.unfinished(values),
            "sum": rows.of_unfinished(sums),
            "count": count + real.sum(1),
        }
        return (rows.take(y) if T > 1 else y), after

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the output starts at zero, like that of every mixer here."""
        for linear in (self.query, self.key, self.value, self.output):
            uniform_linear(linear, generator)
        nn.init.zeros_(self.output.weight)
