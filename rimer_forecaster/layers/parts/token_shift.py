"""Token shift: every token beside its predecessor, across cuts and past masked tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from .exportable import running_maximum

__all__ = ["token_shift"]


def token_shift(x: Tensor, before: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the predecessor of each token, and the last token for the next call.

    Parameters
    ----------
    x
        Tokens, (B, T, D).
    before
        Token before the first, (B, D); zero if not given.
    mask
        True for real tokens, (B, T); a masked token is nobody's predecessor.

    Returns
    -------
    previous, last
        (B, T, D) and (B, D).
    """
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
