"""State tuning of darts models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapt_cases import siblings
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts_cases import QUIET, TINY, wave
from network_cases import randomised

from rimer_forecaster import RimerModel, RimerZeroModel
from rimer_forecaster.lifecycle import AdaptedState

SERIES = [wave(90, seed=0), wave(80, seed=1, level=3.0)]
TUNED = {"steps": 3, "keep": "always"}


@pytest.fixture(scope="module")
def model() -> RimerModel:
    model = RimerModel(**TINY).fit(SERIES)
    randomised(model.network)  # a head that was trained for one epoch hardly reads the layers
    return model


@pytest.fixture(scope="module")
def zero() -> RimerZeroModel:
    return RimerZeroModel((4, 64), 6, **QUIET).fit(SERIES)


@pytest.mark.parametrize("kernels", [{}, {"upscale": 4, "decorrelate": True}])
@pytest.mark.parametrize("kind", ["model", "zero"])
def test_forecasts_begin_from_the_state_of_their_own_series(
    kind: str, kernels: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind)
    weights = [x.clone() for x in model.network.parameters()]
    state = model.adapt(SERIES, **TUNED, **kernels)
    assert any("kernels" in path for path in state.tensors) == bool(kernels)
    assert all(map(torch.equal, weights, model.network.parameters()))
    plain = model.predict(6, series=SERIES)
    both = model.predict(6, series=SERIES, state=state)
    for i, name in enumerate(state.names):
        alone = model.predict(6, series=SERIES[i], state=state.of([name]))
        np.testing.assert_allclose(both[i].values(), alone.values(), atol=1e-5)
        assert np.abs(both[i].values() - plain[i].values()).max() > 1e-6
    crossed = model.predict(6, series=SERIES, state=state.of(["1", "0"]))
    assert np.abs(crossed[0].values() - both[0].values()).max() > 1e-6
    again = model.predict(6, series=SERIES)
    assert np.array_equal(again[0].values(), plain[0].values())


def test_samples_and_later_chunks_begin_from_it_too() -> None:
    likelihood = QuantileRegression([0.1, 0.5, 0.9])
    zero = RimerZeroModel((4, 64), 6, likelihood=likelihood, **QUIET).fit(SERIES)
    state = zero.adapt(SERIES, **TUNED)
    given: dict[str, Any] = {"series": SERIES, "num_samples": 50, "random_state": 0}
    far = [zero.predict(10, **given, **start)[1].values() for start in ({"state": state}, {})]
    assert np.abs(far[0] - far[1])[6:].max() > 1e-6
    drawn = zero.predict(6, series=SERIES, state=state, num_samples=200, random_state=0)
    alone = zero.predict(6, SERIES[1], state=state.of(["1"]), num_samples=200, random_state=0)
    assert drawn[1].n_samples == 200
    np.testing.assert_allclose(
        drawn[1].quantile(0.5).values(), alone.quantile(0.5).values(), atol=0.1
    )


def test_a_backtest_begins_from_the_states_of_its_series(zero: RimerZeroModel) -> None:
    state = zero.adapt(SERIES, **TUNED)
    given: dict[str, Any] = {"forecast_horizon": 6, "retrain": False, "last_points_only": False}
    given |= {"start": -8, "start_format": "position", "verbose": False}
    found = zero.historical_forecasts(SERIES, predict_kwargs={"state": state}, **given)
    for one, own, name in zip(SERIES, found, state.names, strict=True):
        until = one.drop_after(own[-1].start_time())
        expected = zero.predict(6, until, state=state.of([name]))
        np.testing.assert_allclose(own[-1].values(), expected.values(), atol=1e-4)


def test_a_stream_begins_from_it(zero: RimerZeroModel) -> None:
    state = zero.adapt(SERIES, **TUNED).of(["1"])
    stream = zero.stream(SERIES[1][:-1], state=state)
    stream.update(SERIES[1][-1:])
    target = torch.from_numpy(SERIES[1].values()[None])
    network = zero.network
    with torch.no_grad():
        own = network.forecast(network.observe(target, start=state.start(1, network)), 6)
        plain = network.forecast(network.observe(target), 6)
    found = stream.predict(6).values()[:, 0]
    np.testing.assert_allclose(found, own[0, :, 0, 4].numpy(), atol=1e-4)
    assert np.abs(found - plain[0, :, 0, 4].numpy()).max() > 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        {"likelihood": GaussianLikelihood()},
        {"initial_state": "learned", "layers": "rwkv7*2"},
    ],
)
def test_other_losses_and_learned_starts_are_tuned_too(arguments: dict[str, Any]) -> None:
    model = RimerModel(**TINY, **arguments).fit(SERIES)
    randomised(model.network)
    state = model.adapt(SERIES, groups=["a", "a"], rank=2, **TUNED)
    assert state.names == ("a",)
    moved = model.predict(6, SERIES, state=state)[0].values()
    assert np.abs(moved - model.predict(6, SERIES)[0].values()).max() > 1e-6


def test_covariates_are_read_while_tuning() -> None:
    covariates = [one.shift(0) for one in (wave(100, seed=5), wave(100, seed=6))]
    model = RimerModel(**TINY).fit(SERIES, future_covariates=covariates)
    state = model.adapt(SERIES, future_covariates=covariates, **TUNED)
    assert len(model.predict(6, SERIES, future_covariates=covariates, state=state)) == 2
    with pytest.raises(ValueError, match="future_covariates are 2, but there are 1 series"):
        model.adapt(SERIES[0], future_covariates=covariates)


def test_what_does_not_fit_is_named(model: RimerModel, zero: RimerZeroModel) -> None:
    state = model.adapt(SERIES, **TUNED)
    with pytest.raises(ValueError, match="state belongs to another network"):
        zero.predict(6, SERIES, state=state)
    with pytest.raises(ValueError, match="state has 2 rows, but there are 1 series"):
        model.predict(6, SERIES[0], state=state)
    with pytest.raises(ValueError, match="state is a dict; it must be"):
        model.predict(6, SERIES, state={})
    with pytest.raises(ValueError, match="too short to adapt to"):
        model.adapt(SERIES[0][:34])
    with pytest.raises(ValueError, match="the model has no network"):
        RimerModel(**TINY).adapt(SERIES)
    with pytest.raises(ValueError, match="memory of their own"):
        RimerModel(**TINY, layers=None).fit(SERIES).adapt(SERIES)


def test_a_file_serves_another_process_and_the_other_library(
    zero: RimerZeroModel, tmp_path: Path
) -> None:
    from rimer_forecaster import RimerForecaster

    zero.adapt(SERIES, **TUNED).save(tmp_path / "shops.safetensors")
    state = AdaptedState.load(tmp_path / "shops.safetensors")
    expected = zero.predict(6, SERIES[1], state=state.of(["1"])).values()[:, 0]
    forecaster = RimerForecaster(64, pretrained="rimer-zero").fit(SERIES[1].to_series())
    found = forecaster.begin_from(state.of(["1"])).predict(fh=range(1, 7))
    np.testing.assert_allclose(found.to_numpy(), expected, atol=1e-4)


def test_a_state_is_kept_where_a_template_repeats() -> None:
    """And forecasts of what comes after it are better."""
    series = [TimeSeries.from_values(x.astype(np.float32)) for x in siblings(12, 46)]
    known = [one[:34] for one in series]  # fewer than three seasons, which stay
    model = RimerZeroModel((4, 64), 12, **QUIET).fit(known)
    state = model.adapt(known, groups=["a"] * 12)
    assert state.kept == (True,)
    errors = [
        np.mean([
            np.abs(x.values() - one[34:].values()).mean()
            for x, one in zip(model.predict(12, known, **start), series, strict=True)
        ])
        for start in ({}, {"state": state})
    ]  # fmt: skip
    assert errors[1] < 0.9 * errors[0]
