"""Networks, layers and windows that the tests below darts and sktime share."""

from __future__ import annotations

import zlib
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def randomised(module: Module, size: float = 0.3, *, seed: int = 1) -> Module:
    """The module with every parameter drawn anew, so that nothing is zero by chance or at first.

    By its name, so that networks of which one has more parts are alike in the others.
    """
    for name, parameter in module.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module


def walk(B: int, n: int, components: int, *, seed: int = 2) -> Tensor:
    """Random walks in float64, (B, n, C)."""
    return normal(B, n, components, seed=seed).cumsum(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
