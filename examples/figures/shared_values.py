"""Whether series were seen before: the same values, or the same shape in other units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rimer_forecaster.zero_shot.scores import Array

STRETCH = 10
"""Consecutive values that two series may not share."""

ALIKE = 0.99
"""Correlation of differences from which two series have the same shape."""


def sharing(series: Mapping[str, Array], others: Iterable[Array]) -> set[str]:
    """Names of the series that share ten consecutive values with any of the others.

    They are compared in single precision, as they stand and without missing ones. Stretches of one
    value do not count.
    """
    owners = defaultdict(set)
    for name, values in series.items():
        for stretch in _stretches(values):
            owners[stretch].add(name)
    found: set[str] = set()
    for values in others:
        found.update(*(owners[stretch] for stretch in owners.keys() & _stretches(values)))
    return found


def _stretches(values: Array) -> set[bytes]:
    numbers = np.asarray(values, np.float32) + np.float32(0)  # -0 becomes 0
    found: set[bytes] = set()
    for x in (numbers, numbers[~np.isnan(numbers)]):
        if len(x) >= STRETCH:
            rows = sliding_window_view(x, STRETCH)
            found |= {row.tobytes() for row in rows[np.ptp(rows, axis=1) > 0]}  # NaN is not above 0
    return found


def alike(series: Mapping[str, Array], others: Iterable[Array], length: int) -> set[str]:
    """Names of the series of which a part is like a part of the others, whatever its units.

    Their differences have a correlation of .99 or more over `length` steps. Every second half of
    them begins a part of the series, so that one and a half are always seen.
    """
    parts = {name: _shapes(values, length)[:: length // 2] for name, values in series.items()}
    names = [name for name, part in parts.items() for _ in part]
    if not names:
        return set()
    rows = np.concatenate(list(parts.values()))
    closest = np.zeros(len(rows), np.float32)
    for values in others:
        columns = _shapes(values, length)
        if len(columns):
            closest = np.maximum(closest, (rows @ columns.T).max(axis=1))
    return {names[i] for i in np.flatnonzero(closest >= ALIKE)}


def _shapes(values: Array, length: int) -> np.ndarray:
    """Differences of all windows without missing ones, of mean 0 and norm 1, (n, length)."""
    steps = np.diff(np.asarray(values, np.float64))
    if len(steps) < length:
        return np.empty((0, length), np.float32)
    rows = sliding_window_view(steps, length)
    rows = rows[~np.isnan(rows).any(axis=1)]
    rows = rows - rows.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(rows, axis=1)
    varied = sizes > 1e-6 * np.nanmax(np.abs(values), initial=0)
    return (rows[varied] / sizes[varied, None]).astype(np.float32)
