"""compare() and its command line: what they refuse, their tables, remarks and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import QUICK, frame
from darts import TimeSeries
from sktime.forecasting.exp_smoothing import ExponentialSmoothing
from sktime.forecasting.naive import NaiveForecaster

from rimer_forecaster import RimerForecaster, RimerModel
from rimer_forecaster.benchmark import compare, make_task, runs
from rimer_forecaster.benchmark.__main__ import main
from rimer_forecaster.training import Recipe

MULTIPLICATIVE = "ExponentialSmoothing(trend='add', seasonal='multiplicative', sp=12)"


def test_mape_is_withheld_near_zero() -> None:
    data = frame() - 20
    found = compare(data, 6, look_back=24, models=[], **QUICK)
    assert "MAPE, %" not in found.table
    assert "MAPE is not to be trusted here" in " ".join(found.remarks)
    assert "MAPE is not to be trusted here" in found.to_markdown()


def test_a_dead_component_is_left_out_of_what_it_would_spoil_and_named() -> None:
    data = frame(200, columns=2)
    alive = compare(data[["y0"]], 3, look_back=12, models=[], **QUICK)
    data["y1"] = 5.0
    found = compare(data, 3, look_back=12, models=[], **QUICK)
    for measure in ("MASE", "R2"):
        pd.testing.assert_series_equal(found.table[measure], alive.table[measure], rtol=1e-3)
    assert "'y1' is left out of MASE: seasonal naive makes no error" in " ".join(found.remarks)
    assert "'y1' is left out of R2: it does not vary in the test part" in " ".join(found.remarks)


def test_shares_of_true_zeros_are_those_of_the_test_part() -> None:
    counts = pd.DataFrame({"n": np.random.default_rng(0).poisson(1.0, 240)}, index=frame().index)
    remarks = compare(counts, 6, look_back=24, models=[], **QUICK).remarks
    zeros = (counts["n"][192:] == 0).mean()
    assert f"of which {100 * zeros:.3g} % are exactly zero" in " ".join(remarks)


@pytest.mark.parametrize("order", [(0.5, 0.1, 0.9), (0.9, 0.5, 0.1, 0.5)])
def test_the_order_of_quantiles_does_not_matter(order: tuple[float, ...]) -> None:
    def table(quantiles: tuple[float, ...]) -> pd.DataFrame:
        found = compare(frame(), 6, look_back=24, models=["rwkv7"], quantiles=quantiles, **QUICK)
        return found.table[["MSE", "WQL", "coverage"]]

    pd.testing.assert_frame_equal(table(order), table((0.1, 0.5, 0.9)))


@pytest.mark.parametrize("name", ["rwkv7", "blockrnn-gru", "dlinear", "seasonal naive"])
def test_missing_values_are_left_out_of_errors_and_spoil_no_model(name: str) -> None:
    data = frame(160, columns=2)
    data = data.mask(np.random.default_rng(1).random(data.shape) < 0.1)
    found = compare(data, 3, look_back=12, models=[name], **QUICK)
    assert np.isfinite(found.table[["MSE", "MAE", "MASE", "R2"]]).all(axis=None)


def test_forecasters_of_sktime_have_names() -> None:
    models = ["NaiveForecaster(sp=7)", "Id() * NaiveForecaster(sp=7)"]
    found = compare(frame(), 3, look_back=12, season=7, stride=9, models=models, **QUICK)
    for name in models:
        assert found.table.loc[name, "MAE"] == pytest.approx(
            found.table.loc["seasonal naive", "MAE"], rel=1e-4
        )
    for name, message in (
        ("NaiveForecastre()", "begins with a capital letter, but cannot be made"),
        ("NaiveForecaster(ps=7)", "unexpected keyword argument 'ps'"),
        ("Id()", "is a Id, not a forecaster"),
        ("__import__('os').system('true')", "neither a model"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(frame(), 3, look_back=12, models=[name], **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride=0 must be a whole number of at least 1"),
        ({"epochs": 0}, "epochs=0 must be"),
        ({"seeds": 0}, "seeds=0 must be"),
        ({"quantiles": (0.1, 0.9)}, "must hold 0.5"),
        ({"quantiles": (0.1, 0.5)}, "be symmetric about it"),
        ({"models": ["rnn-gru"], "split": (180, 6, 54)}, "'rnn-gru' needs at least 7"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(runs, "measure", lambda _: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        compare(frame(), 6, **{"look_back": 24, **QUICK, **options})


def test_a_task_takes_no_further_arguments() -> None:
    task = make_task(frame(), 6, look_back=24)
    with pytest.raises(ValueError, match=r"\['epoch'\] cannot be given with a task"):
        compare(task, epoch=99, **QUICK)
    with pytest.raises(ValueError, match=r"\['horizon'\] cannot be given with a task"):
        compare(task, 30, **QUICK)


def test_rows_that_are_not_made_as_the_others_are_named() -> None:
    task = make_task(
        frame(160), 3, look_back=12, future_covariates=TimeSeries.from_dataframe(frame(160, seed=1))
    )
    models = {"ours": "rwkv7", "lstm": "rnn-lstm", "linear": "dlinear", "mean": NaiveForecaster()}
    models |= {"weights": "zero", "wide": {"layers": "rwkv7", "width": 32}}
    found = compare(task, models=models, **QUICK)
    remarks = " ".join(found.remarks)
    assert "mean: forecasters of sktime keep their own look-back" in remarks
    assert "weights: weights of the package, which read up to 2,048 values" in remarks
    assert "CPU" not in found.to_markdown()
    assert (found.table.loc["ours", ["fit, CPU s", "update, CPU ms"]] > 0).all()
    blind = "linear, mean, weights, seasonal naive, last value"
    assert f"{blind}: without the future covariates" in remarks
    assert "lstm: trained and stopped by the error one step ahead" in remarks
    assert np.isnan(found.table.loc["lstm", "validation loss"])


def test_an_unknown_model_is_named_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match=r"'lstn' is neither a model .* nor a layer string"):
        compare(frame(), 6, models=["lstn"], **QUICK)


def test_arguments_of_rimer_model_make_a_model() -> None:
    sizes = {"layers": "gru", "width": 16, "patch_length": 4}
    found = compare(frame(120), 3, look_back=12, models={"a": sizes, "b": "gru"}, **QUICK)
    expected = RimerModel(12, 3, **sizes, n_epochs=1, pl_trainer_kwargs={"accelerator": "cpu"})
    expected.fit(TimeSeries.from_dataframe(frame(60).astype(np.float32)))
    weights = sum(one.numel() for one in expected.model.parameters())
    assert found.table.loc["a", "parameters"] == weights
    assert found.table.loc["a", "weights, bytes"] == 4 * weights
    assert found.table.loc["b", "parameters"] != weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epochs": 3}, r"\['n_epochs'\] is not what .* width, .* arguments of compare"),
        ({"layers": "lstn"}, "unknown layer 'lstn'"),
        ({"patch_length": 25}, "patch_length=25 is longer than input_chunk_length=24"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_trained(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(frame(), 6, look_back=24, models={"wrong": options}, **QUICK)


def test_a_comparison_has_its_rows_its_columns_and_its_files(tmp_path: Path) -> None:
    found = compare(
        frame(),
        6,
        look_back=24,
        models={"ours": "rwkv7", "in sktime": RimerForecaster(24, n_epochs=1), "weights": "zero"},
        quantiles=(0.1, 0.5, 0.9),
        seeds=2,
        stride=3,
        results=tmp_path / "runs",
        **QUICK,
    )
    assert list(found.table.index) == [
        "ours",
        "in sktime",
        "weights",
        "rlinear",
        "seasonal naive",
        "last value",
    ]
    assert found.table["seeds"].tolist() == [2, 2, 1, 2, 1, 1], "weights have no seed"
    expected = {"MSE std", "WQL", "coverage", "validation loss", "parameters", "fit, s"}
    assert expected <= set(found.table.columns)
    best = found.runs.set_index("model").loc["ours", "MAE"]
    assert found.table.loc["ours", "MAE"] == pytest.approx(best.mean())
    assert found.by_step.shape == (6, len(found.table))
    found.save(tmp_path)
    for name in (
        "table.csv",
        "table.md",
        "runs.csv",
        "forecasts.png",
        "errors_by_step.png",
        "cost.png",
    ):
        assert (tmp_path / name).stat().st_size > 100, name


def test_a_row_that_fails_is_a_row_with_its_reason(tmp_path: Path) -> None:
    models = {"wrong": ExponentialSmoothing(trend="nonsense"), "mean": NaiveForecaster("mean")}
    found = compare(frame(), 6, look_back=24, models=models, stride=7, **QUICK)
    assert list(found.table.index[:2]) == ["wrong", "mean"]
    assert found.table["MAE"].isna().tolist() == [True, False, False, False, False]
    assert found.table.loc["wrong", "seeds"] == 0
    assert any("wrong, seed 0, failed: If not None, trend must be" in x for x in found.remarks)
    found.save(tmp_path)
    assert "| wrong |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("model", ["ThetaForecaster(sp=12)", MULTIPLICATIVE])
def test_statistical_forecasters_get_the_target_as_it_is(model: str) -> None:
    settings: dict[str, Any] = {"look_back": 24, "stride": 6, "season": 12, **QUICK}
    found = compare(frame(), 6, models=[model], **settings)
    more = compare(1000 * frame(), 6, models=[model], **settings)
    assert found.table.loc[model, "MAE"] < found.table.loc["last value", "MAE"]
    ratio = more.table.loc[model, "MAE"] / found.table.loc[model, "MAE"]
    assert ratio == pytest.approx(1000, rel=0.05)  # statsmodels finds its optimum to some digits


def test_the_budget_is_the_rule_of_the_package_and_a_smaller_one_is_said() -> None:
    settings: dict[str, Any] = {"models": [], "look_back": 24, "isolated": False, "stride": 9}
    windows = 144 - 24 - 6 + 1
    found = compare(frame(), 6, **settings, progress=False, seconds=2)
    assert found.budget.epochs == Recipe().epochs(windows, 32) == 100
    assert found.budget.patience == 25  # of 4 steps each: 100 steps
    assert not [remark for remark in found.remarks if "rule" in remark]
    few = compare(frame(), 6, **settings, progress=False, epochs=3)
    assert few.remarks[0].startswith("3 epochs are 12 optimiser steps. The package's own rule is")
    assert "100 epochs, 400 steps" in few.to_markdown()


def test_an_interrupted_comparison_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {**QUICK, "look_back": 24, "results": tmp_path}
    first = compare(frame(), 6, models=["dlinear"], **settings)

    measured = []
    original = runs.measure
    monkeypatch.setattr(runs, "measure", lambda run: measured.append(run.label) or original(run))
    again = compare(frame(), 6, models=["dlinear", "nlinear"], **settings)
    assert measured == ["nlinear"]
    pd.testing.assert_series_equal(again.table.loc["dlinear"], first.table.loc["dlinear"])
    compare(frame(seed=1), 6, models=[], **settings)
    assert len(measured) == 4, "other data are other runs"


def test_the_command_line_prints_and_writes_what_compare_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(runs, "_in_own_process")
    frame(150, columns=2).to_csv(tmp_path / "days.csv")
    options = ["--horizon", "4", "--look-back", "16", "--models", "dlinear", "--epochs", "1"]
    options += ["--patience", "1", "--no-isolated"]
    where = [str(tmp_path / "days.csv"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["benchmark", *where, *options])
    main()
    printed = capsys.readouterr().out
    assert "| dlinear |" in printed
    assert "wrote " in printed.splitlines()[-1]
    table = pd.read_csv(tmp_path / "out" / "table.csv", index_col=0)
    assert list(table.index) == ["dlinear", "rlinear", "seasonal naive", "last value"]


@pytest.mark.slow
def test_the_command_line_ends_with_an_error_and_no_traceback(tmp_path: Path) -> None:
    frame(150).to_csv(tmp_path / "days.csv")
    command = [sys.executable, "-m", "rimer_forecaster.benchmark", tmp_path / "days.csv"]
    wrong = subprocess.run([*command, "--horizon", "400"], capture_output=True, text=True)
    assert wrong.returncode
    assert "the training part has 90 steps, but needs at least" in wrong.stderr
    assert "Traceback" not in wrong.stderr
