"""Forecasts of any series: sane on whatever comes, and with the symmetries of the data."""

import numpy as np
import pytest

from rimer_forecaster import RimerNetwork
from rimer_forecaster.zero_shot import forecast, zero_shot_network
from rimer_forecaster.zero_shot.resampling import coarser, period_of, step_of, to_fine

NETWORK = zero_shot_network()
QUANTILES = np.array([float(x) for x in NETWORK.config.outputs])
WAYS = [{}, {"flip": True}, {"resample": True}]
RNG = np.random.default_rng(0)
SEASONS = 10 + 3 * np.sin(2 * np.pi * np.arange(200) / 12) + 0.5 * RNG.normal(size=200)
DAYS = 5 * np.sin(2 * np.pi * np.arange(3000) / 288) + 0.3 * RNG.normal(size=3000)
NAN = float("nan")


def spread(series):
    return np.nanmax(series) - np.nanmin(series)


DEGENERATE = {
    "one value": [3.5],
    "two values": [1.0, 2.0],
    "all missing but one": [NAN] * 100 + [7.0] + [NAN] * 50,
    "missing at the end": [*SEASONS, *[NAN] * 100],
    "constant": [5.0] * 80,
    "zeros": [0.0] * 80,
    "nearly constant": [5.0] * 79 + [5.0001],
    "counts": RNG.poisson(0.3, 150).astype(float),
    "whole numbers": RNG.integers(0, 3, 150).astype(float),
    "tiny": 1e-12 * SEASONS,
    "huge": 1e12 * SEASONS,
    "as small as numbers go": 1e-300 * SEASONS,
    "as large as numbers go": 1e306 * SEASONS,
    "far from zero": 1e9 + SEASONS,
    "one wild value": [*SEASONS[:100], 1e9, *SEASONS[100:]],
    "a step": [0.0] * 50 + [1e6] * 50,
    "exponential": np.exp(np.arange(100) / 4),
    "three long": SEASONS[:3],
    "longer than is read": np.tile(SEASONS, 12),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("case", DEGENERATE)
def test_forecasts_are_finite_ordered_and_of_the_size_of_the_series(case, way):
    series = np.asarray(DEGENERATE[case], float)

    found = forecast(NETWORK, [series], 70, **way)[0]

    assert found.shape == (70, 9)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) >= 0).all()
    known = series[-2048:][~np.isnan(series[-2048:])]
    size = max(np.abs(known).max(), 1e-300)
    away, range_of = np.abs(found / size - (known / size).mean()), np.ptp(known / size)
    assert away[:, 4].max() <= 3 * range_of
    assert away.max() <= 50 * range_of  # two values say little


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, -3.5, 1e-300, 1e9 + 0.1, -1e300])
@pytest.mark.parametrize("length", [1, 7, 100, 3000])
def test_a_constant_stays_that_constant(value, length, way):
    series = np.full(length, value)
    series[1::3] = NAN

    np.testing.assert_array_equal(forecast(NETWORK, [series], 70, **way), value)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    ("factor", "shift"), [(1e-12, 0), (1e12, 0), (1, 1e9), (1, -1e6), (1e-5, 3), (1024, 0)]
)
def test_the_unit_and_the_origin_of_a_series_change_nothing_else(factor, shift, way):
    for series in (SEASONS, DAYS):
        own = forecast(NETWORK, [series], 70, **way)
        other = forecast(NETWORK, [shift + factor * series], 70, **way)

        # Single precision inside; a shift costs the digits that it pushes out.
        digits = 1e-4 + 1e-15 * abs(shift / factor)
        np.testing.assert_allclose((other - shift) / factor, own, atol=digits * spread(series))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_series_in_a_batch_do_not_touch_each_other(way):
    several = [SEASONS, DAYS, SEASONS[:50], SEASONS[:49], [5.0], np.arange(9.0), DAYS[:2500]]

    together = forecast(NETWORK, several, 24, **way)
    backwards = forecast(NETWORK, several[::-1], 24, **way)[::-1]

    for series, one, other in zip(several, together, backwards, strict=True):
        alone = forecast(NETWORK, [series], 24, **way)[0]
        np.testing.assert_allclose(one, alone, atol=1e-4 * max(spread(series), 1e-9))
        np.testing.assert_allclose(other, alone, atol=1e-4 * max(spread(series), 1e-9))


def test_what_is_missing_before_the_first_value_changes_nothing():
    own = forecast(NETWORK, [SEASONS], 24)

    for steps in (1, 15, 16, 300):
        padded = np.concatenate((np.full(steps, NAN), SEASONS))
        np.testing.assert_allclose(forecast(NETWORK, [padded], 24), own, atol=1e-4)


def test_only_what_the_network_reads_counts():
    longest = NETWORK.config.input_chunk_length
    series = np.tile(SEASONS, 20)
    changed = series.copy()
    changed[:-longest] = 1e6

    np.testing.assert_array_equal(forecast(NETWORK, [series], 9), forecast(NETWORK, [changed], 9))


def test_more_steps_leave_the_first_ones_as_they_are():
    long = forecast(NETWORK, [SEASONS], 150)

    np.testing.assert_allclose(long[:, :40], forecast(NETWORK, [SEASONS], 40), atol=1e-4)


def test_seasons_are_forecast():
    ahead = 10 + 3 * np.sin(2 * np.pi * np.arange(200, 224) / 12)

    found = forecast(NETWORK, [SEASONS], 24)[0]

    assert np.abs(found[:, 4] - ahead).mean() < 0.5 * np.abs(ahead - SEASONS.mean()).mean()


@pytest.mark.parametrize("series", [[], [NAN] * 9])
def test_a_series_without_a_value_is_refused_by_its_place(series):
    for way in WAYS:
        with pytest.raises(ValueError, match="series 1 has no value to forecast from"):
            forecast(NETWORK, [[1.0, 2.0], series], 3, **way)
    late = [1.0] * 5 + [NAN] * NETWORK.config.input_chunk_length
    with pytest.raises(ValueError, match="series 0 has no value in its last 2048 steps"):
        forecast(NETWORK, [late], 3)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused_by_the_place_of_its_series(value):
    for way in WAYS:
        with pytest.raises(ValueError, match="series 2 holds an infinite value"):
            forecast(NETWORK, [SEASONS, SEASONS, [*SEASONS, value]], 3, **way)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="horizon=0 must be at least 1"):
        forecast(NETWORK, [SEASONS], 0)
    with pytest.raises(ValueError, match=r"series 0 has shape \(2, 2\)"):
        forecast(NETWORK, [[[1, 2], [3, 4]]], 3)
    lopsided = RimerNetwork(64, 4, outputs=(0.1, 0.5, 0.6), streaming=True)
    with pytest.raises(ValueError, match="flip=True is for quantiles that are symmetric"):
        forecast(lopsided, [SEASONS], 3, flip=True)


def test_flipped_forecasts_of_a_negated_series_are_negated():
    own = forecast(NETWORK, [SEASONS], 70, flip=True)
    other = forecast(NETWORK, [-SEASONS], 70, flip=True)

    np.testing.assert_allclose(other, -own[..., ::-1], atol=1e-4)
    plain = forecast(NETWORK, [SEASONS], 70), forecast(NETWORK, [-SEASONS], 70)
    assert np.abs(plain[1] + plain[0][..., ::-1]).max() > 1e-2  # it is no property of the network
    np.testing.assert_allclose(own, (plain[0] - plain[1][..., ::-1]) / 2, atol=1e-4)


# Longer steps.


@pytest.mark.parametrize("period", [64, 108, 288])
def test_the_period_of_a_noisy_season_is_found(period):
    steps = np.arange(20 * period)
    x = np.sin(2 * np.pi * steps / period) + 0.3 * RNG.normal(size=len(steps)) + steps / 500

    assert abs(period_of(x) - period) <= 0.03 * period
    assert period_of(1e300 * x) == period_of(x)
    x[RNG.random(len(x)) < 0.3] = NAN
    assert abs(period_of(x) - period) <= 0.03 * period


def test_what_does_not_come_back_has_no_period():
    rng = np.random.default_rng(1)
    for x in (np.zeros(500), np.arange(500.0), rng.normal(size=2000), np.full(500, NAN), [1.0] * 8):
        assert period_of(np.asarray(x)) == 1


def test_only_long_periods_are_read_in_longer_steps():
    days = np.arange(4000)
    inner = np.sin(2 * np.pi * days / 24) + 1.2 * np.sin(2 * np.pi * days / 168)

    assert step_of(DAYS, 48) == 12
    assert step_of(DAYS, 6) == 1  # too near
    assert step_of(SEASONS, 48) == 1
    assert step_of(inner, 48) == 1  # the shorter of two periods would be lost
    assert step_of(DAYS[:1000], 48) == 1  # too seldom
    np.testing.assert_array_equal(
        forecast(NETWORK, [SEASONS], 48, resample=True), forecast(NETWORK, [SEASONS], 48)
    )


def test_longer_steps_are_means_that_end_with_the_series():
    x = np.array([99, 1, 2, 3, NAN, NAN, NAN, NAN, 8])

    np.testing.assert_allclose(coarser(x, 2), [1.5, 3, NAN, 8])
    np.testing.assert_allclose(coarser(x, 3), [34, 3, 8])


def test_single_steps_are_lines_between_longer_ones_and_as_uncertain_as_the_past():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=6000)
    series = 100 + np.arange(6000.0) + noise
    blocks = coarser(series, 10)
    means = blocks[-1] + 10 * np.arange(1, 7)
    sizes = np.array([-1.96, -1.645, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.645, 1.96])

    known = to_fine(series, blocks, np.repeat(means[:, None], 9, 1), QUANTILES, 10, 48)
    unsure = to_fine(series, blocks, means[:, None] + 3 * sizes, QUANTILES, 10, 48)

    steps = np.arange(6000, 6048) + 100.0
    np.testing.assert_allclose(known[:, 4], steps, atol=1)
    # If the means are known, what is left over is the noise; else both add as squares.
    np.testing.assert_allclose(known[20:] - known[20:, [4]], sizes * np.ones((28, 1)), atol=0.15)
    wide = np.sqrt(1 + 9) * sizes * np.ones((28, 1))
    np.testing.assert_allclose(unsure[20:] - unsure[20:, [4]], wide, atol=0.15)


def test_longer_steps_forecast_long_periods():
    ahead = 5 * np.sin(2 * np.pi * np.arange(3000, 3288) / 288)

    plain = forecast(NETWORK, [DAYS], 288)[0, :, 4]
    found = forecast(NETWORK, [DAYS], 288, resample=True)[0, :, 4]

    assert np.abs(found - ahead).mean() < 0.5 * np.abs(plain - ahead).mean()
