"""RimerForecaster as a user of sktime meets it."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.datasets import load_airline
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsoluteError, MeanSquaredError
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import temporal_train_test_split
from sktime_cases import TINY, caused, panel, wave

from rimer_forecaster import RimerForecaster
from rimer_forecaster.layers import leaves


@pytest.fixture(scope="module")
def fitted_once() -> RimerForecaster:
    return RimerForecaster(**TINY).fit(wave(), fh=range(1, 7))


@pytest.fixture
def fitted(fitted_once: RimerForecaster) -> RimerForecaster:
    return deepcopy(fitted_once)  # predicting with another fh changes a forecaster


def test_beats_seasonal_naive_with_its_defaults() -> None:
    y = load_airline()
    train, test = temporal_train_test_split(y, test_size=12)
    fh = range(1, 13)
    forecast = RimerForecaster(input_chunk_length=36, random_state=0).fit(train, fh=fh).predict()
    naive = NaiveForecaster(sp=12).fit(train, fh=fh).predict()
    error = MeanAbsoluteError()
    assert error(test, forecast) < 0.8 * error(test, naive)


def test_any_horizon_gives_the_steps_it_names(fitted: RimerForecaster) -> None:
    """Gapped, unordered or beyond the direct steps; sktime sorts horizons."""
    whole = fitted.predict(fh=range(1, 15))
    for fh in ([12], [2, 5, 14], [5, 2], [1]):
        expected = whole.iloc[[step - 1 for step in sorted(fh)]]
        pd.testing.assert_frame_equal(fitted.predict(fh=fh), expected)


def test_absolute_horizons_name_the_same_steps(fitted: RimerForecaster) -> None:
    days = wave().index[-1] + np.array([2, 5])
    fh = ForecastingHorizon(pd.PeriodIndex(days, freq="D"), is_relative=False)
    pd.testing.assert_frame_equal(fitted.predict(fh=fh), fitted.predict(fh=[2, 5]))


def test_the_direct_steps_are_those_of_fit_unless_given() -> None:
    y = wave()
    assert RimerForecaster(**TINY).fit(y, fh=[3, 7]).network_.config.output_chunk_length == 7
    assert RimerForecaster(**TINY).fit(y).network_.config.output_chunk_length == 24
    given = RimerForecaster(**TINY, output_chunk_length=5).fit(y, fh=[9])
    assert given.network_.config.output_chunk_length == 5


def test_forecasts_follow_the_units_of_the_series() -> None:
    forecast = RimerForecaster(**TINY).fit(wave(), fh=range(1, 7)).predict()
    scaled = RimerForecaster(**TINY).fit(1e6 * wave() + 1e8, fh=range(1, 7)).predict()
    np.testing.assert_allclose((scaled - 1e8) / 1e6, forecast, atol=1e-4)


def test_multivariate_components_by_the_same_weights() -> None:
    y = wave(columns=3)
    forecaster = RimerForecaster(**TINY).fit(y, fh=range(1, 7))
    forecast = forecaster.predict()
    assert list(forecast.columns) == ["y0", "y1", "y2"]
    turned = RimerForecaster(**TINY).fit(y[["y2", "y0", "y1"]], fh=range(1, 7)).predict()
    np.testing.assert_allclose(turned[["y0", "y1", "y2"]], forecast, atol=0.01)


def test_quantiles_never_cross_and_the_median_is_the_forecast(fitted: RimerForecaster) -> None:
    alpha = [0.001, 0.01, 0.1, 0.3, 0.5, 0.77, 0.9, 0.99, 0.999]
    quantiles = fitted.predict_quantiles(fh=range(1, 20), alpha=alpha)
    assert (np.diff(quantiles.to_numpy(), axis=1) >= 0).all()
    np.testing.assert_allclose(
        quantiles[("y0", 0.5)], fitted.predict(fh=range(1, 20))["y0"], rtol=1e-6
    )


def test_trained_quantiles_are_the_network_and_others_lie_between(fitted: RimerForecaster) -> None:
    quantiles = fitted.predict_quantiles(alpha=[0.1, 0.17, 0.25])
    low, between, high = quantiles.to_numpy().T
    assert (low < between).all()
    assert (between < high).all()


def test_intervals_cover_about_what_they_claim() -> None:
    rng = np.random.default_rng(0)
    y = pd.Series(rng.normal(10, 2, size=600))
    forecaster = RimerForecaster(**{**TINY, "n_epochs": 20}).fit(y[:400], fh=range(1, 21))
    covered = []
    for start in range(400, 600, 20):
        interval = forecaster.predict_interval(coverage=0.8)[0][0.8]
        actual = y[start : start + 20]
        covered += list((interval["lower"] <= actual) & (actual <= interval["upper"]))
        forecaster.update(actual, update_params=False)
    assert 0.7 < np.mean(covered) < 0.9


def test_distributions_and_pinball_scores(fitted: RimerForecaster) -> None:
    distribution = fitted.predict_proba()
    np.testing.assert_allclose(distribution.ppf(0.5), fitted.predict())
    quantiles = fitted.predict_quantiles(alpha=[0.1, 0.9])
    for level in (0.1, 0.9):
        np.testing.assert_allclose(distribution.ppf(level)["y0"], quantiles["y0", level])
    actual = wave(126).iloc[-6:]
    assert 0 < PinballLoss()(actual, quantiles) < 2


def test_one_quantile_is_enough_to_forecast_but_not_to_interpolate() -> None:
    forecaster = RimerForecaster(**TINY, quantiles=(0.5,)).fit(wave(), fh=[1, 2])
    np.testing.assert_allclose(forecaster.predict_quantiles(alpha=0.5), forecaster.predict())
    with pytest.raises(
        ValueError, match=r"alpha=\[0.1\] cannot be forecast from quantiles=\(0.5,\)"
    ):
        forecaster.predict_quantiles(alpha=[0.1])


def test_a_cause_known_in_advance_is_used() -> None:
    y, X = caused()
    settings = {**TINY, "n_epochs": 100, "learning_rate": 3e-3}
    forecaster = RimerForecaster(**settings).fit(y[:250], X=X[:250], fh=range(1, 51))
    forecast = forecaster.predict(X=X[250:])
    without = RimerForecaster(**settings).fit(y[:250], fh=range(1, 51)).predict()
    error = MeanSquaredError()
    assert error(y[250:], forecast) < 0.3 * error(y[250:], without)


def test_X_may_hold_past_and_other_rows_too() -> None:
    y, X = caused(100)
    forecaster = RimerForecaster(**TINY).fit(y[20:80], X=X, fh=range(1, 6))
    needed = forecaster.predict(X=X[80:85])
    pd.testing.assert_frame_equal(forecaster.predict(X=X), needed)
    changed = X.copy()
    changed.iloc[[0, 90]] = 1e6  # before y, and after the horizon
    pd.testing.assert_frame_equal(forecaster.predict(X=changed), needed)


def test_rows_of_X_that_are_lacking_are_named() -> None:
    y, X = caused(100)
    with pytest.raises(
        ValueError, match=r"X has no row for 20 of 80 time points .* first being 2020-01-01"
    ):
        RimerForecaster(**TINY).fit(y[:80], X=X[20:80], fh=[1])
    forecaster = RimerForecaster(**TINY).fit(y[:80], X=X[:80], fh=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"X has no row for 2 of 28 .* first being 2020-03-21"):
        forecaster.predict(X=X[82:])


@pytest.mark.parametrize("streaming", [False, True])
def test_between_the_steps_of_a_horizon_causes_are_missing_values(streaming: bool) -> None:
    """As evaluate gives them: it passes the rows of the horizon alone."""
    y, X = caused(100)
    forecaster = RimerForecaster(**TINY, streaming=streaming).fit(y[:80], X=X[:80], fh=[2, 5])
    held = X[:85].copy()
    held.iloc[[80, 82, 83]] = np.nan
    pd.testing.assert_frame_equal(
        forecaster.predict(X=X.iloc[[81, 84]]), forecaster.predict(X=held)
    )
    with pytest.raises(ValueError, match=r"X has no row for 1 of .* first being 2020-03-25"):
        forecaster.predict(X=X.iloc[[81, 83]])


def test_other_columns_of_X_are_named() -> None:
    y, X = caused(100)
    forecaster = RimerForecaster(**TINY).fit(y[:80], X=X[:80], fh=[1])
    with pytest.raises(ValueError, match=r"X has columns \['z'\], but .* fitted with \['x'\]"):
        forecaster.predict(X=X[80:].rename(columns={"x": "z"}))
    with pytest.raises(ValueError, match="got no X, but RimerForecaster was fitted with X"):
        forecaster.predict()
    with pytest.raises(ValueError, match="got X, but RimerForecaster was fitted without X"):
        RimerForecaster(**TINY).fit(y[:80], fh=[1]).predict(X=X[80:])


def test_ten_fits_are_bit_equal_and_another_seed_differs() -> None:
    y = wave()

    def fit(seed: int) -> np.ndarray:
        settings = {**TINY, "random_state": seed}
        return RimerForecaster(**settings).fit(y, fh=range(1, 7)).predict().to_numpy()

    first = fit(0)
    with ThreadPoolExecutor(4) as pool:
        for forecast in pool.map(fit, [0] * 9):
            np.testing.assert_array_equal(forecast, first)
    assert not np.allclose(fit(1), first)


@pytest.mark.parametrize("streaming", [False, True])
def test_threads_that_predict_at_once_do_not_race(streaming: bool) -> None:
    """Each with a horizon and a number of series of its own."""
    y = panel({"a": 60, "b": 60, "c": 75})
    settings = {**TINY, "streaming": streaming, "output_chunk_length": 4}
    shared = RimerForecaster(**settings).fit(y)
    horizons = [list(range(1, 2 + i % 9)) for i in range(200)]
    expected = {len(fh): shared._predict(ForecastingHorizon(fh), None) for fh in horizons}
    with ThreadPoolExecutor(8) as pool:
        # Within sktime's predict, which writes the horizon to the forecaster.
        found = pool.map(lambda fh: shared._predict(ForecastingHorizon(fh), None), horizons)
        for fh, forecast in zip(horizons, found, strict=True):
            assert forecast.index.equals(expected[len(fh)].index)
            assert_same_but_for_rounding(forecast, expected[len(fh)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to train on")
def test_what_was_trained_on_another_device_is_kept_on_the_cpu() -> None:
    """A file of a machine with a GPU loads on one without: torch's pickles name their device."""
    forecaster = RimerForecaster(**TINY, streaming=True).fit(wave(), fh=[1])
    kept = [*forecaster.network_.state_dict().values()]
    kept += [leaf for _, state in forecaster._fitted.streams._batches for _, leaf in leaves(state)]
    assert {x.device.type for x in kept} == {"cpu"}


def test_without_a_seed_fits_differ() -> None:
    forecasts = [
        RimerForecaster(**{**TINY, "random_state": None}).fit(wave(), fh=[1]).predict().iloc[0, 0]
        for _ in range(2)
    ]
    assert forecasts[0] != forecasts[1]


def test_clone_keeps_the_arguments_and_nothing_else(fitted: RimerForecaster) -> None:
    clone = fitted.clone()
    assert clone.get_params() == fitted.get_params()
    assert not clone.is_fitted
    assert not hasattr(clone, "network_")


@pytest.mark.parametrize("copy", [deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_forecast_the_same(copy: Any, fitted: RimerForecaster) -> None:
    pd.testing.assert_frame_equal(copy(fitted).predict(), fitted.predict())


def test_joblib_files(fitted: RimerForecaster, tmp_path: pathlib.Path) -> None:
    joblib.dump(fitted, tmp_path / "forecaster.joblib")
    pd.testing.assert_frame_equal(
        joblib.load(tmp_path / "forecaster.joblib").predict(), fitted.predict()
    )


def test_save_and_load_in_a_fresh_process(fitted: RimerForecaster, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "forecaster"
    fitted.save(path)  # to forecaster.zip
    code = f"""
from sktime.base import load
print(load({str(path)!r}).predict().to_numpy().tobytes().hex())
"""
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert printed[-1] == fitted.predict().to_numpy().tobytes().hex()


def test_a_fitted_forecaster_is_its_weights_and_the_end_of_the_series() -> None:
    """No trainer, and no training data beyond what a forecast reads and an update trains on."""
    sizes = []
    for n in (100, 5000):
        forecaster = RimerForecaster(**{**TINY, "n_epochs": 1, "batch_size": 512})
        forecaster.fit(wave(n), fh=range(1, 7))
        sizes.append(len(pickle.dumps(forecaster)))
        assert b"Trainer" not in pickle.dumps(forecaster)
    assert sizes[1] < sizes[0] + 200


def test_silent_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    RimerForecaster(**TINY).fit(wave(), fh=[1]).predict()
    assert capfd.readouterr() == ("", "")
    asked = RimerForecaster(**TINY, trainer_kwargs={"enable_progress_bar": True})
    asked.fit(wave(), fh=[1])
    assert "train_loss" in "".join(capfd.readouterr())


def test_trainer_arguments_reach_the_trainer() -> None:
    """One epoch less is another fit: Lightning's own limit overrides ours."""
    fits = [
        RimerForecaster(**{**TINY, **change}).fit(wave(), fh=[1]).predict().iloc[0, 0]
        for change in ({"n_epochs": 1}, {"n_epochs": 9, "trainer_kwargs": {"max_epochs": 1}})
    ]
    assert fits[0] == fits[1]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("where", ["y", "X"])
def test_a_value_that_cannot_be_used_is_named(where: str, value: float) -> None:
    data = {"y": wave(), "X": wave().rename(columns={"y0": "x"})}
    data[where].iloc[77, 0] = value
    column = data[where].columns[0]
    with pytest.raises(
        ValueError,
        match=f"{where} has 1 infinite .* column '{column}' at 2020-03-18.* by NaN",
    ):
        RimerForecaster(**TINY).fit(**data, fh=[1])


def test_a_bad_value_is_found_in_panels_and_updates(fitted: RimerForecaster) -> None:
    y = panel({"a": 30, "b": 30})
    y.iloc[40] = np.inf
    with pytest.raises(
        ValueError, match=r"y has 1 infinite .* at \('b', Period\('2020-01-11', 'D'\)\)"
    ):
        RimerForecaster(**TINY).fit(y, fh=[1])
    new = wave(130).iloc[120:]["y0"]
    new.iloc[3] = np.inf
    with pytest.raises(ValueError, match=r"y has 1 infinite .* at 2020-05-03: inf"):
        fitted.update(new)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_forecast_that_overflows_is_an_error(streaming: bool) -> None:
    y, X = caused()
    forecaster = RimerForecaster(**TINY, output_chunk_length=1, streaming=streaming)
    forecaster.fit(y[:250], X=X[:250], fh=range(1, 51))
    assert np.isfinite(forecaster.predict(X=X[250:]).to_numpy()).all()
    with pytest.raises(ValueError, match="the forecast is not finite"):
        forecaster.predict(X=1e30 * X[250:])


def test_a_series_too_short_is_named() -> None:
    with pytest.raises(ValueError, match="y has 1 time point, but training needs at least 2"):
        RimerForecaster(**TINY).fit(wave(1), fh=[1])
    with pytest.raises(ValueError, match=r"y of series \('b',\) has 1 time point"):
        RimerForecaster(**TINY).fit(panel({"a": 30, "b": 1}), fh=[1])


def test_an_empty_horizon_is_named() -> None:
    with pytest.raises(ValueError, match="`fh` must not be empty"):
        RimerForecaster(**TINY).fit(wave(), fh=[])


def test_other_columns_of_y_are_named(fitted: RimerForecaster) -> None:
    with pytest.raises(
        ValueError, match=r"y has columns \['y0', 'y1'\], but .* fitted with \['y0'\]"
    ):
        fitted.update(wave(130, columns=2).iloc[120:])


def test_columns_are_taken_by_name() -> None:
    y, X = wave(100, columns=2), wave(110, columns=2, seed=1).set_axis(["a", "b"], axis=1)
    y_, X_ = y[["y1", "y0"]], X[["b", "a"]]
    forecaster = RimerForecaster(**TINY).fit(y[:90], X=X[:90], fh=[1, 2])
    other = deepcopy(forecaster)
    forecaster.update(y[90:], X=X[90:100])
    other.update(y_[90:], X=X_[90:100])
    pd.testing.assert_frame_equal(forecaster.predict(X=X), other.predict(X=X_))


@pytest.mark.parametrize("name", [None, "another"])
def test_a_single_column_is_the_same_one_whatever_an_update_calls_it(name: str | None) -> None:
    y = wave(100)
    forecaster = RimerForecaster(**TINY).fit(y[:90], fh=[1, 2])
    other = deepcopy(forecaster).update(y["y0"][90:].rename(name), update_params=False)
    expected = forecaster.update(y[90:], update_params=False).predict()
    np.testing.assert_array_equal(np.ravel(other.predict()), expected["y0"])


DATES = pd.date_range("2020-01-01", periods=62, freq="D")
TIMES = {
    "periods of freq D": DATES.to_period(),
    "periods of freq M": pd.period_range("2020-01", periods=62, freq="M"),
    "dates without a time zone": DATES,
    "dates of the time zone Europe/Paris": DATES.tz_localize("Europe/Paris"),
    "dates of the time zone UTC": DATES.tz_localize("UTC"),
    "numbers": pd.RangeIndex(62),
}


@pytest.mark.parametrize("new", TIMES)
@pytest.mark.parametrize("fitted", TIMES)
def test_time_points_of_another_kind_are_named(fitted: str, new: str) -> None:
    y = wave(62)
    forecaster = RimerForecaster(**TINY, layers=None)
    forecaster.fit(y.set_axis(TIMES[fitted])[:60], X=y.set_axis(TIMES[fitted]), fh=[1, 2])
    X = y.set_axis(TIMES[new]).rename(columns={"y0": "x"})
    message = f"the time points of X are {new}, but those of y .* are {fitted}.*to_period"
    if new != fitted and not ("zone " in new and "zone " in fitted):
        with pytest.raises(ValueError, match=message):
            forecaster.predict(X=X)
    if new != fitted:
        with pytest.raises(ValueError, match=message.replace("X are", "y are")):
            forecaster.update(X[60:], X=X[60:])


def test_arguments_of_the_network_reach_it() -> None:
    other = {"dropout": 0.4, "layers_rate": 0.3, "initial_state": "learned", "patch_length": 3}
    forecaster = RimerForecaster(**TINY | other).fit(wave(), fh=[1])
    for name in ("input_chunk_length", "width", "head_size", *other):
        assert getattr(forecaster.network_.config, name) == getattr(forecaster, name), name
    assert not forecaster.network_.config.prepared_for_streams
    feed = RimerForecaster(**TINY | {"streaming": True}).fit(wave(), fh=[1])
    assert feed.network_.config.prepared_for_streams


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_chunk_length": 0}, "input_chunk_length=0 must be a whole number of at least 1"),
        ({"output_chunk_length": 0}, "output_chunk_length=0 must be a whole number of at least 1"),
        ({"layers": "rwvk7"}, "unknown layer 'rwvk7'"),
        ({"width": 10}, "width=10 is not a multiple of head_size=4"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"n_epochs": 0}, "n_epochs=0 trains nothing, and there are no pretrained weights"),
        ({"n_epochs": -1}, "n_epochs=-1 must be a whole number of at least 0"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0 must be a share between 0 and 1"),
        (
            {"quantiles": (0.1, 0.9)},
            r"quantiles=\(0\.1, 0\.9\) must be .*, 0\.5 among them",
        ),
        ({"quantiles": (0.5, 0.1)}, "must be ascending probabilities"),
        ({"quantiles": (0.5, 1.0)}, "must be ascending probabilities between 0 and 1"),
        ({"quantiles": ()}, "must be ascending probabilities"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**{**TINY, **arguments}).fit(wave(), fh=[1])
