"""Batches of darts' windows: stacked with few calls, and moved to a device without a search.

Letters: B windows, C components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchInferenceSample,
    TorchTrainingBatch,
    TorchTrainingSample,
    _batch_collate_fn_predict,
    _batch_collate_fn_train,
)
from torch import Tensor

from ..network import RimerNetwork

__all__ = [
    "Batch",
    "InferenceBatch",
    "Samples",
    "collate",
    "collate_to_forecast",
    "network_inputs",
]


class Samples(list[TorchTrainingSample]):
    """B windows to train on, the units of their series, (B, 1, C), and whether they are tame."""

    def __init__(
        self, samples: Iterable[TorchTrainingSample], units: np.ndarray, tame: bool
    ) -> None:
        super().__init__(samples)
        self.units, self.tame = units, tame


class _Moves:
    """A batch that moves itself: else Lightning copies it and searches all that it holds."""

    __slots__ = ()

    def to(self, device: torch.device) -> Self:
        """Move the tensors, and return the batch."""
        for field in fields(self):  # type: ignore[arg-type]
            if isinstance(x := getattr(self, field.name), Tensor):
                setattr(self, field.name, x.to(device, non_blocking=device.type == "cuda"))
        return self


@dataclass(slots=True)
class Batch(_Moves, TorchTrainingBatch):
    """Windows to train on, with the units of their series, (B, 1, C), or None.

    Attributes
    ----------
    tame
        See `rimer_forecaster.training.Recipe.unit`.
    """

    unit: Tensor | None = None
    tame: bool = False


def collate(samples: list[TorchTrainingSample]) -> Batch:
    """Make a batch of windows as darts does, and of their units."""
    if not isinstance(samples, Samples):
        batch = _batch_collate_fn_train(samples)
        return Batch(**{x.name: getattr(batch, x.name) for x in fields(batch)})
    found = {x.name: _beside_each_other(samples, x.name) for x in fields(TorchTrainingBatch)}
    stacked = {name: x for name, x in found.items() if x is not None}
    unit = torch.from_numpy(samples.units).to(stacked["past_target"].dtype)
    return Batch(**stacked, unit=unit, tame=samples.tame)


def _beside_each_other(samples: Samples, name: str) -> Tensor | None:
    """Stack what windows hold, in a third of the time that `numpy.stack` takes for small arrays."""
    first = getattr(samples[0], name)
    if first is None:
        return None
    rows = np.concatenate([getattr(sample, name) for sample in samples])
    return torch.from_numpy(rows.reshape(len(samples), *first.shape))


@dataclass(slots=True)
class InferenceBatch(_Moves, TorchInferenceBatch):
    """Windows to forecast from, with the schemas of their series."""


def collate_to_forecast(samples: list[TorchInferenceSample]) -> InferenceBatch:
    """Make a batch of windows to forecast from as darts does."""
    batch = _batch_collate_fn_predict(samples)
    own = {x.name: getattr(batch, x.name) for x in fields(batch)}
    return InferenceBatch(
        **{name: _Stays(x) if isinstance(x, list) else x for name, x in own.items()}
    )


class _Stays(list[Any]):
    """A list that moves to a device as it is.

    Lightning moves what a step returns by walking through every dictionary in it, which for the
    schemas of series takes a fifth of a backtest's time.
    """

    def to(self, *args: Any, **kwargs: Any) -> _Stays:
        """Return itself."""
        return self


def network_inputs(batch: Batch, network: RimerNetwork) -> dict[str, Tensor]:
    """Return windows of a batch and their covariates, by the names of `RimerNetwork.forward`."""
    names = ("past_target", "past_covariates", "static_covariates")
    known = {name: getattr(batch, name) for name in names}
    if batch.future_covariates is not None:
        parts = batch.historic_future_covariates, batch.future_covariates
        known["future_covariates"] = torch.cat(parts, 1)
    return {name: x.to(network.skip.offset) for name, x in known.items() if x is not None}
