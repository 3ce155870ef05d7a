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
from .seasons import without_seasons
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
        too smoothly. Then forecasts are moved towards the last value, see `shrunk`: the network
        alone sees trends in random walks.
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
    if horizon < 1:
        raise ValueError(f"horizon={horizon} must be at least 1.")
    config = network.config
    P, L = config.patch_length, config.input_chunk_length
    found = np.empty((len(series), horizon, len(config.outputs)))
    groups: dict[int, list[int]] = {}
    windows, units, coming = [], [], np.zeros((len(series), horizon))
    for place, values in enumerate(series):
        window, unit = standardised(np.asarray(values, np.float64), L, place)
        if refine:
            window, coming[place] = without_seasons(window, horizon)
        windows.append(window)
        units.append(unit)
        patches = -(-len(window) // P)
        groups.setdefault(next(x for x in _LENGTHS if x >= patches), []).append(place)
    for patches, places in groups.items():
        length = min(patches * P, L)
        x = np.full((len(places), length, 1), np.nan)
        for row, place in zip(x, places, strict=True):
            row[length - len(windows[place]) :, 0] = windows[place]
        target = torch.as_tensor(x, dtype=network.dtype, device=network.device)
        own = None if start is None else rows_of(start, places)
        outputs = network.forecast_windows(target, horizon, start=own)
        if refine:
            outputs = shrunk(network, target, outputs, own)
        found[places] = outputs[:, :, 0].double().cpu().numpy()
    for place, (level, spread, largest) in enumerate(units):
        found[place] = (level + spread * (found[place] + coming[place, :, None])) * largest
    return found


def forecast_windows(
    network: RimerNetwork, windows: Tensor, horizon: int, start: State | None = None
) -> Tensor:
    """Forecast the steps after windows as `forecast` does, refined, (B, L, C) -> (B, H, C, Q).

    For the start see `RimerNetwork.forward`.
    """
    rows = windows.detach().double().cpu().numpy()
    rest, coming = rows.copy(), np.zeros((len(rows), horizon, rows.shape[2]))
    for b, c in np.ndindex(len(rows), rows.shape[2]):
        if not np.isnan(rows[b, :, c]).all():
            rest[b, :, c], coming[b, :, c] = without_seasons(rows[b, :, c], horizon)
    read, seasons = (torch.as_tensor(x).to(windows) for x in (rest, coming))
    outputs = network.forecast_windows(read, horizon, start=start)
    return shrunk(network, read, outputs, start) + seasons[..., None]


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
