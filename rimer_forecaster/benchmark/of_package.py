"""The weights of the package as contenders: as they are, tuned to the series, or compressed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from ..sktime import RimerForecaster
from ..zero_shot.default import WEIGHTS
from .budget import Budget, Rule
from .of_sktime import Sktime
from .task import Task

__all__ = ["Compressed", "Zero", "ZeroAdapted", "ZeroFineTuned"]


class Zero(Sktime):
    """`RimerForecaster` by weights that saw no value of this series; it reads up to 2,048 of them.

    What the variants learn they learn from the training and the validation part.
    """

    learns_covariates = False

    def __init__(self, task: Task, budget: Budget, seed: int) -> None:
        forecaster = RimerForecaster(
            output_chunk_length=task.horizon, pretrained=WEIGHTS, random_state=seed
        )
        super().__init__(task, budget, seed, forecaster=forecaster)
        self.budget = budget
        if not self.learns_covariates:
            self.known = None

    @property
    def reads_covariates(self) -> bool:
        """See `Contender`."""
        return self.learns_covariates

    def fit(self) -> None:
        """See `Contender`."""
        self._read(self.task.validation_end)


class ZeroAdapted(Zero):
    """With a state of each component, where it helps on what `adapt` holds back."""

    def fit(self) -> None:
        """See `Contender`."""
        super().fit()
        self.forecaster.adapt()

    def weights(self) -> Iterable[Tensor]:
        """See `Contender`; states count."""
        return chain(super().weights(), self.forecaster.adapted_.tensors.values())


class ZeroFineTuned(Zero):
    """With all weights trained on, and kept as they forecast the validation part best.

    An epoch has as many batches as that of the other models, drawn anew from all windows.
    """

    learns_covariates = True

    def fit(self) -> None:
        """See `Contender`."""
        task, budget = self.task, self.budget
        limit = budget.limit()
        if budget.train_stride > 1:
            steps = Rule.of(task, budget.batch_size, budget.train_stride).steps
            limit |= {"limit_train_batches": steps, "limit_val_batches": steps}
        self.forecaster.set_params(
            n_epochs=budget.epochs,
            batch_size=budget.batch_size,
            validation_fraction=task.validation_share,
            trainer_kwargs=limit or None,
        )
        super().fit()


class Compressed(Zero):
    """In whole numbers of eight bits."""

    def fit(self) -> None:
        """See `Contender`."""
        super().fit()
        self.forecaster, _ = self.forecaster.compress(rank=None)

    def weights(self) -> Iterable[Tensor]:
        """See `Contender`; whole numbers count."""
        network = self.forecaster.network_
        whole = (x for x in network.buffers() if x.dtype == torch.int8)
        return chain(super().weights(), whole)
