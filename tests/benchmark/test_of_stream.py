"""A contender that forecasts from a state reads every value once, and forecasts as a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import frame
from darts import TimeSeries
from rounding import assert_same_but_for_rounding

from rimer_forecaster.benchmark import make_task
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.contenders import make_contender


def streamed(**options: Any) -> Any:
    task = make_task(frame(160, columns=2), 3, look_back=12, stride=4, **options)
    contender = make_contender("rwkv7-streamed", task, Budget(epochs=1), 0)
    contender.fit()
    return contender


def test_forecasts_are_those_of_a_stream_that_began_with_the_series() -> None:
    contender = streamed()
    found = contender.forecast(contender.task.origins)
    for origin, one in zip(contender.task.origins, found, strict=True):
        stream = contender.model.stream(contender.series[:origin])
        assert_same_but_for_rounding(one[..., 0], stream.predict(3).values(), roundings=5000)


def test_no_value_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    contender, read = streamed(), []
    update = type(contender._read(100)).update
    monkeypatch.setattr(
        type(contender.stream),
        "update",
        lambda self, series, **known: (read.append(len(series)), update(self, series, **known)),
    )
    contender.forecast(np.array([104, 108, 108, 109]))
    assert read == [4, 4, 1]


def test_covariates_are_those_of_the_steps_that_are_forecast() -> None:
    known = TimeSeries.from_dataframe(frame(160, seed=1))
    contender = streamed(future_covariates=known)
    found = contender.forecast(contender.task.origins[:1])
    contender.covariates = contender.covariates + 5.0
    contender.stream = None
    assert np.abs(contender.forecast(contender.task.origins[:1]) - found).max() > 1e-3
