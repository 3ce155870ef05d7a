"""States of RimerForecaster that were tuned, and the series that begin from them.

Letters: n series.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, Self, TypeAlias

import pandas as pd
import torch
from sktime.forecasting.base import ForecastingHorizon
from torch import Tensor

from ..layers import State
from ..lifecycle import AdaptedState, adapt
from ..lifecycle.adapted_state import names_of
from ..lifecycle.objective import Objective
from ..lifecycle.whole_series import WholeSeries
from ..lifecycle.windows import OfWindows
from ..training.module import TrainingModule
from .forecasts import Adapted, Fitted
from .learning import Learning, windows_of
from .memory import Memory
from .series import Key, by_name, name_of, rows

__all__ = ["Adaptable", "Groups"]

Groups: TypeAlias = Mapping[Any, Hashable] | str | None
"""Group of each series, by its name; ``"all"`` for one of all; None for each its own."""

_ALL = "all"


def _like_memory(memory: Memory, y: pd.DataFrame, X: pd.DataFrame | None) -> Memory:
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


def _groups_of(memory: Memory, groups: Groups, known: Memory) -> tuple[list[str], Adapted]:
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
        owners = dict(zip(memory.series, names_of(memory.series, _name), strict=True))
        return list(owners.values()), Adapted(None, owners)
    if not isinstance(groups, Mapping):
        raise ValueError(
            f"groups={groups!r} must be a mapping from the names of series to those of groups, "
            "'all', or None."
        )
    owners = dict(zip(map(_key, groups), names_of(groups.values()), strict=True))
    for key in memory.series:
        if key not in owners:
            raise ValueError(
                f"groups has no group for y{name_of(key)}; it has some for {list(groups)[:10]}. "
                "Give one for each series."
            )
    return [owners[key] for key in memory.series], Adapted(None, owners)


def _adapted_to(known: Memory, state: Any, groups: Groups) -> Adapted:
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
    adapted = _groups_of(known, groups, known)[1]
    state.of([*adapted.owners.values(), *filter(None, [adapted.shared])])  # names what is absent
    return replace(adapted, state=state)


def _objective_of(fitted: Fitted, memory: Memory, learning: Learning, horizon: int) -> Objective:
    """Return series as the network reads them: whole ones, or the windows of the training."""
    network = fitted.network
    if fitted.of_any_length and memory.X_scaler is None:
        return WholeSeries(
            network,
            [one.y.to_numpy(float) for one in memory.series.values()],
            horizon=horizon,
            look_back=fitted.look_back,
            seasonal=fitted.refines and fitted.streams is None,
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


class Adaptable:
    """A forecaster whose series may begin from states of their own."""

    _fitted: Fitted
    _fh: ForecastingHorizon | None
    output_chunk_length: int | None
    cutoff: pd.Index
    check_is_fitted: Callable[[], None]
    _learning: Callable[[], Learning]
    _twin: Callable[[], Any]

    def adapt(
        self,
        y: Any = None,
        X: Any = None,
        *,
        steps: int = 60,
        rank: int | None = None,
        upscale: int = 0,
        decorrelate: bool = False,
        groups: Groups = None,
        keep: str = "better",
    ) -> Self:
        """Learn what the layers start from, for each series or group; the weights stay as they are.

        Every later forecast begins from it, after an ``update`` too, which then leaves the weights
        alone. The last part of each series is held back at first: a state is kept where it
        forecasts that part better than no state does, by two standard errors over the series of a
        group, and for the median series in each half of it. It is then trained on everything.
        Elsewhere it is zero, and changes nothing.

        Parameters
        ----------
        y : series, panel or hierarchy of sktime, optional
            What states are tuned on; by default what is remembered of the series that are forecast.
            Other series need `groups`.
        X : optional
            Its covariates, as ``fit`` was given.
        steps : int
            Of either training.
        rank : int, optional
            Of the states of each head, at most `head_size`: fewer numbers to learn. None for full
            ones.
        upscale : int
            Number of kernels beside the state of each head, which the layers read and do not write:
            what they add does not decay with time, as a state does. 0 for none.
        decorrelate : bool
            Whether the features of the kernels are mixed so that they do not correlate.
        groups : dict or "all", optional
            Group of each series, by the name of the series; its series share a state. Series that
            are forecast and not in `y` may be in it. ``"all"`` is one state for all; None one for
            each series.
        keep : {"better", "always"}
            Whether something is held back, as said above, or every state kept: for series too short
            to hold something back, and for what matters at the beginning of series.

        Raises
        ------
        ValueError
            If an argument is out of range, a series has no group, the layers have no memory, or the
            series are too short to hold something back.
        """
        self.check_is_fitted()
        fitted = self._fitted
        memory = fitted.memory
        if y is not None:
            inner_X, inner_y = self._twin()._check_X_y(X=X, y=y)
            memory = _like_memory(memory, inner_y, inner_X)
        names, owners = _groups_of(memory, groups, fitted.memory)
        horizon = self.output_chunk_length or fitted.network.config.output_chunk_length
        if self.output_chunk_length is None and self._fh is not None:
            horizon = max(1, int(max(self._fh.to_relative(self.cutoff))))
        objective = _objective_of(fitted, memory, self._learning(), horizon)
        state = adapt(
            fitted.network,
            objective,
            steps=steps,
            rank=rank,
            upscale=upscale,
            decorrelate=decorrelate,
            groups=names,
            keep=keep,
        )
        return self._begin_from(replace(owners, state=state))

    def begin_from(self, state: AdaptedState, groups: Groups = None) -> Self:
        """Let every later forecast begin from a state that `adapt` made before, as by a file.

        Parameters
        ----------
        state
            One row for all series, or rows by the names of series or groups.
        groups
            See `adapt`.

        Raises
        ------
        ValueError
            If the state belongs to other weights, or has no row of a name.
        """
        self.check_is_fitted()
        adapted = _adapted_to(self._fitted.memory, state, groups)
        state.check(self._fitted.network)
        return self._begin_from(adapted)

    def _begin_from(self, adapted: Adapted) -> Self:
        self._fitted = self._fitted._replace(adapted=adapted).begun_anew()
        return self

    @property
    def adapted_(self) -> AdaptedState | None:
        """See the attributes above."""
        adapted = self._fitted.adapted
        return None if adapted is None else adapted.state
