"""Forecasts of the past by networks that read windows of any length: all of a series at once.

Letters: n time points, L look-back, C target components, P patch length, Q quantiles.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..layers import State, from_leaves, leaves
from ..network import RimerNetwork
from ..network.dense import dense_forecast

__all__ = ["forecast_past"]


@torch.inference_mode()
def forecast_past(
    network: RimerNetwork,
    y: Tensor,
    origins: NDArray[np.int64],
    *,
    look_back: int,
    start: State | None = None,
) -> Tensor:
    """Forecast time points of a series, each from those before it.

    A pass over a series forecasts after every patch, so P passes, each begun a time point later,
    forecast all of it. Series longer than L are read in spans of L that overlap by half.

    Parameters
    ----------
    network
        Without covariates.
    y
        (n, C), NaN where missing.
    origins
        Indices of the time points to forecast.
    look_back
        L. Of a time point with more than L before it, at least half of them are read.
    start
        Memory that the layers start from, (1, ...), or None.

    Returns
    -------
    Tensor
        (origins, C, Q), NaN where nothing was observed before.
    """
    config, half = network.config, max(1, look_back // 2)
    P = config.patch_length
    outputs = y.new_full((len(origins), y.shape[1], len(config.outputs)), float("nan"))
    starts = np.maximum(0, -(-(origins - look_back) // half)) * half
    for first in np.unique(starts[origins > 0]):
        own = np.flatnonzero((starts == first) & (origins > 0))
        ends = origins[own] - first
        leads = np.unique(-ends % P)
        length = -(-int(ends.max() + leads.max()) // P) * P
        span = y[first : first + int(ends.max())].T
        target = torch.stack(
            [
                F.pad(span, (lead, length - lead - span.shape[1]), value=float("nan")).T
                for lead in leads.tolist()
            ]
        )  # (passes, length, C)
        memory = None
        if start is not None:
            rows = {path: x.expand(len(target), *x.shape[1:]) for path, x in leaves(start)}
            memory = from_leaves(rows)
        dense = dense_forecast(network, target, steps=length, start=memory)
        values = dense.to_units(config.squash)[:, :, :, 0]  # (passes, C, T, Q)
        values[dense.observed == 0] = float("nan")
        passes = np.searchsorted(leads, -ends % P)
        patches = (ends + leads[passes]) // P - 1
        outputs[own] = values[passes, :, patches]
    return outputs
