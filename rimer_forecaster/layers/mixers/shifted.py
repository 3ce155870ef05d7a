"""What mixers with a token shift share: the ways of tokens to their predecessors.

Letters: B sequences, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..protocol import Pass

__all__ = ["ShiftedMixer"]


class ShiftedMixer(nn.Module):
    """The part of a mixer that lets tokens go some way to their predecessors, channel by channel.

    Attributes
    ----------
    perspectives
        How many sets of these ways there are; `Pass.perspective` chooses.
    mix
        The ways, (..., D), and with several sets (perspectives, ..., D).
    medium_mix
        How much of `Pass.medium` is added, (..., D), zero at the start; None for a mixer that does
        not look at it.
    """

    perspectives: int
    mix: nn.Parameter
    medium_mix: nn.Parameter | None

    def _make_lerps(self, *shape: int, perspectives: int, reads_medium: bool) -> None:
        self.perspectives = perspectives
        sets = (perspectives,) if perspectives > 1 else ()
        self.mix = nn.Parameter(torch.empty(*sets, *shape))
        self.medium_mix = nn.Parameter(torch.empty(*shape)) if reads_medium else None

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
