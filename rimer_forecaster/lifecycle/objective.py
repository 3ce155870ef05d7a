"""What a state is tuned for: losses of series that begin from given states.

Letters: B sequences, n series.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ..layers import State

__all__ = ["Objective", "StartOf"]

StartOf: TypeAlias = Callable[[Tensor], State]
"""Gives the state that some of the series begin from, (B, ...), by their numbers, (B,)."""


class Objective(ABC):
    """Losses of n series, in units of each, differentiable with regard to where they start.

    The last part of each is held back at first.
    """

    @property
    @abstractmethod
    def count(self) -> int:
        """How many series there are: n."""

    @abstractmethod
    def loss(
        self, start_of: StartOf, among: Tensor, generator: torch.Generator, *, whole: bool
    ) -> Tensor:
        """Return the mean loss of some sequences that are drawn.

        Parameters
        ----------
        start_of
            What they begin from.
        among
            Numbers of the series that they are drawn from.
        generator
            Source of the draw.
        whole
            Whether what is held back may be looked at too.
        """

    @abstractmethod
    def held_back(self, start_of: StartOf | None) -> Tensor:
        """Return the loss of each series on each part that is held back, (n, parts).

        The parts are of different times, for all series alike; NaN where nothing is held back.
        """
