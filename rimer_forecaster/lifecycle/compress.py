"""A trained network in fewer bytes: low-rank matrices, whole numbers of eight bits, or both.

Source: RWKV-Lite, Choe, Ji and Lin (2024), arXiv:2412.10856. Its embedding cache and hierarchical
head are for vocabularies, which a forecaster has not.

Letters: B windows, L input steps, C target components, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..layers.parts.compressed import CompressedMatrix
from ..layers.parts.low_rank import LowRank
from ..layers.parts.precision import widest_dtype
from ..network import RimerNetwork
from ..network.checks import is_number
from ..network.compressed import matrices, matrix_of, replace_matrix, weight_bytes
from ..network.scale import unit_of
from ..network.transfer import trainable_copy

__all__ = ["Compression", "compress"]

_RIDGE = 1e-4
"""Share of the mean second moment that is added to each: inputs that never came count a little."""


@dataclass(frozen=True)
class Compression:
    """What compressing did.

    Attributes
    ----------
    bytes_before, bytes_after
        Of all weights.
    n_low_rank, n_whole_numbers
        How many matrices are products of two smaller ones now, and how many are whole numbers.
    largest_change
        Largest change of a forecast of the calibration windows, in units of the deviation of its
        window; None without calibration windows.
    """

    bytes_before: int
    bytes_after: int
    n_low_rank: int
    n_whole_numbers: int
    largest_change: float | None = None

    @property
    def times_smaller(self) -> float:
        """How many times fewer bytes there are."""
        return self.bytes_before / self.bytes_after


@torch.no_grad()
def compress(
    network: RimerNetwork,
    rank: float | None = 0.25,
    *,
    bits: int | None = 8,
    calibrate: Tensor | None = None,
    covariates: dict[str, Tensor] | None = None,
) -> tuple[RimerNetwork, Compression]:
    """Return a smaller network that forecasts much the same; the given one stays as it is.

    With a rank, the matrices of the layers become products of two smaller ones, those that are
    nearest to them on the inputs that they get from the calibration windows: a singular value
    decomposition, weighted by the second moment of these inputs. With bits, every matrix becomes
    whole numbers with a scale per output; sums stay in floating point.

    A network without bits can be trained on, and compressed again with bits and without a rank.

    Parameters
    ----------
    network
        Trained.
    rank
        Share of the full rank that matrices of the layers keep, in (0, 1]; None leaves them whole.
        Where two factors would not be smaller, the matrix is left whole too, unless `rank` is 1.
    bits
        8, or None for floating point.
    calibrate
        Windows, (B, L, C), in the units of the series; needed with a rank.
    covariates
        Of these windows, as `RimerNetwork.forward` takes them, by name.

    Returns
    -------
    small, report
        The network, of the same arguments, and what was done.

    Raises
    ------
    ValueError
        If an argument is out of range, there are no windows to calibrate a rank by, or nothing was
        observed in one of them.
    """
    if rank is not None and not (is_number(rank) and 0 < rank <= 1):
        raise ValueError(
            f"rank={rank!r} must be above 0 and at most 1: it is the share of the full rank that "
            "matrices keep. None leaves them whole."
        )
    if bits not in (8, None):
        raise ValueError(f"bits={bits!r} must be 8, or None for floating point.")
    if rank is not None and calibrate is None:
        raise ValueError(
            f"rank={rank} needs calibrate=, windows or series such as those to be forecast: "
            "matrices are approximated where their inputs lie. Give some, or rank=None."
        )
    small = trainable_copy(network).eval()
    in_layers, inputs = _large_maps(small), dict[str, Tensor]()
    if calibrate is not None:
        calibrate = calibrate.to(small.skip.offset)
        silent = calibrate.isnan().all(1).any(1)  # (B,)
        if bool(silent.any()):
            raise ValueError(
                f"calibrate has a component without a value in window {int(silent.nonzero()[0])}: "
                "leave such windows out."
            )
        known = covariates or {}
        before, inputs = _second_moments(small, in_layers, calibrate, known)
    counts = {"low rank": 0, "whole numbers": 0}
    for name, module in list(matrices(small)):
        own = matrix_of(module)
        factors = [module.weight] if own is None else own.factors()
        if rank is not None and len(factors) == 1 and name in in_layers and name in inputs:
            factors = _nearest(factors[0], inputs[name], rank)
        if not module.weight.numel() or (bits is None and len(factors) == 1):
            continue
        rows, columns = tuple(module.weight.shape)
        matrix = CompressedMatrix(
            *(rows, columns),
            rank=None if len(factors) == 1 else factors[0].shape[1],
            whole_numbers=bits is not None,
            like=small.skip.offset,
        )
        matrix.assign(factors)
        replace_matrix(small, name, matrix)
        counts["low rank"] += len(factors) == 2
        counts["whole numbers"] += bits is not None
    change = None
    if calibrate is not None:
        moved = small(calibrate, **known) - before  # (B, H, C, Q)
        change = float((moved / unit_of(calibrate)[..., None]).abs().max())
    return small, Compression(
        weight_bytes(network),
        weight_bytes(small),
        counts["low rank"],
        counts["whole numbers"],
        change,
    )


def _large_maps(network: RimerNetwork) -> set[str]:
    """Names of the linear maps of layers, but for those that are of low rank by themselves."""
    if network.reader is None:
        return set()
    low = {
        f"{name}.{part}"
        for name, module in network.named_modules()
        if isinstance(module, LowRank)
        for part in ("down", "up")
    }
    found = {name for name, _ in matrices(network) if name.startswith("reader.layers.")}
    return found - low


def _second_moments(
    network: RimerNetwork, maps: set[str], windows: Tensor, covariates: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return forecasts of windows, and of linear maps, by name, the sum of x xᵀ over inputs x."""
    totals: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def add(module: nn.Module, given: tuple[Any, ...]) -> None:
            x = given[0].flatten(0, -2).to(widest_dtype(given[0].device))
            totals[name] = totals.get(name, 0) + x.mT @ x

        return add

    with ExitStack() as stack:
        for name, module in matrices(network):
            if name in maps:
                stack.callback(module.register_forward_pre_hook(watch(name)).remove)
        return network(windows, **covariates), totals


def _nearest(weight: Tensor, moments: Tensor, rank: float) -> list[Tensor]:
    """Return the two factors whose product is nearest to a matrix on its inputs, or the matrix.

    Parameters
    ----------
    weight
        (outputs, inputs).
    moments
        Second moments of the inputs, (inputs, inputs).
    rank
        Share of the full rank.
    """
    rows, columns = weight.shape
    kept = max(1, round(rank * min(rows, columns)))
    if kept * (rows + columns) >= rows * columns and rank < 1:
        return [weight]
    exact = weight.to(moments.dtype)
    mean = moments.diagonal().mean()
    # Of inputs that were never there nothing is known: they weigh alike.
    moments = moments / mean if mean > 0 else torch.zeros_like(moments)
    values, vectors = torch.linalg.eigh(moments)
    size = (values.clamp_min(0) + _RIDGE).sqrt()
    left, singular, right = torch.linalg.svd((exact @ vectors) * size, full_matrices=False)
    root = singular[:kept].sqrt()
    right = (right[:kept] / size) @ vectors.mT
    return [(left[:, :kept] * root).to(weight), (root[:, None] * right).to(weight)]
