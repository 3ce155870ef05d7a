"""Forecasts of many series of any length, from weights that were trained on others.

Letters: n series, H steps, Q quantiles, L the longest window, P patch length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..network import RimerNetwork
from .resampling import coarser, step_of, to_fine

__all__ = ["forecast"]

Array = NDArray[np.float64]

_LENGTHS = tuple(k * 2**i for i in range(11) for k in (2, 3))  # 2, 3, 4, 6, 8, 12 ...
"""Patches of a window: a few lengths, so that series of similar length are read together."""


def forecast(
    network: RimerNetwork,
    series: Sequence[ArrayLike],
    horizon: int,
    *,
    flip: bool = False,
    resample: bool = False,
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
    flip
        Whether to average with the forecasts of the negated series, negated: twice the time.
    resample
        Whether to read a series whose period is long in steps of several values, so that more
        periods fit into L; its forecasts are lines between those of the longer steps, and the
        distribution of what lines leave over is added to them.

    Returns
    -------
    array
        (n, H, Q), in the units of the series. A series of one value, or of equal ones, is forecast
        to stay.

    Raises
    ------
    ValueError
        If a series has no value, or an infinite one; it names the series by its place. If the
        horizon is no number of steps, or ``flip`` finds quantiles that are not symmetric.
    """
    if horizon < 1:
        raise ValueError(f"horizon={horizon} must be at least 1.")
    outputs = np.array([float(x) for x in network.config.outputs])
    if flip and np.abs(outputs + outputs[::-1] - 1).max() > 1e-9:
        raise ValueError(f"flip=True is for quantiles that are symmetric, not {outputs.tolist()}.")
    values = [np.asarray(x, np.float64) for x in series]
    if not resample:
        return _forecast(network, values, horizon, flip=flip)
    found = np.empty((len(values), horizon, len(outputs)))
    groups: dict[int, list[int]] = {}
    for place, x in enumerate(values):
        groups.setdefault(step_of(x, horizon), []).append(place)
    for step, places in groups.items():
        own = [values[place] for place in places]
        if step == 1:
            found[places] = _forecast(network, own, horizon, flip=flip, places=places)
            continue
        blocks = [coarser(x, step) for x in own]
        few = -(-horizon // step) + 1
        ahead = _forecast(network, blocks, few, flip=flip, places=places)
        for place, x, y, quantiles in zip(places, own, blocks, ahead, strict=True):
            found[place] = to_fine(x, y, quantiles, outputs, step, horizon)
    return found


def _forecast(
    network: RimerNetwork,
    series: Sequence[Array],
    horizon: int,
    *,
    flip: bool,
    places: Sequence[int] | None = None,
) -> Array:
    """Forecast series in batches of similar length; places are for messages."""
    config = network.config
    P, L = config.patch_length, config.input_chunk_length
    found = np.empty((len(series), horizon, len(config.outputs)))
    groups: dict[int, list[int]] = {}
    windows, units = [], []
    for row, values in enumerate(series):
        place = row if places is None else places[row]
        window, unit = _standardised(values, L, place)
        windows.append(window)
        units.append(unit)
        patches = -(-len(window) // P)
        groups.setdefault(next(x for x in _LENGTHS if x >= patches), []).append(row)
    for patches, rows in groups.items():
        length = min(patches * P, L)
        x = np.full((len(rows), length, 1), np.nan)
        for padded, row in zip(x, rows, strict=True):
            padded[length - len(windows[row]) :, 0] = windows[row]
        target = torch.as_tensor(x, dtype=network.dtype, device=network.device)
        outputs = network.forecast_windows(target, horizon)[:, :, 0]
        if flip:
            outputs = (outputs - network.forecast_windows(-target, horizon)[:, :, 0].flip(-1)) / 2
        found[rows] = outputs.double().cpu().numpy()
    for row, (level, spread, largest) in enumerate(units):
        found[row] = (level + spread * found[row]) * largest
    return found


def _standardised(values: Array, longest: int, place: int) -> tuple[Array, tuple[float, ...]]:
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
