"""Small sktime forecasters that learn from large ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch

from ..lifecycle.distill import Distillation, Unlabelled, check_teacher, distill
from ..network import RimerNetwork
from ..network.checks import plain_size
from .forecasts import Fitted
from .learning import Learning, windows_of
from .memory import Memory

__all__ = ["Distillable"]


@dataclass(frozen=True)
class _Lesson:
    """What a forecaster is to learn from, and how."""

    teacher: Fitted
    steps: int | None
    states: float

    def teach(
        self, network: RimerNetwork, memory: Memory, learning: Learning, generator: torch.Generator
    ) -> Distillation:
        """Train a network in place on the windows of the series that are remembered."""
        large, own = self.teacher.network, self.teacher.memory.X_columns
        check_teacher(network, large, self.states)
        if own is not None and list(map(str, own)) != list(map(str, memory.X_columns or ())):
            raise ValueError(
                f"the teacher was fitted with X {list(own)}, but X has "
                f"{list(memory.X_columns or ())}. Give the same columns in the same order."
            )
        windows = windows_of(network, memory, memory.series)
        H = network.config.output_chunk_length
        unit = torch.ones(())  # each series was standardised

        def inputs(places: list[int]) -> Unlabelled:
            target, covariates = windows.__getitems__(places)
            known = {} if covariates is None else {"future_covariates": covariates}
            return Unlabelled({"past_target": target[:, :-H], **known}, unit)

        return distill(
            *(network, large, inputs, len(windows)),
            steps=plain_size("steps", learning.recipe.steps if self.steps is None else self.steps),
            states=self.states,
            batch_size=learning.batch_size,
            recipe=learning.recipe,
            generator=generator,
        )


class Distillable:
    """A forecaster that learns what another one forecasts and remembers."""

    _lesson: _Lesson | None = None
    fit: Callable[..., Self]

    def distill(
        self,
        teacher: Distillable,
        y: Any,
        X: Any = None,
        fh: Any = None,
        *,
        steps: int | None = None,
        states: float = 0.1,
    ) -> Self:
        """Learn the forecasts and the states of a larger forecaster, in place of what comes.

        In place of ``fit``: the values to forecast are not looked at. All quantiles that the
        teacher forecasts are learnt, by the recipe's optimiser; `n_epochs`, `validation_fraction`
        and `trainer_kwargs` are not used.

        Parameters
        ----------
        teacher : RimerForecaster
            Fitted, of the same look-back, horizon, quantiles and columns; its layers and sizes are
            free. It stays as it is.
        y, X, fh
            As for ``fit``; the series need not be those that the teacher was fitted on.
        steps : int, optional
            Of the optimiser; by default those of the recipe.
        states : float
            Weight of the states beside the forecasts, see `rimer_forecaster.lifecycle.distill`; 0
            for forecasts alone.

        Returns
        -------
        RimerForecaster
            This forecaster, fitted.

        Raises
        ------
        ValueError
            If the teacher is not fitted or is no such forecaster, the two read, forecast or scale
            something else, or an argument is out of range.
        """
        if not isinstance(teacher, Distillable):
            raise ValueError(
                f"teacher is a {type(teacher).__name__}; it must be a fitted RimerForecaster."
            )
        teacher.check_is_fitted()  # type: ignore[attr-defined]
        self._lesson = _Lesson(teacher._fitted, steps, states)  # type: ignore[attr-defined]
        try:
            return self.fit(y, X, fh)
        finally:
            self._lesson = None
