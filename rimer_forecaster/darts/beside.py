"""What training is given beside its series: sample weights, and covariates in their units."""

from __future__ import annotations

import warnings

import numpy as np
from darts.utils.ts_utils import series2seq

from .series import Series

__all__ = ["check_weights", "warn_of_units"]

_LARGE = 10
"""Root mean square of a covariate from which on it is no longer of about unit size."""


def check_weights(sample_weight: Series | str | None) -> None:
    """Raise a ValueError that names the first sample weight that is missing or not finite."""
    if isinstance(sample_weight, str):
        return
    for i, one in enumerate(series2seq(sample_weight) or ()):
        bad = ~np.isfinite(one.values(copy=False)) | (one.values(copy=False) < 0)
        if bad.any():
            time, component = np.argwhere(bad)[0]
            raise ValueError(
                f"sample_weight {i} is {one.values()[time, component]} at {one.time_index[time]}: "
                "weights must be at least 0 and finite. A value that is to count for nothing has "
                "weight 0, or is NaN in the series itself."
            )


def warn_of_units(name: str, covariates: Series | None) -> None:
    """Warn of the covariate that is farthest above unit size, and say how to scale it."""
    given = list({id(one): one for one in series2seq(covariates) or ()}.values())  # often shared
    if not given:
        return
    values = np.concatenate([one.all_values(copy=False).mean(2) for one in given]).astype(float)
    count = np.maximum(np.isfinite(values).sum(0), 1)
    sizes = np.sqrt(np.nansum(values**2, 0) / count)
    if sizes.max() > _LARGE:
        column = given[0].components[int(sizes.argmax())]
        warnings.warn(
            f"{name} are read as they come, and {column!r} has values of size {sizes.max():.3g}, "
            "which may ruin forecasts. Scale them to about 1, for example by "
            "darts.dataprocessing.transformers.Scaler(sklearn.preprocessing.StandardScaler()).",
            UserWarning,
            stacklevel=2,
        )
