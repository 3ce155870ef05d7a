"""RimerForecaster as a user of sktime meets it."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from importlib.util import find_spec
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
from sktime.split import SlidingWindowSplitter, temporal_train_test_split
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks
from sktime_cases import TINY, caused, panel, wave, with_gaps

from rimer_forecaster import RimerForecaster
from rimer_forecaster.layers import leaves


@pytest.fixture(scope="module")
def fitted_once() -> RimerForecaster:
    return RimerForecaster(**TINY).fit(wave(), fh=range(1, 7))


@pytest.fixture
def fitted(fitted_once: RimerForecaster) -> RimerForecaster:
    return deepcopy(fitted_once)  # predicting with another fh changes a forecaster


# --- contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forecaster", "fewest"),
    [(RimerForecaster, 1500), (RimerForecaster(n_epochs=1, random_state=0), 400)],
    ids=["tiny settings", "defaults but for the epochs"],
)
def test_conforms_to_sktime(forecaster: Any, fewest: int) -> None:
    results = check_estimator(forecaster, raise_exceptions=False, verbose=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert not failed
    assert len(results) > fewest
    assert not RimerForecaster.get_class_tag("tests:skip_by_name")


@parametrize_with_checks(RimerForecaster(**TINY, streaming=True), check_varname="check")
def test_conforms_check_by_check(obj: RimerForecaster, check: str) -> None:
    check_estimator(obj, tests_to_run=check, raise_exceptions=True, verbose=False)


@pytest.mark.parametrize("absent", [(), ("darts", "triton", "numba")])
def test_is_found_among_the_forecasters_of_the_package(absent: tuple[str, ...]) -> None:
    """The look-up imports whatever it is not told to leave out."""
    ignored: tuple[str, ...] = ("darts", "benchmark", "kernels")
    if not absent and all(map(find_spec, ("darts", "triton", "numba", "matplotlib"))):
        ignored = ()
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
from skbase.lookup import all_objects
from sktime.forecasting.base import BaseForecaster
found = all_objects(
    package_name="rimer_forecaster", object_types=BaseForecaster, modules_to_ignore={ignored}
)
assert [name for name, _ in found] == ["RimerForecaster"], found
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_darts_is_not_imported() -> None:
    code = """
import sys
from rimer_forecaster import RimerForecaster
from rimer_forecaster.layers import leaves
from sktime.datasets import load_airline
RimerForecaster(input_chunk_length=12, n_epochs=1).fit(load_airline(), fh=[1]).predict()
assert "darts" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- forecasts --------------------------------------------------------------------------------


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


# --- quantiles --------------------------------------------------------------------------------


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


# --- exogenous data ---------------------------------------------------------------------------


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


# --- update -----------------------------------------------------------------------------------


def test_update_without_parameters_moves_the_context_only() -> None:
    y = wave()
    forecaster = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    weights = deepcopy(forecaster.network_.state_dict())
    before = forecaster.predict()
    forecaster.update(y[100:], update_params=False)
    after = forecaster.predict()
    assert forecaster.cutoff == y.index[-1:]
    assert after.index[0] == y.index[-1] + 1
    assert not np.allclose(after, before)
    for name, weight in forecaster.network_.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("update_params", [False, True])
def test_windows_that_overlap_what_is_known_change_nothing(update_params: bool) -> None:
    y = wave()
    forecasts = []
    for new in (y[100:], y[60:], y):
        forecaster = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
        forecasts.append(forecaster.update(new, update_params=update_params).predict())
    pd.testing.assert_frame_equal(forecasts[1], forecasts[0])
    pd.testing.assert_frame_equal(forecasts[2], forecasts[0])


def test_one_value_at_a_time_is_as_good_as_all_at_once() -> None:
    y = wave()
    at_once = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    at_once.update(y[100:], update_params=False)
    one_by_one = RimerForecaster(**TINY).fit(y[:100], fh=range(1, 7))
    for i in range(100, 120):
        one_by_one.update(y[i : i + 1], update_params=False)
    pd.testing.assert_frame_equal(one_by_one.predict(), at_once.predict())


def test_update_with_parameters_trains_on_what_is_new() -> None:
    """The season changes from four to five steps, and the forecaster follows."""
    rng = np.random.default_rng(0)
    pulses = np.concatenate([np.arange(200) % 4 == 0, np.arange(200) % 5 == 0])
    y = pd.Series(pulses + 0.01 * rng.normal(size=400))
    settings = {**TINY, "n_epochs": 50, "learning_rate": 1e-2, "output_chunk_length": 5}
    errors = {}
    for update_params in (False, True):
        forecaster = RimerForecaster(**settings).fit(y[:200], fh=range(1, 6))
        for start in range(200, 380, 20):
            forecaster.update(y[start : start + 20], update_params=update_params)
        errors[update_params] = MeanAbsoluteError()(y[380:385], forecaster.predict())
    assert errors[True] < 0.7 * errors[False]


def test_update_predict_looks_at_nothing_after_the_cutoff() -> None:
    y = wave()
    forecaster = RimerForecaster(**TINY).fit(y[:80], fh=[1])
    cv = SlidingWindowSplitter(fh=[1], window_length=30, step_length=1)
    changed = y.copy()
    changed.iloc[100:] += 50
    moving = forecaster.update_predict(y[50:], cv=cv, update_params=False)
    disturbed = forecaster.update_predict(changed[50:], cv=cv, update_params=False)
    known = moving.index <= y.index[100]
    np.testing.assert_array_equal(moving[known], disturbed[known])
    assert not np.allclose(moving[~known], disturbed[~known])


# --- panels -----------------------------------------------------------------------------------


def test_a_panel_trains_one_model_and_each_series_goes_on_from_its_own_end() -> None:
    y = panel({"a": 120, "b": 60, "c": 90})
    forecaster = RimerForecaster(**TINY).fit(y, fh=range(1, 4))
    assert not hasattr(forecaster, "forecasters_"), "one model, not one a series"
    forecast = forecaster.predict()
    assert forecast.index.names == ["shop", "day"]
    for i, name in enumerate("abc"):
        end = y.loc[name].index[-1]
        assert list(forecast.loc[name].index) == [end + 1, end + 2, end + 3]
        assert (forecast.loc[name] - 100 * i).abs().to_numpy().max() < 3
    quantiles = forecaster.predict_quantiles(alpha=[0.1, 0.9])
    assert quantiles.index.equals(forecast.index)
    assert (quantiles[("y0", 0.1)] <= quantiles[("y0", 0.9)]).all()


def test_a_panel_update_moves_the_series_that_got_values() -> None:
    y = panel({"a": 80, "b": 80})
    forecaster = RimerForecaster(**TINY).fit(y.groupby(level=0).head(70), fh=[1])
    forecaster.update(y.loc[["b"]], update_params=True)
    forecast = forecaster.predict()
    assert forecast.loc["a"].index[0] == y.loc["a"].index[70]
    assert forecast.loc["b"].index[0] == y.loc["b"].index[-1] + 1


def test_a_hierarchy() -> None:
    y = pd.concat({"north": panel({"a": 40, "b": 40}), "south": panel({"a": 40})}, names=["region"])
    forecast = RimerForecaster(**TINY).fit(y, fh=[1, 2]).predict()
    assert list(forecast.index.droplevel(-1).unique()) == [
        ("north", "a"),
        ("north", "b"),
        ("south", "a"),
    ]


def test_a_panel_with_causes() -> None:
    y, X = caused(60)
    both = pd.concat({"a": y, "b": 2 * y}), pd.concat({"a": X, "b": X})
    past = both[0].groupby(level=0).head(50), both[1].groupby(level=0).head(50)
    forecaster = RimerForecaster(**TINY).fit(*past, fh=range(1, 6))
    forecast = forecaster.predict(X=both[1])
    assert forecast.shape == (10, 1)
    with pytest.raises(ValueError, match=r"X of series \('b',\) has no row for 5 of"):
        forecaster.predict(X=both[1].loc[["a"]])


@pytest.mark.parametrize("streaming", [False, True])
def test_series_of_a_panel_are_forecast_with_their_own_causes(streaming: bool) -> None:
    y, X = panel({"a": 60, "b": 60}), panel({"a": 66, "b": 66}).rename(columns={"y0": "x"})
    X.loc["b"] = -2 * X.loc["b"].to_numpy()
    settings = {**TINY, "streaming": streaming}
    both = RimerForecaster(**settings).fit(y, X=X[X.index.isin(y.index)], fh=range(1, 7))
    weights = both._fitted.weights()
    forecast = both.predict(X=X)
    for name in "ab":
        alone = RimerForecaster(**{**settings, "n_epochs": 0}, pretrained=weights)
        alone.fit(y.loc[name], X=X.loc[name][:60], fh=range(1, 7))
        expected = alone.predict(X=X.loc[name])
        np.testing.assert_allclose(forecast.loc[name], expected, rtol=1e-4, atol=1e-4)


def test_arguments_of_the_network_reach_it() -> None:
    forecaster = RimerForecaster(**{**TINY, "dropout": 0.4, "layers_rate": 0.3}).fit(wave(), fh=[1])
    names = ("input_chunk_length", "width", "head_size", "dropout", "layers_rate", "streaming")
    for name in names:
        assert getattr(forecaster.network_.config, name) == getattr(forecaster, name), name


# --- life of a forecaster ---------------------------------------------------------------------


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
            pd.testing.assert_frame_equal(forecast, expected[len(fh)], rtol=1e-4)


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


# --- missing values ---------------------------------------------------------------------------


def test_gaps_are_masked_and_cost_little() -> None:
    y = wave(300)
    errors = []
    for given in (y, with_gaps(y)):
        forecaster = RimerForecaster(**{**TINY, "n_epochs": 20})
        forecast = forecaster.fit(given.iloc[:-24], fh=range(1, 25)).predict()
        errors.append(float((forecast - y.iloc[-24:]).abs().mean().iloc[0]))
    assert errors[1] < 1.25 * errors[0]


def test_a_missing_value_is_no_zero_and_a_missing_cause_its_last_value() -> None:
    y, X = wave(120), wave(130).rename(columns={"y0": "x"})
    gaps, unknown = y.copy(), X.copy()
    gaps.iloc[-3], unknown.iloc[110:114] = np.nan, np.nan
    forecaster = RimerForecaster(**TINY).fit(gaps, X=unknown, fh=range(1, 7))
    forecast = forecaster.predict(X=unknown)
    assert np.isfinite(forecast.to_numpy()).all()
    filled = forecaster.predict(X=unknown.ffill())
    pd.testing.assert_frame_equal(forecast, filled)
    memory = forecaster._fitted.memory
    zeros = {(): replace(memory.series[()], y=gaps.fillna(0.0))}
    forecaster._fitted = forecaster._fitted._replace(memory=replace(memory, series=zeros))
    assert not np.allclose(forecaster.predict(X=unknown), forecast)


@pytest.mark.parametrize("streaming", [False, True])
def test_updates_with_gaps_go_on(streaming: bool) -> None:
    y = with_gaps(wave(140), 0.2)
    y.iloc[-1] = 0.5
    settings = {**TINY, "streaming": streaming}
    one = RimerForecaster(**settings).fit(y.iloc[:120], fh=range(1, 7))
    other = one.clone().fit(y.iloc[:120], fh=range(1, 7))
    one.update(y.iloc[120:], update_params=False)
    for i in range(120, 140):
        other.update(y.iloc[i : i + 1], update_params=False)
    assert_same_but_for_rounding(one.predict(), other.predict())
    assert np.isfinite(one.predict().to_numpy()).all()


def test_where_nothing_was_observed_is_named() -> None:
    y = wave(60, columns=2)
    y["y1"] = np.nan
    with pytest.raises(ValueError, match="y has no value in column 'y1' from 2020-01-01 to"):
        RimerForecaster(**TINY).fit(y, fh=[1])
    y = wave(60)
    y.iloc[-30:] = np.nan
    forecaster = RimerForecaster(**TINY).fit(y, fh=[1])
    with pytest.raises(ValueError, match=r"y has no value in column 'y0' .* longer input_chunk"):
        forecaster.predict()
    X = wave(60).rename(columns={"y0": "x"}) * np.nan
    with pytest.raises(ValueError, match="X has no value in column 'x'"):
        RimerForecaster(**TINY).fit(wave(60), X=X, fh=[1])


# --- bad input --------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_chunk_length": 0}, "input_chunk_length=0 must be a whole number of at least 1"),
        ({"output_chunk_length": 0}, "output_chunk_length=0 must be a whole number of at least 1"),
        ({"layers": "rwvk7"}, "unknown layer 'rwvk7'"),
        ({"width": 10}, "width=10 is not a multiple of head_size=4"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ({"n_epochs": 0}, "n_epochs=0 trains nothing, and there are no pretrained weights"),
        ({"n_epochs": -1}, "n_epochs=-1 must be a whole number of at least 1"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0 must be a share between 0 and 1"),
        (
            {"quantiles": (0.1, 0.9)},
            r"quantiles=\(0\.1, 0\.9\) must be .* with 0\.5 among them|0\.5 among",
        ),
        ({"quantiles": (0.5, 0.1)}, "must be ascending probabilities"),
        ({"quantiles": (0.5, 1.0)}, "must be ascending probabilities between 0 and 1"),
        ({"quantiles": ()}, "must be ascending probabilities"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**{**TINY, **arguments}).fit(wave(), fh=[1])
