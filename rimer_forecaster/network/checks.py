"""What a network is given and what comes out of it, refused with the remedy in the message."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "MOST",
    "check_finite_forecast",
    "check_input",
    "check_not_infinite",
    "check_places",
    "check_sizes",
    "is_number",
    "plain_flag",
    "plain_names",
    "plain_number",
    "plain_outputs",
    "plain_size",
    "warn_of_unprepared",
]

MOST = 2**20
"""Largest size of a network: a look-back of a million steps. Files may hold any number."""


def check_sizes(**sizes: Any) -> None:
    """Raise a ValueError that names the first size that is not a whole number of at least 1."""
    for name, size in sizes.items():
        plain_size(name, size)


def plain_size(name: str, size: Any, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number of any type as a plain one, or raise a ValueError that names it."""
    if isinstance(size, bool) or not isinstance(size, Integral) or size < least:
        raise ValueError(f"{name}={size!r} must be a whole number of at least {least}.")
    if most is not None and int(size) > most:
        raise ValueError(f"{name}={size!r} is too large: it can be {most:,} at most.")
    return int(size)


def plain_flag(name: str, x: Any) -> bool:
    """Return True or False of any type as a plain one, or raise a ValueError that names it."""
    if not isinstance(x, (bool, np.bool_)):
        raise ValueError(f"{name}={x!r} must be True or False.")
    return bool(x)


def plain_names(name: str, x: Any) -> tuple[str, ...]:
    """Return names in any sequence as a tuple, or raise a ValueError that names the argument."""
    names = tuple(x) if isinstance(x, Iterable) and not isinstance(x, str) else (None,)
    if not all(isinstance(one, str) for one in names) or len(set(names)) < len(names):
        raise ValueError(f"{name}={x!r} must be a list of names, each of them once.")
    return tuple(str(one) for one in names)


def is_number(x: object) -> bool:
    """Whether this is a real number of any type, and no truth value."""
    return isinstance(x, Real) and not isinstance(x, bool)


def plain_number(name: str, x: Any, holds: Callable[[float], bool], allowed: str) -> float:
    """Return a number of any type as a plain one, or raise a ValueError that says what may be."""
    if not is_number(x) or not holds(float(x)):
        raise ValueError(f"{name}={x!r} must be {allowed}.")
    return float(x)


def plain_outputs(outputs: Iterable[str | float]) -> tuple[str | float, ...]:
    """Return locations and scales, or ascending probabilities; raise a ValueError for others."""
    outputs = tuple(outputs) if isinstance(outputs, Iterable) else (outputs,)
    levels = [float(output) for output in outputs if is_number(output)]
    valid = bool(outputs) and all(output in ("location", "scale") for output in outputs)
    if len(levels) == len(outputs) > 0:
        valid = levels == sorted(set(levels)) and 0 < levels[0] <= levels[-1] < 1
    if not valid:
        raise ValueError(
            f"outputs={list(outputs)!r} must be 'location' and 'scale' only, or else ascending "
            "probabilities between 0 and 1."
        )
    return tuple(levels) if levels else outputs


def check_input(
    name: str,
    x: Tensor | None,
    components: int | None = None,
    steps: tuple[int, int] | None = None,
) -> None:
    """Raise a ValueError that names an input of the wrong size."""
    given = 0 if x is None else x.shape[-1]
    if components is not None and given != components:
        raise ValueError(
            f"{name} has {given} components, but the network was built for {components}."
        )
    if x is not None and steps is not None and not steps[0] <= x.shape[1] <= steps[1]:
        allowed = " to ".join(map(str, sorted(set(steps))))
        raise ValueError(f"{name} has {x.shape[1]} steps, but the network reads {allowed}.")


def check_not_infinite(name: str, x: Tensor | None, limit: float = math.inf) -> None:
    """Raise a ValueError that names the first value of streams, (B, n, C), at the limit."""
    if x is None:
        return
    unusable = x.abs() >= limit  # False for NaN
    if bool(unusable.any()):
        stream, step, component = unusable.nonzero()[0].tolist()
        below = "finite" if math.isinf(limit) else f"below {limit:.0e}, as they are squared"
        raise ValueError(
            f"{name} holds {x[stream, step, component]} in stream {stream}, step {step}, component "
            f"{component}: values must be {below}, or NaN where missing."
        )


def check_places(places: Tensor, components: int) -> None:
    """Raise a ValueError unless places, (..., C), name every fitted component once."""
    every = torch.arange(components, device=places.device)
    if places.shape[-1] != components or not bool((places.sort(-1).values == every).all()):
        raise ValueError(
            f"places={places.tolist()} must hold every number from 0 to {components - 1} once for "
            "each series: which of target_components each of its components is."
        )


def check_finite_forecast(forecast: Tensor, limit: float = math.inf) -> None:
    """Raise a ValueError if any value of a forecast from finite input is not finite.

    With a limit, also if the size of any value is at or above it, and so too large to feed back.
    """
    small = forecast.abs() < limit  # False for NaN
    if not bool(small.all()):
        worst = forecast.detach()[~small][0].item()
        what = (
            "is not finite" if not math.isfinite(worst) else f"holds {worst:.3g}, too large a value"
        )
        raise ValueError(
            f"the forecast {what}. The input is finite, so a sampled likelihood parameter or the "
            "feedback of earlier forecasts overflowed; forecast fewer steps, and look for "
            "covariates that are large or far from those trained on."
        )


def warn_of_unprepared(what: str, *, prepared: bool) -> None:
    """Warn the caller's caller of streams from weights whose training did not prepare for them.

    Parameters
    ----------
    what
        Subject of the sentence and its verb, "this model was", say.
    prepared
        See `NetworkConfig.prepared_for_streams`.
    """
    if not prepared:
        warnings.warn(
            f"{what} not trained for streams, whose forecasts may be much worse than those from "
            "windows. Train with streaming=True.",
            UserWarning,
            stacklevel=3,
        )
