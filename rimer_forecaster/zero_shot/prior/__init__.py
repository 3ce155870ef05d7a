"""Synthetic series to pretrain on: many families, drawn by the hundred at once.

What a network learns without a target series is the distribution of the series it was shown. The
families here are those that published generators share (KernelSynth of Chronos, arXiv:2403.07815;
TempoPFN, arXiv:2510.25502; ForecastPFN, arXiv:2311.01933; TimePFN, arXiv:2502.16294), written anew
in vectors. Their shares and the alterations on top are chosen for diversity, not for any data set.

A batch is a function of a seed and of its number, so that an interrupted training goes on with the
series that it would have seen.

Letters: n series, T steps. Inside, series are (T, n): a recurrence then walks along rows.
"""

from __future__ import annotations

import numpy as np

from .altered import altered
from .draws import Array
from .families import FAMILIES, SHARES

__all__ = ["FAMILIES", "VERSION", "family", "synthetic"]

VERSION = 2
"""Of the prior: the same seed gives the same series under the same version of it and of NumPy."""


def synthetic(seed: int, number: int, count: int, length: int) -> Array:
    """Draw one batch of series of all families, with alterations.

    Parameters
    ----------
    seed, number
        Of the training, and of the batch in it.
    count, length
        How many series, and of how many steps.

    Returns
    -------
    array
        (count, length), float32, NaN where missing; of no particular unit.
    """
    rng = np.random.default_rng([seed, number, VERSION])
    pooled = rng.random(count) < 0.10
    blocks = []
    for pooling, marks in ((1, ~pooled), (int(rng.integers(2, 5)), pooled)):
        chosen = rng.choice(len(FAMILIES), size=int(marks.sum()), p=SHARES)
        for name, n in zip(FAMILIES, np.bincount(chosen, minlength=len(FAMILIES)), strict=True):
            if n:
                x = _standardised(FAMILIES[name](rng, int(n), pooling * length))
                blocks.append(x if pooling == 1 else x.reshape(length, pooling, -1).mean(1))
    x = np.concatenate(blocks, 1)[:, rng.permutation(count)]
    return np.ascontiguousarray(altered(rng, x).T)


def family(name: str, seed: int, count: int, length: int) -> Array:
    """Draw series of one family, (count, length), without alterations."""
    rng = np.random.default_rng([seed, VERSION])
    return np.ascontiguousarray(_standardised(FAMILIES[name](rng, count, length)).T)


def _standardised(x: Array) -> Array:
    """Divide by the standard deviation, and take what is not finite for zero."""
    x = np.nan_to_num(x.astype(np.float32), posinf=0.0, neginf=0.0)
    x = np.clip(x, -1e6, 1e6)
    x -= x.mean(0)
    deviation = x.std(0)
    return x / np.where(deviation > 1e-6, deviation, 1.0)
