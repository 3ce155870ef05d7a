"""Batches to pretrain on: half real windows, half synthetic series; each a function of its number.

Letters: B series, N steps that are read, H steps after them, P patch length.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from .corpus import Array, Corpus
from .prior import synthetic

__all__ = ["Batch", "Batches"]

_LENGTHS = np.array([64, 128, 256, 512, 1024, 2048])
_SHARES = np.array([0.25, 0.20, 0.20, 0.25, 0.10])
"""Of the steps of training that read N values of a series, from 128 on."""

_AT_ONCE = 512
"""Synthetic series that are drawn together; fewer would cost more each."""


@dataclass(frozen=True)
class Batch:
    """Series of one length.

    Attributes
    ----------
    read
        What is forecast from, (B, N + H), NaN where missing; the last H steps are not read.
    truth
        The same with what was hidden on purpose.
    steps
        N, of which the last patch may be unfinished.
    """

    read: Array
    truth: Array
    steps: int


class Batches:
    """The batches of one training.

    Parameters
    ----------
    corpus
        Real series.
    seed
        Of the training.
    values
        Of a batch: B is this over N.
    horizon, patch_length
        H and P.
    short
        Share of the steps that read 64 values; of the corpus, of series slower than daily.
    executor
        Which draws ahead.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        seed: int,
        values: int,
        horizon: int,
        patch_length: int,
        executor: Executor,
        short: float = 0.0,
    ) -> None:
        self._corpus, self._seed, self._values = corpus, seed, values
        self._shares = np.array([short, *((1 - short) * _SHARES)])
        self._horizon, self._patch_length = horizon, patch_length
        self._executor = executor
        self._chunks: dict[int, tuple[int, Future[Array]]] = {}

    def from_step(self, first: int, last: int, ahead: int = 2) -> Iterator[Batch]:
        """Yield the batches of steps ``first`` to ``last``, drawing some ahead."""
        lengths = _lengths(self._seed, last, self._shares)
        uses = np.zeros(last, np.int64)  # how often the length of a step was taken before it
        for length in _LENGTHS:
            own = lengths == length
            uses[own] = np.arange(own.sum())
        drawn: list[tuple[Future[Array], Future[Array]]] = []
        for step in range(first, last):
            while step + len(drawn) < min(last, step + 1 + ahead):
                coming = step + len(drawn)
                drawn.append(self._draw(coming, int(lengths[coming]), int(uses[coming])))
            real, chunk = drawn.pop(0)
            yield self._batch(step, int(lengths[step]), int(uses[step]), real, chunk)

    def _count(self, length: int) -> tuple[int, int]:
        """How many real and how many synthetic series a batch has."""
        count = max(2, self._values // length)
        return count // 2, count - count // 2

    def _draw(self, step: int, length: int, use: int) -> tuple[Future[Array], Future[Array]]:
        real, own = self._count(length)
        number = use // max(1, _AT_ONCE // own)
        if self._chunks.get(length, (-1, None))[0] != number:
            task = self._executor.submit(
                synthetic,
                self._seed,
                number * len(_LENGTHS) + int(np.searchsorted(_LENGTHS, length)),
                max(own, _AT_ONCE // own * own),
                length + self._horizon,
            )
            self._chunks[length] = number, task
        windows = self._executor.submit(
            self._corpus.windows, self._seed, step, real, length, self._horizon
        )
        return windows, self._chunks[length][1]

    def _batch(
        self, step: int, length: int, use: int, real: Future[Array], chunk: Future[Array]
    ) -> Batch:
        own = self._count(length)[1]
        first = use % max(1, _AT_ONCE // own) * own
        truth = np.concatenate((real.result(), chunk.result()[first : first + own]))
        rng = np.random.default_rng([self._seed, step, 1])
        B, P = len(truth), self._patch_length
        steps = length - (int(rng.integers(0, P)) if rng.random() < 0.5 else 0)
        begin = rng.integers(0, P, B)
        late = rng.random(B) < 0.3
        begin = begin + late * rng.integers(0, length // 2, B)
        truth = np.where(np.arange(truth.shape[1]) < begin[:, None], np.nan, truth)
        return Batch(_hidden(rng, truth, self._horizon, P), truth.astype(np.float32), steps)


def _lengths(seed: int, count: int, shares: np.ndarray) -> np.ndarray:
    """N of every step up to ``count``; more steps leave those before as they are."""
    draws = np.random.default_rng([seed, 0]).random(count)
    return _LENGTHS[np.searchsorted(np.cumsum(shares)[:-1], draws, side="right")]


def _hidden(rng: np.random.Generator, truth: Array, horizon: int, patch_length: int) -> Array:
    """Hide one or two horizons of some series: forecasts from a gap reach further than H."""
    read = truth.astype(np.float32)
    length = truth.shape[1] - horizon
    for i in np.flatnonzero(rng.random(len(truth)) < 0.12):
        size = horizon * int(rng.integers(1, 3))
        start = int(rng.integers(length // 4, length)) // patch_length * patch_length
        read[i, start : start + size] = np.nan
    return read
