"""Forecasts of many series of any length, from weights that were trained on others.

Letters: n series, H steps, Q quantiles, L the longest window, P patch length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..layers import State, rows_of
from ..network import RimerNetwork
from ..network.checks import plain_size
from .seasons import Seasonless, without_seasons
from .shrinkage import shrunk

__all__ = ["forecast", "forecast_windows", "standardised"]

Array = NDArray[np.float64]

_LENGTHS = tuple(k * 2**i for i in range(11) for k in (2, 3))  # 2, 3, 4, 6, 8, 12 ...
"""Patches of a window: a few lengths, so that series of similar length are read together."""


def forecast(
    network: RimerNetwork,
    series: Sequence[ArrayLike],
    horizon: int,
    *,
    refine: bool = True,
    start: State | None = None,
) -> Array:
    """Forecast the steps after each series.

    Parameters
    ----------
    network
        Of quantiles, without covariates, that reads windows of any length.
    series
        Of any lengths, NaN where missing; of longer ones than L the last L values are read.
    horizon
        H.
    refine
        Whether the forecast is refined by the whole window; False is the network alone. Seasons of
        48 steps and more are taken off first and put back on the forecast, where they were seen
        three times and explain most of what a series does: the network alone forecasts rough ones
        too smoothly. So are shorter ones that explain almost all of it. Then forecasts are moved
        towards the last value, see `shrunk`: the network alone sees trends in random walks. Beyond
        the steps that the network forecasts at once, its medians are fed back where the series has
        a season, and it reads a gap elsewhere.
    start
        Memory that the layers start from, (n, ...); see `RimerNetwork.forward`.

    Returns
    -------
    array
        (n, H, Q), in the units of the series. A series of one value, or of equal ones, is forecast
        to stay.

    Raises
    ------
    ValueError
        If a series has no value, or an infinite one; it names the series by its place. If the
        horizon is no number of steps.
    """
    config, horizon = network.config, plain_size("horizon", horizon)
    P, L = config.patch_length, config.input_chunk_length
    found = np.empty((len(series), horizon, len(config.outputs)))
    groups: dict[int, list[int]] = {}
    windows, units, seasons = [], [], []
    for place, values in enumerate(series):
        window, unit = standardised(np.asarray(values, np.float64), L, place)
        if refine:
            seasons.append(without_seasons(window, horizon))
            window = seasons[-1].rest
        windows.append(window)
        units.append(unit)
        patches = -(-len(window) // P)
        groups.setdefault(next((x for x in _LENGTHS if x >= patches), patches), []).append(place)
    for patches, places in groups.items():
        length = min(patches * P, L)
        x = np.full((len(places), length, 1), np.nan)
        for row, place in zip(x, places, strict=True):
            row[length - len(windows[place]) :, 0] = windows[place]
        target = torch.as_tensor(x, dtype=network.dtype, device=network.device)
        own = None if start is None else rows_of(start, places)
        if refine:
            outputs = _refined(network, target, [[seasons[place]] for place in places], own)
        else:
            outputs = network.forecast_windows(target, horizon, start=own)
        found[places] = outputs[:, :, 0].double().cpu().numpy()
    for place, (level, spread, largest) in enumerate(units):
        found[place] = (level + spread * found[place]) * largest
    return found


def forecast_windows(
    network: RimerNetwork, windows: Tensor, horizon: int, start: State | None = None
) -> Tensor:
    """Forecast the steps after windows as `forecast` does, refined, (B, L, C) -> (B, H, C, Q).

    For the start see `RimerNetwork.forward`.
    """
    rows = windows.detach().double().cpu().numpy()
    seasons = [[without_seasons(column, horizon) for column in row.T] for row in rows]
    rest = np.stack([np.stack([x.rest for x in row], -1) for row in seasons])
    return _refined(network, torch.as_tensor(rest).to(windows), seasons, start)


def _refined(
    network: RimerNetwork,
    rest: Tensor,
    seasons: Sequence[Sequence[Seasonless]],
    start: State | None,
) -> Tensor:
    """Forecast what (B, L, C) windows without their seasons leave, and put these back."""
    coming, widening, is_periodic = (
        torch.tensor(np.array([[getattr(x, name) for x in row] for row in seasons]))
        for name in ("coming", "widening", "is_periodic")
    )  # (B, C, H), (B, C), (B, C)
    horizon, middle = coming.shape[-1], network.config.middle
    fed = is_periodic.to(rest.device)
    outputs = network.forecast_windows(rest, horizon, start=start, feeds_back=fed)
    outputs = shrunk(network, rest, outputs, start)
    median = outputs[..., middle : middle + 1]
    outputs = outputs + (widening.to(rest)[:, None, :, None] - 1) * (outputs - median)
    return outputs + coming.mT[..., None].to(rest)


def standardised(values: Array, longest: int, place: int) -> tuple[Array, tuple[float, ...]]:
    """Return the last values of a series in a unit of their own, and level, spread and size.

    In double precision: single precision has no digit left of a small movement of large values, and
    no number for its square.
    """
    if values.ndim != 1:
        raise ValueError(f"series {place} has shape {values.shape}: it must have one dimension.")
    window = values[-longest:]
    observed = window[~np.isnan(window)]
    if not observed.size:
        where = "" if len(values) < longest else f" in its last {longest} steps"
        raise ValueError(f"series {place} has no value{where} to forecast from.")
    if np.isinf(observed).any():
        raise ValueError(f"series {place} holds an infinite value.")
    largest = float(np.abs(observed).max()) or 1.0
    level = float((observed / largest).mean())
    spread = float(np.abs(observed / largest - level).max())
    return (window / largest - level) / (spread or 1.0), (level, spread, largest)
