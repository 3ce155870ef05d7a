"""Small darts models that learn from large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import darts_cases
import numpy as np
import pytest
from darts import TimeSeries
from darts.models import NaiveSeasonal
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from rimer_forecaster import RimerModel
from rimer_forecaster.network.state import fingerprint

QUANTILES = [0.1, 0.5, 0.9]
OPTIONS: dict[str, Any] = {**darts_cases.TINY, "likelihood": QuantileRegression(QUANTILES)}
SERIES = darts_cases.wave(components=2)


def large(series: TimeSeries = SERIES, **options: Any) -> RimerModel:
    given = {**OPTIONS, "layers": "rwkv7*2", "n_epochs": 10, "width": 16, **options}
    known = {name: given.pop(name) for name in ("past_covariates",) if name in given}
    return RimerModel(**given).fit(series, **known)


def forecast(model: RimerModel, series: TimeSeries = SERIES) -> np.ndarray:
    values: np.ndarray = model.predict(6, series, predict_likelihood_parameters=True).values()
    return values


@pytest.fixture(scope="module")
def teacher() -> RimerModel:
    return large()


def test_a_model_learns_the_forecasts_of_another(teacher: RimerModel, tmp_path: Path) -> None:
    before, weights = forecast(teacher), fingerprint(teacher.network)
    fewer, more = (RimerModel(**OPTIONS).distill(teacher, SERIES, steps=n) for n in (2, 150))
    far, near = (np.abs(forecast(model) - before).mean() for model in (fewer, more))
    assert near < 0.5 * far
    assert more.distillation_ is not None
    assert more.distillation_.states is not None
    assert fingerprint(teacher.network) == weights
    more.save(str(tmp_path / "more.pt"))
    loaded = RimerModel.load(str(tmp_path / "more.pt"))
    np.testing.assert_array_equal(forecast(loaded), forecast(more))
    again = more.predict(6, predict_likelihood_parameters=True)
    np.testing.assert_array_equal(again.values(), forecast(more))
    more.fit(SERIES, epochs=1)
    assert (forecast(more) != forecast(loaded)).any()


def test_what_follows_a_window_is_not_looked_at(teacher: RimerModel) -> None:
    """The last horizon of the series is only ever forecast: other values change nothing."""
    values = SERIES.values().copy()
    values[-6:] = values[-6:][::-1]  # of the same deviation, in which differences count
    models = []
    for series in (SERIES, SERIES.with_values(values)):
        models.append(RimerModel(**OPTIONS).distill(teacher, series, steps=3))
    np.testing.assert_allclose(forecast(models[0]), forecast(models[1]), atol=1e-6)
    other = SERIES.with_values(np.concatenate((values[:12][::-1], values[12:])))
    changed = RimerModel(**OPTIONS).distill(teacher, other, steps=3)
    assert np.abs(forecast(changed) - forecast(models[0])).max() > 1e-5


def test_covariates_and_components_take_part() -> None:
    known = darts_cases.wave(seed=3)
    options: dict[str, Any] = {"components": "cross", "likelihood": GaussianLikelihood()}
    teacher = large(past_covariates=known, **options)
    small = RimerModel(**{**OPTIONS, **options})
    small.distill(teacher, SERIES, known, steps=100)
    a, b = (x.predict(6, SERIES, past_covariates=known).values() for x in (teacher, small))
    assert np.abs(a - b).mean() < 0.5
    with pytest.raises(ValueError, match="the teacher has past_covariates=1"):
        RimerModel(**{**OPTIONS, **options}).distill(teacher, SERIES, steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_chunk_length": 30}, "the teacher has input_chunk_length=24"),
        ({"output_chunk_length": 5}, "the teacher has output_chunk_length=6"),
        ({"output_chunk_shift": 1}, "the teacher has output_chunk_shift=0, but this model has 1"),
        ({"likelihood": None}, "the teacher has likelihood='QuantileRegression'"),
        ({"likelihood": QuantileRegression([0.2, 0.5, 0.8])}, "the teacher has outputs="),
        ({"components": "cross"}, "the teacher has components='independent'"),
        ({"layers": "gru"}, "the model that is to learn has layers='gru'"),
    ],
)
def test_a_teacher_of_something_else_is_refused(
    teacher: RimerModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RimerModel(**{**OPTIONS, **options}).distill(teacher, SERIES, steps=1)


def test_nonsense_is_refused(teacher: RimerModel) -> None:
    model = RimerModel(**OPTIONS)
    with pytest.raises(ValueError, match="it is not fitted"):
        model.distill(RimerModel(**OPTIONS), SERIES)
    with pytest.raises(ValueError, match="teacher is a NaiveSeasonal"):
        model.distill(NaiveSeasonal(3), SERIES)
    with pytest.raises(ValueError, match="steps=0 must be"):
        model.distill(teacher, SERIES, steps=0)
    with pytest.raises(ValueError, match="states=-1 must be"):
        model.distill(teacher, SERIES, steps=1, states=-1)
    assert model._lesson is None


def test_short_series_are_learnt_from_too() -> None:
    """Where a fit would forecast by the weights of the package, distil trains all the same."""
    teacher = RimerModel(48, pretrained=None, layers="rwkv7*2", n_epochs=1, **darts_cases.QUIET)
    teacher.fit(SERIES)
    small = RimerModel(48, **darts_cases.QUIET).distill(teacher, SERIES, steps=2)
    assert small.network.config.layers == "rwkv7*1"
