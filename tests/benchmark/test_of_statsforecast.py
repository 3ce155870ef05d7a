"""Models of statsforecast are fitted to what comes before each forecast, at its own level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")
pytest.importorskip("statsforecast", reason="the rows need statsforecast")

from benchmark_cases import frame
from statsforecast.models import AutoETS

from rimer_forecaster.benchmark import make_task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.contenders import make_contender


@pytest.mark.parametrize("name", ["autoets", "autotheta", "autoarima"])
def test_forecasts_are_of_each_component_and_do_not_look_ahead(name: str) -> None:
    found = []
    for change in (0.0, 1e3):
        data = frame(60, columns=2)
        data.iloc[54:] += change
        task = make_task(data, 3, look_back=12, season=12, split=(40, 10, 10), stride=4)
        contender = make_contender(name, task, Budget(quantiles=(0.1, 0.5, 0.9)), 0)
        contender.fit()
        found.append(contender.forecast(np.array([50, 54])))
    assert found[0].shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(*found)
    assert (np.diff(found[0], axis=-1) > 0).all()


def test_the_forecast_is_that_of_the_library() -> None:
    data = frame(60)
    task = make_task(data, 3, look_back=12, season=12, split=(40, 10, 10))
    one = make_contender("autoets", task, Budget(), 0).forecast(np.array([50]))
    values = data["y0"].to_numpy()[:50].astype(np.float32).astype(float)
    expected = AutoETS(season_length=12).forecast(values, h=3)["mean"]
    mean, deviation = task.scale()
    np.testing.assert_allclose(one[0, :, 0, 0] * deviation + mean, expected, rtol=1e-6)


def test_a_gap_is_filled_and_long_series_are_cut() -> None:
    data = pd.DataFrame({"y": np.sin(np.arange(2_500) / 4)})
    data = data.set_axis(pd.date_range("2020", periods=2_500, freq="h"))
    data.iloc[2_300] = np.nan
    forecasts = []
    for first in (0.0, 50.0):
        data.iloc[:300] += first  # before the last 2,048 values
        task = make_task(data, 3, look_back=12, season=24, split=(2_000, 400, 100))
        contender = make_contender("autotheta", task, Budget(), 0)
        mean, deviation = task.scale()
        forecasts.append(contender.forecast(np.array([2_400])) * deviation + mean)
    np.testing.assert_allclose(*forecasts, rtol=1e-5)
