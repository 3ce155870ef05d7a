"""How training on windows prepares for streams.

Between two ends of patches a stream is forecast from a token of its last P steps, which overlaps
with the last finished patch; and its layers start from what all of its history left. Most passes of
training end like the first, and half start most windows like the second.

Letters: B windows, C target components, P patch length, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import Mixer, Pass, RandomModule, State, from_leaves, leaves, rows_of

__all__ = ["StreamPreparation"]

_SHARE_OVERLAPPING = 0.75
_SHARE_CARRIED = 0.5
_SHARE_FRESH = 0.25
"""Shares of training passes whose last two patches overlap and of those with carried states, and of
windows that start afresh even so. Chosen by streamed against windowed forecasts on ETTh1, whose
squared errors differ by 9 to 17 % without them (docs/guides/streaming.md)."""


_MOST_READ = 64
"""Windows that histories are made of, of one batch: to read them takes a tenth of a step."""


class StreamPreparation(RandomModule):
    """Draws what a pass of training does to prepare for streams.

    Parameters
    ----------
    active
        Whether training prepares at all.
    """

    def __init__(self, active: bool) -> None:
        super().__init__()
        self.active = active

    def draw_newer(self, patch_length: int) -> int:
        """Draw how many steps, less than a patch, ago the last patch but one ended."""
        return int(self._draw() * patch_length) if self._prepares(_SHARE_OVERLAPPING) else 0

    def draw_carried(self) -> bool:
        """Draw whether windows start from what others leave."""
        return self._prepares(_SHARE_CARRIED)

    def carry(
        self, layers: Mixer, start: State | None, tokens: Tensor, mask: Tensor | None
    ) -> State:
        """Let three of four windows start from what a history of other ones leaves.

        The history is 1, 2, 4, ... or 64 windows long. States fill up for thousands of tokens, so
        those after a single window would not prepare for a long stream.

        Parameters
        ----------
        layers
            That read the windows.
        start
            State before each of them, or None.
        tokens, mask
            Of the windows, (B * C, T, D), and their mask, (B * C, T), or None.
        """
        rows, device = len(tokens), self.device_of_draws()
        fresh = layers.init_state(rows) if start is None else start
        order = torch.randperm(rows, generator=self.generator, device=device).to(tokens.device)
        read = min(rows, _MOST_READ)
        windows = min(2 ** int(self._draw() * 7), read)
        histories = order[: read - read % windows].view(-1, windows)
        with torch.no_grad():
            _, left = layers(
                tokens[histories].flatten(1, 2),
                rows_of(fresh, histories[:, 0]),
                Pass(None if mask is None else mask[histories].flatten(1, 2)),
            )
        taken = torch.arange(rows, device=tokens.device) % len(histories)
        keeps = self._draws(rows) < _SHARE_FRESH
        return _choose(keeps.to(tokens.device), fresh, left, taken)

    def _prepares(self, share: float) -> bool:
        return self.training and self.active and self._draw() < share

    def _draw(self) -> float:
        return float(self._draws())

    def _draws(self, *size: int) -> Tensor:
        """Uniform numbers, the same whatever torch's default dtype is."""
        device, dtype = self.device_of_draws(), torch.float32
        return torch.rand(size, generator=self.generator, device=device, dtype=dtype)


def _choose(keeps: Tensor, fresh: State, left: State, order: Tensor) -> State:
    """Rows of a fresh state where it is kept, elsewhere rows of another in a given order."""
    chosen = {}
    for (path, own), (_, other) in zip(leaves(fresh), leaves(left), strict=True):
        other = other[order]
        if own.shape == other.shape:  # the cache of full attention has grown
            other = torch.where(keeps.view(-1, *(1,) * (own.ndim - 1)), own, other)
        chosen[path] = other
    return from_leaves(chosen)
