"""Token shift: every token beside an earlier one, across cuts and past masked tokens.

Letters: B sequences, T tokens, L tokens between the two, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .exportable import running_maximum
from .real_tokens import real_tokens_first, take_rows

__all__ = ["token_shift"]


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
