"""RimerModel.diagnostics: the report of the network on a darts series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="RimerModel needs darts")

from darts import TimeSeries
from darts_cases import QUIET, hourly_walk

from rimer_forecaster import RimerModel
from rimer_forecaster.diagnostics import StateGrows
from rimer_forecaster.layers import RWKV7TimeMix, leaves

L, H, P = 20, 6, 5


def fitted(
    train: TimeSeries, covariates: dict[str, TimeSeries] | None = None, **arguments: Any
) -> RimerModel:
    sizes = {"input_chunk_length": L, "output_chunk_length": H, "width": 8, "head_size": 4}
    model = RimerModel(n_epochs=1, random_state=0, **sizes, **QUIET, **arguments)
    return model.fit(train, **(covariates or {}))


@pytest.mark.parametrize("statics", [False, True])
def test_a_model_reports_what_its_stream_reads(statics: bool) -> None:
    full, past, future = hourly_walk(), hourly_walk(components=1), hourly_walk(170, seed=2)
    if statics:
        full = full.with_static_covariates(pd.DataFrame({"level": [1.0]}))
    known = {"past_covariates": past, "future_covariates": future}
    model = fitted(full[:100], known, patch_length=P, layers="rwkv7*2", streaming=True)
    report = model.diagnostics(full, **known)
    assert report.state_norms.index.tolist() == list(range(P, 151, P))
    state = dict(leaves(model.stream(full, **known).state["reader"]))
    for layer in ("0", "1"):
        expected = torch.linalg.matrix_norm(state[f"layers/{layer}/token_mixer/wkv"])
        for i, component in enumerate(full.components):
            actual = report.state_norms.loc[150, (component, layer)]
            np.testing.assert_allclose(actual, expected[i], rtol=1e-6)
    assert report.share_padded == 0
    assert model.diagnostics(full[:13], **known).share_padded == pytest.approx(7 / 20)
    assert model.diagnostics(full[:1], **known).share_padded == pytest.approx(19 / 20)


def test_a_model_warns_on_the_line_that_asked() -> None:
    full = hourly_walk(400)
    model = fitted(full[:100], patch_length=P)
    with torch.no_grad():
        for mixer in model.network.modules():
            if isinstance(mixer, RWKV7TimeMix):  # nothing decays, and nothing is removed
                mixer.decay.up.bias.fill_(-1e3)
                mixer.learning_rate.up.bias.fill_(-1e3)
    with pytest.warns(StateGrows) as caught:
        model.diagnostics(full)
    assert [warning.filename for warning in caught] == [__file__]


def test_what_a_model_cannot_report_on_is_refused() -> None:
    full = hourly_walk()
    model = fitted(full)
    with pytest.raises(ValueError, match=r"series is a list, but .* call it for each"):
        model.diagnostics([full, full])
    with pytest.raises(ValueError, match="the model has no network: it is not fitted"):
        type(model)(input_chunk_length=L).diagnostics(full)
    values = full.values().copy()
    values[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"1 values .* component '1' at 2020-01-01 07:00:00: inf"):
        model.diagnostics(full.with_values(values))
    with pytest.raises(ValueError, match="past_covariates were given, but the model was fitted"):
        model.diagnostics(full, past_covariates=full)
