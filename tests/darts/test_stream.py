"""RimerStream: live forecasts of darts series. What the state holds is in test_streaming."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the darts side needs darts")

import pytorch_lightning as pl
import torch
from darts import TimeSeries, concatenate
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts_cases import hourly_walk

from rimer_forecaster import RimerModel
from rimer_forecaster.darts import RimerStream
from rimer_forecaster.layers import leaves

L, H = 24, 6


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
    full = hourly_walk(**times)
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
    full = hourly_walk()
    model = fitted(full)
    window = full[-L:]
    assert_equal(model.stream(window).predict(H), model.predict(H, series=window), 1e-9)
    assert_equal(model.stream(window).predict(2), model.predict(2, series=window), 1e-9)


def test_many_series_are_one_batch() -> None:
    many = [hourly_walk(seed=seed)[30 * seed :] for seed in range(3)]
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
    patch = fitted(hourly_walk()).network.config.patch_length
    many = [hourly_walk(components=1, seed=i)[i * patch :] for i in range(3)]
    causes = [hourly_walk(170, components=1, seed=5 + i) for i in range(3)]
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
    full = hourly_walk()
    model = fitted(full)
    stream = model.stream(full)
    long = stream.predict(2 * H)
    stream.update(stream.predict(H))
    assert_equal(long[H:], stream.predict(H))


@pytest.mark.parametrize("kind", ["datetime", "range"])
def test_covariates_are_selected_by_time(kind: str) -> None:
    def times(n: int) -> dict[str, Any]:
        return {} if kind == "datetime" else {"times": pd.RangeIndex(7, 7 + 3 * n, 3)}

    full = hourly_walk(**times(150))
    past = hourly_walk(170, components=1, seed=1, **times(170))
    future = hourly_walk(170, seed=2, **times(170))
    known = {"past_covariates": past, "future_covariates": future}
    model = fitted(full[:120], covariates=known)
    stream = model.stream(full[:120], **known)
    stream.update(full[120:140], past_covariates=past[110:150], future_covariates=future[120:140])
    forecast = stream.predict(H, future_covariates=future)
    whole = model.stream(full[:140], **known)
    assert_equal(forecast, whole.predict(H, future_covariates=future[140:146]))
    changed = concatenate([future[:140], -future[140:]])
    assert np.abs(whole.predict(H, future_covariates=changed).values() - forecast.values()).max()
    report = model.diagnostics(full[:140], **known)
    assert report.state_norms.index[-1] == 140 - 140 % model.network.config.patch_length
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
        one = hourly_walk(seed=seed, components=1)
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
        model.stream(hourly_walk(components=1))


def test_likelihoods_give_medians_samples_and_parameters() -> None:
    full = hourly_walk()
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
    full = hourly_walk(**times).with_static_covariates(pd.DataFrame({"level": [1.0]}))
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
    full = hourly_walk()
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
    full = hourly_walk()
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
    full = hourly_walk()
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
    full = hourly_walk()
    with pytest.raises(ValueError, match="not fitted"):
        RimerModel(input_chunk_length=L).stream(full)
    with pytest.raises(ValueError, match="output_chunk_shift=2 is not for streams"):
        fitted(full, output_chunk_shift=2).stream(full)
    encoders = {"cyclic": {"future": ["hour"]}}
    with pytest.raises(ValueError, match="add_encoders is not for streams"):
        fitted(full, add_encoders=encoders).stream(full)


def test_a_model_that_was_not_trained_for_streams_warns() -> None:
    full = hourly_walk()
    with pytest.warns(UserWarning, match=r"was not trained for streams.* streaming=True"):
        fitted(full, streaming=False).stream(full)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*trained for streams")
        fitted(full).stream(full)
        fitted(full, streaming=False, layers=None).stream(full)  # nothing to prepare


class Modes(pl.Callback):
    """Notes which modules are not in training mode when a batch is trained on."""

    def __init__(self) -> None:
        self.in_evaluation: list[str] = []
        self.batches = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.batches += 1
        modules = pl_module.network.named_modules()
        self.in_evaluation += [name for name, module in modules if not module.training]


BETWEEN: dict[str, Callable[[RimerModel, TimeSeries, Path], Any]] = {
    "nothing": lambda model, full, folder: None,
    "stream": lambda model, full, folder: model.stream(full).predict(H),
    "diagnostics": lambda model, full, folder: model.diagnostics(full),
    "load_stream": lambda model, full, folder: model.load_stream(folder / "stream"),
    "predict": lambda model, full, folder: model.predict(H),
    "eval": lambda model, full, folder: model.model.eval(),
    "network.eval": lambda model, full, folder: model.network.eval(),
}


def test_whatever_came_between_two_fits_the_second_trains_alike(tmp_path: Path) -> None:
    """With dropout and with preparation for streams."""
    full, weights = hourly_walk(60), {}
    for name, act in BETWEEN.items():
        modes = Modes()
        model = fitted(full, dropout=0.5)
        model.stream(full).save(tmp_path / "stream")
        act(model, full, tmp_path)
        model._random_instance = np.random.RandomState(1)  # predict draws from it too
        model.trainer_params["callbacks"] = [modes]
        model.fit(full, epochs=1)
        assert modes.batches
        assert modes.in_evaluation == [], name
        assert not model.model.training
        weights[name] = {n: x.clone() for n, x in model.network.state_dict().items()}
    for name, own in weights.items():
        assert all(torch.equal(x, weights["nothing"][n]) for n, x in own.items()), name


def test_a_training_that_fails_ends_in_evaluation_mode() -> None:
    class Fails(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise ConnectionAbortedError

    full = hourly_walk()
    model = fitted(full, dropout=0.5)
    forecast = model.predict(H)
    model.trainer_params["callbacks"] = [Fails()]
    with pytest.raises(ConnectionAbortedError):
        model.fit(full, epochs=1)
    assert not any(module.training for module in model.model.modules())
    assert_equal(model.predict(H), model.predict(H), 0.0)
    assert_equal(model.predict(H), forecast, 1.0)


def refitted(model: RimerModel, folder: Path) -> None:
    model.fit(hourly_walk(seed=3), epochs=1)


def weights_loaded(model: RimerModel, folder: Path) -> None:
    other = fitted(hourly_walk(seed=4))
    other.save_weights(folder / "w.safetensors")
    model.load_weights(str(folder / "w.safetensors"))


def model_loaded(model: RimerModel, folder: Path) -> None:
    other = fitted(hourly_walk(seed=4))
    other.save(str(folder / "model.pt"))
    model.load_weights(str(folder / "model.pt"))


def written_to(model: RimerModel, folder: Path) -> None:
    with torch.no_grad():
        model.network.skip.weight.add_(1e-3)


GONE = "the weights that this stream began with are gone"


@pytest.mark.parametrize("change", [refitted, weights_loaded, model_loaded, written_to])
def test_a_stream_whose_weights_are_gone_says_so(
    change: Callable[[RimerModel, Path], None], tmp_path: Path
) -> None:
    full = hourly_walk()
    model = fitted(full)
    stream = model.stream(full[:100])
    twin, pickled = copy.deepcopy(stream), pickle.dumps(stream)
    forecast = stream.predict(H)
    change(model, tmp_path)
    for acts in (
        lambda: stream.predict(H),
        lambda: stream.update(full[100:101]),
        lambda: stream.save(tmp_path / "stream"),
        lambda: pickle.dumps(stream),
        lambda: twin.predict(H),
    ):
        with pytest.raises(ValueError, match=GONE):
            acts()
    assert not (tmp_path / "stream").exists()
    assert stream.end_time == full[:100].end_time()
    assert_equal(pickle.loads(pickled).predict(H), forecast, 0.0)  # which has its own
    model.stream(full[:100]).predict(H)


def test_what_leaves_the_weights_alone_leaves_the_stream_alone(tmp_path: Path) -> None:
    full = hourly_walk()
    model = fitted(full)
    stream = model.stream(full[:100])
    forecast = stream.predict(H)
    model.predict(H)
    model.historical_forecasts(full, retrain=True, start=-8, start_format="position")
    model.save_weights(tmp_path / "w.safetensors")
    model.load_weights(str(tmp_path / "w.safetensors"))  # the same ones
    assert_equal(stream.predict(H), forecast, 0.0)
    model.model.train()
    assert_equal(stream.predict(H), forecast, 0.0)
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None
    assert_equal(stream.predict(H), forecast, 0.0)


def test_in_a_training_a_stream_says_that_its_weights_move() -> None:
    full, said = hourly_walk(), []

    class Streams(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            for act in (lambda: model.stream(full), lambda: stream.predict(H)):
                with pytest.raises(ValueError, match="is being trained, and its weights move"):
                    act()
                said.append(act)

    model = fitted(full)
    stream = model.stream(full)
    model.trainer_params["callbacks"] = [Streams()]
    model.fit(full, epochs=1)
    assert said


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle])
def test_a_copy_of_a_stream_goes_its_own_way(copied: Any) -> None:
    full = hourly_walk()
    model = fitted([full, full], likelihood=QuantileRegression([0.1, 0.5, 0.9]), dropout=0.5)
    stream = model.stream([full[:100]] * 2)
    forecast = stream.predict(H)
    other = pickle.loads(pickle.dumps(stream)) if copied is pickle else copied(stream)
    other.update([full[100:104]] * 2)
    assert stream.end_time == full[:100].end_time()
    for one, same in zip(stream.predict(H), forecast, strict=True):
        assert_equal(one, same, 0.0)
    expected = model.stream([full[:104]] * 2).predict(H)
    for one, same in zip(other.predict(H), expected, strict=True):
        assert_equal(one, same)
    assert np.isfinite(other.predict(H, num_samples=3)[0].all_values()).all()


def test_a_pickle_of_a_stream_holds_no_history() -> None:
    sizes = [len(pickle.dumps(fitted(hourly_walk(n)).stream(hourly_walk(n)))) for n in (150, 5150)]
    assert abs(sizes[1] - sizes[0]) < 1000


def test_a_stream_shows_what_it_is_of() -> None:
    full = hourly_walk()
    shown = repr(fitted(full).stream(full[:100]))
    assert shown == (
        "RimerStream(1 series of components ['0', '1'], 100 steps of h read, "
        "end_time=2020-01-05 03:00:00)"
    )


def at(times: pd.Index, value: float = 0.5) -> TimeSeries:
    freq = getattr(times, "freq", None)
    return TimeSeries.from_times_and_values(times, np.full((len(times), 1), value), freq=freq)


NUMBERS = pd.RangeIndex(7, 7 + 3 * 40, 3)
DAYS = pd.date_range("2020-01-01", periods=40, freq="D")
BUSINESS_DAYS = pd.bdate_range("2020-01-01", periods=40)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (DAYS, "h"),
        (DAYS, "2D"),
        (DAYS, "W-MON"),
        (DAYS, "B"),
        (BUSINESS_DAYS, "D"),
        (pd.date_range("2020-01-01", periods=40, freq="MS"), "QS"),
        (NUMBERS, 1),
        (NUMBERS, 2),
        (NUMBERS, 6),
    ],
    ids=lambda x: str(getattr(x, "freq", None) or x),
)
def test_rows_in_another_step_are_refused(times: pd.Index, freq: Any, n: int) -> None:
    """From the first row on, although it is where the stream goes on."""
    model = fitted(at(times))
    stream, start = model.stream(at(times[:32])), times[32]
    if isinstance(freq, int):
        rows = pd.RangeIndex(start, start + n * freq, freq)
    else:
        rows = pd.date_range(start, periods=n, freq=freq)
    forecast = stream.predict(H)
    with pytest.raises(ValueError, match=rf"in steps of {freq}\S*, but the stream goes on at .*of"):
        stream.update(at(rows))
    assert_equal(stream.predict(H), forecast, 0.0)
    stream.update(at(times[32:33]))
    assert stream.predict(H).time_index.equals(times[33 : 33 + H])


def test_business_days_of_one_week_are_business_days() -> None:
    """pandas infers days."""
    model = fitted(at(BUSINESS_DAYS))
    monday = BUSINESS_DAYS[BUSINESS_DAYS.weekday == 0][4]
    stream = model.stream(at(BUSINESS_DAYS[monday > BUSINESS_DAYS]))
    week = TimeSeries.from_series(pd.Series(0.5, pd.date_range(monday, periods=5)))
    assert week.freq_str == "D"
    stream.update(week)
    assert stream.predict(1).start_time() == monday + pd.Timedelta(days=7)


def test_covariates_and_series_in_other_steps_are_refused() -> None:
    hours = pd.date_range("2020-01-01", periods=24 * 60, freq="h")
    cause, hourly = at(pd.date_range("2020-01-01", periods=60)), at(hours)
    model = fitted(at(DAYS), covariates={"future_covariates": cause})
    stream = model.stream(at(DAYS[:32]), future_covariates=cause)
    message = "future_covariates 0 is in steps of h, but the series in steps of D"
    for act in (
        lambda: stream.update(at(DAYS[32:33]), future_covariates=hourly),
        lambda: stream.predict(1, future_covariates=hourly),
        lambda: model.stream(at(DAYS[:32]), future_covariates=hourly),
        lambda: model.diagnostics(at(DAYS[:32]), future_covariates=hourly),
    ):
        with pytest.raises(ValueError, match=message):
            act()
    plain = fitted(at(DAYS))
    with pytest.raises(ValueError, match=r"0 ends at .* in steps of D, and series 1 at .* of h"):
        plain.stream([at(DAYS), at(pd.date_range(end=DAYS[-1], periods=40, freq="h"))])


def test_series_of_other_components_or_with_samples_are_refused() -> None:
    full = hourly_walk()
    model = fitted(full, likelihood=QuantileRegression([0.1, 0.5, 0.9]))
    with pytest.raises(ValueError, match="series 0 has 2, and series 1 1"):
        model.stream([full, full["0"]])
    with pytest.raises(ValueError, match=r"series=\[\] is empty"):
        model.stream([])
    stream = model.stream(full)
    drawn = stream.predict(H, num_samples=5)
    with pytest.raises(ValueError, match="series 0 has 5 samples, but one value a step is read"):
        stream.update(drawn)
    for name, value in (("num_samples", 0), ("num_samples", 2.5), ("num_samples", True)):
        with pytest.raises(ValueError, match=f"{name}={value} must be at least 1"):
            stream.predict(H, **{name: value})
    with pytest.raises(ValueError, match="num_samples=2 is not for predict_likelihood_parameters"):
        stream.predict(H, num_samples=2, predict_likelihood_parameters=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stream_from_its_file_is_as_it_was(dtype: Any, tmp_path: Path) -> None:
    holidays = pd.offsets.CustomBusinessDay(holidays=["2020-02-26", "2020-02-27"])
    times = pd.date_range("2020-01-01", periods=40, freq=holidays, name="day").as_unit("s")
    static = pd.DataFrame({"code": ["001"], "area": [0.1 + 0.2]})
    full = TimeSeries.from_times_and_values(
        pd.DatetimeIndex(times, freq=holidays),
        np.random.default_rng(0).normal(size=(40, 2)).astype(dtype),
        static_covariates=static,
        hierarchy={"1": ["0"]},
        metadata={"unit": "kWh"},
    )
    model = fitted(full, use_static_covariates=False)
    stream = model.stream(full)
    forecast = stream.predict(H)
    assert "2020-02-26" not in map(str, forecast.time_index.date)
    stream.save(tmp_path / "stream")
    again = model.load_stream(tmp_path / "stream").predict(H)
    assert again == forecast
    assert again.time_index.equals(forecast.time_index)
    assert again.time_index.dtype == forecast.time_index.dtype
    assert again.time_index.name == forecast.time_index.name == "day"
    assert again.freq == forecast.freq
    assert again.dtype == forecast.dtype == dtype
    assert list(again.static_covariates.dtypes) == list(forecast.static_covariates.dtypes)
    assert again.static_covariates["code"].tolist() == ["001"]
    assert again.hierarchy == forecast.hierarchy
    assert again.metadata == forecast.metadata == {"unit": "kWh"}
    assert forecast.time_index.name == model.predict(H).time_index.name


def test_a_stream_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    full = hourly_walk()
    model = fitted(full)
    model.stream(full[:100]).save(tmp_path / "stream")
    stream = model.stream(full.with_metadata({"at": (1, 2)}))
    with pytest.raises(ValueError, match="the metadata of a series cannot be written"):
        stream.save(tmp_path / "stream")
    assert model.load_stream(tmp_path / "stream").end_time == full[:100].end_time()
    assert isinstance(pickle.loads(pickle.dumps(stream)), RimerStream)
