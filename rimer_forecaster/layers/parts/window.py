"""Attention within a window of tokens, and the latest tokens that a cache keeps.

Letters: B sequences, T tokens, H heads, N head size, W window, S tokens of which some are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["attend_within", "latest"]


def attend_within(q: Tensor, k: Tensor, v: Tensor, W: int) -> Tensor:
    """Attend to the latest W tokens, (B, H, T, N), with T above W."""
    T = q.shape[2]
    if torch.compiler.is_exporting():  # ONNX attends on four axes, not on the five of blocks
        band = torch.ones(T, T, dtype=torch.bool, device=q.device).tril().triu(1 - W)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=band)
    # Each block of W queries sees its own block and the one before: T * 2W products, not T^2.
    pad = (0, 0, 0, -T % W)
    q = F.pad(q, pad).unflatten(2, (-1, W))  # (B, H, T, N) -> (B, H, blocks, W, N)
    k, v = (F.pad(z, pad).unflatten(2, (-1, W)) for z in (k, v))
    k, v = (torch.cat((F.pad(z[:, :, :-1], (0, 0, 0, 0, 1, 0)), z), 3) for z in (k, v))
    place = torch.arange(2 * W, device=q.device)
    distance = place[W:, None] - place  # (W, 2 W)
    seen = (distance >= 0) & (distance < W)
    begun = torch.arange(q.shape[2], device=q.device)[:, None, None] * W + place - W >= 0
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen & begun)
    return y.flatten(2, 3)[:, :, :T]


def latest(valid: Tensor, size: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the last tokens that are valid, in their order, with zeros before them.

    Parameters
    ----------
    valid
        (B, S).
    size
        How many to return.
    *tensors
        Each (B, H, S, N).

    Returns
    -------
    tuple of Tensor
        Each (B, H, size, N).
    """
    order = valid.int().argsort(dim=1, stable=True)
    order = order[:, order.shape[1] - size :]
    kept = valid.gather(1, order)[:, None, :, None]
    order = order[:, None, :, None]
    return tuple(
        x.gather(2, order.expand(-1, x.shape[1], -1, x.shape[3])).where(kept, 0.0) for x in tensors
    )
