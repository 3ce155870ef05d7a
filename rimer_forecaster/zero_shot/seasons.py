"""Seasons of a series: taken off before the network reads it, and put back on its forecast.

A network of patches recalls the profile of a short season from its state. That of a hundred steps
and more, as rough as the passengers of a day in steps of ten minutes, it recalls as a smooth one.
One that repeats almost exactly, whatever its length, it recalls a little wrong. The mean of the
cycles that are known is a better forecast of both.

Letters: n values, m steps of a season, H steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Seasonless", "period_of", "profile_of", "without_seasons"]

Array = NDArray[np.float64]

# Each of these was chosen by the score of the validation rows, see docs/results/zero-shot.md.
_LONG = 48
"""Steps from which on a season is taken off. The network forecasts shorter ones better itself..."""

_ALMOST_ALL = 0.97
"""...unless they explain this share of the variance around the trend."""

_CYCLES = 3
"""How often a season must have been seen."""

_LEAST_CORRELATION = 0.3
"""Of a series with itself a season later, and..."""

_NEARLY = 0.9
"""...how near it must be to the highest one: a week is no better than seven days."""

_HALF_LIFE = 4
"""Cycles after which one counts half in the profile."""

_LEAST_STRENGTH = 0.6
"""Share of the variance around the trend that the profile of a long season explains."""


class Seasonless(NamedTuple):
    """A series without its long or almost exact seasons.

    Attributes
    ----------
    rest
        What is left, (n,).
    coming
        What the seasons add to the steps after it, (H,).
    widening
        How many times as far from the median its quantiles are as those of the rest. What k cycles
        leave over their own mean is smaller than what they leave over that of others.
    is_periodic
        Whether any season was found, one that stays too.
    known_from
        Values of the series from which on all that was taken off has been seen often enough; 0 if
        nothing was.
    """

    rest: Array
    coming: Array
    widening: float
    is_periodic: bool
    known_from: int


def without_seasons(series: Array, horizon: int) -> Seasonless:
    """Take the long and the almost exact seasons off a series, two at most.

    Of the second, such as a week of days, the period is looked for in what the first leaves.

    Parameters
    ----------
    series
        (n,), NaN where missing.
    horizon
        H.
    """
    before, series = np.split(series, [int(np.argmax(~np.isnan(series)))])
    rest, searched, coming, widening, known_from = series, series, np.zeros(horizon), 1.0, 0
    found: set[int] = set()
    for _ in range(2):
        m = period_of(searched)
        if m == 1 or m in found:
            break
        found.add(m)
        profile, strength, share = profile_of(rest, m)
        searched = searched - _before(profile, len(rest))
        if strength >= (_LEAST_STRENGTH if m >= _LONG else _ALMOST_ALL):
            rest = rest - _before(profile, len(rest))
            coming = coming + np.resize(profile, horizon)
            widening *= float(np.sqrt((1 + share) / (1 - share)))
            known_from = max(known_from, len(before) + _CYCLES * m)
    return Seasonless(np.concatenate((before, rest)), coming, widening, bool(found), known_from)


def period_of(series: Array) -> int:
    """Return the dominant period of (n,) values, in steps; 1 if there is none.

    It is the shortest lag at which the correlation of a series with itself, less a line, is nearly
    as high as at any other lag, after it was negative once.
    """
    known = ~np.isnan(series)
    if known.sum() < 4 * _CYCLES:
        return 1
    x = _filled(series)
    x = x / (np.abs(x).max() or 1.0)
    t = np.arange(len(x)) - (len(x) - 1) / 2
    x = x - x.mean()
    x = x - (t @ x) / (t @ t) * t
    size = 2 ** int(np.ceil(np.log2(2 * len(x))))
    sums = np.fft.irfft(np.abs(np.fft.rfft(x, size)) ** 2)[: len(x) // _CYCLES + 2]
    if sums[0] <= 1e-20 * len(x):
        return 1
    correlation = sums / sums[0] * len(x) / (len(x) - np.arange(len(sums)))
    negative = np.flatnonzero(correlation < 0)
    if not negative.size or negative[0] > len(sums) - 3:
        return 1
    first = int(negative[0])
    before, here, after = (correlation[first + i : len(sums) - 2 + i] for i in range(3))
    peaks = np.where((here >= before) & (here >= after), here, 0.0)
    best = peaks.max()
    if best < _LEAST_CORRELATION:
        return 1
    high = int(np.argmax(peaks >= _NEARLY * best))  # noise may set peaks beside it
    beside = high + (first + 1 + high) // 4 + 1
    return first + 1 + high + int(np.argmax(peaks[high:beside]))


def profile_of(series: Array, period: int) -> tuple[Array, float, float]:
    """Return the mean deviation from the trend at each place of a cycle, and what it is worth.

    The trend is a line between the means of whole cycles. A cycle counts half as much as one four
    cycles later. The first of the (m,) places is that of the step after the series, and their mean
    is 0. Then comes its strength, the share of the variance around the trend that it explains; and
    the variance of a profile of white noise in units of the noise's, 1 / k of k equal cycles.
    """
    n, m = len(series), period
    cycles = n // m
    values, begin = _filled(series), n - cycles * m
    means = values[begin:].reshape(cycles, m).mean(1)
    centres = begin + (np.arange(cycles) + 0.5) * m - 0.5
    deviations = (values - np.interp(np.arange(n), centres, means))[begin:].reshape(cycles, m)
    weights = 0.5 ** (np.arange(cycles)[::-1, None] / _HALF_LIFE)
    weights = weights * ~np.isnan(series[begin:]).reshape(cycles, m)
    sums = np.maximum(weights.sum(0), 1e-9)
    profile = (weights * deviations).sum(0) / sums
    profile = profile - profile.mean()
    total = (weights * deviations**2).sum()
    left = (weights * (deviations - profile) ** 2).sum()
    share = float(np.mean((weights**2).sum(0) / sums**2))
    return profile, 1 - left / total if total > 0 else 0.0, min(share, 0.9)


def _filled(series: Array) -> Array:
    """Return (n,) values with lines across what is missing."""
    known = ~np.isnan(series)
    if known.all():
        return series
    steps = np.arange(len(series))
    return np.interp(steps, steps[known], series[known])


def _before(profile: Array, n: int) -> Array:
    """Return a profile repeated over the n steps that end before its first place."""
    return np.resize(profile[::-1], n)[::-1]
