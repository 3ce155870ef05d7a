"""States that are tuned on whole series: every end of a patch is an origin of forecasts.

Letters: B sequences, n steps, C components, L look-back, H horizon, P patch length, T origins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        self._values: list[NDArray[np.float64]] = []
        self._lengths: list[int] = []  # of the whole series
        self._origins: list[tuple[int, float]] = []  # first and last values that count
        owners = []
        for i, values in enumerate(series):
            for column in np.asarray(values, np.float64).T:
                if np.isnan(column[-look_back:]).all():
                    continue
                window, _ = standardised(column, look_back, i)
                parts, first = [window], 0
                if seasonal:
                    found = without_seasons(window, self._horizon)
                    first = found.known_from
                    parts = [found.rest, *([window[: first + self._horizon]] if first else [])]
                self._values += parts
                self._lengths += len(parts) * [len(window)]
                self._origins += [(first, math.inf), (0, first)][: len(parts)]
                owners += len(parts) * [i]
        self._owners = torch.tensor(owners, dtype=torch.int64)
        self._block = [min(self._horizon, n // _SHARE) for n in self._lengths]

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
            length = max(longest, len(self._values[i]) + P)
            if not chosen or length * (len(chosen) + 1) <= _VALUES:
                chosen.append(i)
                longest = length
        ends = [self._end(i, 0 if whole else _BLOCKS) for i in chosen]
        starts = torch.randint(P, (len(chosen),), generator=generator).tolist()
        length = -(-max(x + end for x, end in zip(starts, ends, strict=True)) // P) * P
        losses, counts, origins = self._losses(chosen, ends, starts, length, start_of)
        first, last = torch.tensor([self._origins[i] for i in chosen], device=origins.device).T
        counts = (
            counts & ((first[:, None] <= origins) & (origins < last[:, None]))[:, None, :, None]
        )
        return losses.where(counts, 0.0).sum() / counts.sum().clamp_min(1)

    def held_back(self, start_of: StartOf | None) -> Tensor:
        """See `Objective`; each horizon that is held back is forecast from its beginning."""
        P = self._network.config.patch_length
        total = torch.zeros(2, self._count, _BLOCKS, dtype=torch.float64)
        held = [
            i for i, block in enumerate(self._block) if block and self._origins[i][1] == math.inf
        ]
        held.sort(key=lambda i: len(self._values[i]), reverse=True)
        while held:
            size = max(1, _VALUES // len(self._values[held[0]]))
            chosen, held = held[:size], held[size:]
            for block in range(_BLOCKS, 0, -1):
                origins = [self._end(i, block) for i in chosen]
                length = -(-max(origins) // P) * P
                starts = [length - origin for origin in origins]
                ends = [self._end(i, block - 1) for i in chosen]
                losses, counts, _ = self._losses(chosen, ends, starts, length, start_of)
                for k, i in enumerate(chosen):  # the last origin alone
                    part = self._owners[i], _BLOCKS - block
                    total[0][part] += float(losses[k, :, -1].sum())
                    total[1][part] += float(counts[k, :, -1].sum())
        return total[0] / total[1]

    def _end(self, i: int, blocks: int) -> int:
        """Return how many values of a sequence there are before the last blocks of its series."""
        return min(len(self._values[i]), self._lengths[i] - blocks * self._block[i])

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
            row[first : first + end] = self._values[i][:end]
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
