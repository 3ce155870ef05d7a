"""Fitted sktime forecasters with more heads, keys or layers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sktime_cases

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network.state import fingerprint

MORE = {"key_dim": 2, "heads": 1, "layers": 1}
LAYERS = "rwkv7(heads=3, key_size=6)*3"


def fitted(y: pd.DataFrame, X: pd.DataFrame | None = None, **options: Any) -> RimerForecaster:
    given = {**sktime_cases.TINY, "layers": "rwkv7*2", **options}
    return RimerForecaster(**given).fit(y, X, fh=range(1, 9))


def same(a: RimerForecaster, b: RimerForecaster, *X: pd.DataFrame) -> bool:
    """Whether quantiles agree to the rounding of single precision, which networks here are of."""
    alpha = [0.1, 0.5, 0.9]
    one, other = (x.predict_quantiles(None, *X, alpha=alpha).to_numpy() for x in (a, b))
    return bool(np.abs(one - other).max() < 1e-5 * np.abs(one).max())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_grown_forecaster_forecasts_the_same_and_is_updated(
    streaming: bool, tmp_path: Path
) -> None:
    y = sktime_cases.wave(level=4.0, columns=2)
    small = fitted(y.iloc[:-5], streaming=streaming, initial_state="learned", components="cross")
    before, weights = small.predict(), fingerprint(small.network_)
    bigger = small.grow(**MORE)
    assert same(bigger, small)
    assert bigger.network_.config.layers == bigger.get_params()["layers"] == LAYERS
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(bigger)).predict(), bigger.predict())
    bigger.save_weights(tmp_path / "bigger.safetensors")
    loaded = RimerForecaster(streaming=streaming, pretrained=tmp_path / "bigger.safetensors")
    loaded.fit(y.iloc[:-5], fh=range(1, 9))
    assert same(loaded, bigger)
    pd.testing.assert_frame_equal(small.predict(), before)
    assert fingerprint(small.network_) == weights

    bigger.update(y.iloc[-5:-1], update_params=False)
    small.update(y.iloc[-5:-1], update_params=False)
    assert same(bigger, small)
    learnt = fingerprint(bigger.network_)
    bigger.update(y.iloc[-1:])
    assert fingerprint(bigger.network_) != learnt


def test_a_panel_with_covariates_grows() -> None:
    y, X = sktime_cases.caused(200)
    small = fitted(y.iloc[:-8], X.loc[y.index[:-8]])
    assert same(small.grow(**MORE), small, X)


def test_a_grown_forecaster_is_trained_on_or_anew() -> None:
    y = sktime_cases.wave()
    bigger = fitted(y).grow(**MORE)
    anew = bigger.clone().fit(y, fh=range(1, 9))
    assert anew.network_.config.layers == LAYERS
    on = RimerForecaster(pretrained=bigger.pretrained_, n_epochs=1, random_state=0).fit(y)
    names = dict(bigger.network_.named_parameters())

    def moved(other: RimerForecaster) -> float:
        pairs = other.network_.named_parameters()
        return float(sum((x - names[name]).square().sum() for name, x in pairs))

    assert 0 < moved(on) < 0.1 * moved(anew)


def test_weights_of_the_package_grow() -> None:
    y = sktime_cases.wave()
    for options in ({}, {"pretrained": "rimer-zero"}):
        small = RimerForecaster(**options).fit(y, fh=[1, 2, 3])
        small.adapt(steps=2, keep="always")
        bigger = small.grow(heads=1, layers=1)
        assert bigger.adapted_ is None
        plain = RimerForecaster(**options).fit(y, fh=[1, 2, 3])
        assert same(bigger, plain)
        assert same(bigger.clone().fit(y, fh=[1, 2, 3]), plain)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Exception, match="has not been fitted yet"):
        RimerForecaster().grow(heads=1)
    forecaster = fitted(sktime_cases.wave(), layers="gru")
    with pytest.raises(ValueError, match="gru cannot grow"):
        forecaster.grow(key_dim=1)
    with pytest.raises(ValueError, match="leave nothing to grow"):
        forecaster.grow()
