"""Scores against values computed by hand and by sktime, and the naive forecasts beside them."""

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster.zero_shot.scores import naive_quantiles, origins_of, score, seasonal_naive
from rimer_forecaster.zero_shot.tables import SeriesTable

QUANTILES = (0.1, 0.5, 0.9)
NAN = float("nan")


def scores(outputs, past, future, season=1):
    arrays = ([np.array(x, float) for x in y] for y in (outputs, past, future))
    outputs, past, future = arrays
    return score(np.array(outputs), QUANTILES, past, future, season)


def test_scores_are_those_computed_by_hand():
    # Two steps, medians 4 and 6, the truth 5 and 2; differences of the past 1, 2 and 3.
    found = scores([[[3, 4, 6], [5, 6, 9]]], [[0, 1, 3, 6]], [[5, 2]])

    assert found.mase == pytest.approx((1 + 4) / 2 / 2)
    assert found.smape == pytest.approx((200 * 1 / 9 + 200 * 4 / 8) / 2)
    # Quantiles miss the first value by 2, 1 and 1, and lie above the second by 3, 4 and 7.
    losses = [2 * x for x in (0.1 * 2, 0.5 * 1, 0.1 * 1, 0.9 * 3, 0.5 * 4, 0.1 * 7)]
    assert found.wql == pytest.approx(sum(losses) / 3 / (5 + 2))
    assert found.coverage == pytest.approx(0.5)  # 5 lies between 3 and 6; 2 is below 5


def test_errors_average_over_series_and_losses_over_values():
    quantiles = [[[0, 1, 2]] * 3, [[10, 20, 30]] * 3]
    found = scores(quantiles, [[0, 1, 2], [0, 4, 8]], [[2, 2, 2], [10]])

    assert found.mase == pytest.approx((1 + 10 / 4) / 2)  # not over the four values
    assert found.smape == pytest.approx((200 / 3 + 200 * 10 / 30) / 2)
    losses = 3 * [2 * (0.1 * 2 + 0.5 * 1 + 0.9 * 0) / 3] + [2 * (0.1 * 0 + 0.5 * 10 + 0.1 * 20) / 3]
    assert found.wql == pytest.approx(sum(losses) / (2 + 2 + 2 + 10))
    assert found.coverage == 1


@pytest.mark.parametrize("season", [1, 7])
def test_mase_is_that_of_sktime(season):
    metrics = pytest.importorskip(
        "sktime.performance_metrics.forecasting", reason="compared with sktime's"
    )
    rng = np.random.default_rng(0)
    past, future = list(rng.normal(size=(6, 40))), list(rng.normal(size=(6, 9)))
    outputs = np.sort(rng.normal(size=(6, 9, 3)))

    mase = scores(outputs, past, future, season).mase

    theirs = [
        metrics.MeanAbsoluteScaledError(sp=season)(y, x[:, 1], y_train=z)
        for x, y, z in zip(outputs, future, past, strict=True)
    ]
    assert mase == pytest.approx(np.mean(theirs))
    percentages = [
        metrics.MeanAbsolutePercentageError(symmetric=True)(y, x[:, 1])
        for x, y in zip(outputs, future, strict=True)
    ]
    assert scores(outputs, past, future).smape == pytest.approx(100 * np.mean(percentages))


def test_missing_values_count_nowhere():
    whole = scores([[[3, 4, 6]] * 2], [[0, 1, 3, 6]], [[5, 2]])
    gaps = scores([[[3, 4, 6]] * 4], [[0, 1, 3, 6]], [[5, NAN, 2, NAN]])
    empty = scores([[[3, 4, 6]] * 4] * 2, [[0, 1, 3, 6]] * 2, [[5, NAN, 2, NAN], [NAN] * 4])
    past = scores([[[3, 4, 6]] * 2], [[0, 1, NAN, NAN, 4, 7]], [[5, 2]])

    assert whole == pytest.approx(gaps, nan_ok=True)
    assert whole == pytest.approx(empty, nan_ok=True)
    assert past.mase == pytest.approx(((5 - 4) + (4 - 2)) / 2 / 2)  # differences 1 and 3


def test_series_that_never_moved_have_no_mase():
    still = scores([[[0, 1, 2]]] * 2, [[3, 3, 3], [0, 1, 2]], [[4], [4]])

    assert still.mase == pytest.approx(3)
    assert np.isnan(scores([[[0, 1, 2]]], [[3, 3, 3]], [[4]]).mase)
    nothing = scores([[[0, 0, 0]]], [[0, 0]], [[0]])
    assert nothing.smape == 0
    assert np.isnan(nothing.wql)


def test_a_season_that_is_longer_than_the_past_is_one_step():
    assert scores([[[0, 1, 2]]], [[0, 1, 3, 6]], [[5]], season=4).mase == pytest.approx(4 / 2)
    assert scores([[[0, 1, 2]]], [[0, 1, 3, 6, 4]], [[5]], season=4).mase == pytest.approx(4 / 4)


def test_origins_are_the_ends_of_series_and_before():
    series = {"a": pd.Series(np.arange(10.0)), "short": pd.Series(np.arange(3.0)),
              "late": pd.Series([NAN] * 7 + [1, 2, 3])}  # fmt: skip

    found = origins_of(SeriesTable(series, None), 3, windows=2, context=4)

    assert [x.tolist() for x in found.past] == [[3, 4, 5, 6], [0, 1, 2, 3]]
    assert [x.tolist() for x in found.future] == [[7, 8, 9], [4, 5, 6]]


def test_seasonal_naive_repeats_the_last_season():
    past = np.array([1, 2, 3, 4, 5, 6, 7.0])

    assert seasonal_naive(past, 3, 5).tolist() == [5, 6, 7, 5, 6]
    assert seasonal_naive(past, 4, 3).tolist() == [7, 7, 7]  # less than two seasons
    past[5] = NAN
    assert seasonal_naive(past, 3, 5).tolist() == [5, 3, 7, 5, 3]


def test_naive_quantiles_are_as_wide_as_past_errors_and_grow_by_season():
    rng = np.random.default_rng(0)
    past = 10 * rng.normal(size=20_000)

    found = naive_quantiles(QUANTILES, [past], 4, 2)[0]

    deviation = 10 * np.sqrt(2)
    expected = np.array([1, 1, np.sqrt(2), np.sqrt(2)]) * 1.2816 * deviation
    np.testing.assert_allclose(found[:, 2] - found[:, 1], expected, rtol=0.02)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected, rtol=0.02)
    np.testing.assert_array_equal(found[:, 1], seasonal_naive(past, 2, 4))
    assert naive_quantiles(QUANTILES, [np.array([5.0])], 2, 7).tolist() == [[[5, 5, 5]] * 2]
