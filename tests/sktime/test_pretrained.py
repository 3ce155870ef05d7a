"""Pretrained weights: learnt from a panel, kept in files, and trained on."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")

from rounding import assert_same_but_for_rounding
from sktime.exceptions import NotFittedError
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter
from sktime_cases import TINY, caused, panel, wave

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network.state import fingerprint
from rimer_forecaster.sktime.pretrained import Pretrained
from rimer_forecaster.training import Recipe

AS_THEY_ARE = {**TINY, "n_epochs": None}


def waves() -> pd.DataFrame:
    return panel({"a": 150, "b": 90, "c": 120})


@pytest.fixture(scope="module")
def pretrained() -> RimerForecaster:
    return RimerForecaster(**{**TINY, "n_epochs": 30}).pretrain(waves(), fh=range(1, 7))


@pytest.fixture(scope="module")
def weights(pretrained: RimerForecaster) -> Pretrained:
    return pretrained.pretrained_


@pytest.mark.parametrize("n_epochs", [None, 0])
def test_a_series_never_seen_is_forecast_by_pretrained_weights(
    n_epochs: int | None, weights: Pretrained
) -> None:
    y = wave(60, level=-7e4, seed=9)
    forecaster = RimerForecaster(**{**TINY, "n_epochs": n_epochs}, pretrained=weights)
    forecast = forecaster.fit(y[:40], fh=range(1, 7)).predict()
    untrained = RimerForecaster(**{**TINY, "n_epochs": 1}).fit(y[:40], fh=range(1, 7)).predict()
    error = MeanAbsoluteError()
    assert error(y[40:46], forecast) < 0.6 * error(y[40:46], untrained)
    assert fingerprint(forecaster.network_) == fingerprint(weights.network)


def test_fit_and_update_train_a_copy(pretrained: RimerForecaster) -> None:
    before = fingerprint(pretrained.pretrained_.network)
    forecaster = deepcopy(pretrained).fit(wave(60, seed=9), fh=range(1, 7))
    assert fingerprint(forecaster.network_) != before
    forecaster.update(wave(80, seed=9)[60:])
    assert fingerprint(forecaster.pretrained_.network) == before
    assert set(forecaster.get_pretrained_params()) == {"pretrained_"}
    again = forecaster.fit(wave(60, seed=9), fh=range(1, 7))  # begins with the same weights
    expected = deepcopy(pretrained).fit(wave(60, seed=9), fh=range(1, 7))
    assert fingerprint(again.network_) == fingerprint(expected.network_)


def test_without_a_number_of_epochs_pretrain_trains_and_fit_does_not() -> None:
    once = Recipe(steps=1, fewest_epochs=1)
    forecaster = RimerForecaster(**AS_THEY_ARE, recipe=once).pretrain(waves(), fh=range(1, 7))
    learnt = forecaster.pretrained_.network
    assert learnt.skip.weight.abs().max() > 0  # it starts at zero
    assert fingerprint(forecaster.fit(wave(60, seed=9)).network_) == fingerprint(learnt)
    assert fingerprint(forecaster.update(wave(80, seed=9)[60:]).network_) == fingerprint(learnt)


def test_sizes_that_are_not_given_are_those_of_the_weights(weights: Pretrained) -> None:
    y = wave(60, seed=9)
    found = RimerForecaster(pretrained=weights).fit(y).predict(range(1, 7))
    expected = RimerForecaster(**AS_THEY_ARE, pretrained=weights).fit(y).predict(range(1, 7))
    pd.testing.assert_frame_equal(found, expected)


def test_weights_that_are_to_stay_as_they_are_stay_so_in_updates(weights: Pretrained) -> None:
    y = wave(80, seed=9)
    forecaster = RimerForecaster(**AS_THEY_ARE, pretrained=weights).fit(y[:60], fh=range(1, 7))
    forecaster.update(y[60:])
    assert fingerprint(forecaster.network_) == fingerprint(weights.network)
    assert forecaster.cutoff[0] == y.index[-1]


def test_training_on_is_gentler_than_training() -> None:
    """At a tenth of the learning rate: one step of Adam is as long as its rate."""
    y = wave(40)
    moved = []
    for forecaster in (
        RimerForecaster(**{**TINY, "n_epochs": 1, "dropout": 0.0}),
        RimerForecaster(**{**TINY, "n_epochs": 1, "dropout": 0.0}).pretrain(waves()),
    ):
        start = getattr(forecaster, "pretrained_", None)
        skip = 0.0 if start is None else start.network.skip.weight.detach()
        fitted = forecaster.fit(y, fh=range(1, 25))
        moved.append(float((fitted.network_.skip.weight.detach() - skip).abs().max()))
    assert moved[1] < 0.2 * moved[0]


def test_an_update_is_as_gentle() -> None:
    settings = {**TINY, "dropout": 0.0, "batch_size": 10**6}
    forecaster = RimerForecaster(**settings).fit(wave()[:100], fh=range(1, 7))
    before = forecaster.network_.skip.weight.detach().clone()
    forecaster.update(wave()[100:])  # one step; the skip's rate is ten times the matrices'
    moved = (forecaster.network_.skip.weight.detach() - before).abs().max()
    assert float(moved) == pytest.approx(10 * 1e-3 / 10, rel=0.05)


def test_an_update_is_one_epoch_whatever_the_fit_was() -> None:
    forecaster = RimerForecaster(**TINY).fit(wave()[:100], fh=range(1, 7))
    other = deepcopy(forecaster)
    other.trainer_kwargs = {"max_epochs": 4}
    updated = [one.update(wave()[100:]).network_ for one in (forecaster, other)]
    assert fingerprint(updated[0]) == fingerprint(updated[1])


def test_pretraining_goes_on_where_it_was(pretrained: RimerForecaster) -> None:
    forecaster = deepcopy(pretrained)
    first = fingerprint(forecaster.pretrained_.network)
    forecaster.pretrain(waves() + 1)
    assert fingerprint(forecaster.pretrained_.network) != first
    difference = (
        forecaster.pretrained_.network.skip.weight - pretrained.pretrained_.network.skip.weight
    )
    assert difference.abs().max() < pretrained.pretrained_.network.skip.weight.abs().max()


def test_the_parameter_survives_what_drops_pretraining(weights: Pretrained) -> None:
    """sktime's set_params resets a pretrained forecaster (sktime #10151)."""
    forecaster = RimerForecaster(**AS_THEY_ARE, pretrained=weights)
    for copy in (forecaster.clone(), forecaster.clone().set_params(batch_size=64)):
        copy.fit(wave(), fh=range(1, 7))
        assert fingerprint(copy.network_) == fingerprint(weights.network)
    search = ForecastingGridSearchCV(
        RimerForecaster(**AS_THEY_ARE, pretrained=weights),
        ExpandingWindowSplitter(fh=range(1, 7), initial_window=80, step_length=20),
        {"n_epochs": [None, 1], "learning_rate": [1e-2]},
        error_score="raise",
    )
    search.fit(wave(), fh=range(1, 7))
    assert search.best_forecaster_.pretrained.network is not None
    assert search.cv_results_["mean_test_MeanAbsolutePercentageError"].nunique() == 2


@pytest.mark.parametrize("from_fit", [False, True])
def test_weights_are_files_too(
    from_fit: bool, pretrained: RimerForecaster, tmp_path: pathlib.Path
) -> None:
    y, path = wave(60, seed=9), tmp_path / "weights.safetensors"
    source = deepcopy(pretrained)
    if from_fit:
        source.fit(wave(90), fh=range(1, 7))
    source.save_weights(path)
    forecast = RimerForecaster(**AS_THEY_ARE, pretrained=path).fit(y, fh=range(1, 7)).predict()
    network = source.network_ if from_fit else source.pretrained_.network
    again = RimerForecaster(**AS_THEY_ARE, pretrained=Pretrained(network))
    pd.testing.assert_frame_equal(forecast, again.fit(y, fh=range(1, 7)).predict())
    with pytest.raises(FileNotFoundError, match="does not exist"):
        RimerForecaster(**TINY, pretrained=tmp_path / "other.safetensors").fit(y)
    with pytest.raises(NotFittedError):
        RimerForecaster().save_weights(path)


def test_pretrained_causes_keep_their_units(tmp_path: pathlib.Path) -> None:
    y, X = caused(200)
    both = pd.concat({"a": y, "b": 3 * y}), pd.concat({"a": X, "b": X})
    source = RimerForecaster(**{**TINY, "n_epochs": 40, "learning_rate": 3e-3})
    source.pretrain(*both, fh=range(1, 7))
    path = tmp_path / "weights.safetensors"
    source.save_weights(path)
    shifted = RimerForecaster(**AS_THEY_ARE, pretrained=path)
    forecast = shifted.fit(y[:60], X=X[:60], fh=range(1, 7)).predict(X=X[60:66])
    np.testing.assert_allclose(forecast, y[60:66], atol=1.5)  # its deviation is 3
    np.testing.assert_allclose(shifted._fitted.memory.X_scaler.mean_, X["x"].mean())
    with pytest.raises(ValueError, match=r"pretrained with X \['x'\], but got no X"):
        RimerForecaster(**AS_THEY_ARE, pretrained=path).fit(y, fh=[1])


def test_causes_in_another_order_are_named() -> None:
    X = wave(80, columns=2, seed=5)
    learnt = RimerForecaster(**TINY).fit(wave(80), X=X, fh=range(1, 7))
    weights = learnt._fitted.weights()
    swapped = X[X.columns[::-1]]
    with pytest.raises(ValueError, match=r"with X \['y0', 'y1'\], but got X \['y1', 'y0'\]"):
        RimerForecaster(**AS_THEY_ARE, pretrained=weights).fit(wave(80), X=swapped, fh=[1])


def test_other_components_take_the_same_weights(weights: Pretrained) -> None:
    y = wave(60, columns=3)
    forecaster = RimerForecaster(**AS_THEY_ARE, pretrained=weights).fit(y, fh=range(1, 7))
    assert forecaster.predict().shape == (6, 3)


def test_a_single_point_is_enough_to_forecast_from(weights: Pretrained) -> None:
    forecaster = RimerForecaster(**AS_THEY_ARE, pretrained=weights).fit(wave(1), fh=[1, 2])
    assert forecaster.predict().notna().all(axis=None)


def test_weights_of_another_network_are_named(weights: Pretrained) -> None:
    for change, message in (
        ({"width": 16}, "network with width=8, but this forecaster has width=16"),
        ({"layers": "rwkv7*2"}, r"with layers='rwkv7\*1', but this forecaster has"),
        ({"output_chunk_length": 3}, "with output_chunk_length=6, but"),
        ({"quantiles": (0.1, 0.5, 0.9)}, "with quantiles="),
    ):
        with pytest.raises(ValueError, match=message):
            RimerForecaster(**{**TINY, **change}, pretrained=weights).fit(wave(), fh=[1])
    RimerForecaster(**{**TINY, "dropout": 0.3}, pretrained=weights).fit(wave(), fh=[1])


def test_no_epochs_need_pretrained_weights() -> None:
    with pytest.raises(ValueError, match="n_epochs=0 pretrains nothing"):
        RimerForecaster(**{**TINY, "n_epochs": 0}).pretrain(waves())


def test_a_pretrained_forecaster_is_saved_and_pickled(
    pretrained: RimerForecaster, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "forecaster.pickle"
    path.write_bytes(pickle.dumps(pretrained))
    code = f"""
import pickle
from sktime_cases import wave
forecaster = pickle.loads(open({str(path)!r}, "rb").read())
print(forecaster.fit(wave(60), fh=range(1, 7)).predict().to_numpy().tobytes().hex())
"""
    environment = {"PYTHONPATH": str(pathlib.Path(__file__).parents[1] / "cases"), "PATH": ""}
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    ).stdout.split()
    expected = deepcopy(pretrained).fit(wave(60), fh=range(1, 7)).predict()
    found = np.frombuffer(bytes.fromhex(printed[-1]))
    assert_same_but_for_rounding(found, expected.to_numpy()[:, 0])
