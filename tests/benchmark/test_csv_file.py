"""CSV files of the command line: what is wrong with one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("darts", reason="the benchmark needs the extra 'darts'")
pytest.importorskip("sktime", reason="the benchmark needs the extra 'sktime'")

from benchmark_cases import frame

from rimer_forecaster.benchmark import read_csv


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time;y\n2020-01-01;1\n2020-01-02;2", "one column only, 'time;y'.*separated by commas"),
        ("time,y\n2020-01-01,a\n2020-01-02,b", r"columns \['y'\] that hold no numbers, 'a' for"),
        ("time,shop,y\n2020-01-01,a,1\n2020-01-02,a,2", r"columns \['shop'\] that hold no numb"),
        (",time,y\n0,2020-01-01,1\n1,2020-01-02,2", "if one is the time, name it: it is now 'Unn"),
        ("time,y\n2020-01-01T00:00+01:00,1\n2020-01-02T00:00+01:00,2", "have offsets from UTC"),
        ("time,y\n2020-03-28T00:00+01:00,1\n2020-03-30T00:00+02:00,2", "column 'time'.*"),
        ("time,y\n2020-01-01,1\n,2", "'time': times have gaps"),
        ("time,y\n2020.5,1\n2021.5,2", "numbers with decimals"),
        ("time,y\n2020-01-01,1\nlater,2", r"t\.csv', column 'time': .*later"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "t.csv")


def test_an_exported_index_is_no_component(tmp_path: Path) -> None:
    table = frame(20).reset_index()
    table.to_csv(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="a column without a name, as an index that was exported"):
        read_csv(tmp_path / "t.csv", "day")
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read_csv(tmp_path / "t.csv", "day").columns.tolist() == ["y0"]
