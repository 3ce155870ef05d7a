"""The command ``rimer-forecast``: a table in, forecasts out."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from rimer_forecaster import RimerNetwork
from rimer_forecaster.__main__ import main
from rimer_forecaster.network.weights import save_weights
from rimer_forecaster.zero_shot import forecast, zero_shot_network

NETWORK = zero_shot_network()
DAYS = pd.date_range("2024-01-01", periods=120, name="date")
RNG = np.random.default_rng(0)
WEEKS = 20 + 5 * np.sin(2 * np.pi * np.arange(120) / 7) + RNG.normal(size=120)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"sales": WEEKS, "price": 100 - WEEKS}, DAYS).round(3)
    frame.to_csv("sales.csv")
    return tmp_path / "sales.csv"


def test_a_table_becomes_a_table_of_medians_and_quantiles(file, capsys):
    main(["sales.csv", "--horizon", "10"])

    found = pd.read_csv("sales.forecast.csv")
    levels = ["median", "lower 80", "upper 80", "lower 95", "upper 95"]
    assert list(found) == ["series", "time", *levels]
    assert found["series"].tolist() == ["sales"] * 10 + ["price"] * 10
    ahead = pd.date_range("2024-04-30", periods=10).strftime("%Y-%m-%d").tolist()
    assert found["time"].tolist() == ahead * 2
    series = [pd.read_csv(file)[x] for x in ("sales", "price")]
    expected = forecast(NETWORK, series, 10)[..., [4, 2, 6, 0, 8]].reshape(20, 5)
    np.testing.assert_allclose(found[levels], expected, rtol=1e-4)
    printed = capsys.readouterr().out
    for said in (
        "sales.csv: 2 series of 120 steps",
        "times from 'date'",
        "step D",
        "values from 'sales', 'price'",
        "the last 10 values, held back: MASE 0.",
        "seasonal naive (season 7)",
        "10 steps of each written to sales.forecast.csv",
    ):
        assert said in printed


def test_every_option_of_the_usage_line_is_heeded(file, capsys):
    long = pd.DataFrame(
        {"day": DAYS.repeat(2), "kind": ["a", "b"] * 120, "sales": WEEKS.repeat(2), "other": 1.0}
    )
    long.to_csv("long.csv", index=False)

    main(["long.csv", "--horizon", "3", "--time", "day", "--target", "sales", "--id", "kind",
          "--season", "5", "--intervals", "50", "--out", "here.csv"])  # fmt: skip

    found = pd.read_csv("here.csv")
    assert list(found) == ["series", "time", "median", "lower 50", "upper 50"]
    assert found["series"].unique().tolist() == ["a", "b"]
    assert "seasonal naive (season 5)" in capsys.readouterr().out
    main(["long.csv", "--horizon", "3", "--id", "kind", "--intervals", "--target", "sales"])
    assert list(pd.read_csv("long.forecast.csv")) == ["series", "time", "median"]


def test_other_weights_are_taken_by_their_path(file, tmp_path):
    other = RimerNetwork(64, 4, outputs=(0.1, 0.5, 0.9), streaming=True)
    save_weights(other, tmp_path / "other.safetensors")
    save_weights(RimerNetwork(64, 4), tmp_path / "point.safetensors")

    main(["sales.csv", "--horizon", "3", "--weights", "other.safetensors", "--intervals", "80"])

    found = pd.read_csv("sales.forecast.csv")["median"][:3]
    own = forecast(other, [pd.read_csv(file)["sales"]], 3)[0, :, 1]
    np.testing.assert_allclose(found, own, rtol=1e-4)
    with pytest.raises(SystemExit, match=r"--intervals 95 is none of 80"):
        main(["sales.csv", "--horizon", "3", "--weights", "other.safetensors"])
    with pytest.raises(SystemExit, match=r"forecast \['location'\], not quantiles with"):
        main(["sales.csv", "--horizon", "3", "--weights", "point.safetensors"])
    with pytest.raises(SystemExit, match=r"none\.safetensors' does not exist"):
        main(["sales.csv", "--horizon", "3", "--weights", "none.safetensors"])
    with pytest.raises(SystemExit, match="there are no weights 'rimer-one'"):
        main(["sales.csv", "--horizon", "3", "--weights", "rimer-one"])


def test_values_far_from_zero_keep_their_digits(file):
    pd.DataFrame({"v": 1e9 + WEEKS / 100}, DAYS).to_csv("far.csv")
    main(["far.csv", "--horizon", "5"])

    found = pd.read_csv("far.forecast.csv").set_index("time")[["median", "lower 80", "upper 80"]]
    expected = forecast(NETWORK, [1e9 + WEEKS / 100], 5)[0][:, [4, 2, 6]]
    np.testing.assert_allclose(found - 1e9, expected - 1e9, atol=1e-5)


def test_short_constant_and_empty_series_are_forecast_or_told(file, capsys):
    frame = pd.DataFrame({"still": 5.0, "last": np.nan, "none": np.nan, "zero": 0.0}, DAYS)
    frame.loc[DAYS[-1], "last"] = 7.5
    frame.reset_index().melt("date", var_name="shop").to_csv("odd.csv", index=False)

    main(["odd.csv", "--horizon", "4"])

    found = pd.read_csv("odd.forecast.csv")
    assert found["series"].unique().tolist() == ["still", "last", "zero"]
    for name, value in (("still", 5), ("last", 7.5), ("zero", 0)):
        assert (found.loc[found["series"] == name].iloc[:, 2:] == value).all(axis=None)
    printed = capsys.readouterr().out
    assert "left out for want of a value: 'none'" in printed
    assert "nan" not in printed


def test_a_file_may_say_its_horizon(file, capsys):
    head = "@attribute series_name string\n@horizon 5\n@data\n"
    (file.parent / "own.tsf").write_text(f"{head}T1:{','.join(map(str, WEEKS))}\n")

    main(["own.tsf"])

    assert pd.read_csv("own.forecast.csv")["time"].tolist() == [120, 121, 122, 123, 124]
    with pytest.raises(SystemExit, match=r"sales\.csv does not say how many steps.*--horizon"):
        main(["sales.csv"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none.csv", "--horizon", "3"], "'none.csv' does not exist: name a file"),
        (["sales.csv", "--horizon", "0"], "--horizon 0 must be at least 1"),
        (["sales.csv", "--horizon", "3", "--season", "-1"], "--season -1 must be at least 1"),
        (
            ["sales.csv", "--horizon", "3", "--intervals", "70"],
            "--intervals 70 is none of 50, 80, 90, 95, which were trained",
        ),
        (
            ["sales.csv", "--horizon", "3", "--time", "day"],
            r"sales\.csv: there is no column 'day'\. Its columns are 'date', 'sales', 'price'",
        ),
        (["sales.csv", "--horizon", "3", "--out", "no/x.csv"], "there is no folder 'no'"),
        (["sales.csv", "--horizon", "3", "--plot", "no/x.png"], "there is no folder 'no'"),
        (["sales.csv", "--horizon", "3", "--out", "sales.csv"], "is the file to read"),
        (["sales.csv", "--horizon", "3", "--plot", "sales.csv"], "is the file to read"),
        (["sales.csv", "--horizon", "3", "--out", "."], "is a folder"),
        (["sales.csv", "--horizon", "3", "--plot", "x.docx"], r"must end with \.png or another"),
        (
            ["sales.csv", "--horizon", "3", "--out", "x.png", "--plot", "x.png"],
            "is the file of --out",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(arguments, reason, file):
    before = sorted(file.parent.iterdir())
    pytest.importorskip("matplotlib", reason="--plot needs it")

    with pytest.raises(SystemExit, match=reason):
        main(arguments)

    assert sorted(file.parent.iterdir()) == before


def test_no_series_with_a_value_is_refused(file):
    head = "@attribute series_name string\n@frequency daily\n@missing true\n@data\n"
    values = ",".join(["1"] * 900 + ["?"] * 2100)
    (file.parent / "over.tsf").write_text(f"{head}T1:{values}\n")

    with pytest.raises(SystemExit, match="no series has a value in its last 2048 steps"):
        main(["over.tsf", "--horizon", "3"])


def test_a_picture_is_drawn_of_the_first_series(file):
    image = pytest.importorskip("matplotlib.image", reason="--plot needs matplotlib")
    frame = pd.DataFrame({f"price of {i} in $ and 📈": WEEKS + i for i in range(9)}, DAYS)
    frame.loc[DAYS[50:60], frame.columns[1]] = np.nan
    frame.to_csv("many.csv")

    main(["many.csv", "--horizon", "14", "--plot", "many.png"])
    main(["sales.csv", "--horizon", "14", "--plot", "two.png"])

    tall, low = image.imread("many.png"), image.imread("two.png")
    assert tall.shape[0] == 3 * low.shape[0]  # six series, and two
    assert (low[..., :3].std((0, 1)) > 0.05).all()
    blue = (low[..., 2] - low[..., 0]) > 0.2
    assert blue.any(0)[int(0.85 * low.shape[1]) :].any()  # forecasts are on the right
    assert not blue.any(0)[int(0.1 * low.shape[1]) : int(0.5 * low.shape[1])].any()


def test_a_picture_without_matplotlib_says_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)

    with pytest.raises(SystemExit, match="--plot needs matplotlib: pip install matplotlib"):
        main(["sales.csv", "--horizon", "3", "--plot", "x.png"])


def test_the_core_install_is_enough(file):
    code = """
import sys
for name in ("darts", "sktime", "pytorch_lightning", "pyarrow", "matplotlib", "statsforecast",
             "triton", "scipy.stats"):
    sys.modules[name] = None  # as if it were not installed
from rimer_forecaster.__main__ import main
main(["sales.csv", "--horizon", "12"])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "12 steps of each written to sales.forecast.csv" in run.stdout
    assert len(pd.read_csv("sales.forecast.csv")) == 24


def test_names_that_a_console_cannot_show_end_no_forecast(file):
    pd.read_csv(file).rename(columns={"sales": "日本"}).to_csv(file, index=False)
    command = [sys.executable, "-m", "rimer_forecaster", str(file), "--horizon", "3"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    found = subprocess.run(command, env=environment, cwd=file.parent, capture_output=True)
    assert found.returncode == 0, found.stderr
    written = pd.read_csv(file.with_name("sales.forecast.csv"))
    assert set(written["series"]) == {"日本", "price"}


def test_it_runs_as_a_module_and_ends_with_an_error_where_it_fails(file):
    command = [sys.executable, "-m", "rimer_forecaster", "none.csv", "--horizon", "12"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert run.stderr.strip() == "rimer-forecast: 'none.csv' does not exist: name a file."
