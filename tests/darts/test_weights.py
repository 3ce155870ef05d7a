"""Weights of a RimerModel as safetensors, where no shape shows what they belong to."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from file_cases import TINY, wave

from rimer_forecaster import RimerModel


def test_weights_of_a_model_with_every_covariate_and_encoders(tmp_path: pathlib.Path) -> None:
    index = pd.date_range("2020-01-01", periods=100, freq="D")
    series = TimeSeries.from_times_and_values(
        index, wave().values().astype(np.float64), static_covariates=pd.DataFrame({"a": [1.0]})
    )
    covariates = {"past_covariates": series * 2, "future_covariates": series[:100]}
    settings = {**TINY, "add_encoders": {"cyclic": {"future": ["month"]}}}
    model = RimerModel(**settings, initial_state="static")
    model.fit(series[:80], **covariates)
    model.save_weights(tmp_path / "w.safetensors")
    loaded = RimerModel(**settings, initial_state="static")
    loaded.load_weights(str(tmp_path / "w.safetensors"))
    forecasts = [one.predict(4, series=series[:80], **covariates) for one in (model, loaded)]
    np.testing.assert_array_equal(forecasts[0].values(), forecasts[1].values())
    assert loaded.model.dtype == torch.float64
    with pytest.raises(ValueError, match=r"with add_encoders=\{.*, but this one has .*=None"):
        RimerModel(**TINY, initial_state="static").load_weights(str(tmp_path / "w.safetensors"))


def month(index: Any) -> Any:
    return index.month


@pytest.mark.parametrize(
    ("encoders", "other", "message"),
    [
        (
            {"cyclic": {"future": ["dayofweek"]}},
            {"cyclic": {"future": ["month"]}},
            "'dayofweek'.*, but this one has .*'month'",
        ),
        (
            {"datetime_attribute": {"past": ["hour", "month"]}},
            {"datetime_attribute": {"past": ["month", "hour"]}},
            "'hour', 'month'.*, but this one has .*'month', 'hour'",
        ),
        (
            {"cyclic": {"future": ["hour"]}, "tz": "CET"},
            {"cyclic": {"future": ["hour"]}},
            "'CET'.*, but this one has",
        ),
        (
            {"custom": {"past": [month]}},
            {"custom": {"past": [lambda index: 2 * month(index)]}},
            "add_encoders has 'custom', of which safetensors hold nothing",
        ),
        (
            {"datetime_attribute": {"future": ["month"]}, "transformer": Scaler()},
            {"datetime_attribute": {"future": ["month"]}, "transformer": Scaler()},
            "add_encoders has 'transformer', of which safetensors hold nothing",
        ),
    ],
    ids=["attribute", "order", "time zone", "functions", "transformer"],
)
def test_weights_for_other_encoders_are_refused(
    encoders: dict[str, Any], other: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    """Not a shape differs."""
    path, times = str(tmp_path / "w.safetensors"), pd.date_range("2020-01-01", periods=60, freq="D")
    series = TimeSeries.from_times_and_values(times, wave(60).values())
    RimerModel(**TINY, add_encoders=encoders).fit(series).save_weights(path)
    with pytest.raises(ValueError, match=message):
        RimerModel(**TINY, add_encoders=other).load_weights(path)
