"""Matrices of fewer bytes: a product of two smaller ones, whole numbers of eight bits, or both.

Source: the low-rank and the 8-bit weights of RWKV-Lite (Choe, Ji and Lin 2024, arXiv:2412.10856).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CompressedLinear", "CompressedMatrix", "assign_weight"]

LARGEST = 127
"""Largest whole number; the smallest is its negative."""


class CompressedMatrix(nn.Module):
    """A matrix, (rows, columns), as one factor or as two.

    Whole numbers are not trained. Their scales, one per row of a factor, are.

    Parameters
    ----------
    rows, columns
        Its size.
    rank
        Columns of the left factor and rows of the right one; None for one factor.
    whole_numbers
        Whether factors are whole numbers of eight bits with a scale per row.
    like
        A tensor of the wanted device and floating-point type.
    """

    def __init__(
        self, rows: int, columns: int, *, rank: int | None, whole_numbers: bool, like: Tensor
    ) -> None:
        super().__init__()
        self.shape, self.rank, self.whole_numbers = (rows, columns), rank, whole_numbers
        sizes = {"whole": (rows, columns)}
        if rank is not None:
            sizes = {"left": (rows, rank), "right": (rank, columns)}
        self.names = tuple(sizes)
        for name, size in sizes.items():
            if whole_numbers:
                numbers = torch.zeros(size, dtype=torch.int8, device=like.device)
                self.register_buffer(name, numbers)
                scale = nn.Parameter(like.new_ones(size[0], 1))
                self.register_parameter(f"{name}_scale", scale)
            else:
                self.register_parameter(name, nn.Parameter(like.new_zeros(size)))

    def factors(self) -> list[Tensor]:
        """Return the factors in floating point, left before right."""
        if not self.whole_numbers:
            return [getattr(self, name) for name in self.names]
        scales = [getattr(self, f"{name}_scale") for name in self.names]
        numbers = [getattr(self, name) for name in self.names]
        return [x.to(scale.dtype) * scale for x, scale in zip(numbers, scales, strict=True)]

    @torch.no_grad()
    def assign(self, factors: Sequence[Tensor]) -> None:
        """Take factors of the right sizes, rounded where whole numbers are stored."""
        for name, factor in zip(self.names, factors, strict=True):
            if not self.whole_numbers:
                getattr(self, name).copy_(factor)
                continue
            largest = factor.abs().amax(1, keepdim=True)
            scale = _short(torch.where(largest > 0, largest / LARGEST, 1.0))
            numbers = (factor / scale).round().clamp(-LARGEST, LARGEST)
            getattr(self, name).copy_(numbers)
            getattr(self, f"{name}_scale").copy_(scale)

    def dense(self) -> Tensor:
        """Return the matrix, (rows, columns)."""
        left, *right = self.factors()
        return left @ right[0] if right else left

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors, (..., columns) -> (..., rows)."""
        for factor in reversed(self.factors()):
            x = F.linear(x, factor)
        return x


class CompressedLinear(nn.Module):
    """A linear layer with a `CompressedMatrix` in place of its weight.

    Parameters
    ----------
    matrix
        Of (outputs, inputs).
    bias
        Of the layer that it replaces, or None.
    """

    def __init__(self, matrix: CompressedMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.matrix, self.bias = matrix, bias
        self.out_features, self.in_features = matrix.shape

    @property
    def weight(self) -> Tensor:
        """The weight of the layer, computed; writing to it changes nothing."""
        return self.matrix.dense()

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        y = self.matrix(x)
        return y if self.bias is None else y + self.bias


def _short(x: Tensor) -> Tensor:
    """Round to 11 binary digits: files hold such scales in half precision, and lose nothing."""
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2048).round() / 2048, exponent)


@torch.no_grad()
def assign_weight(linear: nn.Module, weight: Tensor) -> None:
    """Give a linear layer another weight, compressed or not.

    Raises
    ------
    ValueError
        If it is a product of two factors, which cannot take every weight.
    """
    if isinstance(linear, CompressedLinear):
        if linear.matrix.rank is not None:
            raise ValueError("a product of two factors cannot take another weight.")
        linear.matrix.assign([weight])
    else:
        linear.get_parameter("weight").copy_(weight)
