"""Mediums: summaries of what lies segments back, for the token shifts of a block to mix in.

Source: RRWKV, Wang (2023), "RRWKV: Capturing Long-range Dependencies in RWKV", arXiv:2306.05176,
which puts mediums at regular intervals and mixes them into both mixers. Bank, summary and read are
inferred.

Letters: B sequences, T tokens, D width, m tokens of a segment, S segments that T tokens touch,
K mediums that are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..parts.initialisation import uniform_linear
from ..parts.real_tokens import real_tokens_first, take_rows
from ..protocol import ALONE, Mixer, Pass, State

__all__ = ["Mediums"]


class Mediums(Mixer):
    """A medium for every m tokens, ``summary(mean, last)``, and a read of the latest K of them.

    A token reads the mediums of segments that ended before it, by one softmax over the products of
    its query with them, plus a score for their age. There is nothing to be read with score 0 too,
    so that before the first segment has ended the read is zero.

    Parameters
    ----------
    width
        D.
    segment
        m, in tokens.
    capacity
        K; what lies further back than K segments is forgotten.

    State
    -----
    ``bank`` (B, K, D), the mediums, oldest first and zero where there are none yet; ``sum`` (B, D),
    of the tokens of the open segment; ``count`` (B,), tokens read.

    Raises
    ------
    ValueError
        If `segment` or `capacity` is not a whole number of at least 1.
    """

    def __init__(self, width: int, *, segment: int | str, capacity: int = 32) -> None:
        super().__init__()
        for name, value in (("retrospect", segment), ("mediums", capacity)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{name}={value!r} of rwkv7 must be a whole number of at least 1: retrospect "
                    "counts the tokens that a medium sums up (off for none), mediums how many of "
                    "them are kept."
                )
        assert isinstance(segment, int)
        self.width, self.segment, self.capacity = width, segment, capacity
        self.summary = nn.Linear(2 * width, width, bias=False)
        self.query = nn.Linear(width, width, bias=False)
        self.age = nn.Parameter(torch.empty(capacity))  # oldest first
        self.learning_rates = {"age": 10.0}

    def init_state(self, batch_size: int) -> State:
        """Return an empty bank; see `Mixer`."""
        zeros = self.age.new_zeros
        return {
            "bank": zeros(batch_size, self.capacity, self.width),
            "sum": zeros(batch_size, self.width),
            "count": zeros(batch_size, dtype=torch.int64),
        }

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Read the mediums before each token, (B, T, D); see `Mixer`."""
        read, _, after = self._read(x, state, companions)
        return read, after

    def shares(self, x: Tensor, state: State | None = None, companions: Pass = ALONE) -> Tensor:
        """Return with which weight each token reads each medium that was kept then, (B, T, K)."""
        return self._read(x, state, companions)[1]

    def _read(
        self, x: Tensor, state: State | None, companions: Pass
    ) -> tuple[Tensor, Tensor, State | None]:
        """Return reads (B, T, D), weights (B, T, K) and the state after."""
        B, T, D = x.shape
        m, K = self.segment, self.capacity
        S = (T + 2 * m - 2) // m
        before = self.init_state(B) if state is None else state
        ended, begun = before["count"] // m, before["count"] % m  # segments; tokens of the open one

        front, place, number = real_tokens_first(x, companions.mask)
        slot = torch.arange(S * m, device=x.device) - begun[:, None]  # (B, S * m)
        real = (slot >= 0) & (slot < number[:, None])
        tokens = take_rows(front, slot.clamp(0, T - 1)).where(real[..., None], 0.0)
        tokens = tokens.unflatten(1, (S, m))  # (B, S, m, D)
        sums = torch.cat((tokens.sum(2), tokens.new_zeros(B, 1, D)), 1)
        sums = torch.cat((sums[:, :1] + before["sum"][:, None], sums[:, 1:]), 1)
        # Of a segment that has not ended this is no medium yet; nobody looks at it.
        made = self.summary(torch.cat((sums[:, :-1] / m, tokens[:, :, -1]), -1))
        bank = torch.cat((before["bank"], made), 1)  # (B, K + S, D)

        kept = torch.arange(K, device=x.device)
        segment = torch.arange(S, device=x.device)[:, None]
        known = ended[:, None, None] + segment - K + kept >= 0  # (B, S, K)
        windows = bank[:, segment + kept]  # (B, S, K, D)
        scores = torch.einsum("bsmd,bskd->bsmk", self.query(tokens), windows) / D**0.5
        scores = (scores + self.age).where(known[:, :, None], -torch.inf)
        nothing = scores.new_zeros(B, S, m, 1)
        weights = torch.cat((scores, nothing), -1).softmax(-1)[..., :K]
        read = torch.einsum("bsmk,bskd->bsmd", weights, windows)
        own = begun[:, None] + place  # of each token among the slots, (B, T)
        read, weights = (take_rows(z.flatten(1, 2), own) for z in (read, weights))
        if state is None:
            return read, weights, None
        closed = (begun + number) // m
        after = {
            "bank": take_rows(bank, closed[:, None] + kept),
            "sum": take_rows(sums, closed[:, None])[:, 0],
            "count": before["count"] + number,
        }
        return read, weights, after

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; all ages score alike at first."""
        uniform_linear(self.summary, generator)
        uniform_linear(self.query, generator, gain=0.5)
        nn.init.zeros_(self.age)
