"""A task: what it refuses, how it is split, what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import QUICK, frame
from darts import TimeSeries

from rimer_forecaster.benchmark import compare, make_task, read_csv


def test_rows_out_of_order_are_refused_and_named(tmp_path: Path) -> None:
    shuffled = frame().sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match=r"not in order of time: row \d+, .* is followed by an"):
        compare(shuffled, 6, **QUICK)
    twice = frame().iloc[[*range(50), 49, *range(50, 200)]]
    with pytest.raises(ValueError, match="row 49, 2020-02-19 00:00:00, appears twice"):
        make_task(twice, 6)
    shuffled.to_csv(tmp_path / "shuffled.csv")
    with pytest.raises(ValueError, match="not in order of time"):
        read_csv(tmp_path / "shuffled.csv")


def test_a_series_is_split_in_order_of_time() -> None:
    task = make_task(frame(200), 5, look_back=10, split=(0.5, 0.25, 0.25))
    assert (task.train_end, task.validation_end) == (100, 150)
    assert task.origins.tolist() == list(range(150, 196))
    assert task.season == 7
    mean, deviation = task.scale()
    known = frame(200).to_numpy()[:100]
    np.testing.assert_allclose(mean, known.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation, known.std(0), rtol=1e-4)
    steps = make_task(frame(200), 5, look_back=10, split=(100, 40, 30))
    assert len(steps.series) == 170
    with pytest.raises(ValueError, match="the validation part has 4 steps, but needs at least 5"):
        make_task(frame(200), 5, look_back=10, split=(100, 4, 30))


def test_test_targets_in_their_own_input_are_said() -> None:
    copied = frame()
    copied["ahead"] = copied["y0"].shift(-8).bfill().ffill()  # y0 eight days before it comes
    remarks = make_task(copied, 6, look_back=24).remarks()
    assert any("test values of 'y0' are those of 'ahead' 8 steps before" in one for one in remarks)
    series = TimeSeries.from_dataframe(frame())
    task = make_task(series, 6, look_back=24, future_covariates=series)
    assert any("are those of the future covariate 'y0'" in one for one in task.remarks())
    assert not make_task(frame(columns=3), 6, look_back=24).remarks()
    mostly_zero = frame()
    mostly_zero["rain"] = np.random.default_rng(0).choice([0.0, 1.0, 2.0], 240, p=[0.8, 0.1, 0.1])
    assert not make_task(mostly_zero, 6, look_back=24).remarks()


@pytest.mark.parametrize(
    ("index", "absent", "season"),
    [
        (pd.date_range("2020-01-01", periods=240, freq="D"), [50], 7),
        (pd.bdate_range("2020-01-01", periods=240), [50, 51, 130], 5),
        (pd.date_range("2005-01-01", periods=240, freq="MS"), [100], 12),
        (pd.date_range("2005-01-31", periods=240, freq="ME"), [100, 101], 12),
        (pd.date_range("2020-01-01", periods=240, freq="h"), [3, 7, 11, 200], 24),
        (pd.date_range("2020-01-05", periods=240, freq="W"), [17], 52),
    ],
)
def test_absent_time_points_change_neither_step_nor_season(
    index: pd.DatetimeIndex, absent: list[int], season: int
) -> None:
    whole = frame().set_axis(index)
    task = make_task(whole.drop(index[absent]), 4, look_back=8)
    assert task.season == season
    assert (task.series.time_index == index).all()
    assert np.flatnonzero(np.isnan(task.series.values()[:, 0])).tolist() == absent


def test_a_season_without_a_past_is_refused() -> None:
    weeks = frame(60).set_axis(pd.date_range("2020-01-05", periods=60, freq="W"))
    with pytest.raises(ValueError, match="season=52 is not shorter than the training part of 36"):
        make_task(weeks, 4, look_back=8)
    assert make_task(weeks, 4, look_back=8, season=1).season == 1


@pytest.mark.parametrize(
    ("series", "arguments", "message"),
    [
        (np.arange(100.0), {}, "a ndarray is no series: give a TimeSeries"),
        (frame(100).assign(shop="a"), {}, r"columns \['shop'\] hold no numbers"),
        (frame(100), {"future_covariates": frame(90)}, "known from .*, but the series is from"),
        (frame(100), {"future_covariates": frame(100).reset_index(drop=True)}, "known from 0 to"),
        (frame(100), {"future_covariates": np.arange(100.0)}, "a ndarray is no series"),
    ],
)
def test_what_is_no_series_is_named(series: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(series, 3, look_back=12, **arguments)


def test_covariates_may_be_of_pandas_and_models_are_a_list() -> None:
    task = make_task(frame(100), 3, look_back=12, future_covariates=frame(110))
    assert isinstance(task.future_covariates, TimeSeries)
    with pytest.raises(ValueError, match=r"models='zero' must be a list of names: \['zero'\]"):
        compare(task, models="zero")
