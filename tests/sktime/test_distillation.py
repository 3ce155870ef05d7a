"""Small sktime forecasters that learn from large ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sktime_cases

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network.state import fingerprint

FH = range(1, 7)
SMALL: dict[str, Any] = {
    **sktime_cases.TINY,
    "output_chunk_length": 6,
    "quantiles": (0.1, 0.5, 0.9),
}
LARGE: dict[str, Any] = {**SMALL, "layers": "rwkv7*2", "width": 16, "n_epochs": 10}
Y = sktime_cases.wave(level=4.0)


@pytest.fixture(scope="module")
def teacher() -> RimerForecaster:
    return RimerForecaster(**LARGE).fit(Y, fh=FH)


def quantiles(forecaster: RimerForecaster) -> np.ndarray:
    found: np.ndarray = forecaster.predict_quantiles(FH, alpha=[0.1, 0.5, 0.9]).to_numpy()
    return found


@pytest.mark.parametrize("streaming", [False, True])
def test_a_forecaster_learns_the_forecasts_of_another(
    teacher: RimerForecaster, streaming: bool
) -> None:
    before, weights = quantiles(teacher), fingerprint(teacher.network_)
    fewer, more = (
        RimerForecaster(**SMALL, streaming=streaming).distill(teacher, Y, fh=FH, steps=n)
        for n in (2, 150)
    )
    far, near = (np.abs(quantiles(x) - before).mean() for x in (fewer, more))
    assert near < 0.5 * far
    assert more.distillation_.states is not None
    assert fingerprint(teacher.network_) == weights
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(more)).predict(), more.predict())
    assert more.fit(Y, fh=FH).network_.config.layers == "rwkv7*1"
    assert more._lesson is None


def test_a_panel_with_covariates_is_learnt_from() -> None:
    y, X = sktime_cases.caused(200)
    teacher = RimerForecaster(**LARGE).fit(y.iloc[:-8], X.loc[y.index[:-8]], fh=FH)
    small = RimerForecaster(**SMALL).distill(
        teacher, y.iloc[:-8], X.loc[y.index[:-8]], fh=FH, steps=300
    )
    a, b = (x.predict(X=X.loc[y.index[-8:]]).to_numpy() for x in (teacher, small))
    assert np.abs(a - b).mean() < 0.5 * y.to_numpy().std()
    renamed = X.rename(columns={"x": "z"})
    with pytest.raises(ValueError, match=r"the teacher was fitted with X \['x'\], but X has"):
        RimerForecaster(**SMALL).distill(teacher, y.iloc[:-8], renamed.loc[y.index[:-8]], steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_chunk_length": 30}, "the teacher has input_chunk_length=24"),
        ({"output_chunk_length": 5}, "the teacher has output_chunk_length=6"),
        ({"quantiles": (0.2, 0.5, 0.8)}, "the teacher has outputs="),
        ({"components": "cross"}, "the teacher has components='independent'"),
        ({"layers": None}, "the model that is to learn has layers=None"),
    ],
)
def test_a_teacher_of_something_else_is_refused(
    teacher: RimerForecaster, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RimerForecaster(**{**SMALL, **options}).distill(teacher, Y, steps=1)


def test_nonsense_is_refused(teacher: RimerForecaster) -> None:
    forecaster = RimerForecaster(**SMALL)
    with pytest.raises(Exception, match="has not been fitted yet"):
        forecaster.distill(RimerForecaster(**SMALL), Y)
    with pytest.raises(ValueError, match="teacher is a DataFrame"):
        forecaster.distill(Y, Y)
    with pytest.raises(ValueError, match="states=-1 must be"):
        forecaster.distill(teacher, Y, states=-1)
    with pytest.raises(ValueError, match="steps=0 must be"):
        forecaster.distill(teacher, Y, steps=0)


def test_short_series_are_learnt_from_too(teacher: RimerForecaster) -> None:
    """Where a fit would forecast by the weights of the package, distil trains all the same."""
    large = RimerForecaster(pretrained=None, layers="rwkv7*2", n_epochs=1).fit(Y, fh=FH)
    small = RimerForecaster().distill(large, Y, fh=FH, steps=2)
    assert small.network_.config.layers == "rwkv7*1"
