"""Panels: series of any lengths, whose last values are the test part."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from rimer_forecaster.benchmark import make_panel
from rimer_forecaster.benchmark.panel import Array, Panel


def panel_of(lengths: tuple[int, ...] = (40, 55)) -> Panel:
    rng = np.random.default_rng(0)
    series = [10.0 * i + rng.normal(size=n) for i, n in enumerate(lengths)]
    series[0][3] = np.nan
    return make_panel(series, 5, look_back=10, season=4)


def test_parts_of_a_panel_end_where_the_series_do() -> None:
    panel = panel_of()
    for past, came, series in zip(panel.past, panel.test_values().T, panel.series, strict=True):
        np.testing.assert_array_equal(np.concatenate((past, came)), series)
    assert panel.true_values(panel.origins).shape == (1, 5, 2)
    assert panel.training_windows(1) == (35 - 20 + 1) + (50 - 20 + 1)
    assert panel.training_windows(7) == (15 // 7 + 1) + (30 // 7 + 1)
    assert panel.validation_share == 5 / 42.5


def test_errors_of_seasonal_naive_are_those_of_what_comes_before_the_test_part() -> None:
    panel = panel_of()
    past = panel.past[1]
    assert panel.naive_error()[1] == pytest.approx(np.abs(past[4:] - past[:-4]).mean())
    assert np.isfinite(panel.naive_error()).all(), "missing values are left out"


def test_series_are_scaled_by_what_comes_before_the_test_part() -> None:
    panel = panel_of()
    for one, past in zip(panel.z_scored(), panel.past, strict=True):
        assert len(one) == len(past)
        assert np.nanmean(one.values()) == pytest.approx(0, abs=1e-6)
        assert np.nanstd(one.values()) == pytest.approx(1, abs=1e-6)
    frame = panel.frame(z_scored=False)
    np.testing.assert_array_equal(frame.loc[1, "y"], panel.past[1])
    constant = make_panel([np.full(40, 3.0)], 5, look_back=10)
    assert constant.scale()[1] == 1
    assert (constant.z_scored()[0].values() == 0).all()


def test_a_fingerprint_is_of_all_values_and_sizes() -> None:
    panel, prints = panel_of(), set()
    for series, sizes in (
        (panel.series, {"look_back": 10, "season": 4}),
        (panel.series, {"look_back": 11, "season": 4}),
        (panel.series, {"look_back": 10, "season": 3}),
        ((panel.series[0], panel.series[1] + 1), {"look_back": 10, "season": 4}),
        ((np.concatenate(panel.series), panel.series[1]), {"look_back": 10, "season": 4}),
    ):
        prints.add(make_panel(series, 5, **sizes).fingerprint())
    assert len(prints) == 5
    assert panel.fingerprint() in prints


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "series is empty"),
        ([np.zeros(40), np.zeros(24)], r"series 1 has 24 values, but needs at least 25"),
        ([np.zeros((40, 2))], r"series 0 has the shape \(40, 2\)"),
        ([np.r_[np.full(30, np.nan), np.ones(10)]], "series 0 has no value in its training part"),
    ],
)
def test_a_series_that_cannot_be_used_is_named(series: list[Array], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_panel(series, 5, look_back=10, season=4)
