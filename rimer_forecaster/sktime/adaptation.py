"""States of RimerForecaster that were tuned, and the series that begin from them.

Letters: n series.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from ..layers import State
from ..lifecycle import AdaptedState
from ..lifecycle.objective import Objective
from ..lifecycle.whole_series import WholeSeries
from ..lifecycle.windows import OfWindows
from ..training.module import TrainingModule
from .forecasts import Adapted, Fitted
from .learning import Learning, windows_of
from .memory import Memory
from .series import Key, by_name, name_of, rows

__all__ = ["Groups", "adapted_to", "groups_of", "like_memory", "objective_of"]

Groups: TypeAlias = Mapping[Any, Hashable] | str | None
"""Group of each series, by its name; ``"all"`` for one of all; None for each its own."""

_ALL = "all"


def like_memory(memory: Memory, y: pd.DataFrame, X: pd.DataFrame | None) -> Memory:
    """Return a memory of other series, whose covariates are scaled as those of the fit."""
    if len(y.columns) == len(memory.y_columns) == 1:
        y = y.set_axis(memory.y_columns, axis=1)
    other = Memory.of(by_name("y", y, list(memory.y_columns)), None, None, least=2, cap=memory.cap)
    given = memory.instances_of_X(X)
    series = other.series
    if memory.X_scaler is not None:
        series = {
            key: replace(one, X=rows(given.get(key), one.y.index, key))
            for key, one in series.items()
        }
    return replace(memory, series=series)


def groups_of(memory: Memory, groups: Groups, known: Memory) -> tuple[list[str], Adapted]:
    """Return the name of the state of each series, and which series begin from which.

    Parameters
    ----------
    memory
        The series that states are tuned on.
    groups
        See above.
    known
        The series that are forecast.

    Raises
    ------
    ValueError
        If a series has no group, or what is tuned would be of no series that is forecast.
    """
    if groups == _ALL:
        return [_ALL] * len(memory.series), Adapted(None, {}, _ALL)
    if groups is None:
        for key in memory.series:
            if key not in known.series:
                raise ValueError(
                    f"y{name_of(key)} is not among the series that are forecast. Give groups, by "
                    "which these share its state, or fit or update with it first."
                )
        owners = {key: _name(key) for key in memory.series}
        return list(owners.values()), Adapted(None, owners)
    if not isinstance(groups, Mapping):
        raise ValueError(
            f"groups={groups!r} must be a mapping from the names of series to those of groups, "
            "'all', or None."
        )
    owners = {_key(key): str(group) for key, group in groups.items()}
    for key in memory.series:
        if key not in owners:
            raise ValueError(
                f"groups has no group for y{name_of(key)}; it has some for {list(groups)[:10]}. "
                "Give one for each series."
            )
    return [owners[key] for key in memory.series], Adapted(None, owners)


def adapted_to(known: Memory, state: Any, groups: Groups) -> Adapted:
    """Return which series begin from which row of a state that was made before.

    Raises
    ------
    ValueError
        If it is no state, or has no row of a name.
    """
    if not isinstance(state, AdaptedState):
        raise ValueError(
            f"state is a {type(state).__name__}; it must be an AdaptedState, such as that of "
            "AdaptedState.load."
        )
    if len(state) == 1 and groups is None:
        return Adapted(state, {}, state.names[0])
    adapted = groups_of(known, groups, known)[1]
    state.of([*adapted.owners.values(), *filter(None, [adapted.shared])])  # names what is absent
    return replace(adapted, state=state)


def objective_of(fitted: Fitted, memory: Memory, learning: Learning, horizon: int) -> Objective:
    """Return series as the network reads them: whole ones, or the windows of the training."""
    network = fitted.network
    if fitted.of_any_length and memory.X_scaler is None:
        return WholeSeries(
            network,
            [one.y.to_numpy(float) for one in memory.series.values()],
            horizon=horizon,
            look_back=fitted.look_back,
            seasonal=not fitted.trained and fitted.streams is None,
        )
    windows = windows_of(network, memory, memory.series)
    module = TrainingModule(network, learning.recipe)

    def loss(places: list[int], start: State | None) -> Tensor:
        return module.loss(windows.__getitems__(places), start)

    return OfWindows(
        windows.owners,
        windows.left,
        torch.tensor([len(one.y) for one in memory.series.values()]),
        horizon=network.config.output_chunk_length,
        batch_size=learning.batch_size,
        loss=loss,
    )


def _key(name: Any) -> Key:
    return name if isinstance(name, tuple) else (name,)


def _name(key: Key) -> str:
    return "/".join(map(str, key)) or "0"
