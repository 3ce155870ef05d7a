"""Columns of y that read each other, matched by name in sktime's frames."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster import RimerForecaster

TINY: dict[str, Any] = {
    "input_chunk_length": 12, "width": 8, "head_size": 4, "n_epochs": 2, "random_state": 0,
    "components": "cross", "quantiles": (0.1, 0.5, 0.9),
}  # fmt: skip
FH = range(-2, 9)
VALUES = np.random.default_rng(0).normal(size=(125, 3)).cumsum(0)
WHOLE = pd.DataFrame(VALUES, columns=["a", "b", "c"])
Y, NEW = WHOLE[:120], WHOLE[120:]
OTHER_ORDER = ["c", "a", "b"]


def as_panel(*frames: pd.DataFrame) -> pd.DataFrame:
    """Frames as instances "0", "1", ... of one."""
    return pd.concat({str(i): y for i, y in enumerate(frames)}, names=["series", "time"])


@pytest.mark.parametrize("streaming", [False, True])
def test_pretrained_weights_match_columns_by_name(streaming: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    first = RimerForecaster(**TINY, streaming=streaming).fit(Y, fh=FH)
    first.save_weights(path)
    second = RimerForecaster(pretrained=path, streaming=streaming).fit(Y[OTHER_ORDER], fh=FH)
    assert list(second.predict().columns) == OTHER_ORDER
    for _ in range(2):
        pd.testing.assert_frame_equal(second.predict()[["a", "b", "c"]], first.predict())
        quantiles = first.predict_quantiles(alpha=[0.1, 0.5])
        found = second.predict_quantiles(alpha=[0.1, 0.5])
        pd.testing.assert_frame_equal(found[quantiles.columns], quantiles)
        for forecaster in (first, second):
            forecaster.update(NEW[["b", "c", "a"]], update_params=False)


def test_columns_read_each_other() -> None:
    forecaster = RimerForecaster(**{**TINY, "n_epochs": 20}).fit(Y, fh=range(1, 9))
    found = []
    for amount in (0.0, 10.0):
        other = copy.deepcopy(forecaster)
        new = NEW.assign(c=NEW["c"] + amount * np.array([0, 1, 0, -1, 1]))
        found.append(other.update(new, update_params=False).predict()["a"])
    assert not np.allclose(*found, atol=1e-4)


@pytest.mark.parametrize("components", ["cross", "independent"])
def test_quantiles_bear_the_names_of_their_columns_after_an_update(components: str) -> None:
    """sktime takes the order of the last columns that it saw."""
    far = Y + np.array([0.0, 1000.0, 2000.0])
    forecaster = RimerForecaster(**{**TINY, "components": components}).fit(far, fh=range(1, 9))
    new = NEW + np.array([0.0, 1000.0, 2000.0])
    forecaster.update(new[["b", "c", "a"]], update_params=False)
    point, quantiles = forecaster.predict(), forecaster.predict_quantiles(alpha=[0.5])
    assert list(point.columns) == ["a", "b", "c"]
    for name, column in point.items():
        np.testing.assert_allclose(quantiles[name, 0.5], column)
    pytest.importorskip("skpro", reason="distributions need skpro")
    median = forecaster.predict_proba().quantile([0.5])
    for name, column in point.items():
        np.testing.assert_allclose(median[name, 0.5], column)


def test_a_panel_is_one_model() -> None:
    panel = as_panel(Y, Y[::-1].set_axis(Y.index))
    forecast = RimerForecaster(**TINY).fit(panel, fh=FH).predict()
    assert forecast.loc["0"].shape == forecast.loc["1"].shape == (len(FH), 3)
    assert np.isfinite(forecast.to_numpy()).all()


def test_other_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    RimerForecaster(**TINY).fit(Y, fh=FH).save_weights(path)
    for other in (Y[["a", "b"]], Y.rename(columns={"a": "z"})):
        with pytest.raises(
            ValueError, match=r"pretrained with y \['a', 'b', 'c'\].*cross.*but got"
        ):
            RimerForecaster(pretrained=path).fit(other, fh=FH)


@pytest.mark.parametrize("n_epochs", [None, 1])
def test_weights_of_independent_components_are_refused_by_name(n_epochs: int | None) -> None:
    forecaster = RimerForecaster(pretrained="rimer-zero", components="cross", n_epochs=n_epochs)
    with pytest.raises(ValueError, match="components='independent', but this forecaster has"):
        forecaster.fit(Y, fh=FH)


def test_one_column_is_forecast_as_without_it() -> None:
    cross, alone = (
        RimerForecaster(**{**TINY, "components": components}).fit(Y[["a"]], fh=FH).predict()
        for components in ("cross", "independent")
    )
    pd.testing.assert_frame_equal(cross, alone)
