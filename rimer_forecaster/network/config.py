"""Checks of what the network is built from and given, with the remedy in each message."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from torch import Tensor

from ..layers import check_layers

__all__ = [
    "check_finite_forecast",
    "check_input",
    "check_network_arguments",
    "check_not_infinite",
    "check_outputs",
    "check_sizes",
    "warn_of_unprepared",
]


def check_network_arguments(
    *,
    input_chunk_length: Any,
    output_chunk_length: Any,
    layers: Any,
    width: Any,
    head_size: Any,
    patch_length: Any,
    dropout: Any,
    layers_rate: Any,
    initial_state: Any,
) -> None:
    """Raise the ValueError that `RimerNetwork` documents, before anything is built."""
    check_sizes(
        input_chunk_length=input_chunk_length,
        output_chunk_length=output_chunk_length,
        width=width,
        head_size=head_size,
    )
    if patch_length is not None:
        check_sizes(patch_length=patch_length)
        if patch_length > input_chunk_length:
            raise ValueError(
                f"patch_length={patch_length} is longer than input_chunk_length="
                f"{input_chunk_length}; it is the number of input steps per token. Use a smaller "
                "one, or None for the default."
            )
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} must be a probability in [0, 1).")
    if not isinstance(layers_rate, (int, float)) or not 0 < layers_rate < math.inf:
        raise ValueError(
            f"layers_rate={layers_rate!r} must be above 0 and finite: it multiplies the learning "
            "rate of the layers. For none at all use layers=None."
        )
    if initial_state not in ("zero", "learned", "static"):
        raise ValueError(
            f"initial_state={initial_state!r} must be 'zero', 'learned', or 'static' for one made "
            "from static covariates."
        )
    if initial_state != "zero" and layers is None:
        raise ValueError(
            f"initial_state={initial_state!r} needs layers whose state it is; with layers=None use "
            "'zero'."
        )
    if layers is not None:
        check_layers(layers, width=width, head_size=head_size)


def check_outputs(outputs: Sequence[str | float]) -> None:
    """Raise a ValueError for anything but locations and scales, or ascending probabilities."""
    names = [output for output in outputs if isinstance(output, str)]
    levels = [output for output in outputs if not isinstance(output, str)]
    if names:
        valid = not levels and set(names) <= {"location", "scale"}
    else:
        valid = levels == sorted(set(levels)) and bool(levels) and 0 < levels[0] <= levels[-1] < 1
    if not valid:
        raise ValueError(
            f"outputs={outputs!r} must be 'location' and 'scale' only, or else ascending "
            "probabilities between 0 and 1."
        )


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


def check_not_infinite(name: str, x: Tensor | None) -> None:
    """Raise a ValueError that names the first value of streams, (B, n, C), that is infinite."""
    if x is not None and bool(x.isinf().any()):
        stream, step, component = x.isinf().nonzero()[0].tolist()
        raise ValueError(
            f"{name} holds {x[stream, step, component]} in stream {stream}, step {step}, component "
            f"{component}: values must be finite, or NaN where missing."
        )


def check_finite_forecast(forecast: Tensor) -> None:
    """Raise a ValueError if any value of a forecast from finite input is not finite."""
    if not bool(forecast.isfinite().all()):
        raise ValueError(
            "the forecast is not finite. The input is finite, so a sampled likelihood parameter or "
            "the feedback of earlier forecasts overflowed; forecast fewer steps, and look for "
            "covariates that are large or far from those trained on."
        )


def warn_of_unprepared(what: str, arguments: Mapping[str, Any]) -> None:
    """Warn the caller's caller of streams from weights whose training did not prepare for them.

    Parameters
    ----------
    what
        Subject of the sentence and its verb, "this model was", say.
    arguments
        Of the network that was trained; those of an older file say nothing of streams.
    """
    if arguments["layers"] is not None and not arguments.get("streaming"):
        warnings.warn(
            f"{what} not trained for streams, whose forecasts may be much worse than those from "
            "windows. Train with streaming=True.",
            UserWarning,
            stacklevel=3,
        )


def check_sizes(**sizes: Any) -> None:
    """Raise a ValueError that names the first size that is not a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise ValueError(f"{name}={size!r} must be a whole number of at least 1.")
