"""Rotary positions: angles in proportion to the place, so that products see distances only.

Source: Su et al. (2021), arXiv:2104.09864.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .precision import widest_dtype

__all__ = ["check_pairs", "rotate"]

_ROTARY_BASE = 10_000.0


def rotate(x: Tensor, place: Tensor) -> Tensor:
    """Rotate pairs of channels by angles in proportion to the place, (B, H, T, N) and (B, T).

    Angles are taken in float64: in a long stream float32 would lose the last steps' distance.
    """
    half = x.shape[-1] // 2
    exact = widest_dtype(x.device)
    exponent = torch.arange(half, dtype=exact, device=x.device) / half
    angle = place[:, None, :, None].to(exact) * _ROTARY_BASE**-exponent  # (B, 1, T, N / 2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def check_pairs(head_size: int) -> None:
    """Raise a ValueError for a head whose channels do not stand in pairs."""
    if head_size % 2:
        raise ValueError(
            f"head_size={head_size} must be even for attention: positions rotate pairs of channels."
        )
