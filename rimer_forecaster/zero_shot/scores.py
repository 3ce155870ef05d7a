"""How good forecasts are, and the naive ones that they are compared with.

Letters: n series, H steps, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .tables import SeriesTable

__all__ = ["Origins", "Scores", "naive_quantiles", "origins_of", "score", "seasonal_naive"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """How good the forecasts of a set are.

    Attributes
    ----------
    mase
        Mean absolute scaled error of medians, averaged over series: absolute errors over the mean
        absolute difference of values a season apart in the past (Hyndman and Koehler 2006). Series
        without such a difference do not count.
    smape
        Symmetric mean absolute percentage error of medians, in percent, averaged over series.
    wql
        Weighted quantile loss: twice the quantile losses of all values, averaged over quantiles,
        over the sum of absolute values.
    coverage
        Share of values within the central 80 % interval.
    seconds
        Of the forecasts.
    """

    mase: float
    smape: float
    wql: float
    coverage: float
    seconds: float = float("nan")


def score(
    outputs: Array,
    quantiles: Sequence[float],
    past: Sequence[Array],
    future: Sequence[Array],
    season: int,
) -> Scores:
    """Score forecasts of a set.

    Parameters
    ----------
    outputs
        (n, H, Q).
    quantiles
        Probabilities, with .1, .5 and .9 among them.
    past, future
        What they were made from, and what came, of at most H steps, NaN where missing.
    season
        In steps.
    """
    probabilities = np.asarray(quantiles)
    low, middle, high = (int(np.argmin(np.abs(probabilities - x))) for x in (0.1, 0.5, 0.9))
    scaled, percentages, losses, sizes, inside = [], [], 0.0, 0.0, []
    for found, before, truth in zip(outputs, past, future, strict=True):
        found = found[: len(truth)]
        known = ~np.isnan(truth)
        found, truth = found[known], truth[known]
        if not truth.size:
            continue
        error = np.abs(found[:, middle] - truth)
        m = season if len(before) > season else 1
        differences = np.abs(before[m:] - before[:-m])
        scale = np.nanmean(differences) if not np.isnan(differences).all() else 0.0
        if scale > 0:
            scaled.append(error.mean() / scale)
        total = np.abs(truth) + np.abs(found[:, middle])
        percentages.append(np.mean(200 * error / np.where(total > 0, total, 1)))
        gap = truth[:, None] - found
        losses += 2 * np.maximum(probabilities * gap, (probabilities - 1) * gap).mean(1).sum()
        sizes += np.abs(truth).sum()
        inside.append((truth >= found[:, low]) & (truth <= found[:, high]))
    return Scores(
        float(np.mean(scaled)) if scaled else float("nan"),
        float(np.mean(percentages)),
        losses / sizes if sizes else float("nan"),
        float(np.concatenate(inside).mean()),
    )


@dataclass(frozen=True)
class Origins:
    """What is forecast of a set: the ends of its series."""

    past: list[Array]
    future: list[Array]


def origins_of(table: SeriesTable, horizon: int, windows: int = 1, context: int = 2048) -> Origins:
    """Cut series before their last H values, and H earlier, and so on.

    Series without a value before or after a cut have no such origin.
    """
    past, future = [], []
    for series in table.series.values():
        values = series.to_numpy(float)
        for number in range(windows):
            end = len(values) - number * horizon
            before, after = values[: max(0, end - horizon)][-context:], values[end - horizon : end]
            if end > horizon and not np.isnan(before).all() and not np.isnan(after).all():
                past.append(before)
                future.append(after)
    return Origins(past, future)


def seasonal_naive(past: Array, season: int, horizon: int) -> Array:
    """Repeat the last season, (horizon,); what is missing in it comes from the one before it.

    A series of less than two seasons repeats its last value.
    """
    m = season if len(past) >= 2 * season else 1
    padded = np.concatenate((np.full(-len(past) % m, np.nan), past)).reshape(-1, m)
    last = pd.DataFrame(padded).ffill().iloc[-1].to_numpy()
    return np.resize(np.where(np.isnan(last), np.nanmean(past), last), horizon)


def naive_quantiles(
    quantiles: Sequence[float], past: Sequence[Array], horizon: int, season: int
) -> Array:
    """Quantiles of seasonal naive: normal, of the deviation of its errors in the past."""
    deviations = np.array([NormalDist().inv_cdf(x) for x in quantiles])
    found = []
    for values in past:
        m = season if len(values) >= 2 * season else 1
        errors = values[m:] - values[:-m]
        known = errors[~np.isnan(errors)]
        spread = np.sqrt(np.mean(np.square(known))) if known.size else 0.0
        growth = np.sqrt(np.arange(horizon) // m + 1)
        point = seasonal_naive(values, season, horizon)
        found.append(point[:, None] + spread * growth[:, None] * deviations)
    return np.array(found)
