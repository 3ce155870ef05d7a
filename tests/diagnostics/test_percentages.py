"""When a MAPE is not to be trusted, and why."""

from __future__ import annotations

import numpy as np
import pytest

from rimer_forecaster.diagnostics import mape_remark


def test_a_mape_over_values_far_from_zero_needs_no_remark() -> None:
    draw = np.random.default_rng(0).normal(size=(500, 3))
    for actual in (100 + draw, -100 + draw, np.exp(draw), np.ones(3), np.array(7.0)):
        assert mape_remark(actual) is None


def test_a_single_small_value_among_many_needs_no_remark() -> None:
    assert mape_remark(np.r_[np.full(100, 10.0), 0.4]) is None  # a fifth of the weight
    remark = mape_remark(np.r_[np.full(100, 10.0), 0.04])  # 25 against 10
    assert remark is not None
    assert "0.99 % of them are near zero and make up 71% of the weight" in remark


def test_a_value_that_is_zero_makes_a_mape_undefined() -> None:
    remark = mape_remark(np.array([0.0, 0.01, 10.0, 10.0]))
    assert remark is not None
    assert "undefined" in remark
    assert "25 % are exactly zero and 50 % zero or near it" in remark
    assert "100 % are exactly zero" in (mape_remark(np.zeros(4)) or "")


def test_values_that_cross_zero_have_no_percentage() -> None:
    remark = mape_remark(np.array([-10.0, 10.0, 10.0, 0.1]))
    assert remark is not None
    assert "change their sign" in remark
    assert "25 % of them are near zero" in remark


@pytest.mark.parametrize(
    "actual", [[0.0, 1.0], [-1.0, 1.0], [1e-4, 1.0, 1.0], [5e-324, 1.0, 1.0, 1e300]]
)
def test_a_remark_names_what_to_use_instead(actual: list[float]) -> None:
    assert (mape_remark(np.array(actual)) or "").endswith("Use MASE or MAE instead.")


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_unit_of_the_series_makes_no_difference(scale: float) -> None:
    actual = np.r_[np.full(100, 10.0), 0.04]
    assert mape_remark(scale * actual) == mape_remark(actual)


@pytest.mark.parametrize("actual", [[], [1.0, np.nan], [np.inf]])
def test_true_values_that_are_missing_are_refused(actual: list[float]) -> None:
    with pytest.raises(ValueError, match="missing or infinite; it must have at least one"):
        mape_remark(np.array(actual))
