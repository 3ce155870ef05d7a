"""RimerModel exported to ONNX forecasts what it forecasts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import darts_cases
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    CauchyLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    NegativeBinomialLikelihood,
    QuantileRegression,
    WeibullLikelihood,
)
from darts_cases import wave_at_level as wave
from darts_cases import with_weights_that_matter
from rounding import assert_same_but_for_rounding

from rimer_forecaster import RimerModel

TINY = {**darts_cases.TINY, "patch_length": 12}


def exported(model: RimerModel, path: Path, **options: Any) -> Any:
    pytest.importorskip("onnxscript", reason="exporting needs the extra 'onnx'")
    runtime = pytest.importorskip("onnxruntime", reason="inference needs the extra 'onnx'")
    model.to_onnx(str(path), verbose=False, **options)
    return runtime.InferenceSession(str(path))


@pytest.mark.parametrize(
    ("layers", "components", "n", "dtype"),
    [
        (None, 2, 15, np.float64),
        ("rwkv7", 1, 15, np.float32),  # beyond the output chunk
        ("rwkv7*2", 2, 6, np.float32),
        ("rwkv7*2", 2, 6, np.float64),
        ("rwkv7, attention(window=2)", 2, 15, np.float32),
        ("rwkv7, attention(window=2)", 2, 15, np.float64),
        ("gru, lstm", 1, 6, np.float32),
        ("rwkv7(sse=on, retrospect=2)", 1, 15, np.float32),
        ("rwkv7(sse=on, heads=3, key_size=6)*2", 1, 6, np.float32),
        ("rwkv7(sse=on, retrospect=2)", 2, 6, np.float64),
        ("perspectives(rwkv7*2; lags=1+3)", 2, 15, np.float32),
        ("perspectives(rwkv7; lags=2+3)", 2, 6, np.float64),
        ("rwkv4", 2, 15, np.float32),
        ("rwkv4", 1, 6, np.float64),
        ("taylor(feature=3), attention(topk=1, chunk=2)", 2, 15, np.float32),
        ("taylor(feature=3), attention(topk=1, chunk=2)", 1, 6, np.float64),
        ("parallel(attention(window=2), rwkv7)", 2, 15, np.float32),
    ],
)
def test_an_exported_model_forecasts_what_predict_does(
    layers: str | None, components: int, n: int, dtype: Any, tmp_path: Path
) -> None:
    series, covariates = wave(components=components, dtype=dtype), {}
    if components > 1:
        static = pd.DataFrame({"a": [0.0, 1.0]})
        series = series.with_static_covariates(static).astype(dtype)
        covariates = {
            "past_covariates": wave(150, dtype=dtype, seed=1),
            "future_covariates": wave(150, components=2, dtype=dtype, seed=2),
        }
    model = with_weights_that_matter(RimerModel(**TINY, layers=layers).fit(series, **covariates))
    session = exported(model, tmp_path / "model.onnx")
    forecast = run_onnx(n, session, series, **covariates)
    expected = model.predict(n, **covariates)
    assert_same_but_for_rounding(forecast.values(), expected.values())
    assert forecast.time_index.equals(expected.time_index)
    assert forecast.dtype == expected.dtype


def test_an_exported_model_lets_components_read_each_other(tmp_path: Path) -> None:
    series = wave(components=3)
    model = with_weights_that_matter(RimerModel(**TINY, components="cross").fit(series))
    session = exported(model, tmp_path / "model.onnx")
    values = series.values().copy()
    values[-9:-4, 1] = np.nan
    for given in (series, series.with_values(values)):
        forecast = run_onnx(15, session, given)
        assert_same_but_for_rounding(forecast.values(), model.predict(15, given).values())


@pytest.mark.parametrize(("n", "dtype"), [(15, np.float32), (6, np.float64)])
def test_an_exported_model_reads_what_covariates_wrote(n: int, dtype: Any, tmp_path: Path) -> None:
    series = wave(components=2, dtype=dtype)
    series = series.with_static_covariates(pd.DataFrame({"a": [0.0, 1.0]})).astype(dtype)
    given = {
        "past_covariates": wave(180, dtype=dtype, seed=1),
        "future_covariates": wave(180, components=2, dtype=dtype, seed=2),
    }
    model = with_weights_that_matter(RimerModel(**TINY, covariates="cross").fit(series, **given))
    session = exported(model, tmp_path / "model.onnx")
    forecast = run_onnx(n, session, series, **given)
    assert_same_but_for_rounding(forecast.values(), model.predict(n, **given).values())


def test_an_exported_model_takes_missing_values_and_short_series(tmp_path: Path) -> None:
    settings = {**TINY, "input_chunk_length": (5, 24)}
    values, past = wave(components=2).values().copy(), wave(150, seed=1)
    values[-9:-4, 1] = values[-3] = np.nan
    series = wave(components=2).with_values(values)
    causes = past.values().copy()
    causes[90:95] = np.nan
    past = past.with_values(causes)
    model = RimerModel(**settings).fit(series, past_covariates=past)
    session = exported(with_weights_that_matter(model), tmp_path / "model.onnx")
    expected = model.predict(6, series, past_covariates=past)
    forecast = run_onnx(6, session, series, past_covariates=past)
    assert_same_but_for_rounding(forecast.values(), expected.values())
    window = np.full((1, 24, 2), np.nan, np.float32)
    window[0, -8:] = values[-8:]
    known = np.full((1, 24, 1), np.nan, np.float32)
    known[0, -8:] = causes[len(values) - 8 : len(values)]
    (output,) = session.run(None, {"past_target": window, "past_covariates": known})
    short = model.predict(6, series[-8:], past_covariates=past)
    assert_same_but_for_rounding(output[0, :, :, 0], short.values())


def run_onnx(n: int, session: Any, series: Any, **covariates: Any) -> Any:
    from darts.utils.onnx import run_onnx_prediction

    return run_onnx_prediction(n, session, series, verbose=False, **covariates)


def moved_by_rounding(model: RimerModel, series: TimeSeries) -> np.ndarray:
    """How far one rounding of the network's output, in float32, moves a parameter at most.

    One of a negative binomial distribution moves by a hundred times as much as a mean.
    """
    window = torch.from_numpy(series.values()[None, -24:])
    output = model.network(window.to(model.network.dtype))
    assert model.likelihood is not None
    parameters = [
        model.likelihood.predict_likelihood_parameters(model.model.head(x))
        for x in (output, output * (1 + float(np.finfo(np.float32).eps)))
    ]
    moved = (parameters[1] - parameters[0]).abs().detach()
    return moved.numpy().reshape(6, -1).max(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "likelihood",
    [
        QuantileRegression([0.1, 0.5, 0.9]),
        GaussianLikelihood(),
        LaplaceLikelihood(),
        CauchyLikelihood(),
        GumbelLikelihood(),
        GammaLikelihood(),
        NegativeBinomialLikelihood(),
        WeibullLikelihood(),
    ],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_an_exported_likelihood_gives_its_parameters(
    likelihood: Any, dtype: Any, tmp_path: Path
) -> None:
    """As darts 0.48.1 exports them, scales have not been through their softplus."""
    series = wave(components=2, dtype=dtype).map(lambda x: x.round())
    model = RimerModel(**TINY, layers=None, likelihood=likelihood).fit(series)
    session = exported(with_weights_that_matter(model), tmp_path / "model.onnx")
    forecast = run_onnx(6, session, series)
    expected = model.predict(6, predict_likelihood_parameters=True)
    allowed = 30 * moved_by_rounding(model, series) + 1e-6 * np.abs(expected.values())
    assert (np.abs(forecast.values() - expected.values()) <= allowed).all()
    assert list(forecast.components) == list(expected.components)


def test_a_model_exported_for_any_batch_size_forecasts_many_windows_at_once(tmp_path: Path) -> None:
    series = [wave(seed=seed) for seed in range(5)]
    model = with_weights_that_matter(RimerModel(**TINY).fit(series))
    session = exported(model, tmp_path / "model.onnx", dynamic_shapes=(({0: "batch"},),))
    windows = np.stack([one.values()[-24:] for one in series])
    (outputs,) = session.run(None, {"past_target": windows})
    expected = [one.values() for one in model.predict(6, series)]
    assert_same_but_for_rounding(outputs[..., 0], expected)
    single = run_onnx(6, session, series)
    assert_same_but_for_rounding([one.values() for one in single], expected)


def test_an_equilibrium_layer_says_that_it_cannot_be_exported(tmp_path: Path) -> None:
    model = RimerModel(**TINY, layers="equilibrium(rwkv7)").fit(wave(40))
    with pytest.raises(Exception, match="equilibrium layer takes as many passes as its input"):
        exported(model, tmp_path / "model.onnx")
