"""Long seasons: found, taken off and put back; and no others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rimer_forecaster.zero_shot import forecast, zero_shot_network
from rimer_forecaster.zero_shot.forecast import forecast_windows
from rimer_forecaster.zero_shot.seasons import period_of, profile_of, without_seasons


def rough(m: int, n: int, *, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """A season of m steps that no smooth curve resembles, over n steps, with noise."""
    rng = np.random.default_rng(seed)
    return np.resize(rng.standard_normal(m), n) + noise * rng.standard_normal(n)


@pytest.mark.parametrize("m", [7, 12, 24, 50, 108, 168, 288])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_a_season_is_found_beside_a_trend_and_noise(m: int, missing: float) -> None:
    n = 4 * m + 5
    x = 5 * np.sin(2 * np.pi * np.arange(n) / m) + rough(m, n, noise=0.5) + np.linspace(0, 9, n)
    x[np.random.default_rng(1).random(n) < missing] = np.nan

    assert period_of(x) == m


@pytest.mark.parametrize("seed", range(5))
def test_noise_walks_lines_and_constants_have_no_long_season(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(600)
    for x in (noise, noise.cumsum(), np.arange(600.0) + noise, np.full(600, 3.0), noise[:10]):
        rest, coming = without_seasons(x, 9)[:2]
        np.testing.assert_array_equal(rest, x)
        np.testing.assert_array_equal(coming, np.zeros(9))


def test_a_rough_season_is_taken_off_and_goes_on() -> None:
    x = rough(108, 5 * 108 + 30)

    rest, coming = without_seasons(x[:-30], 30)[:2]

    assert np.std(rest) < 0.2 * np.std(x)
    assert np.abs(coming + rest.mean() - x[-30:]).mean() < 0.2


def test_a_week_of_days_is_found_behind_its_days() -> None:
    n, t = 168 * 6, np.arange(168 * 6)
    x = 6 * np.sin(2 * np.pi * t / 24) + rough(168, n, noise=0.1)

    rest, coming = without_seasons(x, 168)[:2]

    assert period_of(x) == 24
    assert np.std(rest) < 0.1 * np.std(x)
    assert np.corrcoef(coming, x[-168:])[0, 1] > 0.98


@pytest.mark.parametrize("m", [4, 12, 24])
def test_short_seasons_are_left_to_the_network_unless_they_are_almost_all(m: int) -> None:
    noisy, exact = (rough(m, 20 * m, noise=x, seed=1) for x in (0.4, 0.05))

    np.testing.assert_array_equal(without_seasons(noisy, m)[0], noisy)
    rest, coming = without_seasons(exact, m)[:2]
    assert np.std(rest) < 0.1 * np.std(exact)
    assert np.abs(coming + rest.mean() - rough(m, m, noise=0.0, seed=1)).max() < 0.1


@pytest.mark.parametrize("m", [7, 12, 24])
def test_what_repeats_is_forecast_to_repeat(m: int) -> None:
    """The network alone is wrong by some percent, which is much where nothing else is."""
    season = rough(m, 12 * m, noise=0.0, seed=2)
    alone, refined = (
        forecast(zero_shot_network(), [season[: 10 * m]], 2 * m, refine=x)[0, :, 4]
        for x in (False, True)
    )
    errors = [np.abs(x - season[10 * m :]).mean() / np.std(season) for x in (alone, refined)]
    assert errors[1] < 0.002 < errors[0]


@given(
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
    level=st.sampled_from([0.0, 5.0]),
    lead=st.integers(0, 40),
)
@settings(max_examples=20, deadline=None)
def test_units_and_what_is_missing_before_change_nothing(
    scale: float, level: float, lead: int
) -> None:
    x = rough(60, 300)
    rest, coming = without_seasons(x, 60)[:2]

    moved = np.concatenate((np.full(lead, np.nan), scale * (x + level)))
    moved_rest, moved_coming = without_seasons(moved, 60)[:2]

    assert coming.any()
    np.testing.assert_allclose(moved_coming, scale * coming, rtol=1e-6, atol=1e-9 * scale)
    np.testing.assert_allclose(moved_rest[lead:], scale * (rest + level), rtol=1e-6)
    assert np.isnan(moved_rest[:lead]).all()


def test_a_profile_follows_cycles_that_change() -> None:
    first, last = rough(50, 50), rough(50, 50, seed=1)
    x = np.concatenate([np.resize(first, 400), np.resize(last, 400)])

    profile, *_ = profile_of(x, 50)
    unlike = np.abs(profile - (last - last.mean())).mean()

    assert unlike < 0.6 * np.abs(profile - (first - first.mean())).mean()


def test_a_profile_is_strong_where_it_explains_the_series() -> None:
    strengths = [profile_of(rough(60, 600, noise=x), 60)[1] for x in (0.0, 0.5, 2.0)]

    assert strengths[0] == pytest.approx(1)
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[2] < 0.5


def test_a_long_rough_season_is_forecast_as_it_was_and_not_smoothly() -> None:
    network = zero_shot_network()
    x = rough(108, 8 * 108)
    past, future = x[:-54], x[-54:]

    adjusted, alone = (
        np.abs(forecast(network, [past], 54, refine=refine)[0, :, 4] - future).mean()
        for refine in (True, False)
    )

    assert adjusted < 0.25
    assert adjusted < 0.5 * alone


def test_intervals_are_as_wide_as_cycles_differ() -> None:
    """Of four cycles the profile follows the noise, too, which the next one does not repeat."""
    network, H = zero_shot_network(), 90
    series = [rough(90, 4 * 90 + H, noise=0.4, seed=seed) for seed in range(30)]
    found = forecast(network, [x[:-H] for x in series], H)
    future = np.stack([x[-H:] for x in series])
    levels = [float(x) for x in network.config.outputs]
    low, high = (found[..., levels.index(x)] for x in (0.1, 0.9))
    assert 0.74 < np.mean((low <= future) & (future <= high)) < 0.86
    assert without_seasons(series[0][:-H], H).widening == pytest.approx((5 / 3) ** 0.5, rel=0.1)


@pytest.mark.parametrize("n", [40, 150, 700])
def test_a_step_is_forecast_alike_whatever_else_is_asked_for(n: int) -> None:
    rng, network = np.random.default_rng(n), zero_shot_network()
    series = [rng.normal(size=n).cumsum(), rough(12, n), rough(60, n), np.arange(n) + 0.0]
    long = forecast(network, series, 200)
    for H in (1, 20, 64, 100):
        np.testing.assert_allclose(forecast(network, series, H), long[:, :H], rtol=1e-4, atol=1e-5)


def test_beyond_the_steps_at_once_seasons_go_on_and_trends_do() -> None:
    t, rng = np.arange(800), np.random.default_rng(0)
    season = np.sin(2 * np.pi * t / 24) + 0.05 * rng.normal(size=800)
    trend = 0.05 * t + 0.5 * rng.normal(size=800)
    found = forecast(zero_shot_network(), [season[:600], trend[:600]], 200)[..., 4]
    assert np.abs(found[0] - season[600:]).mean() < 0.15
    assert np.abs(found[1] - trend[600:]).mean() < 2


def test_every_door_takes_long_seasons_off() -> None:
    network = zero_shot_network()
    x = rough(108, 40 * network.config.patch_length)  # whole patches, with padding or without
    expected = forecast(network, [x], 30)[0]
    assert np.abs(expected - forecast(network, [x], 30, refine=False)[0]).max() > 0.5

    windows = torch.from_numpy(np.stack([x, x], 1))[None].to(network.dtype)
    found = forecast_windows(network, windows, 30)[0, :, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")
    from rimer_forecaster import RimerForecaster

    forecaster = RimerForecaster(pretrained="rimer-zero").fit(pd.Series(x), fh=range(1, 31))
    np.testing.assert_allclose(forecaster.predict(), expected[:, 4], rtol=1e-4, atol=1e-4)


def test_weights_that_were_trained_on_forecast_as_they_were_trained() -> None:
    pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")
    from rimer_forecaster import RimerForecaster
    from rimer_forecaster.training import Recipe

    x = rough(108, 6 * 108)
    once = Recipe(steps=1, fewest_epochs=1)
    forecaster = RimerForecaster(pretrained="rimer-zero", n_epochs=1, batch_size=1000, recipe=once)
    forecaster.fit(pd.Series(x), fh=range(1, 31))

    alone = forecast(forecaster.network_, [x[-512:]], 30, refine=False)[0, :, 4]
    np.testing.assert_allclose(forecaster.predict(), alone, rtol=1e-4, atol=1e-4)
