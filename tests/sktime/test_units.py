"""Errors count in units of each series: no size outweighs another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from sktime_cases import TINY, panel, wave

from rimer_forecaster import RimerForecaster
from rimer_forecaster.training import Recipe

AHEAD = range(1, 7)
UNITS = ["series", "window"]


def forecast(y: pd.DataFrame, unit: str) -> pd.DataFrame:
    settings = {**TINY, "recipe": Recipe(loss_unit=unit)}
    return RimerForecaster(**settings).fit(y, fh=AHEAD).predict_quantiles(alpha=[0.1, 0.5])


@pytest.mark.parametrize("unit", UNITS)
def test_in_a_panel_the_size_of_one_series_is_that_of_its_forecast_alone(unit: str) -> None:
    y = panel({"a": 80, "b": 60})
    larger = y.mul(np.where(y.index.get_level_values(0) == "b", 2.0**20, 1.0), axis=0)
    found, expected = forecast(larger, unit), forecast(y, unit)
    np.testing.assert_allclose(found.loc["a"], expected.loc["a"], rtol=1e-6)
    np.testing.assert_allclose(found.loc["b"], 2.0**20 * expected.loc["b"], rtol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
def test_in_one_series_the_size_of_a_column_is_that_of_its_forecast_alone(unit: str) -> None:
    y = wave(80, columns=2, level=3.0)
    sizes = np.array([1.0, 2.0**20])
    expected = forecast(y, unit).to_numpy() * sizes.repeat(2)
    np.testing.assert_allclose(forecast(y * sizes, unit), expected, rtol=1e-6)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("factor", [1e-21, 1e21])
def test_a_series_of_any_size_has_its_forecast_of_that_size(factor: float, unit: str) -> None:
    y = wave(80, level=3.0)
    np.testing.assert_allclose(forecast(factor * y, unit) / factor, forecast(y, unit), rtol=1e-3)


def test_the_units_of_windows_are_not_those_of_series() -> None:
    """Of a series whose deviation changes, windows weigh otherwise."""
    y = wave(120)
    y.iloc[60:] *= 20
    assert not np.allclose(forecast(y, "series"), forecast(y, "window"), rtol=1e-2)


@pytest.mark.parametrize("before", ["nothing", "waves"])
@pytest.mark.parametrize(
    "settings",
    [TINY, {**TINY, "streaming": True}, {"pretrained": "rimer-zero", "input_chunk_length": 24}],
    ids=["windows", "streams", "zero-shot"],
)
def test_a_constant_is_forecast_to_the_bit(settings: dict[str, Any], before: str) -> None:
    """All of its quantiles; and of its past what has nothing else in its look-back of 24."""
    for value in (0.0, 5.5, -3.7, 0.1, 1e-20, 1e20, 123456.789):
        y = np.full(40, value)
        if before == "waves":
            y = np.concatenate([100 * wave(60)["y0"], y])
        forecaster = RimerForecaster(**settings).fit(pd.Series(y))
        ahead = range(-10, 14)
        assert (forecaster.predict(fh=ahead) == value).all()
        assert (forecaster.predict_quantiles(fh=ahead, alpha=[0.1, 0.9]) == value).all(axis=None)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_value_beyond_the_reach_of_single_precision_is_named(streaming: bool) -> None:
    """Its square, in units of its series, would be infinite."""
    y = wave(60)
    wild = y.copy()
    wild.iloc[50] = -1e30
    forecaster = RimerForecaster(**{**TINY, "streaming": streaming}).fit(y[:40], fh=AHEAD)
    expected = forecaster.predict()
    for refuses in (RimerForecaster(**TINY).fit, forecaster.update):
        with pytest.raises(ValueError, match=r"1 infinite or overlarge .* at 2020-02-20: -1e\+30"):
            refuses(wild)
    pd.testing.assert_frame_equal(forecaster.predict(), expected)
    assert np.isfinite(RimerForecaster(**TINY).fit(1e30 * y, fh=AHEAD).predict()).all(axis=None)
