"""The distribution through given quantiles, and its face in skpro."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from rimer_forecaster.sktime.quantile_curve import QuantileCurve, interpolated

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
BENT = np.array([-3.0, -1.0, 0.5, 1.0, 5.0])


def test_of_a_normal_variable_it_is_that_variable() -> None:
    curve = QuantileCurve(1e6 + 1e-3 * norm.ppf(LEVELS), LEVELS)
    mean, variance = curve.moments()
    assert mean == pytest.approx(1e6, abs=1e-6)
    assert np.sqrt(variance) == pytest.approx(1e-3, rel=1e-6)
    at = (0.001, 0.3, 0.999)
    values = interpolated(np.array([1e6 + 1e-3 * norm.ppf(LEVELS)]), LEVELS, at)
    np.testing.assert_allclose(values[0] - 1e6, 1e-3 * norm.ppf(at), atol=1e-9)


def test_given_quantiles_are_hit_and_others_lie_between_or_beyond() -> None:
    at = sorted({*LEVELS, 0.001, 0.3, 0.95, 0.999})
    values = interpolated(BENT, LEVELS, at)
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose([values[at.index(level)] for level in LEVELS], BENT, atol=1e-12)


def test_moments_are_those_of_the_curve() -> None:
    curve = QuantileCurve(BENT, LEVELS)
    mean, variance = curve.moments()

    def weighted(power: int) -> float:
        return quad(
            lambda z: float(curve.value(np.array(z)) - mean * (power - 1)) ** power * norm.pdf(z),
            -12,
            12,
            points=norm.ppf(LEVELS),
            limit=200,
        )[0]

    assert mean == pytest.approx(weighted(1), abs=1e-7)
    assert variance == pytest.approx(weighted(2), rel=1e-7)


def test_scores_undo_values_and_equal_quantiles_are_a_step() -> None:
    z = np.linspace(-4, 4, 41)
    curve = QuantileCurve(np.broadcast_to(BENT, (41, 5)), LEVELS)
    np.testing.assert_allclose(curve.score(curve.value(z)), z, atol=1e-12)
    step = QuantileCurve(np.array([-1.0, 2.0, 2.0, 2.0, 3.0]), LEVELS)
    below, at = (norm.cdf(step.score(np.array(x))) for x in (2.0 - 1e-12, 2.0))
    assert below == pytest.approx(0.1)
    assert at == pytest.approx(0.9)


def test_missing_forecasts_stay_missing() -> None:
    both = np.stack([BENT, BENT * np.nan])
    values = interpolated(both, LEVELS, [0.2, 0.5])
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()


def test_conforms_to_skpro_and_keeps_the_labels_of_a_panel() -> None:
    pytest.importorskip("skpro", reason="the distribution needs the extra 'sktime'")
    from skpro.utils import check_estimator

    from rimer_forecaster.sktime.distribution import QuantileDistribution

    results = check_estimator(QuantileDistribution, raise_exceptions=False, verbose=False)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert len(results) > 50
    index = pd.MultiIndex.from_product([["a", "b"], range(3)])
    rows = np.arange(6.0)[:, None, None] + BENT
    distribution = QuantileDistribution(rows, LEVELS, index, pd.Index(["y"]))
    expected = pd.DataFrame({"y": np.arange(6.0) + 1.0}, index=index)
    pd.testing.assert_frame_equal(distribution.ppf(0.9), expected)
    pd.testing.assert_frame_equal(distribution.loc[[("b", 1)]].ppf(0.9), expected.iloc[[4]])
