"""The protocol functions of examples/paper/audit.py say what they claim."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the example reads CO2 from statsmodels")


@pytest.fixture(scope="module")
def audit(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("audit")


@pytest.fixture
def data() -> Path:
    if "RIMER_DATA" not in os.environ:
        pytest.skip("needs RIMER_DATA, a folder with ETTm1.csv.xz and weather.csv.xz")
    return Path(os.environ["RIMER_DATA"])


@pytest.fixture
def walk() -> np.ndarray:
    return np.random.default_rng(0).normal(size=500).cumsum()


def test_all_values_but_the_last_of_a_shifted_target_are_in_the_input(
    audit: ModuleType, walk: np.ndarray
) -> None:
    inputs, targets = audit.shifted_pairs(walk)
    in_the_input = [np.isin(y, x).sum() for x, y in zip(inputs, targets, strict=True)]
    assert set(in_the_input) == {31}
    assert targets.shape[1] == 32


def test_no_value_of_an_unseen_target_is_in_the_input(audit: ModuleType, walk: np.ndarray) -> None:
    inputs, targets = audit.unseen_pairs(walk)
    assert not any(np.isin(y, x).any() for x, y in zip(inputs, targets, strict=True))
    # and the pairs are of neighbours
    assert np.array_equal(np.concatenate((inputs[7], targets[7])), walk[7 : 7 + 64])


def test_copy_errs_in_the_last_value_only(audit: ModuleType, walk: np.ndarray) -> None:
    inputs, targets = audit.shifted_pairs(walk)
    error = audit.copied(inputs, inputs.mean(1)) - targets
    assert not error[:, :-1].any()
    assert error[:, -1].all()
    # One error of e among 32 values: MAE is e / 32 and RMSE e / sqrt(32).
    one = audit.measures(targets[:1], audit.copied(inputs, inputs.mean(1))[:1])
    assert one["RMSE"] == pytest.approx(abs(error[0, -1]) / 32**0.5)
    assert one["MAE"] == pytest.approx(abs(error[0, -1]) / 32)


def test_random_rows_are_out_of_time_order_and_ordered_ones_are_not(audit: ModuleType) -> None:
    train, test = audit.random_rows(1000)
    assert len(train) == 700
    assert len(test) == 100
    assert not np.intersect1d(train, test).size
    assert 0.4 < (np.diff(test) < 0).mean() < 0.6  # every other step goes back in time
    assert train.max() > test.min()  # what is tested on lies among what is trained on
    train, test = audit.ordered_rows(1000)
    assert (np.diff(np.concatenate((train, test))) > 0).all()


def test_values_in_random_order_leave_the_mean_as_the_best_guess_of_the_next(
    audit: ModuleType,
) -> None:
    season = 20 + np.sin(np.arange(20_000) / 100)
    _, rows = audit.random_rows(len(season))
    inputs, targets = audit.shifted_pairs(season[rows])
    by_mean = audit.measures(targets[:, -1:], inputs.mean(1)[:, None])["R2"]
    by_last = audit.measures(targets[:, -1:], inputs[:, -1:])["R2"]
    assert by_mean == pytest.approx(-1 / 32, abs=0.03)  # 2,000 rows
    assert by_last == pytest.approx(-1, abs=0.1)
    # Yet R2 over the whole target is close to one.
    assert audit.measures(targets, audit.copied(inputs, inputs.mean(1)))["R2"] > 0.96


def test_scored_window_begins_the_last_batch(audit: ModuleType) -> None:
    assert audit.scored_window(90) == 60
    assert audit.scored_window(91) == 90
    assert audit.scored_window(5) == 0


def test_seasonal_naive_reads_nothing_from_its_origin_on(audit: ModuleType) -> None:
    steps = np.arange(400)
    first = np.array([150, 200])
    forecast = audit.seasonal_naive(steps, first, 24)
    assert (forecast < first[:, None]).all()
    assert ((first[:, None] + np.arange(32) - forecast) % 24 == 0).all()
    assert (forecast >= first[:, None] - 24).all()


def test_measures_are_those_of_scikit_learn(audit: ModuleType, walk: np.ndarray) -> None:
    from sklearn import metrics

    target, predicted = walk[:400] + 100, walk[100:] + 100
    ours = audit.measures(target, predicted)
    assert ours["RMSE"] == pytest.approx(metrics.root_mean_squared_error(target, predicted))
    assert ours["MAE"] == pytest.approx(metrics.mean_absolute_error(target, predicted))
    share = metrics.mean_absolute_percentage_error(target, predicted)
    assert ours["MAPE, %"] == pytest.approx(100 * share)
    assert ours["R2"] == pytest.approx(metrics.r2_score(target, predicted))
    assert np.isnan(audit.measures(np.array([0.0, 1.0]), np.array([1.0, 1.0]))["MAPE, %"])


def test_implied_variance_holds_the_variance_of_the_targets(
    audit: ModuleType, walk: np.ndarray
) -> None:
    inputs, targets = audit.shifted_pairs(walk)
    scores = audit.measures(targets, np.repeat(inputs[:, -1:], 32, axis=1))
    low, high = audit.implied_variance(f"{scores['RMSE']:.3f}", f"{scores['R2']:.3f}")
    assert low < targets.var() < high
    with pytest.raises(ValueError, match=r"R2=1\.00 may be 1 within its digits"):
        audit.implied_variance("0.5", "1.00")


def test_published_sizes_come_from_layer_strings(audit: ModuleType) -> None:
    assert list(audit.published_sizes().values()) == [37_862_432, 1_614_880]


def test_network_learns_to_copy(audit: ModuleType, walk: np.ndarray) -> None:
    shuffled = np.random.default_rng(1).permutation((walk - walk.mean()) / walk.std())
    pairs = audit.shifted_pairs(shuffled)
    network = audit.train(*pairs, steps=300, seed=0, layers=None)
    assert audit.measures(pairs[1], audit.forecast(network, pairs[0]))["R2"] > 0.9


def test_split_gives_the_rows_of_the_released_files(audit: ModuleType, data: Path) -> None:
    first, last = {}, {}
    for name in ("weather", "ETTm1"):
        stamps = audit.read_target(data, name).rows.index
        _, test = audit.random_rows(len(stamps))
        first[name], last[name] = (str(stamps[test[i]]) for i in (0, -1))
    # Of dataset/weather/test_weather.csv and dataset/ETT-small/test_ETT-small.csv.
    assert first == {"weather": "2020-02-19 22:40:00", "ETTm1": "2018-06-19 14:00:00"}
    assert last == {"weather": "2020-04-15 09:40:00", "ETTm1": "2018-02-20 19:45:00"}


def test_copy_scores_on_the_released_window(audit: ModuleType, data: Path) -> None:
    scores = {}
    for name, fill in {"weather": lambda x: x.mean(1), "ETTm1": lambda x: x[:, -1]}.items():
        rows = audit.read_target(data, name).rows.to_numpy()
        inputs, targets = audit.shifted_pairs(rows[audit.random_rows(len(rows))[1]])
        i = audit.scored_window(len(inputs))
        forecast = audit.copied(inputs, fill(inputs))
        scores[name] = audit.measures(targets[i], forecast[i])
    assert scores["weather"]["RMSE"] == pytest.approx(4.907, abs=5e-4)
    assert scores["weather"]["MAE"] == pytest.approx(0.867, abs=5e-4)
    assert scores["weather"]["R2"] == pytest.approx(0.902, abs=5e-4)
    assert scores["ETTm1"]["R2"] == pytest.approx(0.9990, abs=5e-5)


def test_weather_has_no_sentinels_duplicates_or_gaps_left(audit: ModuleType, data: Path) -> None:
    target = audit.read_target(data, "weather")
    assert len(target.rows) == 52_696  # every row stays, or the split would be another
    assert target.rows.min() > 300
    steps = np.diff(target.grid.index.to_numpy())
    assert (steps == np.timedelta64(10, "m")).all()
