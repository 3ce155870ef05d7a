"""Medians move towards the last value as far as that was better, and no further."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch import Tensor

from rimer_forecaster import RimerNetwork
from rimer_forecaster.network.dense import dense_forecast
from rimer_forecaster.zero_shot import forecast, shrinkage, zero_shot_network

NETWORK = zero_shot_network()
MIDDLE = NETWORK.config.middle


def walks(count: int, length: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.cumsum(rng.standard_t(4, length)) for _ in range(count)]


def windows(rows: list[np.ndarray]) -> Tensor:
    """(B, L, 1)."""
    return torch.tensor(np.stack(rows), dtype=torch.float32)[..., None]


def test_a_random_walk_is_forecast_nearer_its_last_value_and_better() -> None:
    whole = walks(200, 2048 + 48)
    past, future = [x[:2048] for x in whole], np.stack([x[2048:] for x in whole])
    alone, refined = (forecast(NETWORK, past, 48, refine=x)[..., MIDDLE] for x in (False, True))
    last = np.stack([x[-1:] for x in past])
    assert np.abs(refined - last).mean() < 0.25 * np.abs(alone - last).mean()
    assert np.abs(refined - future).mean() < np.abs(alone - future).mean()


def test_what_the_network_knows_stays() -> None:
    rng, t = np.random.default_rng(0), np.arange(800)
    waves = [np.sin(2 * np.pi * t / 12 + i) + 0.2 * rng.normal(size=800) for i in range(4)]
    alone, refined = (forecast(NETWORK, waves, 24, refine=x) for x in (False, True))
    np.testing.assert_allclose(refined, alone, atol=0.04)


def test_distances_of_quantiles_stay() -> None:
    past = walks(5, 512)
    alone, refined = (forecast(NETWORK, past, 24, refine=x) for x in (False, True))
    assert np.abs(alone - refined).max() > 1
    np.testing.assert_allclose(np.diff(refined), np.diff(alone), atol=1e-4)


def test_the_share_has_the_lowest_error_of_earlier_medians() -> None:
    x = windows(walks(6, 400))
    x[2, 30:50] = torch.nan
    dense = dense_forecast(NETWORK, x, steps=400)
    medians = dense.to_units(NETWORK.config.squash)[:, 0, :, :, MIDDLE]  # (B, T, H)
    shares = shrinkage._shares(NETWORK, x, None)[:, 0]  # (B, groups)
    groups = list(pairwise((0, *shrinkage._AHEAD)))
    assert shares.shape == (6, len(groups))
    for (i, row), (g, (begin, h)) in product(enumerate(x[..., 0]), enumerate(groups)):
        ends = [j for j, e in enumerate(dense.ends.tolist()) if e + h <= 400]
        ends = [j for j in ends if (~row[: dense.ends[j]].isnan()).sum() >= 32]

        def error(
            share: float,
            i: int = i,
            row: Tensor = row,
            ends: list[int] = ends,
            begin: int = begin,
            h: int = h,
        ) -> float:
            total = 0.0
            for j in ends:
                e = int(dense.ends[j])
                before = row[:e]
                last = before[~before.isnan()][-1]
                truth = row[e + begin : e + h]
                gap = truth - last - share * (medians[i, j, begin:h] - last)
                total += float(gap[~truth.isnan()].abs().sum())
            return total

        prior = shrinkage._PRIOR
        best = (float(shares[i, g]) * (len(ends) + prior) - prior) / len(ends)
        assert -1e-4 <= best <= 1 + 1e-4
        least = min(error(share) for share in np.linspace(0, 1, 101))
        if best < 1e-4:
            least /= 1 - shrinkage._LEAST_GAIN
        assert error(best) <= least * (1 + 1e-4)
    assert shares.min() < 0.9


def test_a_small_gain_over_the_last_value_makes_no_share() -> None:
    wide = torch.tensor([1.0, -1.0]).repeat(100)  # as far from 0.5 as from 0, on average

    def share(steady: int) -> float:
        ratios = torch.cat((wide, torch.full((steady,), 0.5)))
        return float(shrinkage._best_share(ratios[None, None], torch.ones(1, 1, len(ratios))))

    assert share(6) == 0.0  # 3 of 203 are gained, less than 2 %
    assert share(10) == 0.5  # 5 of 205


def test_a_weighted_median_has_the_lowest_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    values, weights = (
        torch.randn(20, 9, generator=generator),
        torch.rand(20, 9, generator=generator),
    )
    weights[:, 0], values[:, 0] = 0.0, torch.nan
    found = shrinkage._weighted_median(values, weights)

    def sums(x: Tensor) -> Tensor:
        return (weights[:, 1:] * (values[:, 1:] - x[:, None]).abs()).sum(1)

    for other in values[:, 1:].T:
        assert (sums(found) <= sums(other) + 1e-6).all()
    assert shrinkage._weighted_median(values, torch.zeros(20, 9)).eq(1).all()


def test_short_series_are_left_as_they_are() -> None:
    past = walks(3, 39)
    alone, refined = (forecast(NETWORK, past, 24, refine=x) for x in (False, True))
    assert np.array_equal(alone, refined)


@pytest.mark.parametrize(
    "arguments",
    [
        {"streaming": False},
        {"layers": None},
        {"past_covariates": 1},
        {"components": "cross", "target_components": ("a", "b")},
        {"outputs": ("location", "scale")},
    ],
    ids=str,
)
def test_networks_without_dense_forecasts_forecast_as_they_are(arguments: dict) -> None:
    given = {"layers": "rwkv7", "width": 8, "head_size": 4, "streaming": True, **arguments}
    network = RimerNetwork(128, 8, **given)
    target = windows(walks(2, 128)).expand(-1, -1, max(1, len(network.config.target_components)))
    outputs = torch.zeros(2, 8, target.shape[2], len(network.config.outputs))
    assert shrinkage.shrunk(network, target, outputs) is outputs


def test_many_series_are_read_in_parts_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past = walks(7, 300)
    whole, calls = forecast(NETWORK, past, 24), []

    def counted(*arguments: object) -> Tensor:
        calls.append(arguments)
        return shares(*arguments)

    shares = shrinkage._shares
    monkeypatch.setattr(shrinkage, "_TOKENS", 3 * 24)
    monkeypatch.setattr(shrinkage, "_shares", counted)
    np.testing.assert_allclose(forecast(NETWORK, past, 24), whole, rtol=1e-4, atol=1e-4)
    assert len(calls) > 1


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_windows_of_any_size_have_the_same_share(size: float) -> None:
    x = windows(walks(4, 300))
    shares = [shrinkage._shares(NETWORK, y, None) for y in (x, size * x)]
    torch.testing.assert_close(shares[1], shares[0], rtol=1e-3, atol=1e-3)
