"""Errors of forecasts: which measure says what, and when it is withheld."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from rimer_forecaster.benchmark.scores import PanelScores, Scores


def test_errors_are_those_of_scikit_learn_however_they_are_added_up() -> None:
    rng = np.random.default_rng(0)
    actual, forecast = rng.normal(size=(30, 5, 3)), rng.normal(size=(30, 5, 3, 1))
    actual[3, 2, 1] = np.nan
    mean, deviation, naive = np.array([90.0, 80, 70]), np.array([1.0, 2, 3]), np.array([0.5, 1, 2])
    scores, own = Scores(mean, deviation, naive, None), actual * deviation + mean
    for block in (slice(0, 7), slice(7, 30)):
        scores.add(own[block], forecast[block])
    table, known = scores.table(), ~np.isnan(actual)
    a, f = actual[known], forecast[..., 0][known]
    assert table["MSE"] == pytest.approx(mean_squared_error(a, f))
    assert table["MAE"] == pytest.approx(mean_absolute_error(a, f))
    by_component = [
        (r2_score(a, f), mean_absolute_error(a, f))
        for a, f in (
            (actual[..., c][known[..., c]], forecast[..., c, 0][known[..., c]]) for c in range(3)
        )
    ]
    assert table["R2"] == pytest.approx(np.mean([r2 for r2, _ in by_component]))
    expected = np.mean([mae for _, mae in by_component] / naive)
    assert table["MASE"] == pytest.approx(expected)
    assert table["MAPE, %"] == pytest.approx(
        100 * np.mean(np.abs((forecast[..., 0] - actual) * deviation / own)[known])
    )
    np.testing.assert_allclose(
        scores.by_step(), [np.nanmean(np.abs(actual - forecast[..., 0])[:, h]) for h in range(5)]
    )


def test_errors_of_one_component_are_in_its_own_units() -> None:
    rng = np.random.default_rng(0)
    own, forecast = 50 + 3 * rng.normal(size=(20, 4, 1)), rng.normal(size=(20, 4, 1, 1))
    scores = Scores(np.array([50.0]), np.array([3.0]), np.ones(1), None)
    scores.add(own, forecast)
    table, error = scores.table(), own - (50 + 3 * forecast[..., 0])
    assert table["MSE"] == pytest.approx((error**2).mean())
    assert table["RMSE"] == pytest.approx((error**2).mean() ** 0.5)
    assert table["MAE"] == pytest.approx(np.abs(error).mean())


def test_quantiles_of_a_normal_distribution_cover_what_they_should() -> None:
    """The weighted quantile loss is that of values in their own units, each component by itself."""
    rng = np.random.default_rng(0)
    actual, levels = rng.normal(size=(4000, 2, 2)), (0.1, 0.5, 0.9)
    forecast = np.broadcast_to([-1.2816, 0.0, 1.2816], (4000, 2, 2, 3))
    mean, deviation = np.array([10.0, -300.0]), np.array([2.0, 50.0])
    scores, own = Scores(mean, deviation, np.ones(2), levels), actual * deviation + mean
    scores.add(own, forecast)
    assert scores.table()["coverage"] == pytest.approx(0.8, abs=0.01)
    expected = []
    for c in range(2):
        distances = [own[..., c] - (deviation[c] * x + mean[c]) for x in forecast[0, 0, 0]]
        losses = [np.maximum(q * d, (q - 1) * d) for q, d in zip(levels, distances, strict=True)]
        expected.append(2 * np.mean(losses) / np.abs(own[..., c]).mean())
    assert scores.table()["WQL"] == pytest.approx(np.mean(expected))


def test_a_point_counts_as_every_quantile_and_covers_nothing_that_can_be_told() -> None:
    rng = np.random.default_rng(0)
    own, point = rng.normal(size=(9, 4, 2)), rng.normal(size=(9, 4, 2, 1))
    levels = (0.1, 0.5, 0.9)
    tables = []
    for forecast in (point, np.repeat(point, 3, -1)):
        scores = Scores(np.zeros(2), np.ones(2), np.ones(2), levels)
        scores.add(own, forecast)
        tables.append(scores.table())
    for name in ("MAE", "MSE", "WQL"):
        assert tables[0][name] == pytest.approx(tables[1][name])
    assert np.isnan(tables[0]["coverage"])
    sizes = np.abs(own).mean((0, 1))
    errors = np.abs(own - point[..., 0]).mean((0, 1))
    assert tables[0]["WQL"] == pytest.approx(np.mean(errors / sizes))


def test_the_quantile_loss_of_a_panel_is_of_all_values_together() -> None:
    own, forecast = np.array([[[1.0, 200.0]]]), np.array([[[[2.0], [180.0]]]])
    found = []
    for kind in (Scores, PanelScores):
        scores = kind(np.zeros(2), np.ones(2), np.ones(2), (0.5,))
        scores.add(own, forecast)
        found.append(scores.table()["WQL"])
    assert found == pytest.approx([(1 / 1 + 20 / 200) / 2, 21 / 201])
