"""In which precision a state is kept."""

from __future__ import annotations

import torch

__all__ = ["state_dtype"]


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return float64 for computations in float64, and float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32
