"""Forecasts that are moved towards the last value, as far as that was better earlier in the series.

Letters: B series, L steps, C components, H steps ahead, Q quantiles, T ends of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import State, rows_of
from ..network import RimerNetwork
from ..network.dense import dense_forecast

__all__ = ["shrunk"]

_PRIOR = 2
"""Ends of patches whose weight the forecast as it is has beside those of the series."""

_FEWEST_OBSERVED = 32
"""Values before an end of a patch from which on it counts."""

_AHEAD = 8
"""Steps after an end of a patch by whose errors the share is chosen, whatever is forecast."""

_TOKENS = 8192
"""Most ends of patches that are forecast from at once."""


@torch.no_grad()
def shrunk(
    network: RimerNetwork, target: Tensor, outputs: Tensor, start: State | None = None
) -> Tensor:
    """Return quantiles around the median ``last + share * (median - last)``.

    Here `last` is the last value of a series, and the share lies between 0 and 1. It is the one
    whose medians would have had the lowest absolute error at earlier ends of patches of the same
    series, drawn towards 1 where these are few. The median of a random walk is near its last value
    so, and where the network knows better its forecast stays. Distances of quantiles stay.

    Parameters
    ----------
    network
        That forecast.
    target
        What it read, (B, L, C), NaN where missing.
    outputs
        Its quantiles, (B, H, C, Q).
    start
        See `RimerNetwork.forward`; leaves are (B, ...).

    Returns
    -------
    Tensor
        (B, H, C, Q); `outputs` themselves, where the network cannot forecast from every end of a
        patch in one pass, as with covariates or a likelihood, or the series is too short.
    """
    steps = target.shape[1]
    h = min(_AHEAD, network.config.output_chunk_length)
    if not _applies(network) or steps < _FEWEST_OBSERVED + h:
        return outputs
    size = max(1, _TOKENS * network.config.patch_length // (steps * target.shape[2]))
    shares = []
    for begin in range(0, len(target), size):
        rows = slice(begin, begin + size)
        own = None if start is None else rows_of(start, rows)
        shares.append(_shares(network, target[rows], h, own))
    share = torch.cat(shares)[:, None, :, None]
    last = _last(target.mT)[..., -1][:, None, :, None]
    middle = network.config.middle
    return outputs + (1 - share) * (last - outputs[..., middle : middle + 1])


def _applies(network: RimerNetwork) -> bool:
    config = network.config
    covariates = config.past_covariates or config.future_covariates or config.static_covariates
    reads = network.reader is not None and config.streaming and not config.crosses
    return reads and not covariates and "scale" not in config.outputs


def _shares(network: RimerNetwork, target: Tensor, h: int, start: State | None) -> Tensor:
    """Return the share of each series and component, (B, C)."""
    steps = target.shape[1]
    target = target / target.abs().nan_to_num(0.0).amax(1, keepdim=True).clamp_min(1e-30)
    dense = dense_forecast(network, target, steps=steps, start=start)
    outputs = dense.outputs[..., :h, network.config.middle]  # (B, C, T, h)
    medians = torch.sinh(outputs) if network.config.squash else outputs
    truth = dense.of_truth(target, squash=False)[..., :h]
    last = ((_last(target.mT)[..., dense.ends - 1] - dense.location) / dense.scale)[..., None]
    origins = (dense.observed >= _FEWEST_OBSERVED) & (dense.ends + h <= steps)  # (B, C, T)
    counts = (origins[..., None] & ~truth.isnan()).flatten(2)
    step = medians - last
    weights = (dense.scale[..., None] * step.abs()).flatten(2)
    ratios = ((truth - last) / step).flatten(2)
    best = _weighted_median(ratios, weights.where(counts, 0.0))
    number = origins.sum(-1)
    return (best.clamp(0, 1) * number + _PRIOR) / (number + _PRIOR)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the x with the lowest sum of ``weights * |values - x|``, (..., n) -> (...).

    Values without weight may be anything; without any weight x is 1.
    """
    values, order = values.where(weights > 0, torch.inf).sort(-1)
    below = weights.gather(-1, order).cumsum(-1)
    total = below[..., -1:]
    at = (below < total / 2).sum(-1, keepdim=True).clamp_max(values.shape[-1] - 1)
    return torch.where(total > 0, values.gather(-1, at), 1.0)[..., 0]


def _last(x: Tensor) -> Tensor:
    """Return the last value that was observed up to each step, 0 before the first, (..., L)."""
    places = torch.arange(x.shape[-1], device=x.device)
    last = places.where(~x.isnan(), 0).cummax(-1).values
    return x.gather(-1, last).nan_to_num(0.0)
