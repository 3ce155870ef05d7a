"""State tuning of RimerForecaster."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sktime_cases import TINY, panel

from rimer_forecaster import RimerForecaster

TUNED: dict[str, Any] = {"steps": 3, "keep": "always"}
SHOPS = {"a": 60, "b": 50}
FH = range(1, 7)


def zero(y: pd.DataFrame, **arguments: Any) -> RimerForecaster:
    return RimerForecaster(64, 6, pretrained="rimer-zero", **arguments).fit(y)


def trained(y: pd.DataFrame, **arguments: Any) -> RimerForecaster:
    return RimerForecaster(**TINY, output_chunk_length=6, **arguments).fit(y)


@pytest.mark.parametrize("upscale", [0, 4])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("make", [zero, trained])
def test_every_later_forecast_begins_from_the_state_of_its_series(
    make: Any, streaming: bool, upscale: int
) -> None:
    y = panel(SHOPS)
    forecaster = make(y, streaming=streaming)
    weights = [x.clone() for x in forecaster.network_.parameters()]
    fh = range(-3, 7)
    plain = forecaster.predict(fh=fh)
    assert forecaster.adapted_ is None
    assert forecaster.adapt(**TUNED, upscale=upscale) is forecaster
    assert all(map(torch.equal, weights, forecaster.network_.parameters()))
    assert forecaster.adapted_ is not None
    assert forecaster.adapted_.names == ("a", "b")
    moved = forecaster.predict(fh=fh)
    assert (moved != plain).to_numpy().mean() > 0.9  # a trained head hardly reads the layers
    other = make(y, streaming=streaming).begin_from(forecaster.adapted_)
    pd.testing.assert_frame_equal(other.predict(fh=fh), moved)
    state = forecaster.adapted_.of(["b", "a"])
    crossed = make(y, streaming=streaming).begin_from(state, groups={"a": "b", "b": "a"})
    assert (crossed.predict(fh=fh) != moved).to_numpy().any()
    assert any("kernels" in path for path in state.tensors) == bool(upscale)


@pytest.mark.parametrize("make", [zero, trained])
def test_an_update_keeps_the_state_and_leaves_the_weights_alone(make: Any) -> None:
    y = panel(SHOPS)
    known = y.groupby(level=0, group_keys=False).head(45)
    forecaster = make(known).adapt(**TUNED)
    weights = [x.clone() for x in forecaster.network_.parameters()]
    state = forecaster.adapted_
    forecaster.update(y.groupby(level=0, group_keys=False).nth(45))
    assert forecaster.adapted_ is state
    assert all(map(torch.equal, weights, forecaster.network_.parameters()))
    plain = forecaster.predict(fh=FH)
    forecaster._fitted = forecaster._fitted._replace(adapted=None)
    assert (plain != forecaster.predict(fh=FH)).to_numpy().any()


def test_copies_and_pickles_keep_it_and_a_fit_forgets_it() -> None:
    y = panel(SHOPS)
    forecaster = zero(y).adapt(**TUNED)
    expected = forecaster.predict(fh=FH)
    for other in (copy.deepcopy(forecaster), pickle.loads(pickle.dumps(forecaster))):
        pd.testing.assert_frame_equal(other.predict(fh=FH), expected)
    assert forecaster.fit(y).adapted_ is None


def test_siblings_give_a_new_series_its_state() -> None:
    y = panel({"a": 60, "b": 50, "new": 5})
    new, others = y.loc[["new"]], y.loc[["a", "b"]]
    groups = {"a": "shop", "b": "shop", "new": "shop"}
    shared = zero(new).adapt(others, groups=groups, **TUNED)
    assert shared.adapted_ is not None
    assert shared.adapted_.names == ("shop",)
    everyone = zero(new).adapt(others, groups="all", **TUNED)
    pd.testing.assert_frame_equal(shared.predict(fh=FH), everyone.predict(fh=FH))
    assert (shared.predict(fh=FH) != zero(new).predict(fh=FH)).to_numpy().all()


def test_a_single_series_and_covariates_are_tuned_too() -> None:
    y = panel({"a": 60}).loc["a"]
    X = pd.DataFrame({"x": np.arange(66.0)}, pd.period_range(y.index[0], periods=66, freq="D"))
    forecaster = RimerForecaster(**TINY, output_chunk_length=6).fit(y, X=X.iloc[:60])
    plain = forecaster.predict(fh=FH, X=X)
    forecaster.adapt(y, X.iloc[:60], **TUNED)
    assert (forecaster.predict(fh=FH, X=X) != plain).to_numpy().any()


def test_what_does_not_fit_is_named() -> None:
    y = panel(SHOPS)
    forecaster = zero(y)
    with pytest.raises(ValueError, match="not among the series that are forecast"):
        forecaster.adapt(panel({"other": 60}))
    with pytest.raises(ValueError, match="groups has no group for y of series"):
        forecaster.adapt(groups={"a": "x"})
    with pytest.raises(ValueError, match="groups='some' must be a mapping"):
        forecaster.adapt(groups="some")
    with pytest.raises(ValueError, match="y has columns"):
        forecaster.adapt(panel(SHOPS, columns=2))
    with pytest.raises(ValueError, match="state is a dict"):
        forecaster.begin_from({})  # type: ignore[arg-type]
    state = trained(y).adapt(**TUNED).adapted_
    assert state is not None
    with pytest.raises(ValueError, match="belongs to another network"):
        forecaster.begin_from(state)
    with pytest.raises(ValueError, match="the state has no row 'c'"):
        forecaster.begin_from(state, groups={"a": "c", "b": "b"})
    assert forecaster.adapted_ is None


def test_series_that_would_share_a_name_are_refused() -> None:
    one = panel({"a": 60}).loc["a"]
    y = pd.concat({("a/b", "c"): one, ("a", "b/c"): one}, names=["region", "shop", "day"])
    with pytest.raises(ValueError, match="would both be named 'a/b/c'"):
        zero(y).adapt(steps=1)
