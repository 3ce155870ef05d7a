"""Whether percentage errors mean something over given true values."""

from __future__ import annotations

import numpy as np

__all__ = ["mape_remark"]

_NEAR_ZERO = 0.05
"""Share of the mean size below which a value dominates the percentages of all others."""


def mape_remark(actual: np.ndarray) -> str | None:
    """Say why a MAPE over these true values is not to be trusted, or None where it may be.

    A percentage error divides by the true value. A value is near zero if its size is below 5 % of
    the mean size.

    Parameters
    ----------
    actual
        True values of any shape, in the units of the series.

    Returns
    -------
    str or None
        A remark if a value is exactly zero, if the signs differ, or if the values near zero make up
        more than half of the sum of the weights 1 / abs(value).

    Raises
    ------
    ValueError
        If there is no value, or one that is not finite.
    """
    actual = np.asarray(actual, dtype=float)
    if not actual.size or not np.isfinite(actual).all():
        raise ValueError(
            f"actual has {actual.size} values, of which {(~np.isfinite(actual)).sum()} are missing "
            "or infinite; it must have at least one, and finite ones only. Remove the others."
        )
    size = np.abs(actual)
    near = size < _NEAR_ZERO * size.mean()
    near |= size == 0  # where all are zero, the mean is as well
    remedy = "Use MASE or MAE instead."
    if not size.all():
        return (
            f"MAPE is undefined here: it divides by the true values, of which {_share(size == 0)} "
            f"are exactly zero and {_share(near)} zero or near it. {remedy}"
        )
    if actual.min() < 0 < actual.max():
        return (
            "MAPE is not to be trusted here: the true values change their sign, and a percentage "
            f"of what crosses zero has no meaning; {_share(near)} of them are near zero. {remedy}"
        )
    weight = size.min() / size  # not 1 / size, which overflows
    if weight[near].sum() > weight.sum() / 2:
        return (
            f"MAPE is not to be trusted here: it divides by the true values, and {_share(near)} of "
            f"them are near zero and make up {weight[near].sum() / weight.sum():.0%} of the weight "
            f"of all. {remedy}"
        )
    return None


def _share(marks: np.ndarray) -> str:
    return f"{100 * marks.mean():.3g} %"
