"""States that are tuned on whole series: every end of a patch is an origin of forecasts.

Letters: B sequences, n steps, C components, L look-back, H horizon, P patch length, T origins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..network import RimerNetwork
from ..network.dense import dense_forecast
from ..zero_shot.forecast import standardised
from ..zero_shot.seasons import without_seasons
from .objective import Objective, StartOf

__all__ = ["WholeSeries"]

_VALUES = 16_384
"""Of a step, at most: a fifth of a second of one core for the weights of the package."""

_BLOCKS, _SHARE = 2, 6
"""The last two horizons of a series are held back, each at most a sixth of it."""

_FEWEST_OBSERVED = 2
"""Values that an origin must have seen: a state is most use where there are few."""


class _Sequence(NamedTuple):
    """What is read of a series: all of it, or its beginning.

    Attributes
    ----------
    values
        (n,).
    steps
        Of the series.
    block
        Of the series, as many steps as are held back at a time.
    first, after
        Origins count that have from `first` on and fewer than `after` values before them.
    """

    values: NDArray[np.float64]
    steps: int
    block: int
    first: int
    after: float

    def end(self, blocks: int) -> int:
        """Return how many values there are before the last blocks of the series."""
        return min(len(self.values), self.steps - blocks * self.block)


class WholeSeries(Objective):
    """Series that are read as weights for series never seen read them.

    Parameters
    ----------
    network
        Of quantiles, without covariates, prepared for streams.
    series
        (n, C) each, in any units, NaN where missing.
    horizon
        H: steps that forecasts are judged by.
    look_back
        Of longer series the last so many steps are read.
    seasonal
        Whether seasons are taken off first, as where it is forecast. Origins at which they have not
        been seen often enough for that forecast from the values as they are, here too.
    """

    def __init__(
        self,
        network: RimerNetwork,
        series: Sequence[NDArray[np.float64]],
        *,
        horizon: int,
        look_back: int,
        seasonal: bool,
    ) -> None:
        self._network, self._count = network, len(series)
        self._horizon = min(horizon, network.config.output_chunk_length)
        quantiles = [0.5 if x == "location" else float(x) for x in network.config.outputs]
        self._quantiles = torch.tensor(quantiles, dtype=network.dtype, device=network.device)
        self._sequences: list[_Sequence] = []
        owners = []
        for i, values in enumerate(series):
            for column in np.asarray(values, np.float64).T:
                if np.isnan(column[-look_back:]).all():
                    continue
                window, _ = standardised(column, look_back, i)
                steps, rest, first = len(window), window, 0
                block = min(self._horizon, steps // _SHARE)
                if seasonal:
                    found = without_seasons(window, self._horizon)
                    rest, first = found.rest, found.known_from
                self._sequences.append(_Sequence(rest, steps, block, first, math.inf))
                owners.append(i)
                if first:
                    begins = window[: first + self._horizon]
                    self._sequences.append(_Sequence(begins, steps, block, 0, first))
                    owners.append(i)
        self._owners = torch.tensor(owners, dtype=torch.int64)

    @property
    def count(self) -> int:
        """See `Objective`."""
        return self._count

    def loss(
        self, start_of: StartOf, among: Tensor, generator: torch.Generator, *, whole: bool
    ) -> Tensor:
        """See `Objective`; what is drawn begins at any place of a patch."""
        P = self._network.config.patch_length
        own = torch.isin(self._owners, among).nonzero()[:, 0]
        order = own[torch.randperm(len(own), generator=generator)].tolist()
        chosen: list[int] = []
        longest = 0
        for i in order:
            length = max(longest, len(self._sequences[i].values) + P)
            if not chosen or length * (len(chosen) + 1) <= _VALUES:
                chosen.append(i)
                longest = length
        parts = [self._sequences[i] for i in chosen]
        ends = [part.end(0 if whole else _BLOCKS) for part in parts]
        starts = torch.randint(P, (len(chosen),), generator=generator).tolist()
        length = -(-max(x + end for x, end in zip(starts, ends, strict=True)) // P) * P
        losses, counts, origins = self._losses(chosen, ends, starts, length, start_of)
        bounds = torch.tensor([[x.first, x.after] for x in parts], device=origins.device)
        first, after = bounds[..., None].unbind(1)  # (B, 1)
        counts = counts & ((first <= origins) & (origins < after))[:, None, :, None]
        return losses.where(counts, 0.0).sum() / counts.sum().clamp_min(1)

    def held_back(self, start_of: StartOf | None) -> Tensor:
        """See `Objective`; each horizon that is held back is forecast from its beginning."""
        P = self._network.config.patch_length
        total = torch.zeros(2, self._count, _BLOCKS, dtype=torch.float64)
        held = [i for i, x in enumerate(self._sequences) if x.block and x.after == math.inf]
        held.sort(key=lambda i: self._sequences[i].steps, reverse=True)
        while held:
            size = max(1, _VALUES // self._sequences[held[0]].steps)
            chosen, held = held[:size], held[size:]
            parts = [self._sequences[i] for i in chosen]
            for block in range(_BLOCKS, 0, -1):
                origins = [part.end(block) for part in parts]
                length = -(-max(origins) // P) * P
                starts = [length - origin for origin in origins]
                ends = [part.end(block - 1) for part in parts]
                losses, counts, _ = self._losses(chosen, ends, starts, length, start_of)
                for k, i in enumerate(chosen):  # the last origin alone
                    place = self._owners[i], _BLOCKS - block
                    total[0][place] += float(losses[k, :, -1].sum())
                    total[1][place] += float(counts[k, :, -1].sum())
        return total[0] / total[1]

    def _losses(
        self,
        chosen: Sequence[int],
        ends: Sequence[int],
        starts: Sequence[int],
        length: int,
        start_of: StartOf | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return losses and which count, (B, 1, T, H), of sequences that are placed in a batch.

        And how many values of its sequence each origin has before it, (B, T).

        Parameters
        ----------
        chosen, ends
            Which sequences, and how many values of each.
        starts
            Where each begins.
        length
            Steps that are read, whole patches.
        start_of
            See `Objective`.
        """
        network, H = self._network, self._horizon
        rows = np.full((len(chosen), length + H), np.nan)
        for row, i, first, end in zip(rows, chosen, starts, ends, strict=True):
            row[first : first + end] = self._sequences[i].values[:end]
        target = torch.as_tensor(rows[..., None], dtype=network.dtype, device=network.device)
        start = None if start_of is None else start_of(self._owners[list(chosen)])
        dense = dense_forecast(network, target, steps=length, start=start)
        losses, counts = dense.quantile_losses(
            target,
            self._quantiles,
            squash=network.config.squash,
            fewest_observed=_FEWEST_OBSERVED,
        )
        origins = dense.ends - torch.tensor(starts, device=dense.ends.device)[:, None]
        return losses[..., :H], counts[..., :H], origins
