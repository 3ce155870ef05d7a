"""X that writes what y reads, in sktime's forecaster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster import RimerForecaster

TINY: dict[str, Any] = {
    "input_chunk_length": 12, "width": 8, "head_size": 4, "n_epochs": 3, "random_state": 0,
    "covariates": "cross", "quantiles": (0.1, 0.5, 0.9),
}  # fmt: skip
FH = range(1, 7)
X = pd.DataFrame(np.random.default_rng(0).normal(size=(140, 2)), columns=["load", "wind"])
Y = (X["load"].abs() - X["wind"].shift(2, fill_value=0.0)).to_frame("price")[:130]


def fitted(**options: Any) -> RimerForecaster:
    return RimerForecaster(**{**TINY, **options}).fit(Y[:120], X=X[:120], fh=FH)


def test_columns_of_X_are_matched_by_name(tmp_path: Path) -> None:
    forecaster, path = fitted(), tmp_path / "weights.safetensors"
    expected = forecaster.predict(X=X[120:126])
    pd.testing.assert_frame_equal(forecaster.predict(X=X[120:126][["wind", "load"]]), expected)
    forecaster.save_weights(path)
    again = RimerForecaster(pretrained=path).fit(Y[:120], X=X[:120][["wind", "load"]], fh=FH)
    pd.testing.assert_frame_equal(again.predict(X=X[120:126]), expected)
    assert again.network_.config.covariates == "cross"


def test_X_is_read_up_to_each_step_and_not_after() -> None:
    forecaster, other = fitted(n_epochs=20), X[120:126].copy()
    other.iloc[3] += 1
    before, after = (forecaster.predict(X=x).to_numpy() for x in (X[120:126], other))
    assert np.array_equal(before[:3], after[:3])
    assert (before[3:] != after[3:]).any()


@pytest.mark.parametrize("streaming", [False, True])
def test_an_update_with_X_moves_on(streaming: bool) -> None:
    forecaster = fitted(streaming=streaming)
    forecaster.update(Y[120:130], X=X[120:130], update_params=False)
    forecast = forecaster.predict(X=X[130:136])
    assert list(forecast.index) == list(range(130, 136))
    assert not np.allclose(forecast, forecaster.predict(X=-X[130:136]))
    parts = fitted(streaming=streaming)
    for start, end in ((120, 123), (123, 130)):
        parts.update(Y[start:end], X=X[start:end], update_params=False)
    np.testing.assert_allclose(parts.predict(X=X[130:136]), forecast, atol=1e-5)


def test_without_X_it_is_the_same_network() -> None:
    cross, features = (
        RimerForecaster(**{**TINY, "covariates": kind}).fit(Y, fh=FH).predict()
        for kind in ("cross", "features")
    )
    pd.testing.assert_frame_equal(cross, features)


def test_weights_of_the_package_learn_what_X_means() -> None:
    own = {"pretrained": "rimer-zero", "covariates": "cross", "random_state": 0}
    forecaster = RimerForecaster(**own, n_epochs=1).fit(Y[:120], X=X[:120], fh=FH)
    assert forecaster.network_.config.crosses_covariates
    assert np.isfinite(forecaster.predict(X=X[120:126]).to_numpy()).all()


def test_the_argument_is_a_parameter_and_checked() -> None:
    forecaster = RimerForecaster(**TINY).clone()
    assert forecaster.get_params()["covariates"] == "cross"
    for wrong, message in (
        ({"covariates": "X"}, "covariates='X' must be 'features'.* or 'cross'"),
        ({"layers": None}, "covariates='cross' needs layers"),
    ):
        with pytest.raises(ValueError, match=message):
            RimerForecaster(**{**TINY, **wrong}).fit(Y, X=X[:130], fh=FH)
