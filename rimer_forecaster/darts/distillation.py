"""Small darts models that learn from large ones."""

from __future__ import annotations

from typing import Any, Self

import pytorch_lightning as pl
import torch
from darts.utils.serialization import add_safe_globals

from ..lifecycle.distill import Distillation, Unlabelled, distill
from ..network.checks import plain_size
from ..training.fit import interruptible
from .base import NetworkModel
from .batches import collate, network_inputs
from .growth import GrowableModel
from .module import RimerModule
from .series import Series, TrainingDataset

__all__ = ["DistillableModel"]


class DistillableModel(GrowableModel):
    """A darts model that learns what another one forecasts and remembers.

    Attributes
    ----------
    distillation_ : Distillation or None
        How near the last ``distill`` came to its teacher; None before it.
    """

    distillation_: Distillation | None = None
    _lesson: tuple[NetworkModel, int, float] | None = None

    def distill(
        self,
        teacher: NetworkModel,
        series: Series,
        past_covariates: Series | None = None,
        future_covariates: Series | None = None,
        *,
        steps: int | None = None,
        states: float = 0.1,
    ) -> Self:
        """Learn the forecasts and the states of a larger model, in place of what comes.

        In place of ``fit``: the values to forecast are not looked at. All that the teacher
        forecasts is learnt, quantiles or parameters as well. The recipe's optimiser is used; no
        callbacks, no validation, and no argument of the trainer.

        Parameters
        ----------
        teacher
            A fitted model of the same look-back, horizon, likelihood and components; its layers and
            sizes are free. It stays as it is.
        series
            One series or several, as for ``fit``; not those that the teacher was fitted on alone.
        past_covariates, future_covariates
            As the teacher was fitted with.
        steps
            Of the optimiser; by default those of the recipe.
        states
            Weight of the states beside the forecasts, see `rimer_forecaster.lifecycle.distill`; 0
            for forecasts alone.

        Returns
        -------
        RimerModel
            This model, fitted.

        Raises
        ------
        ValueError
            If the teacher is not fitted or is no such model, the two read, forecast or scale
            something else, or an argument is out of range.
        """
        if not isinstance(teacher, NetworkModel):
            raise ValueError(
                f"teacher is a {type(teacher).__name__}; it must be a fitted model of this package."
            )
        teacher._check_network()
        own, its = (x._arguments_beside_shapes() for x in (self, teacher))
        for name, value in its.items():
            if own[name] != value:
                raise ValueError(
                    f"the teacher has {name}={value!r}, but this model has {own[name]!r}. Make it "
                    "with the same."
                )
        steps = plain_size("steps", self._recipe.steps if steps is None else steps)
        self._lesson = (teacher, steps, states)
        try:
            return self.fit(series, past_covariates, future_covariates, epochs=1)
        finally:
            self._lesson = None

    def _train(
        self, trainer: pl.Trainer, model: RimerModule, datamodule: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Learn from the teacher where there is one, and not from what follows the windows."""
        if self._lesson is None:
            super()._train(trainer, model, datamodule, *args, **kwargs)
            return
        teacher, steps, states = self._lesson
        dataset: TrainingDataset = datamodule.train_dataset
        model.to_dtype(torch.from_numpy(self.train_sample.past_target[:0]).dtype)
        large = teacher.model

        def windows(places: list[int]) -> Unlabelled:
            batch = collate(dataset.__getitems__(places))
            return Unlabelled(network_inputs(batch, model.network), batch.unit)

        with model.turn, large.turn, interruptible():
            self.distillation_ = distill(
                *(model.network, large.network_to_read(), windows, len(dataset)),
                steps=steps,
                states=states,
                batch_size=self.batch_size,
                recipe=self._recipe,
                generator=torch.Generator().manual_seed(int(torch.randint(2**31, ()))),
            )
        self._fit_called = True
        trainer.strategy.connect(model)
        self.model, self.trainer = model, trainer


# darts loads no class from outside its own package that was not declared safe.
add_safe_globals([Distillation])
