"""Series in files: whatever a file looks like, it is read right, or refused with the reason."""

import bz2
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rimer_forecaster.zero_shot.tables import (
    TableError,
    is_readable,
    name_without_ending,
    read_series,
    times_after,
    usual_season,
)

DAYS = pd.date_range("2024-01-01", periods=40)
VALUES = np.round(1234.5 + 100 * np.random.default_rng(0).normal(size=40).cumsum(), 2)


def table(times, values=VALUES, *, head="date,v", separator=",", end="\n"):
    rows = (separator.join(map(str, row)) for row in zip(times, values, strict=False))
    return end.join([head, *rows]) + end


def read(folder, content, name="table.csv", **arguments):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_series(path, **arguments)


def only(found):
    (series,) = found.series.values()
    return series


# One series of days, written in many ways.

ISO = DAYS.strftime("%Y-%m-%d")
GERMAN = DAYS.strftime("%d.%m.%Y")
COMMAS = [str(x).replace(".", ",") for x in VALUES]
WAYS = {
    "plain": table(ISO),
    "marked UTF-8": b"\xef\xbb\xbf" + table(ISO).encode(),
    "UTF-16": table(ISO).encode("utf-16"),
    "Windows-1252": table(ISO, head="date,Größe").encode("cp1252"),
    "Windows lines": table(ISO, end="\r\n"),
    "semicolons": table(ISO, head="date;v", separator=";"),
    "tabs": table(ISO, head="date\tv", separator="\t"),
    "bars": table(ISO, head="date|v", separator="|"),
    "blanks around": table(ISO, [f" {x} " for x in VALUES], head="date , v"),
    "quotes": table([f'"{x}"' for x in ISO], [f'"{x}"' for x in VALUES], head='"date","v"'),
    "German": table(GERMAN, COMMAS, head="Datum;Wert", separator=";"),
    "two German dates": table(
        GERMAN, [f"{x};{y}" for x, y in zip(GERMAN, COMMAS, strict=True)],
        head="Buchung;Valuta;Betrag", separator=";",
    ),
    "British": table(DAYS.strftime("%d/%m/%Y")),
    "American": table(DAYS.strftime("%m/%d/%Y")),
    "American, in short": table(DAYS.strftime("%m/%d/%y")),
    "half days": table(DAYS.strftime("%m/%d/%Y %I:%M %p")),
    "powers of ten": table(ISO, [f"{x:.6e}" for x in VALUES]),
    "points": table(DAYS.strftime("%Y.%m.%d")),
    "names of months": table(DAYS.strftime("%d-%b-%Y")),
    "American names": table([f'"{x}"' for x in DAYS.strftime("%B %d, %Y")]),
    "whole numbers": table(DAYS.strftime("%Y%m%d")),
    "seconds since 1970": table(DAYS.as_unit("s").asi8, head="timestamp,v"),
    "milliseconds since 1970": table(DAYS.as_unit("ms").asi8, head="timestamp,v"),
    "midnights": table(DAYS.strftime("%Y-%m-%d %H:%M:%S")),
    "Greenwich": table(DAYS.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "latest first": table(ISO[::-1], VALUES[::-1]),
    "unsorted": table(np.roll(ISO, 7), np.roll(VALUES, 7)),
    "an index of pandas": pd.DataFrame({"v": VALUES}, DAYS).to_csv(),
    "a series of pandas": pd.Series(VALUES, DAYS).to_csv(),
    "numbered by pandas": pd.DataFrame({"date": ISO, "v": VALUES}).to_csv(),
    "text and truth beside": table(
        ISO, [f"{y},{'ab'[i % 2]},True" for i, y in enumerate(VALUES)], head="date,v,kind,open"
    ),
    "a weekday and a number beside": table(
        ISO, [f"{y},{x.dayofweek},{x.day}" for x, y in zip(DAYS, VALUES, strict=True)],
        head="date,v,weekday,id",
    ),
    "another date beside, of some rows": table(
        ISO, [f"{'' if i % 3 else '2024-05-01'},{y}" for i, y in enumerate(VALUES)],
        head="date,closed,v",
    ),
    "separators at the end": table(ISO, [f"{y}," for y in VALUES]),
    "empty rows": table(ISO) + ",\n,\n\n",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_series_is_the_same_however_it_is_written(way, tmp_path):
    found = read(tmp_path, WAYS[way])

    series = only(found)
    np.testing.assert_allclose(series, VALUES, rtol=1e-12)
    assert found.freq == "D"
    assert (series.index == DAYS).all()
    assert times_after(series.index, 2).tolist() == [
        DAYS[-1] + pd.Timedelta(days=x) for x in (1, 2)
    ]


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("gz", gzip.compress), ("GZ", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)],
)
def test_what_a_name_calls_compressed_is_decompressed(ending, compress, tmp_path):
    content = compress(table(ISO).encode())

    np.testing.assert_allclose(only(read(tmp_path, content, f"a.csv.{ending}")), VALUES)
    with pytest.raises(TableError, match=rf"a\.csv\.{ending} cannot be read"):
        read(tmp_path, content[:-20], f"a.csv.{ending}")


def test_a_zip_of_one_file_is_read_and_one_of_two_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", table(ISO))
    np.testing.assert_allclose(only(read(tmp_path, buffer.getvalue(), "a.csv.zip")), VALUES)

    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("b.csv", table(ISO))
    with pytest.raises(TableError, match=r"Only one file per ZIP"):
        read(tmp_path, buffer.getvalue(), "a.csv.zip")


# Steps.

HOURS = pd.date_range("2024-03-01 05:00", periods=40, freq="h")


@pytest.mark.parametrize(
    ("times", "freq", "after"),
    [
        (HOURS, "h", "2024-03-02 21:00"),
        (pd.date_range("2024-01-01", periods=40, freq="15min"), "15min", "2024-01-01 10:00"),
        (pd.date_range("2024-01-01", periods=40, freq="10ms"), "10ms", "2024-01-01 00:00:00.4"),
        (pd.date_range("2024-01-03", periods=40, freq="7D"), "W-WED", "2024-10-09"),
        (pd.date_range("2024-01-01", periods=40, freq="28D"), "28D", "2027-01-25"),
        (pd.date_range("2024-01-01", periods=40, freq="B"), "B", "2024-02-26"),
        (pd.date_range("2024-01-01", periods=40, freq="MS"), "MS", "2027-05-01"),
        (pd.date_range("2024-01-31", periods=40, freq="ME"), "ME", "2027-05-31"),
        ([f"{2024 + i // 12}-{i % 12 + 1}-15" for i in range(40)], "MS", "2027-05-15"),
        ([f"{2024 + i // 12}-{i % 12 + 1}-{3 + i % 3}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}-{i % 12 + 1:02}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}M{i % 12 + 1}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}{i % 12 + 1:02}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{i % 12 + 1}/{2024 + i // 12}" for i in range(40)], "MS", "2027-05-01"),
        (pd.date_range("2024-01-01", periods=40, freq="MS").strftime("%b %Y"), "MS", "2027-05-01"),
        ([f"01/{i % 12 + 1:02}/{2024 + i // 12}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{i % 12 + 1:02}/01/{2024 + i // 12}" for i in range(40)], "MS", "2027-05-01"),
        (pd.date_range("2024-01-01", periods=40, freq="QS"), "QS-JAN", "2034-01-01"),
        (pd.date_range("2024-03-31", periods=40, freq="QE"), "QE-MAR", "2034-03-31"),
        ([f"{2024 + i // 4}-Q{i % 4 + 1}" for i in range(40)], "QS-JAN", "2034-01-01"),
        ([f"Q{i % 4 + 1} {2024 + i // 4}" for i in range(40)], "QS-JAN", "2034-01-01"),
        ([f"2024-W{i + 1:02}" for i in range(40)], "W-MON", "2024-10-07"),
        (pd.date_range("2024-01-01", periods=40, freq="6MS"), "6MS", "2044-01-01"),
        (range(1780, 1820), "YS-JAN", "1820-01-01"),
        (pd.date_range("1980-06-30", periods=40, freq="YE-JUN"), "YE-JUN", "2020-06-30"),
    ],
)
def test_steps_are_found_and_go_on(times, freq, after, tmp_path):
    found = read(tmp_path, table(times))

    series = only(found)
    np.testing.assert_allclose(series, VALUES)
    assert found.freq == freq
    assert times_after(series.index, 3)[0] == pd.Timestamp(after)


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("15min", 96), ("min", 1440), ("7h", 1), ("s", 3600), ("10s", 360), ("10ms", 1),
     ("D", 7), ("28D", 1), ("B", 5), ("W-SUN", 52), ("2W", 26), ("MS", 12), ("ME", 12),
     ("6MS", 2), ("120MS", 1), ("QS-JAN", 4), ("QE-DEC", 4), ("YS-JAN", 1), ("YE-DEC", 1),
     ("24h", 7), ("48h", 1), ("BME", 12), ("BQS-JAN", 4), (None, 1)],
)  # fmt: skip
def test_steps_have_usual_seasons(freq, season):
    assert usual_season(freq) == season


def test_rows_without_a_value_at_the_end_are_those_to_be_forecast(tmp_path):
    sales = [*map(str, VALUES[:30]), *[""] * 10]
    rows = "\n".join(f"{t},{x},{p}" for t, x, p in zip(ISO, sales, VALUES, strict=True))
    found = read(tmp_path, f"date,sales,promo\n{rows}\n", target=["sales"])

    np.testing.assert_allclose(only(found), VALUES[:30])
    assert times_after(only(found).index, 1)[0] == DAYS[30]
    assert "rows at the end of 'sales' hold no value: forecasts fill them" in found.notes
    both = read(tmp_path, f"date,sales,promo\n{rows}\n")
    assert {len(x) for x in both.series.values()} == {40}, "promo says more"


def test_gaps_are_missing_values_and_are_told(tmp_path):
    kept = np.r_[0:10, 15:40]
    found = read(tmp_path, table(ISO[kept], VALUES[kept]))

    series = only(found)
    np.testing.assert_array_equal(np.flatnonzero(series.isna()), np.arange(10, 15))
    np.testing.assert_allclose(series.iloc[kept], VALUES[kept])
    assert "5 missing values" in found.notes


@pytest.mark.parametrize("word", ["", "NA", "N/A", "nan", "null", "-", ".", "..", "?", "#N/A"])
def test_words_for_nothing_are_missing_values(word, tmp_path):
    series = only(read(tmp_path, table(ISO, [word if i == 7 else x for i, x in enumerate(VALUES)])))

    assert np.flatnonzero(series.isna()).tolist() == [7]


def test_holidays_are_gaps_between_business_days(tmp_path):
    days = pd.date_range("2024-01-01", periods=41, freq="B").delete(10)

    found = read(tmp_path, table(days))

    assert found.freq == "B"
    assert np.flatnonzero(only(found).isna()).tolist() == [10]


def test_hours_of_a_zone_are_told_to_be_those_of_utc(tmp_path):
    autumn = pd.date_range("2024-10-26 12:00", periods=40, freq="h", tz="Europe/Berlin")

    found = read(tmp_path, table(autumn))

    assert only(found).notna().all()
    assert (only(found).index == autumn.tz_convert(None)).all()
    assert "times from 'date' in UTC" in found.notes


def test_the_last_of_a_few_double_rows_counts_and_it_is_told(tmp_path):
    hours = pd.date_range("2024-10-01", periods=800, freq="h", tz="Europe/Berlin").tz_localize(None)

    found = read(tmp_path, table(hours, range(800)))

    series = only(found)
    assert series["2024-10-27 02:00"] == 627
    assert "1 rows left out, whose time a later row has too" in found.notes


def test_the_order_of_day_and_month_is_told_where_it_is_not_plain(tmp_path):
    plain = read(tmp_path, table(DAYS.strftime("%d/%m/%Y")))
    months = read(tmp_path, table([f"01/{i % 12 + 1:02}/{2024 + i // 12}" for i in range(40)]))

    assert "times from 'date'" in plain.notes
    assert "times from 'date' as %d/%m/%Y" in months.notes


@pytest.mark.parametrize(
    ("head", "steps"),
    [("t,v", range(0, 400, 10)), ("index,v", range(40)), (",v", range(5, 45)), ("ds,v", range(40))],
)
def test_whole_numbers_are_steps_under_a_name_of_times(head, steps, tmp_path):
    series = only(read(tmp_path, table(steps, head=head)))

    assert series.index.tolist() == list(steps)
    assert times_after(series.index, 2).tolist() == [steps[-1] + x * steps.step for x in (1, 2)]


def test_without_times_rows_are_steps_and_a_blank_one_is_missing(tmp_path):
    found = read(tmp_path, "v\n1\n2\n\n4\n")

    np.testing.assert_array_equal(only(found), [1, 2, np.nan, 4])
    assert found.freq is None
    assert "no column of times was found, so that rows are steps" in found.notes


# Which series.


def test_columns_are_series_whatever_their_names(tmp_path):
    wide = pd.DataFrame({f"s{i}": VALUES + i for i in range(12)}, pd.Index(ISO, name="date"))
    numbered = wide.set_axis([str(7 * i) for i in range(12)], axis=1)

    for frame, name in ((wide, "s7"), (numbered, "49")):
        found = read(tmp_path, frame.to_csv())
        assert list(found.series) == list(frame)
        np.testing.assert_allclose(found.series[name], VALUES + 7)
    assert list(read(tmp_path, wide.to_csv(index=False), target=["s3"]).series) == ["s3"]


def test_series_of_a_wide_table_may_begin_and_end_anywhere(tmp_path):
    wide = pd.DataFrame({"a": VALUES, "b": VALUES}, DAYS)
    wide.iloc[:10, 1] = wide.iloc[35:, 0] = np.nan

    found = read(tmp_path, wide.to_csv())

    np.testing.assert_array_equal(found.series["a"], wide["a"])
    np.testing.assert_array_equal(found.series["b"], wide["b"])


LONG = pd.DataFrame(
    {"shop": np.repeat(["b", "a", "007", "7", "NA"], 40), "date": np.tile(ISO, 5),
     "sales": np.tile(VALUES, 5) + np.repeat(np.arange(5), 40)}
)  # fmt: skip


def test_a_column_of_text_tells_series_apart_by_its_words(tmp_path):
    for frame in (LONG, LONG.sample(frac=1, random_state=0), LONG.iloc[5:]):
        found = read(tmp_path, frame.to_csv(index=False))

        assert set(found.series) == {"b", "a", "007", "7", "NA"}
        np.testing.assert_allclose(found.series["007"], VALUES + 2)


def test_as_few_columns_as_tell_series_apart_are_taken(tmp_path):
    towns = LONG["shop"].map({"b": "X", "a": "X", "007": "Y", "7": "Y", "NA": "Y"})
    frame = pd.concat([LONG.assign(town=towns, kind=x) for x in ("new", "old")])

    found = read(tmp_path, frame.assign(id=range(400)).to_csv(index=False))
    of_both = read(tmp_path, LONG.assign(town=towns, price=2.5).to_csv(index=False))

    assert set(found.series) == {f"{x}/{y}" for x in LONG["shop"] for y in ("new", "old")}
    assert set(of_both.series) == {f"{x}/{y}" for x in LONG["shop"] for y in ("sales", "price")}


def test_a_number_tells_series_apart_if_it_is_called_so(tmp_path):
    text = LONG.assign(shop=np.repeat([3, 1, 2, 5, 4], 40)).to_csv(index=False)

    for found in (
        read(tmp_path, text.replace("shop", "store", 1)),
        read(tmp_path, text, id="shop"),
    ):
        assert list(found.series) == ["3", "1", "2", "5", "4"]


def test_a_column_called_as_one_of_series_tells_them_apart_without_a_common_time(tmp_path):
    frame = pd.DataFrame({"unique_id": ["a"] * 20 + ["b"] * 20, "ds": ISO, "y": VALUES})

    for text in (frame.to_csv(index=False), frame.drop(columns="ds").to_csv(index=False)):
        found = read(tmp_path, text)
        assert {x: len(y) for x, y in found.series.items()} == {"a": 20, "b": 20}


def test_columns_may_be_named(tmp_path):
    frame = LONG.assign(place=LONG["shop"].map({"b": 1.5, "a": 2.5, "007": 3.5, "7": 4.5, "NA": 5}))
    frame = frame.assign(seen="2020-01-01", price=1.0)

    found = read(tmp_path, frame.to_csv(index=False), time="date", id="place", target=["sales"])

    assert list(found.series) == ["1.5", "2.5", "3.5", "4.5", "5.0"]
    np.testing.assert_allclose(found.series["2.5"], VALUES + 1)


# Parquet and the Monash archive.


def test_parquet_is_read_whatever_holds_its_numbers(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet is read by pyarrow")
    plain = pd.DataFrame({"id": "a", "date": DAYS, "v": VALUES})
    plain.loc[3, "v"] = np.nan
    for backend in ("pyarrow", "numpy_nullable"):
        frame = plain.convert_dtypes(dtype_backend=backend)
        frame.to_parquet(tmp_path / "one.parquet")
        np.testing.assert_array_equal(only(read_series(tmp_path / "one.parquet")), plain["v"])
    pd.concat([plain, plain.assign(id="b")]).to_parquet(tmp_path / "index.parquet")
    assert list(read_series(tmp_path / "index.parquet").series) == ["a", "b"]
    plain[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(TableError, match=r"none\.parquet holds no rows"):
        read_series(tmp_path / "none.parquet")


def test_parquet_is_read_with_its_index_and_types(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet is read by pyarrow")
    wide = pd.DataFrame({"a": VALUES, "b": -VALUES}, DAYS)
    frames = {
        "index": wide,
        "columns": wide.rename_axis("day").reset_index(),
        "zone": wide.tz_localize("Europe/Berlin"),
        "dates": wide.assign(day=[x.date() for x in DAYS]).reset_index(drop=True),
        "text": wide.assign(day=list(ISO)).reset_index(drop=True),
    }
    for name, frame in frames.items():
        path = tmp_path / f"{name}.parquet"
        frame.to_parquet(path)
        found = read_series(path)
        assert list(found.series) == ["a", "b"]
        np.testing.assert_allclose(found.series["b"], -VALUES)
        assert (found.series["b"].index == DAYS).all()
    pd.concat({"x": wide, "y": wide}).to_parquet(tmp_path / "both.parquet")
    assert list(read_series(tmp_path / "both.parquet").series) == ["x/a", "x/b", "y/a", "y/b"]


TSF = """# A comment.
@relation test
@attribute series_name string
@attribute start_timestamp date
@frequency {frequency}
@horizon 8
@missing true
@equallength false
@data
T1:{start}:1.5,2,?,4
T2:{start}:-1,1e3
"""


@pytest.mark.parametrize(
    ("frequency", "start", "freq", "after"),
    [
        ("weekly", "1996-07-04 00-00-00", "W", "1996-08-01"),
        ("half_hourly", "1996-07-04 00-30-00", "30min", "1996-07-04 02:30"),
        ("10_minutes", "1996-07-04 00-30-00", "10min", "1996-07-04 01:10"),
        ("daily", "1996-07-04 00-00-00", "D", "1996-07-08"),
        ("monthly", "1996-07-15 00-00-00", "MS", "1996-11-15"),
        ("quarterly", "1979-03-31 00-00-00", "QS", "1980-03-01"),
        ("yearly", "1979-01-01 00-00-00", "YS", "1983-01-01"),
    ],
)
def test_the_monash_archive_is_read(frequency, start, freq, after, tmp_path):
    found = read(tmp_path, TSF.format(frequency=frequency, start=start), "test.tsf")

    np.testing.assert_array_equal(found.series["T1"], [1.5, 2, np.nan, 4])
    np.testing.assert_array_equal(found.series["T2"], [-1, 1000])
    assert found.horizon == 8
    assert found.freq == freq
    assert times_after(found.series["T1"].index, 1)[0] == pd.Timestamp(after)


# What is refused.

MONTHS = pd.date_range("2024-01-01", periods=12, freq="MS").strftime("%b")
BETWEEN = table(HOURS.strftime("%Y-%m-%d,%H:%M"), head="date,time,v")
REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "a head alone": ("date,v\n", "no rows below its head: 'date', 'v'"),
    "one row": ("date,v\n2024-01-01,5\n", "a step cannot be told from series of one row"),
    "no head": (table(ISO, head="2024-01-01,5"), "which are values: the first line must name"),
    "a head of numbers": ("1\n2\n3\n", "begins with '1', which are values"),
    "no head, and a name": ("a,5\nb,6\n", "begins with 'a, 5', which are values"),
    "no numbers": (table(ISO, ["a"] * 40), "no column holds numbers to forecast"),
    "nothing but gaps": (table(ISO, ["NA"] * 40), "no column holds numbers to forecast"),
    "a title": ("Sales of 2024\n\n" + table(ISO), "line 3 has 2 cells, and the head 1"),
    "a title with separators": (
        "Sales;\n;\n" + table(ISO, head="date;v", separator=";"), "'date' in line 3 is none",
    ),
    "a line for Excel": ("sep=;\n" + table(ISO, head="date;v", separator=";"), "in line 2 is none"),
    "spaces": (table(ISO, head="date  v", separator="   "), "'date v' is no|no column of times"),
    "row names of R": (
        table([f"{i},{x}" for i, x in enumerate(ISO)]), "line 2 has 3 cells, and the head 2",
    ),
    "equal columns": (table(ISO, [f"{x},1" for x in VALUES], head="date,v,v"), "two columns are"),
    "too many cells": (table(ISO) + "2024-03-01,1,2,3\n", "line 42 has 4 cells, and the head 2"),
    "an open quote": (table(ISO) + '2024-03-01,"5\n2024-03-02,6\n', "cannot be read as CSV"),
    "not text": (bytes(range(256)) * 4, "is not text"),
    "UTF-16 without a mark": (table(ISO).encode("utf-16-le"), "is not text"),
    "gzip without its ending": (gzip.compress(table(ISO).encode()), r"ends with \.gz"),
    "a web page": ("<!DOCTYPE html>", "is HTML, XML or JSON"),
    "JSON": ('[{"date": "2024-01-01"}]', "is HTML, XML or JSON"),
    # Numbers.
    "one cell that is no number": (
        table(ISO, ["12*" if i == 5 else x for i, x in enumerate(VALUES)]),
        r"the column 'v' holds '12\*' in line 7, no number",
    ),
    "per cents": (table(ISO, [f"{x}%" for x in VALUES]), "'1247.07%' in line 2, no number"),
    "dollars": (table(ISO, [f"${x}" for x in VALUES]), "without a unit"),
    "thousands": (table(ISO, [f'"{x:,.2f}"' for x in VALUES]), "without a mark between thousands"),
    "Swiss": (table(ISO, [f"{x:,.2f}".replace(",", "'") for x in VALUES]), "no number"),
    "French": (
        table(ISO, [f"{x:,.2f}".replace(",", "\u202f") for x in VALUES]), "no number",
    ),
    "thousands or decimals": (
        table(ISO, [f"{i + 1},{i + 100}" if i % 2 else "5" for i in range(40)],
              head="date\tv", separator="\t"),
        "may have three decimals, or be thousands",
    ),
    "German thousands or decimals": (
        table(GERMAN, [f"{i + 1}.{i + 100}" if i % 2 else "5" for i in range(40)],
              head="Datum;v", separator=";"),
        "may have three decimals, or be thousands",
    ),
    "numbers in two ways": (
        table(ISO, ["1,5" if i % 2 else "1.5" for i in range(40)], head="date;v", separator=";"),
        "'1,5' in line 3, no number",
    ),
    "columns in two ways": (
        table(ISO, ["1,5;1.5"] * 40, head="date;v;w", separator=";"), "decimals after points in",
    ),
    "an infinite value": (table(ISO, ["inf", *VALUES[1:]]), "'v' holds 'inf' in line 2, no number"),
    # Times.
    "a unit below the head": (table(["", *ISO], ["EUR", *VALUES]), "but '' in line 2 is none"),
    "a sum at the end": (table(ISO) + "Total,4000\n", "holds times, but 'Total' in line 42"),
    "a day that is none": (table(["2024-02-30", *ISO[1:]]), "'2024-02-30' in line 2 is none"),
    "dates in two ways": (table(["13.01.2024", *ISO[1:]]), r"but '13\.01\.2024' in line 2"),
    "two ways to read dates": (
        table([f"0{i}/02/2024" for i in range(1, 10)]),
        r"such as '01/02/2024', can be read as %d/%m/%Y or %m/%d/%Y\. Write them as 2024-12-31",
    ),
    "numbers of Excel": (table((DAYS - pd.Timestamp("1899-12-30")).days), "'date' does not hold"),
    "numbers that count, by another name": (
        table(pd.date_range("2024-01-01", periods=40, freq="MS").strftime("%Y%m"), head="when,v"),
        "'when', which holds '202401', may say times",
    ),
    "names of weekdays": (table([f'"{x}"' for x in DAYS.strftime("%a, %d %b %Y")]), "'date' does"),
    "a month or a day": (table(DAYS.strftime("%b-%y")), "'date' does not hold times"),
    "days without a year": (table(DAYS.strftime("%d-%b")), "'date' does not hold times"),
    "hours without a day": (table([f"{i:02}:00" for i in range(24)], head="time,v"), "'time' does"),
    "parts of years": (table([f"{1949 + i / 12:.4f}" for i in range(40)]), "'date' does not hold"),
    "parts of seconds": (table([i / 10 for i in range(40)], head="time,v"), "'time' does not hold"),
    "years that end in others": (table(["2009/10", "2010/11", "2011/12"]), "write the year 2023"),
    "a year that is none": (
        table([1980 + i if i != 7 else 198 for i in range(40)], head="year,v"), "'year' does not",
    ),
    "a date and an hour": (BETWEEN, "times in several columns must be joined in one"),
    "a year and a month": (
        table([f"{2000 + i // 12},{i % 12 + 1}" for i in range(40)], head="year,month,v"),
        "two rows of 2000-01-01",
    ),
    "a year and a quarter": (
        table([f"{2000 + i // 4},Q{i % 4 + 1}" for i in range(40)], head="year,quarter,v"),
        "two rows of 2000-01-01",
    ),
    "a year and a month, by other names": (
        table([f"{2000 + i // 12},{i % 12 + 1}" for i in range(40)], head="anno,mese,v"),
        "'anno', which holds '2000', may say times",
    ),
    "a row per year and a column per month": (
        f"Year,{','.join(MONTHS)}\n2000,{','.join('1' * 12)}\n", "its columns are times, such as",
    ),
    "uneven times": (
        table(DAYS[0] + pd.to_timedelta(np.cumsum(np.arange(1, 41) % 7 + 5), "D")), "are uneven",
    ),
    "times that are a little off": (
        table(DAYS + pd.to_timedelta(np.arange(40) % 7, "s")), "its times are uneven: steps from",
    ),
    "an end of time": (table(["9999-12-31", *ISO[1:]]), "Is one of its times wrong|is none"),
    "a start of time": (table(["1970-01-01", *ISO[1:]]), "Is one of its times wrong"),
    "two steps": (
        pd.DataFrame({"unique_id": ["a"] * 20 + ["b"] * 20,
                      "ds": [*pd.date_range("2000-01-01", periods=20, freq="MS"),
                             *pd.date_range("1980-01-01", periods=20, freq="YS")],
                      "y": VALUES}).to_csv(index=False),
        "'b' has rows at 20 of 229 steps of MS",
    ),
    # Series.
    "two rows of a time": (table([ISO[0], *ISO[:39]]), "two rows of 2024-01-01 00:00:00"),
    "two rows of a time of one series": (
        pd.concat([LONG, LONG.iloc[:9]]).rename(columns={"shop": "unique_id"}).to_csv(index=False),
        "'unique_id' does not tell their series apart",
    ),
    "series without a name": (
        LONG.drop(columns="shop").to_csv(index=False), "Name the columns that do as id",
    ),
    "numbers that may name series": (
        LONG.assign(shop=np.repeat(range(5), 40)).to_csv(index=False), "Name the columns that do",
    ),
    "series without times": (
        LONG.drop(columns="date").to_csv(index=False), "'shop', which holds 'b', may say times, or",
    ),
    "a name that is missing": (
        LONG.assign(shop=["" if i == 50 else x for i, x in enumerate(LONG["shop"])])
        .to_csv(index=False), "'shop' is empty in line 52",
    ),
    "a row per series": (
        f"name,{','.join(ISO)}\na,{','.join(map(str, VALUES))}\n", "its columns are times, such as",
    ),
    "a numbered row per series": ("V1,V2,V3,V4\nH1,1,2,3\nH2,1,2,\n", "'V1', which holds 'H1'"),
    "equal names of series": (
        pd.DataFrame({"x": ["a", "a/b", "a", "a/b"] * 40, "y": ["b/c", "c", "c", "b/c"] * 40,
                      "date": np.repeat(ISO, 4), "v": 1.5}).to_csv(index=False),
        "'x' and 'y' give two series the same name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(case, tmp_path):
    content, reason = REFUSED[case]

    with pytest.raises(TableError, match=reason) as caught:
        read(tmp_path, content)

    assert str(caught.value).startswith("table.csv")


def test_the_columns_that_were_seen_are_named(tmp_path):
    with pytest.raises(TableError, match=r"Its columns are 'date', 'v'\."):
        read(tmp_path, table(["", *ISO[1:]]))
    with pytest.raises(TableError, match=r"'x29' and 1970 more\."):
        read(tmp_path, ",".join(f"x{i}" for i in range(2000)) + "\na" + ",b" * 1999)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"time": "day"}, "there is no column 'day'"),
        ({"time": "v"}, "the column 'v' does not hold times, such as"),
        ({"target": ["date"]}, "the column 'date' holds '2024-01-01' in line 2, no number"),
        ({"target": ["v", "v"]}, "the column 'v' is named twice"),
        ({"time": "date", "target": ["date"]}, "the column 'date' is named twice"),
    ],
)
def test_columns_that_are_named_wrongly_are_refused(arguments, reason, tmp_path):
    with pytest.raises(TableError, match=reason):
        read(tmp_path, table(ISO), **arguments)


def test_what_is_no_file_of_series_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: name a file"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_series(tmp_path)
    with pytest.raises(TableError, match=r"its name must end with \.csv"):
        read(tmp_path, "x", "sales.xlsx")
    for text in (
        "hello",
        "@data\n",
        "@frequency daily\n@data\n",
        "@attribute series_name string\n",
    ):
        with pytest.raises(TableError, match=r"^bad\.tsf: there is no"):
            read(tmp_path, text, "bad.tsf")
    for frequency, start, reason in (
        ("fortnightly", "1996-07-04 00-00-00", "the frequency 'fortnightly' is not known"),
        ("", "1996-07-04 00-00-00", "the frequency '' is not known"),
        (
            "daily",
            "1996-13-04 00-00-00",
            r'"1996-13-04 00-00-00" doesn.t match format "%Y-%m-%d %H-%M-%S",.* in .T1:',
        ),
        ("daily", "1996-07-04:", "3 attributes, and the head 2"),
    ):
        with pytest.raises(TableError, match=reason):
            read(tmp_path, TSF.format(frequency=frequency, start=start), "bad.tsf")


def test_names_of_files_tell_what_they_hold(tmp_path):
    names = {"sales.2024.csv": "sales.2024", "A.CSV.GZ": "A", "x.tsf.xz": "x", "y.parquet": "y"}
    for name, short in names.items():
        path = tmp_path / name
        assert is_readable(path)
        assert name_without_ending(path) == short
    assert not is_readable(tmp_path / "a.xlsx")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    way=st.sampled_from(sorted(WAYS)),
    place=st.floats(0, 1),
    length=st.integers(0, 8),
    new=st.sampled_from([b"", b",", b";", b"\n", b'"', b"2024-01-01", b"1,5", b"nan", b"-", b"\xff",
                         b"1e400", b"9999-12-31", b"\x00", b"#", b"(", b"\r"]),
)  # fmt: skip
def test_a_damaged_file_is_read_or_refused_and_nothing_else(way, place, length, new, tmp_path):
    content = WAYS[way] if isinstance(WAYS[way], bytes) else WAYS[way].encode()
    begin = int(place * len(content))

    try:
        found = read(tmp_path, content[:begin] + new + content[begin + length :])
    except TableError:
        return
    for series in found.series.values():
        assert len(times_after(series.index, 3)) == 3
        assert not np.isinf(series).any()
