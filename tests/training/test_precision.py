"""Precisions of torch and of Lightning: another one trains to about the same forecasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("darts", reason="the models of both libraries are tried")
pytest.importorskip("sktime", reason="the models of both libraries are tried")

from rimer_forecaster import RimerForecaster, RimerModel, RimerZeroModel
from tests.cases import darts_cases, sktime_cases

Forecast = Callable[..., np.ndarray]


def in_darts(precision: Any = None, **arguments: Any) -> np.ndarray:
    kwargs = darts_cases.TRAINER | ({"precision": precision} if precision else {})
    model = RimerModel(**darts_cases.TINY | arguments | {"pl_trainer_kwargs": kwargs})
    return np.ravel(model.fit(darts_cases.wave(80)).predict(8).values())


def in_sktime(precision: Any = None, **arguments: Any) -> np.ndarray:
    kwargs = {"precision": precision} if precision else None
    forecaster = RimerForecaster(**sktime_cases.TINY | arguments, trainer_kwargs=kwargs)
    return np.ravel(forecaster.fit(sktime_cases.wave(80), fh=range(1, 9)).predict())


@pytest.fixture
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("forecast", [in_darts, in_sktime])
def test_any_precision_trains_and_forecasts(forecast: Forecast, precision: str) -> None:
    values = forecast(precision)
    assert values.dtype.kind == "f"
    # bfloat16 has 8 bits: sums of values of size 1 are off by some parts in a hundred.
    np.testing.assert_allclose(values, forecast(), atol=1e-4 if "64" in precision else 0.05)


@pytest.mark.parametrize("forecast", [in_darts, in_sktime])
def test_half_precision_is_refused_with_the_reason(forecast: Forecast) -> None:
    with pytest.raises(ValueError, match=r"precision='16-true'.* are zero there, whatever the"):
        forecast("16-true")


@pytest.mark.parametrize("more", [{}, {"streaming": True}, {"layers": "gru, lstm, attention"}])
@pytest.mark.parametrize("forecast", [in_darts, in_sktime])
def test_the_default_dtype_of_torch_changes_nothing(
    forecast: Forecast, more: dict[str, Any], double_by_default: None
) -> None:
    values = forecast(**more)
    torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(values, forecast(**more), atol=1e-4)


def test_weights_of_the_package_in_double_precision_by_default(double_by_default: None) -> None:
    series, y = darts_cases.wave(80), sktime_cases.wave(80)
    zero = RimerZeroModel((8, 64), 8, **darts_cases.QUIET).fit(series).predict(8)
    trained_on = RimerModel(24, 8, pretrained="rimer-zero", n_epochs=1, **darts_cases.QUIET)
    assert np.isfinite(trained_on.fit(series).predict(8).values()).all()
    settings: dict[str, Any] = {"pretrained": "rimer-zero", "quantiles": (0.2, 0.5)}
    sktime_zero = RimerForecaster(**settings).fit(y, fh=range(1, 9)).predict()
    sktime_on = RimerForecaster(**settings, n_epochs=1).fit(y, fh=range(1, 9)).predict()
    assert np.isfinite(sktime_on.to_numpy()).all()
    torch.set_default_dtype(torch.float32)
    again = RimerZeroModel((8, 64), 8, **darts_cases.QUIET).fit(series).predict(8)
    np.testing.assert_allclose(zero.values(), again.values(), atol=1e-4)
    single = RimerForecaster(**settings).fit(y, fh=range(1, 9)).predict()
    np.testing.assert_allclose(sktime_zero, single, atol=1e-4)
