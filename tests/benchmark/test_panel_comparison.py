"""compare_panel(): each model forecasts the end of every series, and none looks ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import QUICK
from rounding import assert_same_but_for_rounding

from rimer_forecaster.benchmark import Panel, compare_panel, make_panel, runs
from rimer_forecaster.benchmark.budget import Budget
from rimer_forecaster.benchmark.panel_contenders import make_panel_contender
from rimer_forecaster.zero_shot import zero_shot_network
from rimer_forecaster.zero_shot.forecast import forecast as forecast_of

H, LEVELS = 6, (0.1, 0.5, 0.9)
PACKAGE = ["zero", "zero+adapt", "zero+fine-tuned"]
TRAINED = ["rwkv7", "rlinear", "nlinear", "blockrnn-gru", "nhits"]
OTHERS = ["last value", "seasonal naive", "autoets", "autotheta", "patchtst", "itransformer"]


def panel_of(change: float = 0.0, missing: bool = True) -> Panel:
    """Three series of different level and length, of which the second lacks a value."""
    rng = np.random.default_rng(0)
    series = [
        100 * i + 3 * np.sin(np.arange(n) * np.pi / 6) + 0.3 * rng.normal(size=n)
        for i, n in enumerate((60, 64, 70))
    ]
    if missing:
        series[1][5] = np.nan
    for one in series:
        one[-H:] += change
    return make_panel(series, H, look_back=12, season=12, name="waves")


def forecast(model: Any, panel: Panel, levels: tuple[float, ...] | None = LEVELS) -> Any:
    if model in ("patchtst", "itransformer"):
        pytest.importorskip("neuralforecast")
    if str(model).startswith("auto"):
        pytest.importorskip("statsforecast")
    contender = make_panel_contender(model, panel, Budget(epochs=2, quantiles=levels), 0)
    contender.fit()
    return contender.forecast(panel.origins)


@pytest.mark.parametrize("model", [*PACKAGE, *TRAINED, *OTHERS, {"layers": "gru", "width": 16}])
def test_every_model_forecasts_quantiles_of_every_series_by_its_past_alone(model: Any) -> None:
    found = forecast(model, panel_of())
    assert found.shape == (1, H, 3, 1 if model == "nlinear" else 3)
    assert np.isfinite(found).all()
    if model not in ("nlinear", "patchtst", "itransformer"):  # which forecast each by itself
        assert (np.diff(found, axis=-1) >= 0).all()
    assert (np.abs(found.mean((0, 1, 3))) < 3).all(), "in units of each series"
    np.testing.assert_array_equal(forecast(model, panel_of(change=50)), found)


@pytest.mark.parametrize("model", ["zero", "rwkv7", "nlinear", "autotheta", "seasonal naive"])
def test_points_are_forecast_without_quantiles(model: str) -> None:
    assert forecast(model, panel_of(), None).shape == (1, H, 3, 1)


def test_rows_are_what_their_names_say() -> None:
    panel = panel_of(missing=False)
    mean, deviation = panel.scale()
    last, season = (
        forecast(name, panel, None)[0, :, :, 0] * deviation + mean
        for name in ("last value", "seasonal naive")
    )
    for i, past in enumerate(panel.past):
        np.testing.assert_allclose(last[:, i], past[-1], rtol=1e-6)
        np.testing.assert_allclose(season[:, i], past[-12 : -12 + H], rtol=1e-6)
    network = zero_shot_network()
    own = forecast_of(network, panel.past, H)[:, :, network.config.middle].T
    zero = forecast("zero", panel, None)[0, :, :, 0] * deviation + mean
    assert_same_but_for_rounding(zero, own, roundings=5000)


def test_one_model_learns_from_all_series() -> None:
    """Another series changes the forecast of the first; a statistical model it leaves alone."""
    panel = panel_of(missing=False)
    other = make_panel(
        [panel.series[0], np.random.default_rng(1).normal(size=90)], H, look_back=12, season=12
    )
    for model, same in (("rwkv7", False), ("nlinear", False), ("seasonal naive", True)):
        pair = [forecast(model, x)[0, :, 0, 0] for x in (panel, other)]
        assert np.allclose(*pair, atol=1e-6) == same, model


def test_a_comparison_of_a_panel_has_its_rows_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {**QUICK, "quantiles": LEVELS, "results": tmp_path, "seeds": 2}
    found = compare_panel(panel_of(), models={"ours": "rwkv7", "weights": "zero"}, **settings)
    rows = ["ours", "weights", "rlinear", "seasonal naive", "last value"]
    assert list(found.table.index) == rows
    assert found.table["seeds"].tolist() == [2, 1, 2, 1, 1]
    assert np.isfinite(found.table[["MASE", "WQL", "coverage", "predict, ms"]]).all(axis=None)
    naive = found.table.loc["seasonal naive"]
    assert found.table.loc["weights", "MASE"] < naive["MASE"]
    assert "| ours |" in found.to_markdown()
    assert found.remarks[0].startswith("1 epochs are ")
    monkeypatch.setattr(runs, "measure", lambda _: pytest.fail("measured again"))
    again = compare_panel(panel_of(), models={"ours": "rwkv7", "weights": "zero"}, **settings)
    assert again.table["MASE"].tolist() == found.table["MASE"].tolist()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("NaiveForecaster()", "is not compared on panels; what is: last value"),
        ("compressed", "'compressed' is not compared on panels"),
        ("rwkv7-streamed", "is not compared on panels"),
        ("lstn", "'lstn' is neither a model"),
        ({"n_epochs": 3}, r"\['n_epochs'\] is not what a comparison leaves to a RimerModel"),
    ],
)
def test_what_is_not_compared_on_panels_is_said(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_panel(panel_of(), models={"wrong": model}, **QUICK)
