"""What RimerForecaster remembers of its series between calls, each on a grid of time points.

Nothing here changes in place: an update makes a new memory, which the forecaster takes when all of
the update has succeeded.

Letters: n time points, C target components, p covariates, L look-back, H output steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .pretrained import Pretrained
from .series import Instances, Key, by_name, instances, joined, name_of, rows
from .times import (
    BesideGrid,
    check_kind,
    cutoff_of,
    freq_of,
    grid_of,
    is_in_steps,
    name_of_step,
    on_grid,
    same_times,
    shared_step,
)
from .values import as_scaled, check_observed, check_scaled, scaler_of

__all__ = ["Memory", "Remembered", "Update"]


@dataclass(frozen=True)
class Remembered:
    """One series.

    Attributes
    ----------
    y
        All that ``fit`` was given; after an update or in a file, the last L + H rows.
    X
        Its covariates at the same time points, or None.
    scaler
        What y is standardised by.
    begin
        First time point that was ever given.
    """

    y: pd.DataFrame
    X: pd.DataFrame | None
    scaler: StandardScaler
    begin: Hashable

    @property
    def forgotten(self) -> bool:
        """Whether there were time points before those remembered."""
        return self.y.index[0] != self.begin

    def scaled_y(self, start: int = 0) -> Tensor:
        """Return the standardised rows from one on, (n, C)."""
        return as_scaled(self.scaler, self.y.iloc[start:])

    def in_units(self, x: Tensor) -> NDArray[np.float64]:
        """Bring standardised values, (n, C, Q), back into the units of y."""
        scale, mean = self.scaler.scale_[:, None], self.scaler.mean_[:, None]
        units: NDArray[np.float64] = x.double().numpy() * scale + mean
        return units

    def end(self, length: int) -> Remembered:
        """Return the last rows alone."""
        X = None if self.X is None else self.X.iloc[-length:]
        return replace(self, y=self.y.iloc[-length:], X=X)


@dataclass(frozen=True)
class Update:
    """What new rows mean for one series.

    Attributes
    ----------
    series
        What was remembered, and the new rows after it.
    known
        How many of its rows were remembered.
    goes_on
        Whether those say what they said before, so that a stream may go on.
    """

    series: Remembered
    known: int
    goes_on: bool


@dataclass(frozen=True)
class Memory:
    """All series of a fit, and what they share.

    Attributes
    ----------
    series
        By their place in the panel.
    y_columns
        In the order in which the network reads them.
    y_given, level_names
        Columns and levels of the frame that ``fit`` was given.
    freq
        Step of all series.
    freq_given
        Whether the index said so; or else pandas inferred it.
    X_columns, X_scaler
        Of the covariates and what they are standardised by; None without any.
    cap
        Most rows that a forecast is to be made from; None for as many as the network reads.
    """

    series: Mapping[Key, Remembered]
    y_columns: pd.Index
    y_given: pd.Index
    level_names: list[Hashable]
    freq: Any
    freq_given: bool
    X_columns: list[Hashable] | None = None
    X_scaler: StandardScaler | None = None
    cap: int | None = None

    @classmethod
    def of(
        cls,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        prior: Pretrained | None,
        *,
        least: int,
        cap: int | None = None,
    ) -> Memory:
        """Split y and X into series, and measure their scales; covariates by the prior's.

        Columns of y that read each other come in the order of the prior.

        Raises
        ------
        ValueError
            If a series has fewer than `least` time points or none observed, the series are not in
            the same steps, or X does not cover them or is not what the prior knows.
        """
        order = () if prior is None else prior.order_of(y)
        y_given, y = y.columns, y.iloc[:, list(order)] if order else y
        series, scalers = instances(y), {}
        for key, one in series.items():
            if len(one) < least:
                raise ValueError(
                    f"y{name_of(key)} has {len(one)} time point, but training needs at least "
                    f"{least}: one to forecast from and one to compare with. Give a longer series "
                    "or leave it out."
                )
            check_observed(f"y{name_of(key)}", one)
            scalers[key] = scaler_of(one)
            check_scaled(f"y{name_of(key)}", one, scalers[key])
        if X is not None:
            check_kind("X", X.index, y.index, any_zone=True)
        if prior is not None:
            X = prior.ordered(X)
        covariates: Instances = {}
        columns: list[Hashable] | None = None
        scaler = None
        if X is not None:
            given, columns = instances(X), list(X.columns)
            covariates = {key: rows(given.get(key), one.index, key) for key, one in series.items()}
            scaler = None if prior is None else prior.X_scaler
            if scaler is None:
                every = pd.concat(covariates.values())
                check_observed("X", every)
                scaler = StandardScaler().fit(every.to_numpy())
        return cls(
            {
                key: Remembered(one, covariates.get(key), scalers[key], one.index[0])
                for key, one in series.items()
            },
            y.columns,
            y_given,
            list(y.index.names),
            shared_step(series),
            any(getattr(one.index, "freq", None) is not None for one in series.values()),
            columns,
            scaler,
            cap,
        )

    def scaled_X(self, X: pd.DataFrame | None, start: int = 0) -> Tensor:
        """Standardise covariates from one row on, (n, p)."""
        assert X is not None
        return as_scaled(self.X_scaler, X.iloc[start:])

    def in_order_of(
        self, columns: Iterable[Hashable], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Bring the columns of y, (n, C, Q), into the order of their names."""
        if len(self.y_columns) == 1:
            return values  # whatever it is called now
        places = self.y_columns.get_indexer(pd.Index(columns)).tolist()
        return values[:, places]

    def cutoffs(self) -> dict[Key, pd.Index]:
        """Return the last time point of each series."""
        return {key: cutoff_of(one.y.index, self.freq) for key, one in self.series.items()}

    def instances_of_X(self, X: pd.DataFrame | None) -> Instances:
        """Split X by series.

        Raises
        ------
        ValueError
            If it has not the columns of the X given to ``fit``, or other time points.
        """
        if (X is None) != (self.X_columns is None):
            given, fitted = ("no X", "with") if X is None else ("X", "without")
            raise ValueError(
                f"got {given}, but RimerForecaster was fitted {fitted} X. Do the same."
            )
        if X is None or self.X_columns is None:
            return {}
        check_kind("X", X.index, self._index, any_zone=True)
        return instances(by_name("X", X, self.X_columns))

    @property
    def _index(self) -> pd.Index:
        """Time points of one of the series: all are of one kind."""
        return next(iter(self.series.values())).y.index

    def updates(
        self, y: pd.DataFrame, X: pd.DataFrame | None, *, length: int
    ) -> tuple[Memory, dict[Key, Update]]:
        """Return what new rows mean for their series, of each of which some rows are looked at.

        Parameters
        ----------
        y, X
            The new rows. The present may also move back, and rows may overlap what is known.
        length
            How many of the last rows that are remembered.

        Returns
        -------
        memory, updates
            What is to be updated: this memory, or one of another step. From few month ends, say,
            pandas cannot infer that they are those of business days.

        Raises
        ------
        ValueError
            If they have other columns, lie beside the grid, or X does not cover them.
        """
        if len(y.columns) == len(self.y_columns) == 1:
            y = y.set_axis(self.y_columns, axis=1)  # whatever it is called now
        y = by_name("y", y, list(self.y_columns))
        check_kind("y", y.index, self._index)
        memory = self._in_steps_of(y) if self.freq is None else self
        try:
            return memory, memory._updates(y, X, length)
        except BesideGrid:
            memory = self._in_steps_of(y)
            if memory is self:
                raise
            return memory, memory._updates(y, X, length)

    def _in_steps_of(self, y: pd.DataFrame) -> Memory:
        """Return a memory of the step that new rows show, if all that is known is in it too."""
        if self.freq_given:
            return self
        for key, new in instances(y).items():
            past = self.series.get(key)
            if past is None or not isinstance(new.index, pd.DatetimeIndex):
                continue
            freq = freq_of(past.y.index.union(new.index))
            if freq is not None and all(self._knows(one, freq) for one in self.series.values()):
                return replace(self, freq=freq)
        return self

    def _knows(self, one: Remembered, freq: Any) -> bool:
        """Whether the time points of a series, from the first on, are in another step as well."""
        if self.freq is None:
            return not one.forgotten and is_in_steps(one.y.index, freq)
        first, last = one.begin, one.y.index[-1]
        return same_times(grid_of(first, last, self.freq), grid_of(first, last, freq))

    def _updates(self, y: pd.DataFrame, X: pd.DataFrame | None, length: int) -> dict[Key, Update]:
        given = self.instances_of_X(X)
        found = {}
        for key, new in instances(y).items():
            past = self.series[key].end(length) if key in self.series else None
            past_y, past_X = (None, None) if past is None else (past.y, past.X)
            observed = joined(past_y, new).loc[: new.index[-1]]
            one = on_grid(observed, self.freq)
            if past is None:
                check_observed(f"y{name_of(key)}", one)
                self._check_steps(key, new.index)
            own_X = None
            if self.X_scaler is not None:
                own_X = joined(past_X, given[key]) if key in given else past_X
                own_X = rows(own_X, one.index, key, needed=observed.index)
            known, goes_on = 0, False
            if past is not None:
                known = int((one.index <= past.y.index[-1]).sum())
                goes_on = _ends_with(past_y, one[:known])
                if own_X is not None:
                    goes_on = goes_on and _ends_with(past_X, own_X[:known])
            scaler = scaler_of(one) if past is None else past.scaler
            check_scaled(f"y{name_of(key)}", new, scaler)
            begin = one.index[0] if past is None else past.begin
            found[key] = Update(Remembered(one, own_X, scaler, begin), known, goes_on)
        return found

    def _check_steps(self, key: Key, index: pd.Index) -> None:
        """Raise a ValueError if the time points of a new series are in another step."""
        if not isinstance(index, pd.DatetimeIndex) or self.freq is None:
            return
        freq = freq_of(index)
        if freq is not None and not is_in_steps(index, self.freq):
            raise ValueError(
                f"y{name_of(key)} is in steps of {name_of_step(freq)}, but RimerForecaster was "
                f"fitted with series in steps of {name_of_step(self.freq)}. Bring it to that "
                "step, for example by resample."
            )

    def updated(self, updates: Mapping[Key, Update], *, length: int) -> Memory:
        """Return a memory of the last rows of what was updated, and of the others as they were."""
        new = {key: update.series.end(length) for key, update in updates.items()}
        return replace(self, series={**self.series, **new})

    def shortened(self, length: int) -> Memory:
        """Return a memory of the last rows alone."""
        return replace(self, series={key: one.end(length) for key, one in self.series.items()})


def _ends_with(frame: pd.DataFrame | None, end: pd.DataFrame) -> bool:
    return frame is not None and np.array_equal(frame.iloc[-len(end) :], end, equal_nan=True)
