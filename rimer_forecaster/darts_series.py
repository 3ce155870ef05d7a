"""Series of darts as the network takes them: checked, and as tensors.

Letters: B series, n steps or static covariates, C components.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.utils.ts_utils import series2seq
from torch import Tensor

if TYPE_CHECKING:
    from .darts_model import RimerModel

__all__ = [
    "Series",
    "check_values",
    "known_covariates",
    "stacked",
    "static_covariates",
    "to_tensor",
]

Series: TypeAlias = TimeSeries | Sequence[TimeSeries]


def check_values(
    series: Series, past_covariates: Series | None, future_covariates: Series | None
) -> None:
    """Raise a ValueError that names the first value the network cannot take."""
    for name, sequence in (
        ("series", series),
        ("past_covariates", past_covariates),
        ("future_covariates", future_covariates),
    ):
        for i, one in enumerate(series2seq(sequence) or ()):
            values = one.all_values(copy=False)
            largest = np.sqrt(np.finfo(values.dtype).max)  # deviations are squared
            usable = np.abs(values) < largest  # False for NaN
            if usable.all():
                continue
            time, component = np.argwhere(~usable)[0][:2]
            value = values[time, component][0]
            problem = (
                "missing values" if np.isnan(value) else f"values of {largest:.0e} and more in size"
            )
            raise ValueError(
                f"{name} {i} has {(~usable).sum()} values that RimerModel cannot use, the first in "
                f"component {one.components[component]!r} at {one.time_index[time]}: {value}. "
                f"There must be no {problem}. Fill or remove them, for example with "
                "darts.utils.missing_values.fill_missing_values."
            )


def to_tensor(values: np.ndarray, model: RimerModel) -> Tensor:
    """Take values as a tensor in the dtype and on the device of the model."""
    weight = model.model.network.offset
    return torch.from_numpy(values).to(weight.device, weight.dtype)


def static_covariates(model: RimerModel, series: list[TimeSeries]) -> Tensor | None:
    """Static covariates of each series, (B, C or 1, n), or None if the model reads none."""
    if not model.uses_static_covariates:
        return None
    for i, one in enumerate(series):
        if one.static_covariates is None:
            raise ValueError(
                f"series {i} has no static covariates, but the model was fitted with some. Add "
                "them by with_static_covariates."
            )
    return stacked([one.static_covariates_values() for one in series], model)


def stacked(arrays: list[np.ndarray], model: RimerModel) -> Tensor:
    """Stack arrays of the same shape, in the dtype and on the device of the model."""
    return to_tensor(np.stack([np.asarray(x, dtype=float) for x in arrays]), model)


def known_covariates(
    model: RimerModel,
    past_covariates: Series | None,
    future_covariates: Series | None,
    times: pd.Index,
    series: list[TimeSeries],
    *,
    horizon: bool = False,
) -> dict[str, Tensor]:
    """Values of the covariates at the times, (B, n, components), by name."""
    known = {}
    for name, given, used in (
        ("past_covariates", past_covariates, model.uses_past_covariates and not horizon),
        ("future_covariates", future_covariates, model.uses_future_covariates),
    ):
        covariates = list(series2seq(given) or ())
        if not used:
            if covariates:
                raise ValueError(f"{name} were given, but the model was fitted without any.")
            continue
        if len(covariates) == 1:
            covariates = covariates * len(series)
        if len(covariates) != len(series):
            raise ValueError(
                f"the model was fitted with {name}: give one for each of the {len(series)} series, "
                f"or one for all; got {len(covariates)}."
            )
        values = []
        for i, one in enumerate(covariates):
            absent = times.difference(one.time_index)
            if len(absent):
                raise ValueError(
                    f"{name} {i} has no value for {len(absent)} of {len(times)} steps that the "
                    f"stream needs, the first being {absent[0]}."
                )
            values.append(one.slice(times[0], times[-1]).values(copy=False))
        known[name] = stacked(values, model)
    return known
