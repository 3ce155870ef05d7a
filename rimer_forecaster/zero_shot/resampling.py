"""Series whose period is long, read in steps of several values.

Letters: T values, k values per longer step, H steps, Q quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["coarser", "period_of", "step_of", "to_fine"]

Array = NDArray[np.float64]

_LONGEST_READ = 16_384
"""Values of which a period is told."""

_LEAST_CORRELATION, _NEARLY = 0.3, 0.7
"""Of a series with itself a period later, and over the highest one."""

_OFTEN = 5
"""Times that a period has to fit into a series."""

_LONG = 64
"""Steps from which on a period is long."""

_AIM = 12
"""Longer steps that a period is to have, at least. Of 12, 18, 24 and 36 it had the lowest
validation score: .904, where 24 had .943, and .951 without longer steps."""

_FEWEST_AHEAD = 4
"""Longer steps that a horizon has, at least."""

_KEPT = 0.8
"""Of the variance of a series, that lines between its longer steps keep, at least: otherwise a
shorter period, such as a day in a week, would be lost."""


def period_of(series: Array) -> int:
    """Return the dominant period, in steps; 1 if there is none that comes five times at least.

    It is the shortest lag at which the correlation of a series with itself, less a line, is nearly
    as high as at any lag after it first was negative.
    """
    x = series[-_LONGEST_READ:]
    known = ~np.isnan(x)
    if known.sum() < 16 or np.isinf(x).any():
        return 1
    steps = np.arange(len(x))
    x = np.interp(steps, steps[known], x[known])
    x = x / (np.abs(x).max() or 1.0)
    x = x - np.polyval(np.polyfit(steps, x, 1), steps)
    size = 2 ** int(np.ceil(np.log2(2 * len(x))))
    spectrum = np.abs(np.fft.rfft(x, size)) ** 2
    sums = np.fft.irfft(spectrum)[: len(x) // _OFTEN]
    if sums[0] <= 1e-20 * len(x):
        return 1
    correlation = sums / sums[0] * len(x) / (len(x) - np.arange(len(sums)))
    negative = np.flatnonzero(correlation < 0)
    if not negative.size:
        return 1
    begin = int(negative[0])
    best = correlation[begin:].max()
    if best < _LEAST_CORRELATION:
        return 1
    inner = correlation[begin:-1]
    peaks = 1 + np.flatnonzero((inner[1:-1] >= inner[:-2]) & (inner[1:-1] >= inner[2:])) + begin
    high = peaks[correlation[peaks] >= _NEARLY * best]
    return int(high[0]) if high.size else 1


def step_of(series: Array, horizon: int) -> int:
    """Return how many values a longer step is to have; 1 leaves a series as it is."""
    period = period_of(series)
    step = min(period // _AIM, horizon // _FEWEST_AHEAD)
    if period < _LONG or step < 2:
        return 1
    x = series[-_LONGEST_READ:] / np.nanmax(np.abs(series[-_LONGEST_READ:]))
    left = x - _lines(x, coarser(x, step), step)
    return step if 1 - np.nanvar(left) / np.nanvar(x) >= _KEPT else 1


def coarser(series: Array, step: int) -> Array:
    """Return means of k values each, the last of which end with the series; NaN where none is."""
    whole = series[len(series) % step :].reshape(-1, step)
    known = ~np.isnan(whole)
    count = known.sum(1)
    sums = np.where(known, whole, 0.0).sum(1)
    return np.asarray(np.where(count > 0, sums / np.maximum(count, 1), np.nan), np.float64)


def _centres(series: Array, step: int) -> Array:
    """Places of the middles of longer steps."""
    first = len(series) % step + (step - 1) / 2
    return np.arange(first, len(series), step, np.float64)


def _lines(series: Array, blocks: Array, step: int) -> Array:
    """Return the line between the means of longer steps, at every value."""
    known = ~np.isnan(blocks)
    line = np.interp(np.arange(len(series)), _centres(series, step)[known], blocks[known])
    return np.asarray(line, np.float64)


def to_fine(
    series: Array, blocks: Array, ahead: Array, quantiles: Array, step: int, horizon: int
) -> Array:
    """Turn forecasts of longer steps into those of single ones.

    A value is a point of the line between the means of longer steps, and what is left over. Of the
    first there is a forecast; of the second there are the past ones. As both vary on their own,
    their distances from the median add as the legs of a right triangle, on each side.

    Parameters
    ----------
    series, blocks
        A series, and its means.
    ahead
        Forecasts of the means, (ceil(H / k) + 1, Q).
    quantiles
        Q probabilities.
    step, horizon
        k and H.

    Returns
    -------
    array
        (H, Q).
    """
    middle = int(np.argmin(np.abs(quantiles - 0.5)))
    left = (series - _lines(series, blocks, step))[-_LONGEST_READ:]
    left = left[~np.isnan(left)]
    rest = np.quantile(left, quantiles) - np.median(left)
    known = np.flatnonzero(~np.isnan(blocks))[-1]
    last = _centres(series, step)[known]
    first = len(series) + (step - 1) / 2
    places = np.concatenate(([last], first + step * np.arange(len(ahead))))
    points = np.concatenate((blocks[known : known + 1], ahead[:, middle]))
    widths = np.concatenate((np.zeros((1, len(quantiles))), ahead - ahead[:, [middle]]))
    steps = len(series) + np.arange(horizon)
    median = np.interp(steps, places, points) + np.median(left)
    wide = np.stack([np.interp(steps, places, x) for x in widths.T], 1)
    return median[:, None] + np.sign(quantiles - quantiles[middle]) * np.hypot(wide, rest)
