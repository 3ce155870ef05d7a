"""Token shift: every token beside an earlier one, across cuts and past masked tokens.

Letters: B sequences, T tokens, L tokens between the two, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..protocol import Pass
from .exportable import running_maximum
from .real_tokens import real_tokens_first, take_rows

__all__ = ["ShiftedMixer", "token_shift"]


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


def token_shift(x: Tensor, before: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the predecessor of each token, and the last token for the next call.

    Parameters
    ----------
    x
        Tokens, (B, T, D).
    before
        Token before the first, (B, D), zero if not given; or the last L tokens before it,
        (B, L, D), and a predecessor is then the token L places before.
    mask
        True for real tokens, (B, T); a masked token is nobody's predecessor.

    Returns
    -------
    previous, last
        (B, T, D), and of the shape of `before`.
    """
    if before is not None and before.ndim == 3:
        return _shift_further(x, before, mask)
    if before is None:
        if mask is None:
            return torch.nn.functional.pad(x, (0, 0, 1, -1)), x[:, -1]
        before = x.new_zeros(x.shape[0], x.shape[2])
    extended = torch.cat((before[:, None], x), 1)  # (B, T + 1, D)
    if mask is None:
        return extended[:, :-1], x[:, -1]
    number = torch.arange(1, x.shape[1] + 1, device=x.device)
    latest = running_maximum(torch.where(mask, number, 0))  # row of `extended`; 0 is `before`
    latest = torch.nn.functional.pad(latest, (1, 0))[..., None].expand_as(extended)
    seen = extended.gather(1, latest)
    return seen[:, :-1], seen[:, -1]


def _shift_further(x: Tensor, before: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    T, L = x.shape[1], before.shape[1]
    front, place, number = real_tokens_first(x, mask)
    extended = torch.cat((before, front), 1)  # (B, L + T, D): the real token of place p is at L + p
    if mask is None:
        return extended[:, :T], extended[:, T:]
    last = number[:, None] + torch.arange(L, device=x.device)
    return take_rows(extended, place), take_rows(extended, last)
