"""Matrices of fewer bytes."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal
from torch import nn

from rimer_forecaster.layers.parts.compressed import (
    CompressedLinear,
    CompressedMatrix,
    assign_weight,
)

LIKE = torch.zeros(0)


def matrix(rank: int | None = None, *, whole_numbers: bool = True) -> CompressedMatrix:
    return CompressedMatrix(6, 10, rank=rank, whole_numbers=whole_numbers, like=LIKE)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e6])
def test_whole_numbers_are_as_near_as_half_a_step_of_their_row(size: float) -> None:
    weight = size * normal(6, 10).float() * torch.logspace(-3, 0, 6)[:, None]
    stored = matrix()
    stored.assign([weight])
    step = weight.abs().amax(1, keepdim=True) / 127
    assert stored.whole.dtype == torch.int8
    assert bool(((stored.dense() - weight).abs() <= 0.51 * step).all())


@pytest.mark.parametrize("rank", [None, 3])
def test_what_was_rounded_once_stays_to_the_bit(rank: int | None) -> None:
    stored, again = matrix(rank), matrix(rank)
    shapes = [(6, 10)] if rank is None else [(6, rank), (rank, 10)]
    stored.assign([normal(*shape, seed=i).float() for i, shape in enumerate(shapes)])
    again.assign(stored.factors())
    assert torch.equal(again.dense(), stored.dense())


def test_half_precision_holds_the_scales() -> None:
    stored = matrix()
    stored.assign([normal(6, 10).float()])
    assert torch.equal(stored.whole_scale.half().float(), stored.whole_scale)


def test_a_row_of_zeros_stays_one() -> None:
    stored = matrix()
    stored.assign([torch.zeros(6, 10)])
    assert torch.equal(stored.dense(), torch.zeros(6, 10))


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("whole_numbers", [True, False])
def test_a_layer_maps_by_the_product_of_its_factors(rank: int | None, whole_numbers: bool) -> None:
    own = matrix(rank, whole_numbers=whole_numbers)
    shapes = [(6, 10)] if rank is None else [(6, rank), (rank, 10)]
    own.assign([normal(*shape, seed=i).float() for i, shape in enumerate(shapes)])
    layer, x = CompressedLinear(own, nn.Parameter(torch.arange(6.0))), normal(4, 10).float()
    assert (layer.in_features, layer.out_features) == (10, 6)
    torch.testing.assert_close(layer(x), x @ layer.weight.mT + torch.arange(6.0))


def test_scales_are_trained_and_whole_numbers_are_not() -> None:
    own = matrix()
    own.assign([normal(6, 10).float()])
    own(normal(2, 10).float()).sum().backward()
    assert [name for name, _ in own.named_parameters()] == ["whole_scale"]
    assert own.whole_scale.grad is not None
    assert bool((own.whole_scale.grad != 0).all())


def test_a_layer_takes_another_weight_unless_it_is_a_product() -> None:
    weight = normal(6, 10).float()
    layer, plain = CompressedLinear(matrix(), None), nn.Linear(10, 6)
    for own in (layer, plain):
        assign_weight(own, weight)
        torch.testing.assert_close(own.weight, weight, rtol=0, atol=0.02)
    with pytest.raises(ValueError, match="a product of two factors"):
        assign_weight(CompressedLinear(matrix(2), None), weight)
