"""Judge zero-shot weights by series that they were never shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..network import RimerNetwork
from .corpus import Held, kind_of
from .forecast import forecast

__all__ = ["relative_errors", "seasonal_naive", "validation_score"]

_MOST = 20.0
"""A relative error counts at most as this, and at least as its inverse."""


def seasonal_naive(past: NDArray[np.floating], season: int, horizon: int) -> NDArray[np.float64]:
    """Repeat the last season, (horizon,); what is missing there is taken from the one before it.

    A series of less than two seasons repeats its last value.
    """
    m = season if len(past) >= 2 * season else 1
    last = np.full(m, np.nan)
    for start in range(len(past) - m, -m, -m):
        known = np.concatenate((np.full(max(0, -start), np.nan), past[max(0, start) : start + m]))
        last = np.where(np.isnan(last), known, last)
        if not np.isnan(last).any():
            break
    last = np.where(np.isnan(last), np.nanmean(past), last)
    return np.resize(last, horizon)


def relative_errors(network: RimerNetwork, held: Sequence[Held]) -> dict[str, NDArray[np.float64]]:
    """Return the absolute errors of medians over those of seasonal naive, by kind of frequency."""
    found = defaultdict(list)
    horizon = max(len(row.future) for row in held)
    forecasts = forecast(network, [row.past for row in held], horizon)
    for row, outputs in zip(held, forecasts, strict=True):
        H = len(row.future)
        median = outputs[:H, network.config.middle]
        naive = seasonal_naive(row.past, row.season, H)
        own, theirs = (np.nansum(np.abs(x - row.future)) for x in (median, naive))
        if theirs:
            found[kind_of(row.freq)].append(np.clip(own / theirs, 1 / _MOST, _MOST))
    return {kind: np.array(errors) for kind, errors in sorted(found.items())}


def validation_score(network: RimerNetwork, held: Sequence[Held]) -> float:
    """Return the geometric mean of relative errors per frequency, then over frequencies."""
    means = [np.log(errors).mean() for errors in relative_errors(network, held).values()]
    return float(np.exp(np.mean(means)))
