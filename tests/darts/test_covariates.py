"""Covariates that write what the target reads, in darts' model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_cases import TINY, wave, with_weights_that_matter
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel

STATIC = pd.DataFrame({"size": [1.0, 2.0]})
SERIES = wave(components=2).with_static_covariates(STATIC).astype(np.float32)
KNOWN: dict[str, TimeSeries] = {
    "past_covariates": wave(components=2, seed=1),
    "future_covariates": wave(200, seed=2),
}


def fitted(series: TimeSeries = SERIES, **options: Any) -> RimerModel:
    model = RimerModel(**{**TINY, "covariates": "cross", **options})
    return with_weights_that_matter(model.fit(series, **KNOWN))


@pytest.fixture(scope="module")
def model() -> RimerModel:
    return fitted()


def changed(series: TimeSeries, start: int, end: int | None = None) -> TimeSeries:
    values = series.values().copy()
    values[start:end] = np.random.default_rng(0).normal(size=values[start:end].shape)
    return series.with_values(values)


def test_covariates_are_no_part_of_the_tokens(model: RimerModel) -> None:
    names = model.network.state_dict().keys()
    assert any(name.startswith("reader.covariates.") for name in names)
    assert not {"reader.embed_covariates.weight", "reader.embed_static.weight"} & names


@pytest.mark.parametrize("kind", ["past_covariates", "future_covariates", "static"])
def test_every_kind_of_covariate_is_read(model: RimerModel, kind: str) -> None:
    before = model.predict(6, SERIES, **KNOWN)
    series, known = SERIES, dict(KNOWN)
    if kind == "static":
        series = SERIES.with_static_covariates(STATIC + 1).astype(np.float32)
    else:
        known[kind] = changed(known[kind], 150, 160)
    assert not np.allclose(before.values(), model.predict(6, series, **known).values())


def test_nothing_after_the_origin_is_read_but_the_horizon_of_future_covariates(
    model: RimerModel,
) -> None:
    options: dict[str, Any] = {
        "start": 100, "start_format": "position", "forecast_horizon": 6, "retrain": False,
        "last_points_only": False, "verbose": False,
    }  # fmt: skip

    def first(**known: TimeSeries) -> TimeSeries:
        return model.historical_forecasts(SERIES, **{**KNOWN, **known}, **options)[0]

    expected = first()
    later = {
        "past_covariates": changed(KNOWN["past_covariates"], 100),
        "future_covariates": changed(KNOWN["future_covariates"], 106),
    }
    assert first(**later) == expected
    ahead = first(future_covariates=changed(KNOWN["future_covariates"], 100, 106))
    assert not np.allclose(ahead.values(), expected.values())


def test_quantiles_are_in_order_and_samples_go_on() -> None:
    options = {"likelihood": QuantileRegression([0.1, 0.5, 0.9])}
    model = RimerModel(**TINY, **options, covariates="cross")
    future = {"future_covariates": KNOWN["future_covariates"]}
    with_weights_that_matter(model.fit(SERIES, **future))
    forecast = model.predict(6, predict_likelihood_parameters=True, **future)
    values = forecast.values().reshape(6, 2, 3)
    assert (np.diff(values, axis=-1) >= 0).all()
    assert np.isfinite(model.predict(15, num_samples=2, **future).all_values()).all()


def test_streams_cut_anywhere_forecast_as_the_whole(tmp_path: Path) -> None:
    model = fitted(streaming=True)
    whole = model.stream(SERIES, **KNOWN).predict(6, future_covariates=KNOWN["future_covariates"])
    stream = model.stream(SERIES[:131], **KNOWN)
    stream.update(SERIES[131:], **KNOWN)
    stream.save(tmp_path / "stream.safetensors")
    again = model.load_stream(tmp_path / "stream.safetensors")
    for one in (stream, again):
        found = one.predict(6, future_covariates=KNOWN["future_covariates"])
        assert_same_but_for_rounding(found.values(), whole.values())


@pytest.mark.parametrize("file", ["model.safetensors", "model.pt"])
def test_saved_weights_forecast_the_same(model: RimerModel, file: str, tmp_path: Path) -> None:
    path = str(tmp_path / file)
    model.save(path) if file.endswith("pt") else model.save_weights(path)
    again = RimerModel(**TINY, covariates="cross")
    again.load_weights(path)
    assert again.predict(6, SERIES, **KNOWN) == model.predict(6, SERIES, **KNOWN)


def test_weights_of_the_other_kind_are_refused_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "model.safetensors")
    for own, other in (("cross", "features"), ("features", "cross")):
        fitted(covariates=own).save_weights(path)
        message = f"a model with covariates='{own}', but this one has covariates='{other}'"
        with pytest.raises(ValueError, match=message):
            RimerModel(**TINY, covariates=other).load_weights(path)


def test_pretrained_weights_begin_as_they_are() -> None:
    options = {"input_chunk_length": 130, "output_chunk_length": 6, "pretrained": "rimer-zero"}
    trainer = {"pl_trainer_kwargs": TINY["pl_trainer_kwargs"], "n_epochs": 1, "random_state": 0}
    still = {"optimizer_kwargs": {"lr": 1e-30}}
    cross, alone = (
        RimerModel(**options, **trainer, **still, covariates="cross").fit(wave(), **known)
        for known in ({"future_covariates": KNOWN["future_covariates"]}, {})
    )
    assert_same_but_for_rounding(cross.predict(6).values(), alone.predict(6).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"covariates": "crossing"}, "covariates='crossing' must be 'features'.* or 'cross'"),
        ({"covariates": "cross", "layers": None}, "covariates='cross' needs layers"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RimerModel(**{**TINY, **arguments})
