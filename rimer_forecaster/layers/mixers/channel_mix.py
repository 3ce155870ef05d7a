"""Channel mixers: RWKV-7's, a Transformer's, and the linear one of the released Rimer.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ..parts.exportable import gelu
from ..parts.initialisation import uniform_linear
from ..parts.token_shift import token_shift
from ..protocol import ALONE, Mixer, Pass, State
from .shifted import ShiftedMixer

__all__ = ["ChannelMix", "FeedForward", "LinearChannelMix"]


class ChannelMix(ShiftedMixer):
    """RWKV-7's: ``value(relu(key(lerp(x, previous x)))^2)`` with 4 D hidden channels.

    Source: Peng et al. (2025), arXiv:2503.14456.

    Parameters
    ----------
    width
        D.
    **shift
        See `ShiftedMixer`.

    State
    -----
    ``shift`` (B, D), the last token.
    """

    def __init__(self, width: int, **shift: Any) -> None:
        super().__init__(width, **shift)
        self.key = nn.Linear(width, 4 * width, bias=False)
        self.value = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix channels; see `Mixer`."""
        previous, last = token_shift(x, None if state is None else state["shift"], companions.mask)
        hidden = torch.relu(self.key(self.lerps(x, previous, companions)))
        hidden = hidden * hidden  # whose gradient takes half the time of that of a square
        return self.value(hidden), None if state is None else {"shift": last}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation; the output starts at zero."""
        from_1_to_0 = 1.0 - self.position.index / self.position.depth
        channel = torch.arange(self.width, dtype=torch.float64)
        self._reset_lerps(1.0 - (channel / self.width) ** (from_1_to_0**4), generator)
        uniform_linear(self.key, generator, gain=0.5)
        nn.init.zeros_(self.value.weight)


class _Stateless(Mixer):
    """A channel mixer that maps every token by itself."""

    @abstractmethod
    def map_tokens(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""

    def init_state(self, batch_size: int) -> State:
        """Return nothing to carry; see `Mixer`."""
        return {}

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix channels; see `Mixer`."""
        return self.map_tokens(x), state


class FeedForward(_Stateless):
    """A Transformer's: ``contract(gelu(expand(x)))`` with 4 D hidden channels; it has no state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def map_tokens(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.contract(gelu(self.expand(x)))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew; the output starts at zero."""
        uniform_linear(self.expand, generator)
        uniform_linear(self.contract, generator)
        nn.init.zeros_(self.contract.weight)


class LinearChannelMix(_Stateless):
    """One linear map of the token, as in the code that was released with BlackGoose Rimer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)

    def map_tokens(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.value(x)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start at zero."""
        uniform_linear(self.value, generator)
        nn.init.zeros_(self.value.weight)
