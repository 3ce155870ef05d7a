"""RimerForecaster(pretrained="rimer-zero"): forecasts by weights that come with the package."""

from __future__ import annotations

import copy
import pathlib
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.split import ExpandingWindowSplitter
from sktime_cases import panel, wave, with_gaps

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network import transfer
from rimer_forecaster.network.state import fingerprint
from rimer_forecaster.network.weights import save_weights
from rimer_forecaster.sktime import Pretrained
from rimer_forecaster.training import Recipe
from rimer_forecaster.zero_shot import catalogue, forecast, zero_shot_network

NAME = "rimer-zero"
LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
MEDIAN = LEVELS.index(0.5)
FH = range(1, 8)


def zero(**arguments: Any) -> RimerForecaster:
    return RimerForecaster(pretrained=NAME, **arguments)


def tuned(**arguments: Any) -> RimerForecaster:
    return zero(**{"n_epochs": 1, "random_state": 0, **arguments})


def by_the_network_alone(y: pd.DataFrame, steps: int) -> np.ndarray:
    """(steps, C, Q); forecasts of the past, of streams and after a training are not refined."""
    columns = list(y.to_numpy().T)
    return forecast(zero_shot_network(NAME), columns, steps, refine=False).swapaxes(0, 1)


def causes(y: pd.DataFrame, more: int = 7) -> pd.DataFrame:
    index = pd.period_range(y.index[0], periods=len(y) + more, freq="D")
    return pd.DataFrame({"x": np.cos(np.arange(len(index)))}, index=index)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 130])
def test_fit_trains_nothing_and_forecasts_are_those_of_the_weights(n: int) -> None:
    y = wave(n, columns=2, level=40.0)
    fitted = zero().fit(y)
    assert fitted.network_ is zero_shot_network(NAME)
    expected = forecast(zero_shot_network(NAME), list(y.to_numpy().T), 7)  # (C, H, Q)
    assert_same_but_for_rounding(fitted.predict(FH), expected[..., MEDIAN].T)
    quantiles = fitted.predict_quantiles(FH, alpha=list(LEVELS))
    found = quantiles.to_numpy().reshape(7, 2, -1).swapaxes(0, 1)
    assert_same_but_for_rounding(found, expected)


@pytest.mark.parametrize("factor", [1e-12, 1e-3, 1e12])
def test_units_change_nothing(factor: float) -> None:
    y = wave(60, level=3.0)
    one, other = zero().fit(y), zero().fit(factor * y)
    np.testing.assert_allclose(other.predict(FH), factor * one.predict(FH), rtol=1e-4)


def test_a_level_far_from_the_movement_costs_no_precision() -> None:
    """The window moves by a ten millionth of what the series has seen."""
    y = wave(200)
    moved = y.copy()
    moved.iloc[:100] += 1e8
    capped = {"input_chunk_length": 90}
    one, other = zero(**capped).fit(y), zero(**capped).fit(moved)
    np.testing.assert_allclose(other.predict(FH), one.predict(FH), atol=1e-4)


@pytest.mark.parametrize("y", [[7.0], [7.0] * 40, [np.nan, 7.0, np.nan]])
def test_what_never_moved_stays(y: list[float]) -> None:
    interval = zero().fit(pd.Series(y)).predict_interval(FH, coverage=0.9)
    np.testing.assert_allclose(interval, 7.0)


def test_steps_beyond_the_direct_ones_are_those_of_the_network() -> None:
    y = wave(100)
    fitted = zero().fit(y)
    far = fitted.predict_interval([3, 64, 65, 200], coverage=0.95)
    expected = forecast(zero_shot_network(NAME), [y["y0"]], 200)[0, [2, 63, 64, 199]]
    assert_same_but_for_rounding(far, expected[:, [0, -1]])
    width = far.to_numpy() @ [-1, 1]
    assert width[-1] > width[0]  # a gap is read, not forecasts as if they had been observed


def test_the_look_back_is_a_cap() -> None:
    y = wave(400, level=5.0)
    y.iloc[:300] *= 10
    capped = zero(input_chunk_length=50)
    pd.testing.assert_frame_equal(capped.fit(y).predict(FH), zero().fit(y[-50:]).predict(FH))
    assert np.abs(capped.predict(FH) - zero().fit(y).predict(FH)).to_numpy().max() > 0.01
    longer = pd.DataFrame({"y": np.sin(np.arange(2300) / 9) + np.arange(2300) / 100})
    read = zero().fit(longer).predict(FH)
    pd.testing.assert_frame_equal(read, zero().fit(longer[-2048:]).predict(FH))
    assert np.abs(read - zero().fit(longer[-2000:]).predict(FH)).to_numpy().max() > 1e-6


def test_missing_values_are_gaps_and_not_lines() -> None:
    y = wave(90)
    gaps = with_gaps(y)
    expected = forecast(zero_shot_network(NAME), [gaps["y0"]], 7)[0, :, MEDIAN]
    found = zero().fit(gaps).predict(FH)["y0"]
    assert_same_but_for_rounding(found, expected)
    assert np.abs(found - zero().fit(gaps.interpolate()).predict(FH)["y0"]).max() > 1e-4


def test_panels_and_hierarchies_are_forecast_as_their_series_are() -> None:
    shops = with_gaps(panel({"a": 200, "b": 1, "c": 33}), 0.05)
    tree = pd.concat({"north": shops, "south": 2 * shops}, names=["region"])
    both = zero().fit(tree).predict(FH)
    for region, shop in (("north", "a"), ("south", "b"), ("south", "c")):
        alone = zero().fit(tree.loc[(region, shop)]).predict(FH)
        assert_same_but_for_rounding(both.loc[(region, shop)], alone)


def test_some_of_the_quantiles_and_others_between_them() -> None:
    y = wave(80)
    every, few = zero().fit(y), zero(quantiles=(0.1, 0.4, 0.5, 0.9)).fit(y)
    asked = every.predict_quantiles(FH, alpha=[0.1, 0.4, 0.5, 0.9])
    np.testing.assert_allclose(few.predict_quantiles(FH, alpha=[0.1, 0.4, 0.5, 0.9]), asked)
    np.testing.assert_allclose(few.predict(FH), every.predict(FH))
    between = [few.predict_quantiles(FH, alpha=0.7), every.predict_quantiles(FH, alpha=0.7)]
    assert np.abs(between[0] - between[1]).to_numpy().max() > 1e-4  # it was asked for fewer
    np.testing.assert_allclose(few.predict_proba(FH).ppf(0.9), asked["y0"][[0.9]])


def test_any_probability_has_a_quantile_in_its_order() -> None:
    fitted = zero().fit(wave(80))
    quantiles = fitted.predict_quantiles(FH, alpha=[0.001, 0.025, 0.3, 0.975, 0.999])
    assert (np.diff(quantiles) > 0).all()
    assert (fitted.predict_var(FH) > 0).all(axis=None)


@pytest.mark.parametrize("quantiles", [(0.01, 0.5), (0.5, 0.99)])
def test_quantiles_that_were_not_trained_are_named(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"quantiles=.* forecast, 0\.025 to 0\.975"):
        zero(quantiles=quantiles).fit(wave(40))
    levels = tuned(quantiles=quantiles).fit(wave(40)).network_.config.outputs
    assert levels == quantiles


def test_the_past_is_forecast_from_what_came_before() -> None:
    y = with_gaps(wave(70, columns=2), seed=3)
    y.iloc[:3, 0] = np.nan
    past = zero().fit(y).predict(range(-69, 1))
    assert past.iloc[:4, 0].isna().all()
    assert past.iloc[4:].notna().all(axis=None)
    for n in (4, 16, 17, 40, 69):
        expected = by_the_network_alone(y[:n], 1)[..., MEDIAN]
        assert_same_but_for_rounding(past.iloc[[n]], expected)
    gapped = zero().fit(y).predict([-30, -1, 0, 5])
    assert_same_but_for_rounding(gapped.iloc[:3], past.iloc[[39, 68, 69]])


def test_a_long_past_is_read_in_spans_of_the_look_back() -> None:
    """Each time point from what a cap on the look-back between half of it and all of it reads."""
    y = wave(150)
    past = zero(input_chunk_length=40).fit(y).predict(range(-149, 1))
    for n in (20, 40, 41, 60, 61, 100, 149):
        span = n if n <= 40 else n - -(-(n - 40) // 20) * 20
        expected = by_the_network_alone(y[n - span : n], 1)[..., MEDIAN]
        assert_same_but_for_rounding(past.iloc[[n]], expected)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("update_params", [False, True])
def test_an_update_observes_and_trains_nothing(streaming: bool, update_params: bool) -> None:
    y = with_gaps(wave(130), seed=1)
    moved = zero(streaming=streaming).fit(y[:80])
    for start, end in ((80, 81), (81, 110), (100, 130)):
        moved.update(y[start:end], update_params=update_params)
    assert moved.network_ is zero_shot_network(NAME)
    whole = zero(streaming=streaming).fit(y)
    assert moved.cutoff[0] == y.index[-1]
    assert_same_but_for_rounding(moved.predict(FH), whole.predict(FH))


def test_an_update_keeps_no_more_than_forecasts_read() -> None:
    capped = zero(input_chunk_length=30).fit(wave(20))
    y = wave(400)
    for start in range(20, 400, 95):
        capped.update(y[start : start + 95])
    assert len(capped._fitted.memory.series[()].y) == 30 + 64
    pd.testing.assert_frame_equal(capped.predict(FH), zero().fit(y[-30:]).predict(FH))


def test_a_stream_reads_what_lies_before_its_window() -> None:
    y = pd.DataFrame({"y": np.sin(np.arange(2300) / 9)})
    other = y.copy()
    other.iloc[:200] = np.random.default_rng(0).normal(size=(200, 1))
    forecasts = [zero(streaming=True).fit(one).predict(FH) for one in (y, other)]
    assert np.abs(forecasts[0] - forecasts[1]).to_numpy().max() > 1e-7
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the weights are prepared for streams
        zero(streaming=True).fit(y[:50])


FOLDS = ExpandingWindowSplitter(fh=FH, initial_window=60, step_length=20)
SCORE = "test_MeanAbsolutePercentageError"


def test_sktimes_conformity_suite_is_run_with_it() -> None:
    """By tests/sktime/test_conformity.py, over all test settings."""
    settings = RimerForecaster.get_test_params()
    assert [x.get("n_epochs") for x in settings if x.get("pretrained") == NAME] == [None]


def test_every_strategy_and_backend_of_evaluate_scores_the_same() -> None:
    y = wave(120, level=4.0)
    scores = [
        evaluate(zero(), FOLDS, y, strategy=strategy, error_score="raise", **backend)[SCORE]
        for strategy, backend in (
            ("refit", {}),
            ("update", {}),
            ("no-update_params", {}),
            ("refit", {"backend": "threading", "backend_params": {"n_jobs": 3}}),
        )
    ]
    assert len(scores[0]) == 3
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], rtol=1e-5)


def test_a_search_sets_the_cap_and_whether_to_train() -> None:
    grid = {"input_chunk_length": [13, None], "n_epochs": [None, 1]}
    search = ForecastingGridSearchCV(zero(random_state=0), FOLDS, grid, error_score="raise").fit(
        wave(100, level=4.0), fh=FH
    )
    assert search.cv_results_["mean_" + SCORE].nunique() == 4
    assert search.best_forecaster_.pretrained == NAME


def test_clones_and_changed_parameters_keep_the_weights() -> None:
    y = wave(40)
    expected = zero().fit(y).predict(FH)
    for other in (zero().clone(), RimerForecaster(width=32).set_params(pretrained=NAME)):
        pd.testing.assert_frame_equal(other.fit(y).predict(FH), expected)
    retracted = zero().set_params(n_epochs=1)
    assert retracted.get_tag("capability:exogenous")
    assert not zero().get_tag("capability:exogenous")


def test_pretraining_is_training_and_fit_then_is_not() -> None:
    """`pretrain` was asked for; a `fit` without a number of epochs takes what it left."""
    y = wave(40)
    learnt = zero(recipe=Recipe(steps=1, fewest_epochs=1), random_state=0)
    learnt.pretrain(panel({"a": 30, "b": 40})).fit(y)
    weights = learnt.pretrained_.network
    assert fingerprint(weights) != fingerprint(zero_shot_network(NAME))
    assert fingerprint(learnt.network_) == fingerprint(weights)
    assert fingerprint(learnt.update(wave(50)[40:]).network_) == fingerprint(weights)


@pytest.mark.parametrize("streaming", [False, True])
def test_copies_share_the_weights_and_files_hold_their_name(streaming: bool) -> None:
    fitted = zero(streaming=streaming).fit(wave(5000, columns=1))
    stored = pickle.dumps(fitted)
    assert len(stored) < 150_000  # the weights are a megabyte as they come, and two in use
    assert b"rimer-zero-1" in stored
    for again in (pickle.loads(stored), copy.deepcopy(fitted), copy.copy(fitted)):
        assert again.network_ is zero_shot_network(NAME)
        pd.testing.assert_frame_equal(again.predict(FH), fitted.predict(FH))
    kept = Pretrained(zero_shot_network(NAME))
    assert len(pickle.dumps(RimerForecaster(pretrained=kept))) < 10_000


def test_a_file_is_read_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    fitted = zero().fit(wave(60))
    fitted.save(tmp_path / "forecaster")
    code = f"""
from sktime.base import load
print(load({str(tmp_path / "forecaster")!r}).predict(fh=[1, 2]).to_numpy().tobytes().hex())
"""
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    found = np.frombuffer(bytes.fromhex(printed[-1]))
    assert_same_but_for_rounding(found, fitted.predict([1, 2])["y0"])


def test_a_file_of_weights_that_are_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = pickle.dumps(zero().fit(wave(60)))
    monkeypatch.setattr(catalogue, "names", lambda: ["rimer-zero-9"])
    with pytest.raises(ValueError, match="no weights 'rimer-zero-1' in this version"):
        pickle.loads(stored)


def test_threads_that_begin_at_once_get_one_network() -> None:
    catalogue._read.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda n: zero().fit(wave(n)), (20, 30, 40, 50)))
    assert len({id(fitted.network_) for fitted in fits}) == 1


def test_a_trainable_copy_is_another_network() -> None:
    shared = zero_shot_network(NAME)
    own = transfer.trainable_copy(shared)
    assert fingerprint(own) == fingerprint(shared)
    assert own is not shared
    assert all(x.requires_grad for x in own.parameters())
    assert copy.deepcopy(own) is not own


def test_a_number_of_epochs_trains_a_copy_on() -> None:
    y, before = wave(60), fingerprint(zero_shot_network(NAME))
    fitted = tuned().fit(y, fh=FH)
    assert fingerprint(fitted.network_) != before
    trained = fingerprint(fitted.update(wave(80)[60:]).network_)
    assert trained != before
    assert fingerprint(zero_shot_network(NAME)) == before
    assert not any(x.requires_grad for x in zero_shot_network(NAME).parameters())
    assert pickle.loads(pickle.dumps(fitted)).network_ is not fitted.network_


@pytest.mark.parametrize("quantiles", [None, (0.1, 0.5, 0.9)])
def test_training_begins_with_the_forecasts_of_the_weights(
    quantiles: tuple[float, ...] | None,
) -> None:
    y = wave(60, columns=2)
    as_they_are = by_the_network_alone(y, 7)[..., [LEVELS.index(0.1), MEDIAN]].reshape(7, 4)
    barely = tuned(learning_rate=1e-12, quantiles=quantiles).fit(y, fh=FH)
    assert barely.network_.config.output_chunk_length == 7
    found = barely.predict_quantiles(alpha=[0.1, 0.5])
    np.testing.assert_allclose(found, as_they_are, atol=1e-4)
    np.testing.assert_allclose(barely.predict([-3, 0]), zero().fit(y).predict([-3, 0]), atol=1e-4)


def test_what_X_means_is_learnt_and_needs_a_number_of_epochs() -> None:
    y = wave(60)
    X = causes(y)
    with pytest.warns(UserWarning, match=r"X is ignored: pretrained='rimer-zero' .* Give n_epochs"):
        ignoring = zero().fit(y, X=X, fh=FH)
    pd.testing.assert_frame_equal(ignoring.predict(X=X), zero().fit(y).predict(FH))
    kept = RimerForecaster(pretrained=Pretrained(zero_shot_network(NAME)))
    with pytest.raises(ValueError, match=r"no X, but got X \['x'\]\. Leave it out, or .* n_epochs"):
        kept.fit(y, X=X)
    fitted = tuned().fit(y, X=X, fh=FH)
    assert np.abs(fitted.predict(X=X) - fitted.predict(X=-X)).to_numpy().max() > 1e-6
    fitted.update(wave(65)[60:], X=X, update_params=False)
    with pytest.raises(ValueError, match="X has no row for 5 of"):
        fitted.predict(X=X)
    with pytest.raises(
        ValueError, match=r"input_chunk_length=9 is too short for X: .* at least 16"
    ):
        tuned(input_chunk_length=9).fit(y, X=X)


class Lengths(pl.Callback):
    seen: list[int] = []  # noqa: RUF012  # shared on purpose: callbacks are copied

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        self.seen.append(batch.target.shape[1])


@pytest.mark.parametrize(
    ("n", "cap", "covariates", "length"),
    [
        (40, None, False, 40 + 7),
        (9, None, False, 9 + 7),  # less than a patch
        (40, 25, False, 25 + 7),
        (40, 5, False, 5 + 7),
        (40, None, True, 40 + 7),
        (9, None, True, 16 + 7),  # whole patches
        (600, None, False, 512 + 7),
    ],
)
def test_windows_to_train_on_are_no_longer_than_the_series(
    n: int, cap: int | None, covariates: bool, length: int
) -> None:
    Lengths.seen.clear()
    y = wave(n)
    fitted = tuned(input_chunk_length=cap, trainer_kwargs={"callbacks": [Lengths()]})
    X = causes(y) if covariates else None
    forecast = fitted.fit(y, X=X, fh=FH).predict(X=X)
    assert set(Lengths.seen) == {length}
    assert forecast.notna().all(axis=None)


@pytest.mark.parametrize("covariates", [False, True])
def test_weights_that_were_trained_on_are_files_like_others(
    covariates: bool, tmp_path: pathlib.Path
) -> None:
    y = wave(60)
    X = causes(y) if covariates else None
    source = tuned().fit(y, X=X, fh=FH)
    source.save_weights(tmp_path / "tuned.safetensors")
    again = RimerForecaster(pretrained=tmp_path / "tuned.safetensors")
    found = again.fit(y, X=X, fh=FH).predict(X=X)
    assert fingerprint(again.network_) == fingerprint(source.network_)
    assert_same_but_for_rounding(found, source.predict(X=X))


def test_weights_that_were_not_trained_on_stay_refined_in_a_file(tmp_path: pathlib.Path) -> None:
    y = pd.Series(np.resize(np.random.default_rng(0).normal(size=12), 90))
    source = RimerForecaster(pretrained=NAME).fit(y, fh=FH)
    source.save_weights(tmp_path / "whole.safetensors")
    found = RimerForecaster(pretrained=tmp_path / "whole.safetensors").fit(y, fh=FH).predict()
    assert_same_but_for_rounding(found, source.predict())
    np.testing.assert_allclose(found, np.resize(y[6:18], len(found)), atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "rimer-one"}, "no weights 'rimer-one' .* there are 'rimer-zero', 'rimer"),
        ({"input_chunk_length": 4000}, "=4000 is longer than the 2048 time points"),
        ({"input_chunk_length": 0}, "input_chunk_length=0 must be a whole number of at least 1"),
        ({"output_chunk_length": 0}, "output_chunk_length=0 must be a whole number of at least 1"),
        ({"width": 64}, "network with width=96, but this forecaster has width=64"),
        ({"layers": None}, r"network with layers='rwkv7\*4', but this forecaster has layers=None"),
        ({"patch_length": 8}, "network with patch_length=16, but this forecaster has"),
        ({"initial_state": "learned"}, "network with initial_state='zero', but"),
        ({"quantiles": (0.1, 0.9)}, r"quantiles=\(0\.1, 0\.9\) must be ascending .* 0\.5 among"),
    ],
)
@pytest.mark.parametrize("n_epochs", [None, 1])
def test_wrong_arguments_are_named(
    n_epochs: int | None, arguments: dict[str, Any], message: str
) -> None:
    given = {"pretrained": NAME, "n_epochs": n_epochs, **arguments}
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**given).fit(wave(40))


def test_no_epochs_pretrain_nothing() -> None:
    with pytest.raises(ValueError, match="n_epochs=0 pretrains nothing"):
        zero(n_epochs=0).pretrain(panel({"a": 30, "b": 40}))


def test_nothing_that_was_drawn_decides() -> None:
    y = wave(50)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second = (zero(random_state=seed).fit(y).predict(FH) for seed in (0, None))
    pd.testing.assert_frame_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_of_the_trainer_are_taken_by_their_path(tmp_path: pathlib.Path) -> None:
    path, network = tmp_path / "weights.safetensors", transfer.trainable_copy(zero_shot_network())
    save_weights(network, path, {"plan": {"steps": 1}})
    series = wave(60)
    found, expected = (
        RimerForecaster(pretrained=given).fit(series).predict(FH) for given in (path, NAME)
    )
    assert_same_but_for_rounding(found, expected)
    save_weights(network, path)
    with pytest.raises(ValueError, match=r"was not saved by RimerForecaster\.save_weights"):
        RimerForecaster(pretrained=path).fit(series)


def test_spans_of_time_are_steps_and_other_kinds_of_index_are_named() -> None:
    days = wave(60)["y0"].to_timestamp()
    spans = pd.to_timedelta([1, 3], unit="D")
    by_number = RimerForecaster(pretrained="rimer-zero").fit(days).predict(fh=[1, 3])
    found = RimerForecaster(pretrained="rimer-zero").fit(days).predict(fh=spans)
    pd.testing.assert_series_equal(found, by_number, check_freq=False)
    in_fit = RimerForecaster(pretrained="rimer-zero").fit(days, fh=spans)
    pd.testing.assert_series_equal(in_fit.predict(), by_number, check_freq=False)
    for y, fh, message in (
        (days, pd.period_range("2021-01-01", periods=2, freq="D"), "fh holds periods.* y dates"),
        (wave(60)["y0"], pd.DatetimeIndex(["2021-01-01"]), "fh holds dates.* y periods"),
        (wave(60)["y0"], spans, "fh holds time spans.* y periods"),
    ):
        with pytest.raises(ValueError, match=message):
            RimerForecaster(pretrained="rimer-zero").fit(y).predict(fh=fh)


def test_panels_are_split_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Creating a Groupby object")
        RimerForecaster(pretrained="rimer-zero").fit(panel({"a": 40, "b": 30})).predict(fh=[1])
