"""Scales of windows and lines over their gaps, in NumPy; the network's are in torch.

Single precision where the network has it; sums are in double precision.

Letters: T windows, L steps, C components.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["interpolated", "resolution", "window_scale"]

_LIMITS = np.finfo(np.float32)


def window_scale(
    target: NDArray[np.float32], observed: NDArray[np.bool_], least: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of what windows observed, (T, L, C) -> (T, 1, C).

    See `rimer_forecaster.network.scale.window_scale`, which this equals.
    """
    lowest = np.where(observed, target, np.inf).min(1, keepdims=True)
    highest = np.where(observed, target, -np.inf).max(1, keepdims=True)
    count = np.maximum(np.count_nonzero(observed, 1, keepdims=True), 1)
    mean = target.sum(1, keepdims=True, dtype=np.float64, where=observed) / count
    location = np.where(lowest != highest, mean, lowest).astype(np.float32)
    deviation = np.subtract(target, location, dtype=np.float64)
    variance = np.square(deviation, out=deviation).sum(1, keepdims=True, where=observed) / count
    scale = np.maximum(np.sqrt(variance).astype(np.float32), resolution(location))
    return location, np.maximum(scale, np.float32(least))


def resolution(location: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest scale of values at a level, at the edge of their precision."""
    smallest: NDArray[Any] = np.maximum(8 * _LIMITS.eps * np.abs(location), _LIMITS.tiny**0.5)
    return smallest.astype(np.float32)


def interpolated(values: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill gaps by straight lines, the end by its last value; the start stays as it is.

    Parameters
    ----------
    values
        (L, C).
    missing
        Marks of the same shape.
    """
    whole = values.copy()
    steps = np.arange(len(values))
    for gaps, of_values, of_whole in zip(missing.T, values.T, whole.T, strict=True):
        seen = steps[~gaps]
        if 0 < len(seen) < len(steps):
            line = steps[seen[0] :]
            of_whole[seen[0] :] = np.interp(line, seen, of_values[seen])
    return whole
