"""The widest floating-point numbers of a device."""

from __future__ import annotations

import torch

__all__ = ["widest_dtype"]


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 where a device (Apple's) has none."""
    return torch.float32 if device.type == "mps" else torch.float64
