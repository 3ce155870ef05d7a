"""Synthetic series: what each family is, and that a batch is a function of its seed and number."""

import numpy as np
import pytest

from rimer_forecaster.zero_shot.prior import FAMILIES, family, synthetic


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_finite_moves_and_differs_from_series_to_series(name):
    x = family(name, 0, 64, 512)

    assert x.shape == (64, 512)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert (x.std(1) > 0).mean() > 0.95
    assert np.abs(np.corrcoef(x)[np.triu_indices(64, 1)]).mean() < 0.6


def test_the_same_seed_and_number_give_the_same_series():
    x = synthetic(3, 5, 64, 200)

    np.testing.assert_array_equal(x, synthetic(3, 5, 64, 200))
    assert not np.array_equal(x, synthetic(3, 6, 64, 200), equal_nan=True)
    assert not np.array_equal(x, synthetic(4, 5, 64, 200), equal_nan=True)


def test_a_batch_holds_all_families_and_alterations():
    x = synthetic(0, 0, 2000, 256)

    assert x.shape == (2000, 256)
    missing = np.isnan(x).any(1)
    assert 0.08 < missing.mean() < 0.16  # single values, or blocks
    assert np.isnan(x).all(1).sum() == 0
    rows = x[~missing]
    held = (np.diff(rows) == 0).mean(1)
    assert 0.05 < (held > 0.2).mean() < 0.5  # held, censored, quantised or intermittent
    spread = rows.std(1)
    assert np.median(np.abs(rows - rows.mean(1, keepdims=True)).max(1) / spread) < 6


def _autocorrelation(x, lag):
    x = x - x.mean(1, keepdims=True)
    return (x[:, lag:] * x[:, :-lag]).mean(1) / x.var(1)


def test_some_series_end_for_good():
    rows = synthetic(0, 1, 2000, 256)
    still = (np.diff(rows[:, -40:]) == 0).all(1)
    assert 0.01 < still.mean() < 0.06


def test_cycles_repeat_profiles_that_are_rough():
    x = family("cycles", 0, 200, 1200)
    best = np.max([_autocorrelation(x, lag) for lag in range(3, 400)], 0)
    assert np.median(best) > 0.8
    assert np.median(np.abs(_autocorrelation(x, 1))) < 0.6  # a smooth shape has 0.9 and more


def test_families_are_what_their_names_say():
    length = 600
    assert np.median(_autocorrelation(family("unit roots", 0, 200, length), 1)) > 0.8
    intermittent = family("intermittent", 0, 200, length)
    quiet = np.isclose(intermittent, intermittent.min(1, keepdims=True), atol=1e-5).mean(1)
    assert np.median(quiet) > 0.6
    assert (intermittent.max(1) > 2).mean() > 0.9
    memory = family("long memory", 0, 200, length)
    assert np.median(_autocorrelation(memory, 50)) > 0.05
    shifts = np.abs(np.diff(family("level shifts", 0, 200, length)))
    assert np.median(shifts.max(1) / np.median(shifts, axis=1)) > 8
    lags = np.arange(2, 200)
    seasonal = family("trend and seasons", 0, 200, length)
    detrended = np.diff(seasonal)
    best = np.max([_autocorrelation(detrended, lag) for lag in lags], axis=0)
    assert np.median(best) > 0.4
