"""Streams and updates that are damaged, interrupted and shared by threads.

Either everything is right, or there is an error and everything is as it was.
RIMER_CASES=1000 python -m pytest tests/contracts/test_streams_attacked.py makes 1,000 of each.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("sktime", reason="RimerForecaster needs the extra 'sktime'")
pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

import darts_cases
from chance import cases, damaged
from darts import TimeSeries
from interrupts import Interrupted
from network_cases import randomised
from rounding import assert_same_but_for_rounding
from sktime_cases import TINY, panel, wave

from rimer_forecaster import RimerForecaster, RimerModel
from rimer_forecaster.darts import RimerStream
from rimer_forecaster.layers import leaves

CASES = cases(20)


@pytest.fixture(scope="module")
def model() -> RimerModel:
    settings = {**darts_cases.TINY, "streaming": True, "dropout": 0.5}
    model = RimerModel(**settings).fit(darts_cases.wave(), future_covariates=KNOWN)
    randomised(model.network)  # so that draws of dropout are seen
    return model


KNOWN = darts_cases.wave(300, seed=5)
FULL = darts_cases.wave(300)


def forecast(stream: RimerStream) -> TimeSeries:
    return stream.predict(6, future_covariates=KNOWN)


@pytest.mark.parametrize("kind", ["flips", "zeroed blocks", "truncations"])
def test_of_damaged_files_none_gives_another_stream(
    kind: str, model: RimerModel, tmp_path: Path
) -> None:
    stream, path = model.stream(FULL[:107], future_covariates=KNOWN), tmp_path / "stream"
    stream.save(path)
    expected, refused = forecast(stream), 0
    for data in damaged(path.read_bytes(), kind, CASES):
        path.write_bytes(data)
        try:
            loaded = model.load_stream(path)
        except ValueError as error:
            refused += f"{str(path)!r} is damaged" in str(error)
            continue
        assert loaded.end_time == stream.end_time
        assert forecast(loaded) == expected
        for (name, x), (_, own) in zip(leaves(loaded.state), leaves(stream.state), strict=True):
            assert torch.equal(x, own), name
    assert refused > 0.9 * CASES


def at_random(total: int) -> Iterator[int]:
    """Instructions to stop before, the last ones, where things are swapped, more often."""
    chance = random.Random(0)
    for _ in range(CASES):
        first = 1 if chance.random() < 0.5 else max(1, total - 200)
        yield chance.randint(first, total)


def test_an_interrupted_update_of_a_stream_leaves_it_as_it_was_or_is_whole(
    model: RimerModel,
) -> None:
    interrupted = Interrupted("rimer_forecaster", "timeseries.py")

    def update(stream: RimerStream) -> None:
        stream.update(FULL[100:103], future_covariates=KNOWN)

    before = model.stream(FULL[:100], future_covariates=KNOWN)
    update(deepcopy(before))  # what is made once is made
    after = deepcopy(before)
    total = interrupted.instructions(lambda: update(after))
    expected = {stream.end_time: forecast(stream) for stream in (before, after)}
    assert len(expected) == 2
    undone = 0
    for instruction in at_random(total):
        stream = deepcopy(before)
        interrupted.at(instruction, lambda stream=stream: update(stream))
        assert forecast(stream) == expected[stream.end_time]
        if stream.end_time == before.end_time:
            undone += 1
            update(stream)
        else:
            with pytest.raises(ValueError, match="the stream goes on at"):
                update(stream)
        assert forecast(stream) == expected[after.end_time]
    assert undone > CASES / 2


def known_of(forecaster: RimerForecaster) -> list[Any]:
    """What a forecaster shows of where it stands."""
    streams = forecaster._fitted.streams
    state = [] if streams is None else [int(s["steps"]) for _, s in streams._batches]
    return [
        forecaster.cutoff,
        {key: one.y.index[-1] for key, one in forecaster._fitted.memory.series.items()},
        state,
        {n: x.sum().item() for n, x in forecaster.network_.state_dict().items()},
        forecaster.network_.training,
        forecaster._generator.get_state().tolist(),
        forecaster._y_metadata["mtype"],
        forecaster._converter_store_y,
    ]


@pytest.mark.parametrize("kind", ["windows", "streams", "streams of a panel", "training"])
def test_an_interrupted_update_of_a_forecaster_leaves_it_as_it_was_or_is_whole(
    kind: str,
) -> None:
    """Repeated, the update reads no row twice, and ends where an undisturbed one does."""
    interrupted = Interrupted("rimer_forecaster", "base/_base.py")
    y = panel({"a": 120, "b": 110}) if "panel" in kind else wave(120)
    times = y.index.get_level_values(-1)
    cut = wave(120).index[99]
    settings = {**TINY, "streaming": "streams" in kind, "dropout": 0.5}
    before = RimerForecaster(**settings).fit(y[times <= cut], fh=range(1, 7))

    def update(forecaster: RimerForecaster) -> None:
        forecaster.update(y[times > cut], update_params=kind == "training")

    update(deepcopy(before))  # what is made once is made
    after = deepcopy(before)
    total = interrupted.instructions(lambda: update(after))
    expected, states = [f.predict() for f in (before, after)], [known_of(before), known_of(after)]
    undone = 0
    for instruction in at_random(total):
        forecaster = deepcopy(before)
        interrupted.at(instruction, lambda forecaster=forecaster: update(forecaster))
        now = known_of(forecaster)
        assert now in states
        whole = now == states[1]
        undone += not whole
        assert_same_but_for_rounding(forecaster.predict(), expected[whole])
        if not (whole and kind == "training"):  # which would be trained twice
            update(forecaster)
            assert known_of(forecaster) == states[1]
            assert_same_but_for_rounding(forecaster.predict(), expected[1])
    assert undone > CASES / 2


def beside(
    act: Callable[[], None], ask: Callable[[], Any], *, least: int, threads: int = 8
) -> list[Any]:
    """Answers that threads get before, while and after another one acts."""
    answers = [ask()]
    ended = threading.Event()

    def asks() -> None:
        while not ended.is_set() or len(answers) < least:
            answers.append(ask())
        answers.append(ask())

    with ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(asks) for _ in range(threads)]
        try:
            act()
        finally:
            ended.set()
        for one in asking:
            one.result()
    return answers


@pytest.mark.parametrize("streaming", [False, True])
def test_forecasts_beside_updates_are_those_of_one_cutoff(streaming: bool) -> None:
    y = wave(120 + max(20, CASES // 10))
    fitted = RimerForecaster(**{**TINY, "streaming": streaming}).fit(y[:120], fh=range(1, 7))

    def update_all(forecaster: RimerForecaster) -> Iterator[pd.DataFrame]:
        yield forecaster.predict()
        for t in range(120, len(y)):
            forecaster.update(y[t : t + 1], update_params=False)
            yield forecaster.predict()

    alone = {one.index[0]: one for one in update_all(deepcopy(fitted))}
    answers = beside(lambda: list(update_all(fitted)), fitted.predict, least=max(200, CASES))
    assert len({one.index[0] for one in answers}) > 2
    for one in answers:
        assert_same_but_for_rounding(one, alone[one.index[0]])


def test_forecasts_beside_a_training_are_those_before_or_after_it() -> None:
    y = wave(130)
    fitted = RimerForecaster(**{**TINY, "dropout": 0.5}).fit(y[:120], fh=range(1, 7))
    after = deepcopy(fitted).update(y[120:])
    alone = {one.index[0]: one for one in (fitted.predict(), after.predict())}
    answers = beside(lambda: fitted.update(y[120:]), fitted.predict, least=200)
    assert {one.index[0] for one in answers} == alone.keys()
    for one in answers:
        assert_same_but_for_rounding(one, alone[one.index[0]])


def test_horizons_of_threads_are_their_own() -> None:
    """sktime keeps the last one that any of them asked for."""
    fitted = RimerForecaster(**TINY).fit(wave(120))
    horizons = [[1], [2, 5], [1, 2, 3, 4]]
    alone = [fitted.predict(fh=fh) for fh in horizons]

    def ask(i: int) -> None:
        fh, expected = horizons[i % 3], alone[i % 3]
        assert_same_but_for_rounding(fitted.predict(fh=fh), expected)
        assert len(fitted.predict_quantiles(fh=fh, alpha=[0.1, 0.9])) == len(fh)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(max(200, CASES))))


def test_one_of_two_updates_at_once_is_refused() -> None:
    y = wave(124)
    fitted = RimerForecaster(**TINY).fit(y[:120], fh=[1])
    begun, goes_on = threading.Event(), threading.Event()
    own = RimerForecaster._update

    def slow(self: RimerForecaster, *args: Any, **kwargs: Any) -> RimerForecaster:
        begun.set()
        assert goes_on.wait(60)
        return own(self, *args, **kwargs)

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(RimerForecaster, "_update", slow)
        first = pool.submit(lambda: fitted.update(y[120:122], update_params=False))
        assert begun.wait(60)
        patch.undo()
        fitted.update(y[120:121], update_params=False)
        goes_on.set()
        with pytest.raises(RuntimeError, match="another thread has fitted or updated this"):
            first.result()
    assert fitted.predict().index[0] == y.index[121]


def test_forecasts_beside_updates_of_a_stream_are_those_of_one_end(model: RimerModel) -> None:
    end = 120 + max(20, CASES // 20)
    stream = model.stream(FULL[:120], future_covariates=KNOWN)

    def update_all(one: RimerStream) -> Iterator[TimeSeries]:
        yield forecast(one)
        for t in range(120, min(end, 290)):
            one.update(FULL[t : t + 1], future_covariates=KNOWN)
            yield forecast(one)

    alone = {one.start_time(): one for one in update_all(deepcopy(stream))}
    answers = beside(
        lambda: list(update_all(stream)), lambda: forecast(stream), least=max(200, CASES)
    )
    assert len({one.start_time() for one in answers}) > 2
    for one in answers:
        expected = alone[one.start_time()]
        np.testing.assert_allclose(one.values(), expected.values(), rtol=1e-5, atol=1e-6)


def test_what_threads_ask_of_one_model_is_what_they_get(model: RimerModel) -> None:
    """Horizons, streams, and draws of dropout for those alone who ask for them."""
    stream = model.stream(FULL[:120], future_covariates=KNOWN)
    asked: list[Callable[[], TimeSeries]] = [
        lambda: model.predict(3, future_covariates=KNOWN),
        lambda: model.predict(13, future_covariates=KNOWN),
        lambda: forecast(stream),
        lambda: model.stream(FULL[:90], future_covariates=KNOWN).predict(
            6, future_covariates=KNOWN
        ),
    ]
    alone = [ask().values() for ask in asked]
    drawn = model.predict(6, future_covariates=KNOWN, mc_dropout=True)
    assert np.abs(drawn.values() - alone[1][:6]).max() > 1e-3

    def ask(i: int) -> None:
        if i % 5 == 4:
            one = model.predict(6, future_covariates=KNOWN, mc_dropout=True)
            assert np.abs(one.values() - alone[1][:6]).max() > 1e-3
            return
        np.testing.assert_allclose(asked[i % 5]().values(), alone[i % 5], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(max(100, CASES))))


def test_a_fit_beside_forecasts_waits_for_them_and_they_for_it() -> None:
    model = RimerModel(**{**darts_cases.TINY, "dropout": 0.5}).fit(darts_cases.wave())
    randomised(model.network)
    window = FULL[:60]
    first = model.predict(6, series=window).values()
    answers = beside(
        lambda: model.fit(darts_cases.wave(seed=3), epochs=1),
        lambda: model.predict(6, series=window).values(),
        least=50,
    )
    second = model.predict(6, series=window).values()
    assert np.abs(first - second).max() > 1e-4
    for one in answers:
        errors = [np.abs(one - expected).max() for expected in (first, second)]
        assert min(errors) < 1e-5
