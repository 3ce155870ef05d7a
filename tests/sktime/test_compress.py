"""Fitted sktime forecasters in fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sktime_cases

from rimer_forecaster import RimerForecaster
from rimer_forecaster.network.compressed import is_compressed


@pytest.mark.parametrize("streaming", [False, True])
def test_a_compressed_forecaster_forecasts_much_the_same(streaming: bool, tmp_path: Path) -> None:
    y = sktime_cases.wave(level=40.0)
    options: dict[str, Any] = {**sktime_cases.TINY, "streaming": streaming, "width": 16}
    forecaster = RimerForecaster(**options).fit(y.iloc[:-5], fh=range(1, 9))
    before = forecaster.predict()
    small, report = forecaster.compress()
    assert report.times_smaller > 2
    assert is_compressed(small.network_)
    assert not is_compressed(forecaster.network_)
    pd.testing.assert_frame_equal(forecaster.predict(), before)
    np.testing.assert_allclose(small.predict(), before, atol=0.2)
    assert (small.predict() != before).to_numpy().any()

    small.update(y.iloc[-5:], update_params=False)
    small.save_weights(tmp_path / "small.safetensors")
    loaded = RimerForecaster(streaming=streaming, pretrained=tmp_path / "small.safetensors")
    loaded.fit(y, fh=range(1, 9))
    assert is_compressed(loaded.network_)
    np.testing.assert_allclose(loaded.predict(), small.predict(), rtol=1e-4)
    small.update(y.iloc[-1:])
    assert np.isfinite(small.predict().to_numpy()).all()


def test_a_panel_with_covariates_is_compressed() -> None:
    y, X = sktime_cases.caused(200)
    forecaster = RimerForecaster(**sktime_cases.TINY).fit(y, X.loc[y.index], fh=[1])
    small, report = forecaster.compress(0.5, bits=None)
    assert report.n_whole_numbers == 0
    assert report.largest_change is not None
    assert is_compressed(small.network_)


def test_states_of_the_whole_weights_do_not_come_along() -> None:
    y = sktime_cases.wave()
    adapted = RimerForecaster(pretrained="rimer-zero").fit(y, fh=[1, 2])
    adapted.adapt(steps=2, keep="always")
    small, report = adapted.compress(None)
    assert report.times_smaller > 3
    plain = RimerForecaster(pretrained="rimer-zero").fit(y, fh=[1, 2]).compress(None)[0]
    pd.testing.assert_frame_equal(small.predict(), plain.predict())
    assert (small.predict() != adapted.predict()).to_numpy().any()


def test_without_a_window_to_calibrate_by_a_rank_is_refused() -> None:
    forecaster = RimerForecaster().fit(pd.Series([1.0]), fh=[1, 2])
    with pytest.raises(ValueError, match="rank=None"):
        forecaster.compress()
    small, report = forecaster.compress(rank=None)
    assert report.times_smaller > 2
    assert report.largest_change is None
    np.testing.assert_allclose(small.predict(), forecaster.predict(), atol=1e-6)
