"""How a forecaster trains a network on what it remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..lifecycle.windows import calibration_places
from ..network import RimerNetwork
from ..network.checks import plain_number, plain_size
from ..training import Recipe
from ..training.arguments import LENGTHS, check_trainer, plain_epochs
from ..training.fit import train
from ..training.windows import Windows
from .memory import Memory, Remembered
from .series import Key

__all__ = ["Learning", "calibration", "scaled", "windows_of"]


@dataclass(frozen=True)
class Learning:
    """Arguments of `RimerForecaster` that are about training alone; checked.

    Raises
    ------
    ValueError
        If one is out of range.
    """

    recipe: Recipe
    batch_size: int
    n_epochs: int | None
    validation_fraction: float | None
    trainer_kwargs: dict[str, Any] | None

    def __post_init__(self) -> None:
        """Check what nothing else checks; numbers of a grid become plain ones."""
        object.__setattr__(self, "batch_size", plain_size("batch_size", self.batch_size))
        object.__setattr__(self, "n_epochs", plain_epochs(self.n_epochs))
        if self.validation_fraction is not None:
            allowed = "a share between 0 and 1, or None to train on everything"
            fraction = self.validation_fraction
            plain_number("validation_fraction", fraction, lambda x: 0 < x < 1, allowed)
        check_trainer("trainer_kwargs", self.trainer_kwargs)

    def trained_on(self) -> Learning:
        """Return how weights are trained that were trained before."""
        return replace(self, recipe=self.recipe.for_training_on())

    def train(
        self,
        network: RimerNetwork,
        memory: Memory,
        series: Mapping[Key, Remembered],
        generator: torch.Generator,
    ) -> None:
        """Train in place on series, all or all but their ends, which validate."""
        lengths = {key: len(one.y) for key, one in series.items()}
        windows, validation = windows_of(network, memory, series), None
        held_back = self._may_hold_back and self.recipe.holds_out(len(windows))
        share = self.recipe.held_out if held_back else self.validation_fraction
        if share is not None:
            left = {key: end - math.ceil(share * end) for key, end in lengths.items()}
            left = {key: end for key, end in left.items() if end >= 2}
            if not left and not held_back:
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} leaves no series with 2 time "
                    "points to train on. Lower it, or give longer series."
                )
            if left:
                ends = {key: series[key] for key in left}
                validation = windows_of(network, memory, ends, first_origins=left)
                windows = windows_of(network, memory, series, lengths=lengths | left)
        held_back = held_back and validation is not None
        self._train(network, windows, validation, generator, held_back=held_back)

    @property
    def _may_hold_back(self) -> bool:
        """Whether nothing was said about epochs and validation."""
        given = {"max_epochs", "max_steps", "max_time"} & (self.trainer_kwargs or {}).keys()
        return self.validation_fraction is None and self.n_epochs is None and not given

    def update(
        self,
        network: RimerNetwork,
        memory: Memory,
        series: Mapping[Key, Remembered],
        first_origins: Mapping[Key, int],
        generator: torch.Generator,
    ) -> None:
        """Train in place by one pass over windows from the first time points to forecast on."""
        kwargs = {n: x for n, x in (self.trainer_kwargs or {}).items() if n not in LENGTHS}
        windows = windows_of(network, memory, series, first_origins=first_origins)
        once = replace(self.trained_on(), n_epochs=1, trainer_kwargs=kwargs)
        once._train(network, windows, None, generator)

    def _train(
        self,
        network: RimerNetwork,
        windows: Windows,
        validation: Windows | None,
        generator: torch.Generator,
        *,
        held_back: bool = False,
    ) -> None:
        train(
            network,
            windows,
            validation=validation,
            held_back=held_back,
            recipe=self.recipe,
            batch_size=self.batch_size,
            n_epochs=self.n_epochs,
            generator=generator,
            trainer_kwargs=self.trainer_kwargs,
        )


def scaled(
    memory: Memory, series: Mapping[Key, Remembered], starts: Mapping[Key, int] | None = None
) -> tuple[dict[Key, Tensor], dict[Key, Tensor] | None]:
    """Standardise series and their covariates from given rows on, (n, columns) each."""
    first = {} if starts is None else starts
    y = {key: one.scaled_y(first.get(key, 0)) for key, one in series.items()}
    if memory.X_scaler is None:
        return y, None
    X = {key: memory.scaled_X(one.X, first.get(key, 0)) for key, one in series.items()}
    return y, X


def calibration(network: RimerNetwork, memory: Memory) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return some windows of all series, (B, L, C), and covariates as the network takes them.

    There are no windows where no series has two time points.
    """
    series = {key: one for key, one in memory.series.items() if len(one.y) > 1}
    if not series:
        return None, {}
    windows = windows_of(network, memory, series)
    target, covariates = windows.__getitems__(calibration_places(len(windows)))
    target = target[:, : -network.config.output_chunk_length]
    seen = (~target.isnan()).any(1).all(1)
    known = {} if covariates is None else {"future_covariates": covariates[seen]}
    return target[seen], known


def windows_of(
    network: RimerNetwork,
    memory: Memory,
    series: Mapping[Key, Remembered],
    *,
    lengths: Mapping[Key, int] | None = None,
    first_origins: Mapping[Key, int] | None = None,
) -> Windows:
    """Windows over series of which some are cut to a length, as long as need be."""
    y, X = scaled(memory, series)
    shortest, longest = network.config.lengths
    longest = min(longest, memory.cap or longest)
    ends = {key: len(one) for key, one in y.items()} | dict(lengths or {})
    return Windows(
        [one[: ends[key]] for key, one in y.items()],
        None if X is None else [one[: ends[key]] for key, one in X.items()],
        input_chunk_length=max(shortest, min(longest, max(map(len, y.values())))),
        output_chunk_length=network.config.output_chunk_length,
        first_origins=None if first_origins is None else [first_origins[key] for key in y],
    )
