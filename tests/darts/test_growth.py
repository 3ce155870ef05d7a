"""Fitted darts models with more heads, keys or layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import darts_cases
import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from rimer_forecaster import RimerModel
from rimer_forecaster.network.state import fingerprint

OPTIONS = {**darts_cases.TINY, "n_epochs": 3, "layers": "rwkv7(sse=on)*2"}
MORE = {"key_dim": 2, "heads": 1, "layers": 1}
LAYERS = "rwkv7(sse=on, heads=3, key_size=6)*3"


def series_of(**options: Any) -> TimeSeries:
    return darts_cases.wave(dtype=np.float64, **options)


def fitted(**options: Any) -> RimerModel:
    return RimerModel(**{**OPTIONS, **options}).fit(series_of(components=2))


def parameters(model: RimerModel, **options: Any) -> np.ndarray:
    forecast = model.predict(6, predict_likelihood_parameters=True, **options)
    values: np.ndarray = forecast.values()
    return values


@pytest.mark.parametrize("likelihood", [QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood()])
def test_a_grown_model_forecasts_the_same(likelihood: Any) -> None:
    model = fitted(likelihood=likelihood, components="cross", initial_state="learned")
    before, weights = parameters(model), fingerprint(model.network)
    bigger = model.grow(**MORE)
    np.testing.assert_allclose(parameters(bigger), before, rtol=0, atol=1e-12)
    assert bigger.network.config.layers == bigger.model_params["layers"] == LAYERS
    assert fingerprint(model.network) == weights
    np.testing.assert_array_equal(parameters(model), before)
    assert bigger.untrained_model().model_params["layers"] == LAYERS


def test_covariates_are_read_as_before() -> None:
    series, other = series_of(), series_of(seed=3)
    known = {"past_covariates": other, "future_covariates": series_of(n=180, seed=4)}
    model = RimerModel(**OPTIONS).fit(series, **known)
    bigger = model.grow(**MORE)
    a, b = (x.predict(6, series, **known).values() for x in (model, bigger))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_stream_of_a_grown_model_forecasts_the_same_and_is_its_own(tmp_path: Path) -> None:
    model, series = fitted(streaming=True), series_of(components=2)
    bigger = model.grow(**MORE)
    streams = [x.stream(series[:-20]) for x in (model, bigger)]
    for stream in streams:
        stream.update(series[-20:])
    a, b = (stream.predict(8).values() for stream in streams)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    streams[0].save(tmp_path / "stream.safetensors")
    with pytest.raises(ValueError, match="was not saved with this network"):
        bigger.load_stream(tmp_path / "stream.safetensors")


def test_a_grown_model_is_saved_and_loaded_with_what_its_optimiser_remembers(
    tmp_path: Path,
) -> None:
    bigger = fitted().grow(**MORE)
    moments = bigger.model.moments()
    assert moments
    bigger.save(str(tmp_path / "bigger.pt"))
    loaded = RimerModel.load(str(tmp_path / "bigger.pt"))
    series = series_of(components=2)
    expected = bigger.predict(6, series).values()
    np.testing.assert_array_equal(loaded.predict(6, series).values(), expected)
    again = RimerModel.load(str(tmp_path / "bigger.pt")).model.moments()
    assert again.keys() == moments.keys()
    assert all(torch.equal(again[n][x], moments[n][x]) for n in moments for x in moments[n])
    bigger.save_weights(tmp_path / "bigger.safetensors")
    other = bigger.untrained_model()
    other.load_weights(str(tmp_path / "bigger.safetensors"))
    np.testing.assert_array_equal(other.predict(6, series).values(), expected)
    with pytest.raises(ValueError, match=r"layers='rwkv7\(sse=on, heads=3, key_size=6\)\*3'"):
        RimerModel(**OPTIONS).load_weights(str(tmp_path / "bigger.safetensors"))


def test_training_goes_on_from_the_moments_of_the_last_one(tmp_path: Path) -> None:
    model, series = fitted(), series_of(components=2)
    model.predict(3)  # by a trainer of its own, which has no optimiser
    steps = {float(x["step"]) for x in model.model.moments().values()}
    bigger, new = model.grow(**MORE), "reader.layers.layers.2.token_mixer.key.weight"
    assert new not in bigger.model.moments()
    bigger.fit(series, epochs=1)
    found = bigger.model.moments()
    own = float(found[new]["step"])
    assert {
        float(x["step"]) - own for name, x in found.items() if ".layers.2." not in name
    } == steps
    weights = {name: x.clone() for name, x in bigger.network.state_dict().items()}
    bigger.fit(series, epochs=1)  # another training begins anew, as that of any model
    assert float(bigger.model.moments()[new]["step"]) == own
    assert any(bool((x != weights[name]).any()) for name, x in bigger.network.state_dict().items())
    model.save(str(tmp_path / "model.pt"))
    fitted().save(str(tmp_path / "fitted.pt"))
    loaded = RimerModel.load(str(tmp_path / "fitted.pt"))
    assert {float(x["step"]) for x in loaded.grow(heads=1).model.moments().values()} == steps


def test_other_optimisers_begin_anew() -> None:
    bigger = fitted(optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 0.01}).grow(heads=1)
    assert bigger.model.moments() == {}
    bigger.fit(series_of(components=2), epochs=1)
    assert np.isfinite(bigger.predict(6).values()).all()


def test_weights_of_the_package_grow_and_learn_as_slowly() -> None:
    series = darts_cases.wave(300)
    model = RimerModel(96, **darts_cases.QUIET).fit(series)
    assert model._pretrained is not None
    bigger = model.grow(heads=1)
    expected = model.predict(24).values()
    np.testing.assert_allclose(bigger.predict(24).values(), expected, atol=1e-5)
    assert bigger.network.config.layers == "rwkv7(heads=4)*4"
    assert bigger._recipe == model._recipe.for_training_on()
    bigger.fit(series, epochs=1)
    moved = np.abs(bigger.predict(24).values() - expected).max()
    assert 0 < moved < 1


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="it is not fitted"):
        RimerModel(**OPTIONS).grow(heads=1)
    with pytest.raises(ValueError, match="leave nothing to grow"):
        fitted().grow()
    with pytest.raises(ValueError, match="attention cannot grow"):
        fitted(layers="attention").grow(heads=1)
