"""RimerStream: live forecasts of darts series. What the state holds is in test_streaming."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the darts side needs darts")

import torch
from darts import TimeSeries, concatenate
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from rimer_forecaster import RimerModel
from rimer_forecaster.layers import leaves

L, H = 24, 6


def series(n: int = 150, *, components: int = 2, seed: int = 0, **index: Any) -> TimeSeries:
    draw = np.random.default_rng(seed).normal(size=(n, components))
    values = 5 + np.sin(np.arange(n) / 4)[:, None] + 0.3 * draw.cumsum(0)
    times = pd.date_range("2020-01-01", periods=n, freq="h")
    return TimeSeries.from_times_and_values(index.get("times", times), values)


def fitted(train: Any, *, covariates: dict[str, Any] | None = None, **arguments: Any) -> RimerModel:
    model = RimerModel(
        input_chunk_length=L,
        output_chunk_length=H,
        n_epochs=1,
        random_state=0,
        pl_trainer_kwargs={"enable_progress_bar": False, "accelerator": "cpu"},
        **{"width": 8, "head_size": 4, "streaming": True, **arguments},
    )
    return model.fit(train, **(covariates or {}))


def assert_equal(one: TimeSeries, other: TimeSeries, tolerance: float = 1e-10) -> None:
    assert one.time_index.equals(other.time_index)
    assert list(one.components) == list(other.components)
    np.testing.assert_allclose(one.all_values(), other.all_values(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["datetime", "range"])
def test_a_live_feed_is_forecast_as_if_its_whole_history_were_read_at_once(kind: str) -> None:
    times = {} if kind == "datetime" else {"times": pd.RangeIndex(7, 7 + 3 * 150, 3)}
    full = series(**times)
    model = fitted(full[:100])
    stream = model.stream(full[:100])
    for start, end in ((100, 101), (101, 113), (113, 150)):
        stream.update(full[start:end])
        whole = model.stream(full[:end])
        assert stream.end_time == full[:end].end_time()
        forecast = stream.predict(H)
        assert forecast.start_time() == full[:end].end_time() + full.freq
        assert_equal(forecast, whole.predict(H))
    assert list(forecast.components) == list(full.components)


def test_a_stream_of_one_window_forecasts_like_the_model() -> None:
    full = series()
    model = fitted(full)
    window = full[-L:]
    assert_equal(model.stream(window).predict(H), model.predict(H, series=window), 1e-9)
    assert_equal(model.stream(window).predict(2), model.predict(2, series=window), 1e-9)


def test_many_series_are_one_batch() -> None:
    many = [series(seed=seed)[30 * seed :] for seed in range(3)]
    model = fitted(many)
    together = model.stream([one[:-10] for one in many])
    together.update([one[-10:] for one in many])
    forecasts = together.predict(H)
    assert isinstance(forecasts, list)
    alone = model.stream([many[0][:-10]])  # as long as the longest: no padding in either
    alone.update([many[0][-10:]])
    assert_equal(forecasts[0], alone.predict(H)[0])
    assert {len(x) for _, x in leaves(together.state) if x.ndim == 3 and x.shape[1] == L} == {3}


def test_series_of_one_batch_are_forecast_as_alone() -> None:
    """Lengths that differ by whole patches, so that patches end alike with padding and without."""
    patch = fitted(series()).network.config.patch_length
    many = [series(components=1, seed=i)[i * patch :] for i in range(3)]
    causes = [series(170, components=1, seed=5 + i) for i in range(3)]
    many = [
        one.with_static_covariates(pd.DataFrame({"level": [float(i)]}))
        for i, one in enumerate(many)
    ]
    known = {"future_covariates": causes}
    model = fitted(many, covariates=known, initial_state="static")
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    together = model.stream(many, **known).predict(H, **known)
    for one, cause, forecast in zip(many, causes, together, strict=True):
        alone = model.stream(one, future_covariates=cause)
        assert_equal(forecast, alone.predict(H, future_covariates=cause), 1e-9)


def test_beyond_the_horizon_forecasts_are_fed_back() -> None:
    full = series()
    model = fitted(full)
    stream = model.stream(full)
    long = stream.predict(2 * H)
    stream.update(stream.predict(H))
    assert_equal(long[H:], stream.predict(H))


def test_covariates_are_selected_by_time() -> None:
    full, past, future = series(), series(170, components=1, seed=1), series(170, seed=2)
    known = {"past_covariates": past, "future_covariates": future}
    model = fitted(full[:120], covariates=known)
    stream = model.stream(full[:120], **known)
    stream.update(full[120:140], past_covariates=past[110:150], future_covariates=future[120:140])
    forecast = stream.predict(H, future_covariates=future)
    whole = model.stream(full[:140], **known)
    assert_equal(forecast, whole.predict(H, future_covariates=future[140:146]))
    changed = concatenate([future[:140], -future[140:]])
    assert np.abs(whole.predict(H, future_covariates=changed).values() - forecast.values()).max()
    with pytest.raises(ValueError, match="past_covariates 0 has no value for 5 of 10 steps"):
        stream.update(full[140:150], past_covariates=past[:145], future_covariates=future)
    with pytest.raises(ValueError, match=r"future_covariates: give one for each of the 1 series"):
        stream.predict(H)
    with pytest.raises(ValueError, match="steps=7 is beyond output_chunk_length=6"):
        stream.predict(H + 1, future_covariates=future)
    plain = fitted(full)
    with pytest.raises(ValueError, match="past_covariates were given, but the model was fitted"):
        plain.stream(full, past_covariates=past)


def test_static_covariates_come_from_the_history() -> None:
    def labelled(seed: int) -> TimeSeries:
        one = series(seed=seed, components=1)
        return one.with_static_covariates(pd.DataFrame({"level": [float(seed)]}))

    many = [labelled(0), labelled(1)]
    model = fitted(many, initial_state="static")
    with torch.no_grad():
        start = model.network.reader.initial_state
        start.from_static.weight.normal_(generator=torch.Generator().manual_seed(0))
        model.network.reader.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    forecast = model.stream(many[1][:L]).predict(H)
    other = many[1][:L].with_static_covariates(pd.DataFrame({"level": [3.0]}))
    assert np.abs(model.stream(other).predict(H).values() - forecast.values()).max() > 1e-6
    assert forecast.static_covariates.equals(many[1].static_covariates)
    with pytest.raises(ValueError, match="series 0 has no static covariates, but the model was"):
        model.stream(series(components=1))


def test_likelihoods_give_medians_samples_and_parameters() -> None:
    full = series()
    stream = fitted(full, likelihood=QuantileRegression([0.1, 0.5, 0.9])).stream(full)
    parameters = stream.predict(H, predict_likelihood_parameters=True)
    assert len(parameters.components) == 6
    assert all(name.endswith(("_q0.100", "_q0.500", "_q0.900")) for name in parameters.components)
    np.testing.assert_allclose(stream.predict(H).values(), parameters.values()[:, [1, 4]])
    stream = fitted(full, likelihood=GaussianLikelihood()).stream(full)
    samples = stream.predict(H, num_samples=500)
    assert samples.all_values().shape == (H, 2, 500)
    parameters = stream.predict(H, predict_likelihood_parameters=True)
    sigma = parameters.values()[:, [1, 3]]
    np.testing.assert_allclose(samples.all_values().std(-1), sigma, rtol=0.2)
    with pytest.raises(ValueError, match="no likelihood to sample"):
        fitted(full).stream(full).predict(H, num_samples=10)


@pytest.mark.parametrize("kind", ["datetime", "range"])
def test_a_stream_goes_on_from_its_file(kind: str, tmp_path: Path) -> None:
    times = {} if kind == "datetime" else {"times": pd.RangeIndex(7, 7 + 3 * 150, 3)}
    full = series(**times).with_static_covariates(pd.DataFrame({"level": [1.0]}))
    model = fitted(full[:100])
    stream = model.stream(full[:107])
    stream.save(tmp_path / "stream.safetensors")
    model.save(str(tmp_path / "model.pt"))
    loaded = RimerModel.load(str(tmp_path / "model.pt"))
    again = loaded.load_stream(tmp_path / "stream.safetensors")
    assert_equal(again.predict(H), stream.predict(H), 0.0)
    for one in (stream, again):
        one.update(full[107:120])
    assert_equal(again.predict(H), stream.predict(H), 0.0)
    assert again.predict(H).static_covariates.equals(full.static_covariates)
    other = fitted(full[:110])
    with pytest.raises(ValueError, match="was not saved with this network"):
        other.load_stream(tmp_path / "stream.safetensors")


@pytest.mark.parametrize("value", [np.inf, 1e200])
def test_a_bad_value_is_named_and_the_stream_is_as_it_was(value: float) -> None:
    full = series()
    stream = fitted(full[:100]).stream(full[:100])
    before, forecast = {n: x.clone() for n, x in leaves(stream.state)}, stream.predict(H)
    values = full[100:104].values().copy()
    values[2, 1] = value
    bad = full[100:104].with_values(values)
    with pytest.raises(ValueError, match=r"series 0 has 1 values .* component '1' at 2020-01-05"):
        stream.update(bad)
    assert all(torch.equal(x, before[n]) for n, x in leaves(stream.state))
    assert_equal(stream.predict(H), forecast, 0.0)


def test_what_does_not_follow_is_refused() -> None:
    full = series()
    model = fitted(full[:100])
    stream = model.stream(full[:100])
    with pytest.raises(ValueError, match="goes on at 2020-01-05 04:00:00"):
        stream.update(full[101:102])
    with pytest.raises(ValueError, match="the stream is of 1 series, but got 2"):
        stream.update([full[100:101]] * 2)
    renamed = full[100:101].with_columns_renamed("0", "zero")
    with pytest.raises(ValueError, match=r"has components \['zero', '1'\], but the stream has"):
        stream.update(renamed)
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        stream.predict(0)
    with pytest.raises(ValueError, match="must end at the same time"):
        model.stream([full[:100], full[:90]])
    with pytest.raises(ValueError, match="series 0 has 1 values"):
        model.stream(full.with_values(np.where(full.values() == full.values().max(), np.inf, 0.0)))


def test_a_value_that_did_not_come_is_missing_and_no_zero() -> None:
    full = series()
    model = fitted(full[:100])
    values = full[:110].values().copy()
    values[40:44, 0] = values[101, 1] = np.nan
    gaps = full[:110].with_values(values)
    stream = model.stream(gaps[:100])
    stream.update(gaps[100:103])
    stream.update(gaps[103:])
    assert_equal(stream.predict(H), model.stream(gaps).predict(H), 1e-5)
    filled = model.stream(gaps.with_values(np.nan_to_num(values)))
    assert np.abs(filled.predict(H).values() - stream.predict(H).values()).max() > 1e-4


def test_a_model_that_cannot_stream_says_so() -> None:
    full = series()
    with pytest.raises(ValueError, match="not fitted"):
        RimerModel(input_chunk_length=L).stream(full)
    with pytest.raises(ValueError, match="output_chunk_shift=2 is not for streams"):
        fitted(full, output_chunk_shift=2).stream(full)
    encoders = {"cyclic": {"future": ["hour"]}}
    with pytest.raises(ValueError, match="add_encoders is not for streams"):
        fitted(full, add_encoders=encoders).stream(full)


def test_a_model_that_was_not_trained_for_streams_warns() -> None:
    full = series()
    with pytest.warns(UserWarning, match=r"was not trained for streams.* streaming=True"):
        fitted(full, streaming=False).stream(full)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained for streams")
        fitted(full).stream(full)
        fitted(full, streaming=False, layers=None).stream(full)  # nothing to prepare
