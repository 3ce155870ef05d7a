"""Forecasts that are moved towards the last value, as far as that was better earlier in the series.

Letters: B series, L steps, C components, H steps ahead, Q quantiles, T ends of patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import State, rows_of
from ..network import RimerNetwork
from ..network.dense import dense_forecast
from ..network.missing_values import carry_forward

__all__ = ["shrunk"]

_PRIOR = 2
"""Ends of patches whose weight the forecast as it is has beside those of the series."""

_LEAST_GAIN = 0.02
"""Share of the error of the last value by which medians must have been better to be followed."""

_FEWEST_OBSERVED = 32
"""Values before an end of a patch from which on it counts."""

_AHEAD = (8, 16, 32, 64)
"""Last steps ahead of groups of steps, each of which has a share of its own."""

_TOKENS = 8192
"""Most ends of patches that are forecast from at once."""


@torch.no_grad()
def shrunk(
    network: RimerNetwork, target: Tensor, outputs: Tensor, start: State | None = None
) -> Tensor:
    """Return quantiles around the median ``last + share * (median - last)``.

    Here `last` is the last value of a series, and the share lies between 0 and 1. It is the one
    whose medians would have had the lowest absolute error at earlier ends of patches of the same
    series, or 0 where that gains little over the last value, drawn towards 1 where these are few:
    some share of a random walk is the best by luck. Each of some groups of steps ahead has its own,
    or that of the group before where the series is too short. The median of a random walk is near
    its last value so, and where the network knows better its forecast stays. Distances of quantiles
    stay.

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
    steps, most = target.shape[1], network.config.output_chunk_length
    if not _applies(network) or steps < _FEWEST_OBSERVED + min(_AHEAD[0], most):
        return outputs
    size = max(1, _TOKENS * network.config.patch_length // (steps * target.shape[2]))
    shares = []
    for begin in range(0, len(target), size):
        rows = slice(begin, begin + size)
        own = None if start is None else rows_of(start, rows)
        shares.append(_shares(network, target[rows], own))
    group = torch.searchsorted(torch.tensor(_AHEAD), torch.arange(outputs.shape[1]), right=True)
    share = torch.cat(shares)[..., group.clamp_max(len(_AHEAD) - 1)].mT[..., None]  # (B, H, C, 1)
    last = carry_forward(target)[:, -1:, :, None].nan_to_num(0.0)
    middle = network.config.middle
    return outputs + (1 - share) * (last - outputs[..., middle : middle + 1])


def _applies(network: RimerNetwork) -> bool:
    config = network.config
    covariates = config.past_covariates or config.future_covariates or config.static_covariates
    reads = network.reader is not None and config.streaming and not config.crosses
    return reads and not covariates and "scale" not in config.outputs


def _shares(network: RimerNetwork, target: Tensor, start: State | None) -> Tensor:
    """Return the share of each series, component and group of steps, (B, C, groups)."""
    steps = target.shape[1]
    target = target / target.abs().nan_to_num(0.0).amax(1, keepdim=True).clamp_min(1e-30)
    dense = dense_forecast(network, target, steps=steps, start=start)
    outputs = dense.outputs[..., network.config.middle]  # (B, C, T, H)
    medians = torch.sinh(outputs) if network.config.squash else outputs
    truth = dense.of_truth(target, squash=False)
    values = carry_forward(target).nan_to_num(0.0).mT[..., dense.ends - 1]  # (B, C, T)
    last = ((values - dense.location) / dense.scale)[..., None]
    step = medians - last
    weights, ratios = dense.scale[..., None] * step.abs(), (truth - last) / step
    shares = [torch.ones_like(target[:, 0])]  # (B, C)
    first = 0
    for after in _AHEAD:
        if first < outputs.shape[-1]:
            within = dense.ends + min(after, outputs.shape[-1]) <= steps
            origins = (dense.observed >= _FEWEST_OBSERVED) & within  # (B, C, T)
            group = slice(first, after)
            counts = origins[..., None] & ~truth[..., group].isnan()
            best = _best_share(
                ratios[..., group].flatten(2), weights[..., group].where(counts, 0.0).flatten(2)
            )
            number = origins.sum(-1)
            found = (best * number + _PRIOR) / (number + _PRIOR)
            shares.append(torch.where(number > 0, found, shares[-1]))
        else:
            shares.append(shares[-1])
        first = after
    return torch.stack(shares[1:], -1)


def _best_share(ratios: Tensor, weights: Tensor) -> Tensor:
    """Return the share of medians to follow, (B, C, n) -> (B, C).

    Errors are sums of ``weights * |ratios - share|``: distances of truth and median from the last
    value make the ratios.
    """
    best = _weighted_median(ratios, weights).clamp(0, 1)
    known = ratios.where(weights > 0, 0.0)
    error = (weights * (known - best[..., None]).abs()).sum(-1)
    of_last = (weights * known.abs()).sum(-1)
    return best.where(error <= (1 - _LEAST_GAIN) * of_last, 0.0)


def _weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Return the x with the lowest sum of ``weights * |values - x|``, (..., n) -> (...).

    Values without weight may be anything; without any weight x is 1.
    """
    values, order = values.where(weights > 0, torch.inf).sort(-1)
    below = weights.gather(-1, order).cumsum(-1)
    total = below[..., -1:]
    at = (below < total / 2).sum(-1, keepdim=True).clamp_max(values.shape[-1] - 1)
    return torch.where(total > 0, values.gather(-1, at), 1.0)[..., 0]
