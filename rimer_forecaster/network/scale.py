"""Location and scale of a window, of every patch as it ends, and the softplus of a scaled value.

Letters: B windows, L steps, C components, T patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layers.parts.exportable import softplus
from ..layers.parts.precision import widest_dtype

__all__ = [
    "WILD",
    "is_tame",
    "resolution",
    "running_scale",
    "scaled_softplus_input",
    "softplus_input",
    "unit_of",
    "window_scale",
    "without_wild_values",
]


WILD = 20
"""Median absolute deviations from the median beyond which a value is wild: 13 standard deviations
of a normal distribution."""


def window_scale(
    past_target: Tensor, mask: Tensor | None = None, least: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each window's observed values, (B, L, C) -> (B, 1, C).

    A constant window has no scale of its own: it gets the least one that is given, or else one at
    the edge of its floating-point resolution. Its mean is its value, to the bit.
    """
    if mask is None:
        lowest, highest = past_target.amin(1, keepdim=True), past_target.amax(1, keepdim=True)
        location = past_target.mean(1, keepdim=True)
        location = location.where(lowest != highest, lowest)
        variance = (past_target - location).square().mean(1, keepdim=True)
    else:
        lowest = past_target.where(mask, torch.inf).amin(1, keepdim=True)
        highest = past_target.where(mask, -torch.inf).amax(1, keepdim=True)
        count = mask.sum(1, keepdim=True).clamp_min(1)
        location = past_target.where(mask, 0.0).sum(1, keepdim=True) / count
        location = location.where(lowest != highest, lowest)
        deviation = (past_target - location).where(mask, 0.0)
        variance = deviation.square().sum(1, keepdim=True) / count
    scale = torch.maximum(variance.sqrt(), resolution(location))
    return location, scale.clamp_min(least) if least else scale


def unit_of(x: Tensor) -> Tensor:
    """Return what errors of each series are counted in, (B, n, C) -> (B, 1, C).

    The standard deviation of the observed values `without_wild_values`. Of constant values it is
    their size, or 1 if they are zero. NaN is a missing value.
    """
    x = without_wild_values(x)
    location, scale = window_scale(x, ~x.isnan())
    size = location.abs().where(location != 0, 1.0)
    return scale.where(scale > resolution(location), size)


def is_tame(x: Tensor, unit: Tensor) -> bool:
    """Whether no window of series, (B, n, C), deviates by more than 20 units of its series.

    None can where the range of all values is no wider. NaN is a missing value.

    Parameters
    ----------
    x
        Values.
    unit
        See `unit_of`, (B, 1, C).
    """
    lowest, highest = x.nan_to_num(torch.inf).amin(1, True), x.nan_to_num(-torch.inf).amax(1, True)
    finest = resolution(torch.maximum(highest, -lowest).float()).to(unit.dtype)
    return bool((torch.maximum(highest - lowest, finest) <= WILD * unit).all())


def without_wild_values(x: Tensor) -> Tensor:
    """Return series, (B, n, C), whose values lie near their median: a wild one makes none small.

    Those that are more than 20 median absolute deviations away are moved to that distance.
    """
    median = x.nanmedian(1, keepdim=True).values
    reach = WILD * (x - median).abs().nanmedian(1, keepdim=True).values
    reach = reach.where(reach > 0, torch.inf)  # where most values are alike, all others count
    return x.clamp(median - reach, median + reach)


def running_scale(
    values: Tensor,
    missing: Tensor | None,
    ends: Sequence[int],
    level: Tensor,
    least: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the values before each end.

    Parameters
    ----------
    values
        Of windows of mean 0 and standard deviation 1, zero where missing, (B, C, L).
    missing
        Marks of missing values, (B, C, L), or None.
    ends
        T ascending numbers of steps, from 1 to L.
    level
        What the windows' mean was in units of their standard deviation, (B, C, 1): the resolution
        of the values is that of what they were.
    least
        Smallest scale, (B, C, 1), or None.

    Returns
    -------
    location, scale
        (B, C, T).
    """
    exact = values.to(widest_dtype(values.device))  # sums of squares cancel
    last = torch.tensor([end - 1 for end in ends], device=values.device)
    count = last + 1 if missing is None else (~missing).cumsum(-1)[..., last].clamp_min(1)
    location = exact.cumsum(-1)[..., last] / count
    variance = exact.square().cumsum(-1)[..., last] / count - location.square()
    location = location.to(values.dtype)
    scale = variance.clamp_min(0).sqrt().to(values.dtype)
    scale = torch.maximum(scale, resolution(location + level))
    return location, scale if least is None else torch.maximum(scale, least)


def resolution(location: Tensor) -> Tensor:
    """Return the smallest scale of values at a level, at the edge of their precision."""
    limits = torch.finfo(location.dtype)
    return (8 * limits.eps * location.abs()).clamp_min(limits.tiny**0.5)


def scaled_softplus_input(x: Tensor, scale: Tensor) -> Tensor:
    """Return y with softplus(y) = scale * softplus(x)."""
    return softplus_input((scale * softplus(x)).clamp_min(torch.finfo(x.dtype).tiny))


def softplus_input(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y above zero."""
    return y + torch.log(-torch.expm1(-y))
