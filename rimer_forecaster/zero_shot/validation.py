"""The figure that decisions about zero-shot weights are made by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ..network import RimerNetwork
from .corpus import Held, kind_of
from .forecast import forecast
from .scores import Array, seasonal_naive

__all__ = ["relative_errors", "score_of", "validation_score"]

_MOST = 20.0
"""A relative error counts at most as this, and at least as its inverse."""


def relative_errors(
    network: RimerNetwork, held: Sequence[Held], *, refine: bool = True
) -> dict[str, Array]:
    """Return the absolute errors of medians over those of seasonal naive, by kind of frequency.

    The medians are those of `forecast`, or of the network alone.
    """
    found = defaultdict(list)
    horizon = max(len(row.future) for row in held)
    forecasts = forecast(network, [row.past for row in held], horizon, refine=refine)
    for row, outputs in zip(held, forecasts, strict=True):
        H = len(row.future)
        naive = seasonal_naive(row.past.astype(float), row.season, H)
        median = outputs[:H, network.config.middle]
        own, theirs = (np.nansum(np.abs(x - row.future)) for x in (median, naive))
        if theirs:
            found[kind_of(row.freq)].append(np.clip(own / theirs, 1 / _MOST, _MOST))
    return {kind: np.array(errors) for kind, errors in sorted(found.items())}


def validation_score(network: RimerNetwork, held: Sequence[Held]) -> float:
    """Return the score of relative errors; see `relative_errors` and `score_of`."""
    return score_of(relative_errors(network, held))


def score_of(errors: Mapping[str, Array]) -> float:
    """Return the geometric mean of relative errors per frequency, then over frequencies."""
    return float(np.exp(np.mean([np.log(one).mean() for one in errors.values()])))
