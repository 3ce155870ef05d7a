"""What RimerModel does with few values where nothing was said about a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries, concatenate
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from rimer_forecaster import RimerModel, RimerZeroModel
from rimer_forecaster.training import Recipe
from rimer_forecaster.zero_shot.default import MOST_TIME_POINTS

SILENT = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
QUICK = SILENT | {"fast_dev_run": True}


def season(length: int = 150, dtype: type = np.float32) -> TimeSeries:
    noise = np.random.default_rng(0).standard_normal(length)
    return TimeSeries.from_values((np.sin(np.arange(length) / 3) + 0.1 * noise).astype(dtype))


def model(**kwargs: Any) -> RimerModel:
    return RimerModel(48, 6, random_state=0, **{"pl_trainer_kwargs": SILENT} | kwargs)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.25, 0.5, 0.75, 0.9])])
def test_few_values_are_forecast_by_the_weights_of_the_package(likelihood: Any) -> None:
    series = [season(), season(70)]
    given = {} if likelihood is None else {"predict_likelihood_parameters": True}
    ours = model(likelihood=likelihood).fit(series)
    zero = RimerZeroModel(48, 6, likelihood=likelihood, pl_trainer_kwargs=SILENT)
    assert ours.epochs_trained == 0
    for one in series:
        np.testing.assert_allclose(
            ours.predict(6, one, **given).values(),
            zero.fit(series).predict(6, one, **given).values(),
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "said",
    [
        {"pretrained": None},
        {"n_epochs": 1},
        {"width": 16},
        {"layers": "rwkv4"},
        {"components": "cross"},
        {"covariates": "cross"},
        {"dropout": 0.2},
        {"recipe": Recipe(steps=1)},
        {"batch_size": 8},
        {"optimizer_kwargs": {"lr": 1e-3}},
        {"likelihood": GaussianLikelihood()},
        {"likelihood": QuantileRegression([0.01, 0.5, 0.99])},
        {"output_chunk_shift": 2},
        {"pl_trainer_kwargs": QUICK | {"max_epochs": 1}},
    ],
    ids=lambda said: next(iter(said)),
)
def test_whoever_says_something_about_network_or_training_gets_one(said: dict[str, Any]) -> None:
    own = model(**{"pl_trainer_kwargs": QUICK} | said).fit(season())
    assert own.epochs_trained > 0
    assert own.network.config.width == said.get("width", 32)


@pytest.mark.parametrize("kind", ["past", "static", "validation", "weights", "epochs", "many"])
def test_what_the_weights_cannot_read_is_trained_on(kind: str) -> None:
    series, own = season(), model(pl_trainer_kwargs=QUICK)
    more: dict[str, Any] = {
        "past": {"past_covariates": season()},
        "validation": {"val_series": season()},
        "weights": {"sample_weight": "linear"},
        "epochs": {"epochs": 1},
    }.get(kind, {})
    if kind == "static":
        series = series.with_static_covariates(concatenate([season()]).to_dataframe().iloc[:1])
    if kind == "many":
        series = [season(MOST_TIME_POINTS // 2), season(MOST_TIME_POINTS // 2 + 1)]
    own.fit(series, **more)
    assert own.epochs_trained > 0


def test_forecasts_are_refined_until_a_training() -> None:
    rough = np.random.default_rng(1).standard_normal(60).astype(np.float32)
    series = TimeSeries.from_values(np.resize(rough, 400))
    own = RimerModel(360, 30, random_state=0, pl_trainer_kwargs=SILENT).fit(series)
    assert np.abs(own.predict(30).values()[:, 0] - np.resize(rough, 430)[400:]).max() < 0.2
    own.fit(series, epochs=1)
    assert not own.model.refine
    assert np.abs(own.predict(30).values()[:, 0] - np.resize(rough, 430)[400:]).max() > 0.2


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])])
def test_a_horizon_beyond_that_of_the_weights_is_forecast_in_parts(
    likelihood: Any, tmp_path: Path
) -> None:
    noise = 0.2 * np.random.default_rng(0).standard_normal(700)  # without it quantiles cross
    season = np.sin(2 * np.pi * np.arange(700) / 24)
    series = TimeSeries.from_values((season + noise).astype(np.float32))
    given = {} if likelihood is None else {"predict_likelihood_parameters": True}
    arguments = {"likelihood": likelihood, "pl_trainer_kwargs": SILENT, "random_state": 0}
    own = RimerModel(96, 150, **arguments).fit(series[:500])
    zero = RimerZeroModel(96, 150, likelihood=likelihood, pl_trainer_kwargs=SILENT)
    forecast = own.predict(150, **given).values()
    expected = zero.fit(series[:500]).predict(150, **given).values()
    np.testing.assert_allclose(forecast[:64], expected[:64], atol=1e-5)
    assert np.abs(forecast - expected).mean() < 0.01  # of nine quantiles some may cross
    middle = forecast.shape[1] // 2
    assert np.abs(forecast[:, middle] - season[500:650]).mean() < 0.2
    own.save_weights(tmp_path / "weights.safetensors")
    other = RimerModel(96, 150, **arguments)
    other.load_weights(str(tmp_path / "weights.safetensors"))
    np.testing.assert_array_equal(other.predict(150, series[:500], **given).values(), forecast)
    small, _ = own.compress(None)
    np.testing.assert_allclose(small.predict(150, **given).values(), forecast, atol=0.1)
    before = _weights(own)
    own.fit(series, epochs=1)
    assert (_weights(own) != before).any()
    assert len(own.predict(150)) == 150


def test_a_model_that_was_not_trained_trains_on_if_asked() -> None:
    own = model(pl_trainer_kwargs=QUICK).fit(season())
    weights = [_weights(own)]
    for more, trains in (({}, False), ({"epochs": 1}, True), ({}, True)):
        own.fit(season(90 if trains else 150), **more)  # once trained it is trained on
        weights.append(_weights(own))
        assert torch.equal(weights[-1], weights[-2]) != trains


def _weights(own: RimerModel) -> torch.Tensor:
    return torch.cat([x.flatten() for x in own.network.parameters()]).detach().clone()


def test_it_is_saved_loaded_and_streamed(tmp_path: Path) -> None:
    series = season(dtype=np.float64)
    own = model(streaming=True).fit(series)
    forecast = own.predict(6).values()
    own.save(str(tmp_path / "whole.pt"))
    own.save_weights(tmp_path / "weights.safetensors")

    np.testing.assert_array_equal(
        RimerModel.load(str(tmp_path / "whole.pt")).predict(6).values(), forecast
    )
    for file in ("whole.pt", "weights.safetensors"):
        other = model(streaming=True)
        other.load_weights(str(tmp_path / file))
        np.testing.assert_array_equal(other.predict(6, series).values(), forecast)
    stream = own.stream(series[:-20])
    stream.update(series[-20:])
    np.testing.assert_allclose(
        stream.predict(6).values(), own.stream(series).predict(6).values(), atol=1e-10
    )


def test_a_trained_file_gives_a_model_its_network(tmp_path: Path) -> None:
    trained = model(pretrained=None, pl_trainer_kwargs=QUICK).fit(season())
    trained.save_weights(tmp_path / "weights.safetensors")
    other = model()
    other.load_weights(str(tmp_path / "weights.safetensors"))
    np.testing.assert_array_equal(
        other.predict(6, season()).values(), trained.predict(6, season()).values()
    )


def test_it_is_compressed() -> None:
    own = model().fit(season())
    small, report = own.compress(None, bits=8)
    assert report.times_smaller > 3
    np.testing.assert_allclose(
        small.predict(6, season()).values(), own.predict(6).values(), atol=0.05
    )


def test_what_fails_leaves_a_model_that_trains_nothing(tmp_path: Path) -> None:
    other = RimerModel(24, 6, pretrained=None, pl_trainer_kwargs=QUICK).fit(season())
    other.save_weights(tmp_path / "weights.safetensors")
    other.save(str(tmp_path / "whole.pt"))
    own = model().fit(season())
    before, forecast = _weights(own), own.predict(6).values()
    for file in ("weights.safetensors", "whole.pt"):
        with pytest.raises(ValueError, match="input_chunk_length"):
            own.load_weights(str(tmp_path / file))
    np.testing.assert_array_equal(own.fit(season()).predict(6).values(), forecast)
    long = season(MOST_TIME_POINTS + 1)
    with pytest.raises(ValueError, match="dimensionality"):
        own.fit(long, future_covariates=long)
    assert torch.equal(_weights(own.fit(season())), before)


@pytest.mark.parametrize("gaps", [False, True])
def test_samples_are_drawn_from_one_forecast_of_each_window(
    gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    likelihood = QuantileRegression([0.1, 0.5, 0.9])
    own, several = model(likelihood=likelihood), [season(), season(90)]
    if gaps:
        values = several[1].values().copy()
        values[40:60] = np.nan
        several[1] = several[1].with_values(values)
    own.fit(several)
    read, forecast = [], own.model._forecast

    def counted(*given: torch.Tensor | None) -> torch.Tensor:
        read.append(len(given[0]))
        return forecast(*given)

    monkeypatch.setattr(own.model, "_forecast", counted)
    drawn = own.predict(6, several, num_samples=20, random_state=1)
    assert read == [2, 2]  # of 16 samples, as many as a batch holds, and of 4
    monkeypatch.setattr("rimer_forecaster.darts.module._repeats", lambda *_: False)
    for one, other in zip(
        drawn, own.predict(6, several, num_samples=20, random_state=1), strict=True
    ):
        np.testing.assert_allclose(one.all_values(), other.all_values(), atol=1e-5)
    assert read[-1] > 2
    # beyond the chunk samples are fed back, and windows differ
    longer = own.predict(12, several, num_samples=20, random_state=1)
    assert longer[0].all_values()[6:].std(2).min() > 0
