"""Scales of windows, units of errors, and what they make of numbers."""

from __future__ import annotations

import pytest
import torch
from network_cases import normal, walk
from torch.nn import functional as F

from rimer_forecaster.network.scale import (
    WILD,
    is_tame,
    running_scale,
    scaled_softplus_input,
    unit_of,
    window_scale,
)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_of_the_scaled_input_is_the_scaled_softplus(
    scale: float, dtype: torch.dtype
) -> None:
    """An exponential multiplies the rounding of what it is of by the size of that: up to 36."""
    x = torch.linspace(-8, 8, 33, dtype=dtype)
    y = scaled_softplus_input(x, torch.tensor(scale, dtype=dtype))
    rtol = 4 * 36 * torch.finfo(dtype).eps
    torch.testing.assert_close(F.softplus(y), scale * F.softplus(x), rtol=rtol, atol=0)


def test_scale_of_observed_values_only() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 99.0]).view(1, 4, 1)
    location, scale = window_scale(x, torch.tensor([True, True, True, False]).view(1, 4, 1))
    assert location.item() == 2
    assert scale.item() == pytest.approx((2 / 3) ** 0.5)


@pytest.mark.parametrize(("level", "jump", "noise"), [(1e5, 1e3, 0.0), (0.0, 100.0, 1e-3)])
def test_scales_before_a_jump_are_those_of_what_was_there(
    level: float, jump: float, noise: float
) -> None:
    """In float32, where a sum of squares about the later mean has no digit of them left."""
    x = level + noise * torch.randn(1, 40, 1, generator=torch.Generator().manual_seed(0))
    x[:, 30:] += jump
    location, scale = window_scale(x)
    ends = (10, 20, 30, 40)
    _, found = running_scale(((x - location) / scale).mT, None, ends, (location / scale).mT)
    expected = torch.stack([window_scale(x[:, :end])[1].flatten() for end in ends], 1) / scale[0]
    torch.testing.assert_close(found[0], expected, rtol=0.05, atol=0)


def test_the_unit_of_errors_is_the_deviation_of_what_was_observed() -> None:
    x = walk(4, 40, 3)
    x[0, 3:9, 1] = float("nan")
    expected = [
        [x[b, ~x[b, :, c].isnan(), c].std(correction=0) for c in range(3)] for b in range(4)
    ]
    torch.testing.assert_close(unit_of(x)[:, 0], torch.tensor(expected, dtype=x.dtype))
    torch.testing.assert_close(unit_of(-1e-21 * x), 1e-21 * unit_of(x), rtol=1e-9, atol=0)


def test_the_unit_of_constant_errors_is_their_size() -> None:
    x = torch.tensor([[0.0, -3e7, 5.0]]).expand(1, 10, 3)
    assert unit_of(x).tolist() == [[[1.0, 3e7, 5.0]]]


def test_one_wild_value_leaves_the_unit_in_its_range() -> None:
    x = torch.sin(torch.arange(200.0))[None, :, None]
    wild = x.clone()
    wild[0, 50] = 1e9
    assert 1 < float(unit_of(wild) / unit_of(x)) < 2
    counts = torch.zeros(1, 100, 1)
    counts[0, ::7] = 3.0  # most are alike, but the others are no accident
    torch.testing.assert_close(unit_of(counts), counts.std(1, correction=0, keepdim=True))


@pytest.mark.parametrize("wild", [0.0, 10.0, 30.0, 1e4])
@pytest.mark.parametrize("level", [0.0, 1e9])
def test_of_tame_series_no_window_is_wild(wild: float, level: float) -> None:
    """At the higher level single precision does not tell the series from a flat one."""
    x = level + normal(1, 200, 1)
    x[0, 50] += wild
    x[0, 80:90] = torch.nan
    unit = unit_of(x)
    windows = x[0].float().unfold(0, 24, 1).mT  # (n, L, 1)
    largest = window_scale(windows, ~windows.isnan())[1].max() / unit.item()
    assert is_tame(x, unit) is (wild < 20 and not level)
    assert largest <= WILD or not is_tame(x, unit)
    assert largest > WILD or (wild < 1e3 and not level)
