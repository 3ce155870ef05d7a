"""The command line that judges weights by files of series."""

import csv
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster.zero_shot import forecast, zero_shot_network
from rimer_forecaster.zero_shot.evaluate import contenders, main, statsforecast_quantiles
from rimer_forecaster.zero_shot.scores import naive_quantiles, score

TSF = """@relation test
@attribute series_name string
@attribute start_timestamp date
@frequency monthly
@horizon 6
@data
T1:2000-01-01 00-00-00:{}
T2:2000-01-01 00-00-00:{}
"""


def months(seed):
    steps = np.arange(96)
    noise = np.random.default_rng(seed).normal(size=96)
    return np.round(50 + 10 * np.sin(2 * np.pi * steps / 12) + steps / 4 + noise, 3)


@pytest.fixture
def folder(tmp_path):
    texts = [",".join(map(str, months(seed))) for seed in (0, 1)]
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/months.tsf").write_text(TSF.format(*texts))
    days = pd.date_range("2024-01-01", periods=96, name="date")
    pd.DataFrame({"a": months(2), "b": months(3)}, days).to_csv(tmp_path / "sets/days.csv")
    (tmp_path / "sets/notes.md").write_text("no series")
    return tmp_path / "sets"


@pytest.fixture(autouse=True)
def _no_statsforecast(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)  # as if it were not installed


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_set_is_scored_beside_seasonal_naive(folder, tmp_path, capsys):
    main([str(folder), "--horizon", "6", "--out", str(tmp_path / "scores.csv")])

    rows = rows_of(tmp_path / "scores.csv")
    assert [(x["set"], x["contender"]) for x in rows] == [
        (name, contender)
        for name in ("days", "months")
        for contender in ("zero-shot", "seasonal naive")
    ]
    assert {x["series"] for x in rows} == {"2"}
    network = zero_shot_network()
    quantiles = [float(x) for x in network.config.outputs]
    past, future = zip(*((months(x)[:-6], months(x)[-6:]) for x in (0, 1)), strict=True)
    expected = {
        "zero-shot": forecast(network, past, 6),
        "seasonal naive": naive_quantiles(quantiles, past, 6, 12),
    }
    found = {x["contender"]: x for x in rows[2:]}
    scores = {x: score(y, quantiles, past, future, 12) for x, y in expected.items()}
    for contender, own in scores.items():
        for figure in ("mase", "smape", "wql", "coverage"):
            assert float(found[contender][figure]) == pytest.approx(getattr(own, figure), abs=1e-3)
    ratio = scores["zero-shot"].mase / scores["seasonal naive"].mase
    assert float(found["zero-shot"]["relative_mase"]) == pytest.approx(ratio, abs=1e-3)
    printed = capsys.readouterr().out
    own = [float(x["relative_mase"]) for x in rows if x["contender"] == "zero-shot"]
    mean = f"geometric mean of 2 sets, zero-shot: MASE {np.sqrt(np.prod(own)):.3f}"
    assert mean in printed
    assert "seasonal naive: MASE 1.000, WQL 1.000" in printed


def test_horizon_season_windows_and_context_are_those_that_are_asked_for(folder, tmp_path, capsys):
    out, file = str(tmp_path / "scores.csv"), str(folder / "months.tsf")
    options = ["--season", "1", "--windows", "3", "--context", "40"]
    main([file, *options, "--out", out])  # the horizon is that of the file

    network = zero_shot_network()
    quantiles = [float(x) for x in network.config.outputs]
    past, future = [], []
    for series in (months(0), months(1)):
        for end in (96, 90, 84):
            past.append(series[: end - 6][-40:])
            future.append(series[end - 6 : end])
    own = score(forecast(network, past, 6), quantiles, past, future, 1)
    row = rows_of(tmp_path / "scores.csv")[0]
    assert row["series"] == "6"
    assert float(row["mase"]) == pytest.approx(own.mase, abs=1e-3)


def test_a_set_on_which_naive_is_right_has_no_relative_score(tmp_path, capsys):
    still = pd.DataFrame({"t": range(40), "v": 5.0})
    still.to_csv(tmp_path / "still.csv", index=False)

    main([str(tmp_path / "still.csv"), "--horizon", "4"])

    assert "MASE nan" in capsys.readouterr().out


def made_statsforecast(calls):
    """A stand-in whose quantiles are the last value, plus or minus the level."""

    class StatsForecast:
        def __init__(self, models, freq, fallback_model, n_jobs):
            (self.model,) = models
            calls.append((self.model, fallback_model))

        def forecast(self, df, h, level):
            assert not df["y"].isna().any()
            rows = []
            for place, own in df.groupby("unique_id"):
                for step in range(h):
                    row = {"unique_id": place, "ds": step, self.model[0]: own["y"].iloc[-1]}
                    for x in level:
                        row[f"{self.model[0]}-lo-{x}"] = own["y"].iloc[-1] - x
                        row[f"{self.model[0]}-hi-{x}"] = own["y"].iloc[-1] + x
                    rows.append(row)
            return pd.DataFrame(rows)

    module, models = ModuleType("statsforecast"), ModuleType("statsforecast.models")
    for name in ("AutoETS", "AutoTheta", "SeasonalNaive"):
        setattr(models, name, lambda season_length, name=name: (name, season_length))
    module.StatsForecast, module.models = StatsForecast, models
    return {"statsforecast": module, "statsforecast.models": models}


def test_models_of_statsforecast_stand_beside_where_it_is_installed(folder, tmp_path, monkeypatch):
    calls = []
    for name, module in made_statsforecast(calls).items():
        monkeypatch.setitem(sys.modules, name, module)

    assert list(contenders(zero_shot_network()))[2:] == ["AutoETS", "AutoTheta"]
    main([str(folder / "months.tsf"), "--out", str(tmp_path / "scores.csv")])

    rows = rows_of(tmp_path / "scores.csv")
    assert [x["contender"] for x in rows[2:]] == ["AutoETS", "AutoTheta"]
    assert [x for x, _ in calls] == [("AutoETS", 12), ("AutoTheta", 12)]
    last, future = (np.array([x[y] for x in map(months, (0, 1))]) for y in (-7, slice(-6, None)))
    scale = [np.abs(x[12:-6] - x[:-18]).mean() for x in map(months, (0, 1))]
    expected = (np.abs(future - last[:, None]).mean(1) / scale).mean()
    assert float(rows[2]["mase"]) == pytest.approx(expected, abs=1e-3)


def test_levels_of_statsforecast_become_quantiles(monkeypatch):
    calls = []
    for name, module in made_statsforecast(calls).items():
        monkeypatch.setitem(sys.modules, name, module)
    past = [np.array([1.0, np.nan, 3.0]), np.array([np.nan, 8.0])]

    found = statsforecast_quantiles("AutoETS", (0.025, 0.25, 0.5, 0.9), past, 2, 30)

    assert found.tolist() == [[[3 - 95, 3 - 50, 3, 3 + 80]] * 2, [[8 - 95, 8 - 50, 8, 8 + 80]] * 2]
    assert calls == [(("AutoETS", 1), ("SeasonalNaive", 1))]  # a season of 30 would take minutes


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none.csv"], "'none.csv' does not exist"),
        (["empty"], "the folder 'empty' holds no file of series"),
        (["sets/days.csv"], r"days\.csv does not say what to forecast: give --horizon"),
        (["sets/days.csv", "--horizon", "96"], r"no series of days\.csv is longer than 96 steps"),
        (["sets/notes.md", "--horizon", "6"], r"its name must end with \.csv"),
        (["sets", "--horizon", "6", "--weights", "none"], "there are no weights 'none'"),
    ],
)
def test_what_cannot_be_judged_is_refused(arguments, reason, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder.parent / "empty").mkdir()

    with pytest.raises(SystemExit, match=reason):
        main(arguments)


def test_options_below_one_are_refused(folder, capsys):
    with pytest.raises(SystemExit):
        main([str(folder), "--horizon", "0"])
    assert "--horizon 0 must be at least 1" in capsys.readouterr().err
