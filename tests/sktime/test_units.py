"""Errors count in units of each series: no size outweighs another."""

from __future__ import annotations

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
    larger = y.copy()
    larger.loc["b"] *= 2.0**20
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
