"""RimerModel(pretrained=...): it begins with weights of the package, and trains on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("darts", reason="RimerModel needs the extra 'darts'")

from darts_cases import TRAINER, wave

from rimer_forecaster import RimerModel
from rimer_forecaster.zero_shot import forecast, zero_shot_network


def trainable(**kwargs: Any) -> RimerModel:
    kwargs = {"n_epochs": 1, "pl_trainer_kwargs": TRAINER, "pretrained": "rimer-zero", **kwargs}
    return RimerModel(64, 12, random_state=0, **kwargs)


@pytest.mark.parametrize("covariates", [False, True])
def test_a_model_that_did_not_learn_forecasts_as_the_weights_do(covariates: bool) -> None:
    series, months = wave(120, level=5.0), wave(140, seed=4)
    known: dict[str, Any] = {"future_covariates": months} if covariates else {}
    still = {"optimizer_kwargs": {"lr": 1e-12}, "dropout": 0.0}
    own = trainable(**still).fit(series, **known).predict(12, **known).values()
    past = series.values()[-64:, 0]
    weights = forecast(zero_shot_network(), [past], 12, refine=False)[0, :, 4]
    np.testing.assert_allclose(own[:, 0], weights, rtol=1e-4)
    fresh = trainable(**still, pretrained=None).fit(series, **known).predict(12, **known).values()
    assert np.abs(fresh[:, 0] - weights).max() > 0.05


def test_a_model_trains_on_from_the_weights() -> None:
    series = wave(120, level=5.0)
    model = trainable().fit(series)
    before, after = zero_shot_network().state_dict(), model.network.state_dict()
    moves = [
        (own - after[name]).abs().max()
        for name, own in before.items()
        if own.shape == after[name].shape
    ]
    assert len(moves) > 20
    assert 0 < max(moves) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 48}, "width=48 is not for pretrained='rimer-zero'"),
        ({"layers": "gru"}, "layers='gru' is not for pretrained='rimer-zero'"),
        ({"pretrained": "rimer-one"}, "no weights 'rimer-one'"),
    ],
)
def test_sizes_other_than_those_of_the_weights_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainable(**arguments)
