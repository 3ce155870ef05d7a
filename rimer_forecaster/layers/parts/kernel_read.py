"""Kernels beside a state: values that are read by how near a receptance is to fixed supports.

Source: the kernel upscaling of Xiao, Li and Lin (2025), "State Tuning: State-based Test-Time
Scaling on RWKV-7", arXiv:2504.05097. That kernels stand beside the state of trained weights, and
are read and not written, is ours: so they begin as an exact identity, and do not decay.

Letters: B sequences, T tokens, H heads, N channels of a head, M kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["KERNELS", "SUPPORTS", "kernel_features", "kernels_of", "read_kernels"]

KERNELS = "kernels"
"""Leaf of a state: what each kernel adds to the channels of a value, (B, H, N, M)."""

SUPPORTS = "supports"
"""Leaf of a state: where the kernels stand, (B, H, M, N)."""


def kernel_features(receptance: Tensor, supports: Tensor) -> Tensor:
    """Return how near receptances are to supports: ``exp(-|u - s|^2 / 2)``, 1 where they meet.

    Parameters
    ----------
    receptance
        (B, T, H, N); its length does not matter.
    supports
        (B, H, M, N), or (1, H, M, N). Their length says how narrow the kernels are: u is as long.
    """
    length = supports.norm(dim=-1, keepdim=True)  # (B, H, M, 1)
    direction = F.normalize(receptance.to(supports.dtype), dim=-1).transpose(1, 2)  # (B, H, T, N)
    along = direction @ supports.transpose(-1, -2)  # (B, H, T, M): the length times the cosine
    length = length.transpose(-1, -2)
    return (length * (along - length)).exp().transpose(1, 2)  # (B, T, H, M)


def read_kernels(receptance: Tensor, state: Mapping[str, Any] | None) -> Tensor | None:
    """Return what kernels of a state add to what is read, (B, T, H, N); None without kernels."""
    if state is None or KERNELS not in state:
        return None
    features = kernel_features(receptance, state[SUPPORTS])
    return (features.transpose(1, 2) @ state[KERNELS].transpose(-1, -2)).transpose(1, 2)


def kernels_of(state: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the leaves of a state that are kernels."""
    return {} if state is None else {x: state[x] for x in (KERNELS, SUPPORTS) if x in state}
