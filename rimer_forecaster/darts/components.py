"""Components that read each other, matched by their names in darts' series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darts import TimeSeries
from torch import Tensor

from ..network import NetworkConfig
from ..network.source import places_of

__all__ = ["in_fitted_order", "places_in", "unknown_names"]


def in_fitted_order(
    names: Sequence[str],
    series: Sequence[TimeSeries],
    sample_weight: Sequence[TimeSeries] | str | None,
) -> tuple[list[TimeSeries], list[TimeSeries] | str | None]:
    """Return series, and weights of their components, with the components in one order.

    Parameters
    ----------
    names
        Of the components, in the order of fitting.
    series
        To train on.
    sample_weight
        One series each, of as many components or of one; or a name of darts' own weights.

    Raises
    ------
    ValueError
        If the components of a series are others.
    """
    places = places_of(names, [list(one.components) for one in series])
    if places is None:
        weights = sample_weight if isinstance(sample_weight, str | None) else list(sample_weight)
        return list(series), weights
    ordered = [one[list(names)] for one in series]
    if isinstance(sample_weight, str | None):
        return ordered, sample_weight
    return ordered, [
        one if one.n_components == 1 else one[[one.components[i] for i in order]]
        for one, order in zip(sample_weight, places.argsort(1).tolist(), strict=True)
    ]


def places_in(config: NetworkConfig, schemas: Sequence[dict[str, Any]]) -> Tensor | None:
    """Return `places_of` for the series that forecasts are to look like, by their schemas."""
    if not config.crosses:
        return None
    return places_of(config.target_components, [list(schema["columns"]) for schema in schemas])


def unknown_names() -> ValueError:
    """Return what to raise where components are to read each other, but have no names."""
    return ValueError(
        "components='cross' matches components by name, but here their names are not known: fit by "
        "fit, not by fit_from_dataset, and load weights without skip_checks."
    )
