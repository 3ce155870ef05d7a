"""What happens to series on their way: mixed, bent, rounded, cut, hit, ended, and lost in part.

Letters: n series, T steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .draws import Array, Generator, hold, log_uniform, segments, slow

__all__ = ["altered"]


def altered(rng: Generator, x: Array) -> Array:
    """Mix, bend and damage some of the standardised series, (T, n)."""
    T, n = x.shape

    def some(share: float) -> NDArray[np.int64]:
        return np.flatnonzero(rng.random(n) < share)

    mixed = some(0.20)
    weight = rng.beta(1.5, 1.5, len(mixed)).astype(np.float32)
    x[:, mixed] = weight * x[:, mixed] + (1 - weight) * x[:, rng.integers(0, n, len(mixed))]
    bent = some(0.10)
    x[:, bent] *= np.exp(0.6 * slow(rng, T, len(bent), 4))
    x[:, some(0.30)] *= -1
    held = some(0.04)
    x[:, held] = hold(x[:, held], segments(rng, T, len(held), rng.uniform(2, 8, len(held))))
    stepped = some(0.07)
    step = log_uniform(rng, 0.05, 1.0, len(stepped))
    x[:, stepped] = np.round(x[:, stepped] / step) * step
    censored = some(0.06)
    for column in censored:  # a sort each is the dearest of all alterations
        edge = np.quantile(x[:, column], rng.uniform(0.05, 0.4))
        x[:, column] = np.maximum(x[:, column], edge)
    wild = some(0.05)
    hit = rng.random((T, len(wild)), np.float32) < rng.uniform(0.002, 0.02, len(wild))
    x[:, wild] += hit * rng.normal(0, 5, (T, len(wild))).astype(np.float32)
    for column in some(0.03):  # what is discontinued, or closed for good
        start = int(rng.integers(T // 8, T))
        ends = (x[:start, column].min(), x[start - 1, column], 0.0)
        x[start:, column] = ends[int(rng.integers(0, 3))]
    points = some(0.06)
    absent = rng.random((T, len(points)), np.float32) < log_uniform(rng, 0.01, 0.5, len(points))
    x[:, points] = np.where(absent, np.nan, x[:, points])
    for column in some(0.06):
        for _ in range(int(rng.integers(1, 4))):
            start, size = int(rng.integers(0, T)), int(log_uniform(rng, 2, T / 4, 1)[0])
            x[start : start + size, column] = np.nan
    return x
