"""What mixers with a token shift share: the last token, and the ways of tokens to it.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..protocol import LayerPosition, Mixer, Pass, State

__all__ = ["ShiftedMixer"]


class ShiftedMixer(Mixer):
    """A mixer that lets tokens go some way to their predecessors, channel by channel.

    Parameters
    ----------
    width
        D.
    *ways
        How many ways a token goes; nothing for one.
    position
        Place in the stack.
    perspectives
        How many sets of these ways there are; `Pass.perspective` chooses.
    reads_medium
        Whether `Pass.medium` is mixed into the tokens too.

    Attributes
    ----------
    mix
        The ways, (..., D), and with several sets (perspectives, ..., D).
    medium_mix
        How much of `Pass.medium` is added, (..., D), zero at the start; None for a mixer that does
        not look at it.
    """

    shifts: tuple[str, ...] = ("shift",)

    def __init__(
        self,
        width: int,
        *ways: int,
        position: LayerPosition | None = None,
        perspectives: int = 1,
        reads_medium: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.perspectives = width, perspectives
        self.position = LayerPosition() if position is None else position
        sets = (perspectives,) if perspectives > 1 else ()
        self.mix = nn.Parameter(torch.empty(*sets, *ways, width))
        self.medium_mix = nn.Parameter(torch.empty(*ways, width)) if reads_medium else None

    def init_state(self, batch_size: int) -> State:
        """Return a last token of zeros; see `Mixer`."""
        return {"shift": self.mix.new_zeros(batch_size, self.width)}

    def lerps(self, x: Tensor, previous: Tensor, companions: Pass) -> Tensor:
        """Tokens on their way to others, (B, T, D) -> (..., B, T, D)."""
        mix = self.mix if self.perspectives == 1 else self.mix[companions.perspective]
        y = torch.addcmul(x, previous - x, mix[..., None, None, :])
        if self.medium_mix is None:
            return y
        if companions.medium is None:
            raise ValueError(
                "this mixer was built with reads_medium=True, but no medium accompanies its "
                "tokens: give Pass(medium=...), as a block with mediums does."
            )
        return torch.addcmul(y, companions.medium, self.medium_mix[..., None, None, :])

    @torch.no_grad()
    def _reset_lerps(self, first: Tensor, generator: torch.Generator | None) -> None:
        """Start the first set at the published values, the others close to them."""
        if self.medium_mix is not None:
            nn.init.zeros_(self.medium_mix)
        if self.perspectives == 1:
            self.mix.copy_(first)
            return
        nn.init.uniform_(self.mix, -_APART, _APART, generator=generator)
        self.mix[0].zero_()
        self.mix.add_(first)


_APART = 0.1
"""How far the sets of several perspectives start from the published one: if they look back equally
far, they would else stay alike."""
