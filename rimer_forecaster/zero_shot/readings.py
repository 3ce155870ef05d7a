"""Short series are read in three ways, and forecast by the one that would have forecast their end.

What is best for a short series is not known before: of yearly values often the last few alone, or a
finer step, of monthly ones mostly the series as it is.

Letters: n series, H steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reading", "best_readings"]

Array: TypeAlias = NDArray[np.float64]

_LONGEST = 96
"""Steps of a series, from its first value on, that is read in other ways than as it is."""

_FEWEST_STEPS, _FEWEST_OBSERVED = 10, 8
"""Before an earlier end that a reading is judged at."""

_FEWEST_READ = 4
"""Values among the last steps, or the whole series is read in their place."""

_STRETCH = 3


@dataclass(frozen=True)
class Reading:
    """A way to read a series.

    Attributes
    ----------
    last
        How many steps are read; None for all.
    stretch
        Steps that each becomes, with lines between values.
    """

    last: int | None = None
    stretch: int = 1

    def window(self, values: Array) -> Array:
        """Return what is read of a series."""
        if self.last is not None and (~np.isnan(values[-self.last :])).sum() >= _FEWEST_READ:
            return values[-self.last :]
        if self.stretch == 1 or len(values) < 2:
            return values
        parts = np.arange(self.stretch) / self.stretch  # a line to a missing value is missing
        lines = values[:-1, None] * (1 - parts) + values[1:, None] * parts
        lines[:, 0] = values[:-1]
        return np.append(lines, values[-1])


def best_readings(
    series: Sequence[Array],
    patch_length: int,
    medians: Callable[[Reading, Sequence[int], Sequence[Array], int], Array],
) -> list[Reading]:
    """Choose how each series is read.

    Parameters
    ----------
    series
        Each from its first value on, NaN where missing.
    patch_length
        Of the network: its last patch alone is one of the readings.
    medians
        Forecasts some steps of windows by a reading, (reading, places of their series, windows, H)
        -> (windows, H).

    Returns
    -------
    list
        A reading for each: the one with the lowest absolute error from two earlier ends of the
        series; as it is, if it is long or has too few values.
    """
    readings = (Reading(), Reading(last=patch_length), Reading(stretch=_STRETCH))
    ends = [
        (place, end, steps)
        for place, values in enumerate(series)
        for end, steps in (_ends(values) if len(values) <= _LONGEST else ())
    ]
    errors = np.zeros((len(readings), len(series)))
    if ends:
        places = [place for place, *_ in ends]
        windows = [series[place][:end] for place, end, _ in ends]
        most = max(steps for *_, steps in ends)
        for reading, row in zip(readings, errors, strict=True):
            found = medians(reading, places, windows, most)
            for (place, end, steps), median in zip(ends, found, strict=True):
                with np.errstate(over="ignore"):  # of the largest numbers there are
                    missed = np.abs(median[:steps] - series[place][end : end + steps])
                    row[place] += np.nanmean(missed)
    return [readings[best] for best in errors.argmin(0)]


def _ends(values: Array) -> Iterator[tuple[int, int]]:
    """Yield earlier ends of a series, and how many steps after each are compared."""
    steps = max(2, len(values) // 6)
    for end in (len(values) - steps, len(values) - steps - steps // 2):
        enough = (~np.isnan(values[:end])).sum() >= _FEWEST_OBSERVED
        known = (~np.isnan(values[end : end + steps])).any()
        if end >= _FEWEST_STEPS and enough and known:
            yield end, steps
