"""Forecasts of any series: sane on whatever comes, and with the symmetries of the data."""

import numpy as np
import pytest

from rimer_forecaster import RimerNetwork
from rimer_forecaster.zero_shot import forecast, zero_shot_network

NETWORK = zero_shot_network()
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


@pytest.mark.parametrize("case", DEGENERATE)
def test_forecasts_are_finite_ordered_and_of_the_size_of_the_series(case):
    series = np.asarray(DEGENERATE[case], float)

    found = forecast(NETWORK, [series], 70)[0]

    assert found.shape == (70, 9)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) >= 0).all()
    known = series[-2048:][~np.isnan(series[-2048:])]
    size = max(np.abs(known).max(), 1e-300)
    away, range_of = np.abs(found / size - (known / size).mean()), np.ptp(known / size)
    assert away[:, 4].max() <= 3 * range_of
    # Two values say little, and an exponential goes on: beyond 10,000,000 times its range.
    assert away.max() <= (100 if case == "exponential" else 50) * range_of


@pytest.mark.parametrize("value", [0.0, 0.1, -3.5, 1e-300, 1e9 + 0.1, -1e300])
@pytest.mark.parametrize("length", [1, 7, 100, 3000])
def test_a_constant_stays_that_constant(value, length):
    series = np.full(length, value)
    series[1::3] = NAN

    np.testing.assert_array_equal(forecast(NETWORK, [series], 70), value)


@pytest.mark.parametrize(
    ("factor", "shift"), [(1e-12, 0), (1e12, 0), (1, 1e9), (1, -1e6), (1e-5, 3), (1024, 0)]
)
def test_the_unit_and_the_origin_of_a_series_change_nothing_else(factor, shift):
    for series in (SEASONS, DAYS):
        own = forecast(NETWORK, [series], 70)
        other = forecast(NETWORK, [shift + factor * series], 70)

        # Single precision inside; a shift costs the digits that it pushes out.
        digits = 1e-4 + 1e-15 * abs(shift / factor)
        np.testing.assert_allclose((other - shift) / factor, own, atol=digits * spread(series))


def test_series_in_a_batch_do_not_touch_each_other():
    several = [SEASONS, DAYS, SEASONS[:50], SEASONS[:49], [5.0], np.arange(9.0), DAYS[:2500]]

    together = forecast(NETWORK, several, 24)
    backwards = forecast(NETWORK, several[::-1], 24)[::-1]

    for series, one, other in zip(several, together, backwards, strict=True):
        alone = forecast(NETWORK, [series], 24)[0]
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
    with pytest.raises(ValueError, match="series 1 has no value to forecast from"):
        forecast(NETWORK, [[1.0, 2.0], series], 3)
    late = [1.0] * 5 + [NAN] * NETWORK.config.input_chunk_length
    with pytest.raises(ValueError, match="series 0 has no value in its last 2048 steps"):
        forecast(NETWORK, [late], 3)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused_by_the_place_of_its_series(value):
    with pytest.raises(ValueError, match="series 2 holds an infinite value"):
        forecast(NETWORK, [SEASONS, SEASONS, [*SEASONS, value]], 3)


def test_arguments_that_make_no_sense_are_refused():
    for horizon in (0, 2.5):
        with pytest.raises(ValueError, match=rf"horizon={horizon} must be a whole number of at"):
            forecast(NETWORK, [SEASONS], horizon)
    with pytest.raises(ValueError, match=r"series 0 has shape \(2, 2\)"):
        forecast(NETWORK, [[[1, 2], [3, 4]]], 3)


def test_series_of_any_number_of_patches_are_read():
    network = RimerNetwork(
        4000, 4, layers="rwkv7", width=8, head_size=4, patch_length=1, streaming=True,
        skip_length=8, squash=True, read_gaps=True, outputs=(0.1, 0.5, 0.9),
    )  # fmt: skip
    assert forecast(network, [np.arange(3500.0)], 3, refine=False).shape == (1, 3, 3)
