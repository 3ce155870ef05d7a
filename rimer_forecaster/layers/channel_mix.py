"""RWKV-7 channel mix: a squared-ReLU feed-forward map after a token shift.

Source: Peng et al. (2025), arXiv:2503.14456.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .initialisation import uniform_linear
from .protocol import LayerPosition, Mixer, Shared, State
from .token_shift import token_shift

__all__ = ["ChannelMix"]


class ChannelMix(Mixer):
    """``value(relu(key(lerp(x, previous x)))^2)`` with 4 D hidden channels.

    State
    -----
    ``shift`` (B, D), the last token.
    """

    def __init__(self, width: int, *, position: LayerPosition | None = None) -> None:
        super().__init__()
        self.width = width
        self.position = LayerPosition() if position is None else position
        self.mix = nn.Parameter(torch.empty(width))
        self.key = nn.Linear(width, 4 * width, bias=False)
        self.value = nn.Linear(4 * width, width, bias=False)

    def init_state(self, batch_size: int) -> State:
        """Return zeros; see `Mixer`."""
        return {"shift": self.key.weight.new_zeros(batch_size, self.width)}

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        mask: Tensor | None = None,
        shared: Shared | None = None,
    ) -> tuple[Tensor, State | None]:
        """Mix channels; see `Mixer`."""
        previous, last = token_shift(x, None if state is None else state["shift"], mask)
        hidden = torch.relu(self.key(torch.addcmul(x, previous - x, self.mix))).square()
        return self.value(hidden), None if state is None else {"shift": last}

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation; the output starts at zero."""
        from_1_to_0 = 1.0 - self.position.index / self.position.depth
        channel = torch.arange(self.width, dtype=torch.float64)
        self.mix.copy_(1.0 - (channel / self.width) ** (from_1_to_0**4))
        uniform_linear(self.key, generator, gain=0.5)
        nn.init.zeros_(self.value.weight)
