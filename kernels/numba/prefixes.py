"""Prefixes of RWKV-4's runs compiled for the CPU by numba: one token after another.

Letters: B sequences, T tokens, D channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .spread import compiled, dtype_name, spread

__all__ = ["numba_prefixes"]

_WORK_OF_AN_ELEMENT = 16
"""How much of `spread`'s measure of work an element is."""


def numba_prefixes(
    sums: Tensor, exponent: Tensor, place: Tensor, w: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `wkv4`'s prefixes, (2, B, T, D) and (B, T, D), from `place` (B or 1, T, 1)."""
    arguments = tuple(x.contiguous() for x in (sums, exponent, place, w))
    results = torch.empty_like(arguments[0]), torch.empty_like(arguments[1])
    work = _WORK_OF_AN_ELEMENT * exponent.numel()
    spread(_kernel(dtype_name(sums)), (*arguments, *results), items=len(exponent), work=work)
    return results


@functools.cache
def _kernel(dtype: str) -> Callable[..., None]:
    one = np.dtype(dtype).type(1)

    @compiled
    def prefixes_of_sequences(  # type: ignore[no-untyped-def]
        sums, exponent, place, w, prefix, largest, first, last
    ):
        T, D = exponent.shape[1:]
        for i in range(first, last):
            p = place[i % place.shape[0]]
            prefix[:, i, 0] = sums[:, i, 0]
            largest[i, 0] = exponent[i, 0]
            for t in range(1, T):
                step = p[t, 0] - p[t - 1, 0]
                for c in range(D):
                    before, own = largest[i, t - 1, c] + step * w[c], exponent[i, t, c]
                    smaller = np.exp(-abs(before - own))
                    keeps = before > own
                    earlier, later = (one, smaller) if keeps else (smaller, one)
                    largest[i, t, c] = before if keeps else own
                    for j in range(2):
                        prefix[j, i, t, c] = (
                            earlier * prefix[j, i, t - 1, c] + later * sums[j, i, t, c]
                        )

    return prefixes_of_sequences
