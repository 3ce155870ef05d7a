"""A network whose matrices are compressed, in memory and in files.

What a network is made of follows the weights that it is given: `load_state_dict` with the weights
of a compressed network compresses another one of the same arguments, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from ..layers.parts.compressed import CompressedLinear, CompressedMatrix
from .linear_skip import CompressedSkip, LinearSkip

if TYPE_CHECKING:
    from .network import RimerNetwork

__all__ = [
    "follow_weights",
    "is_compressed",
    "matrices",
    "matrix_of",
    "replace_matrix",
    "weight_bytes",
]

HoldsMatrix: TypeAlias = nn.Linear | CompressedLinear | LinearSkip
"""A module whose weight is a matrix."""


def matrices(network: RimerNetwork) -> Iterator[tuple[str, HoldsMatrix]]:
    """Yield the modules that hold one matrix each, by name: linear layers and the linear skip."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, CompressedLinear, LinearSkip)):
            yield name, module


def matrix_of(module: HoldsMatrix) -> CompressedMatrix | None:
    """Return the compressed matrix of a module, or None if its weight is a plain one."""
    return module.matrix if isinstance(module, (CompressedLinear, CompressedSkip)) else None


def is_compressed(network: RimerNetwork) -> bool:
    """Whether some matrix of a network is compressed."""
    return any(isinstance(module, CompressedMatrix) for module in network.modules())


def weight_bytes(network: RimerNetwork) -> int:
    """Return how many bytes the weights of a network take."""
    return sum(x.nbytes for x in network.state_dict().values())


def replace_matrix(network: RimerNetwork, name: str, matrix: CompressedMatrix | None) -> None:
    """Put a compressed matrix in the place of a module's own, or a plain one without values."""
    module = network.get_submodule(name)
    new: nn.Module
    if isinstance(module, LinearSkip):
        new = _skip_of(network, module, matrix)
    else:
        assert isinstance(module, (nn.Linear, CompressedLinear))
        bias = module.bias
        if matrix is not None:
            new = CompressedLinear(matrix, bias)
        else:
            like, sizes = network.skip.offset, (module.in_features, module.out_features)
            new = nn.utils.skip_init(
                nn.Linear, *sizes, bias=bias is not None, device=like.device, dtype=like.dtype
            )
            if bias is not None:
                new.bias = bias
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, new.train(module.training))


def _skip_of(
    network: RimerNetwork, skip: LinearSkip, matrix: CompressedMatrix | None
) -> LinearSkip:
    with torch.device("meta"):
        new = CompressedSkip(network.config) if matrix is not None else LinearSkip(network.config)
    new.offset, new.is_location, new.lag_filter = skip.offset, skip.is_location, skip.lag_filter
    if matrix is not None:
        new.matrix = matrix
    else:
        new.weight = nn.Parameter(torch.empty_like(skip.weight))
    return new


def follow_weights(network: RimerNetwork, weights: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Make of a network what weights are of that it is about to be given.

    Parameters
    ----------
    network
        Whose `load_state_dict`, or that of a module around it, was called.
    weights
        By name.
    prefix
        Of the names of this network's.
    """
    for name, module in list(matrices(network)):
        start = f"{prefix}{name}.matrix."
        found = {key.removeprefix(start): x for key, x in weights.items() if key.startswith(start)}
        own = matrix_of(module)
        wanted = _shape_of(found)
        if wanted != (None if own is None else (own.rank, own.whole_numbers)):
            matrix = None
            if wanted is not None:
                rows, columns = tuple(module.weight.shape)
                rank, whole_numbers = wanted
                like = network.skip.offset
                matrix = CompressedMatrix(
                    rows, columns, rank=rank, whole_numbers=whole_numbers, like=like
                )
            replace_matrix(network, name, matrix)


def _shape_of(factors: Mapping[str, Tensor]) -> tuple[int | None, bool] | None:
    """Rank, and whether whole numbers are stored, of a matrix with these factors."""
    if not factors:
        return None
    first = factors.get("whole", factors.get("left"))
    if first is None:
        return None  # loading says what is wrong with such weights
    return None if "whole" in factors else first.shape[1], first.dtype == torch.int8
