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


def german(x):
    return f"{x:,.2f}".translate(str.maketrans(",.", ".,"))


# One series of days, written in many ways.

ISO = DAYS.strftime("%Y-%m-%d")
WAYS = {
    "plain": table(ISO),
    "marked UTF-8": b"\xef\xbb\xbf" + table(ISO).encode(),
    "UTF-16": table(ISO).encode("utf-16"),
    "UTF-16 without a mark": table(ISO).encode("utf-16-le"),
    "Windows-1252": table(ISO, head="date,Größe").encode("cp1252"),
    "Windows lines": table(ISO, end="\r\n"),
    "Macintosh lines": table(ISO, end="\r"),
    "semicolons": table(ISO, head="date;v", separator=";"),
    "tabs": table(ISO, head="date\tv", separator="\t"),
    "bars": table(ISO, head="date|v", separator="|"),
    "spaces": table(ISO, head="date  v", separator="   "),
    "a line for Excel": "sep=;\r\n" + table(ISO, head="date;v", separator=";", end="\r\n"),
    "blanks around": table(ISO, [f" {x} " for x in VALUES], head="date , v"),
    "quotes": table([f'"{x}"' for x in ISO], [f'"{x}"' for x in VALUES], head='"date","v"'),
    "German": table(
        DAYS.strftime("%d.%m.%Y"), map(german, VALUES), head="Datum;Wert", separator=";"
    ),
    "French": table(
        DAYS.strftime("%d/%m/%Y"),
        [f"{x:,.2f}".replace(",", "\u202f").replace(".", ",") for x in VALUES],
        head="jour;valeur",
        separator=";",
    ),
    "Swiss": table(ISO, [f"{x:,.2f}".replace(",", "'") for x in VALUES]),
    "American": table(DAYS.strftime("%m/%d/%Y"), [f'"{x:,.2f}"' for x in VALUES]),
    "dollars": table(DAYS.strftime("%m/%d/%y"), [f'"${x:,.2f}"' for x in VALUES]),
    "percents": table(ISO, [f"{x}%" for x in VALUES]),
    "powers of ten": table(ISO, [f"{x:.6e}" for x in VALUES]),
    "year first, in short": table(DAYS.strftime("%y-%m-%d")),
    "points": table(DAYS.strftime("%Y.%m.%d")),
    "names of months": table(DAYS.strftime("%d-%b-%Y")),
    "American names": table([f'"{x}"' for x in DAYS.strftime("%B %d, %Y")]),
    "names of weekdays": table([f'"{x}"' for x in DAYS.strftime("%a, %d %b %Y")]),
    "whole numbers": table(DAYS.strftime("%Y%m%d")),
    "numbers of Excel": table((DAYS - pd.Timestamp("1899-12-30")).days),
    "seconds since 1970": table(DAYS.as_unit("s").asi8, head="timestamp,v"),
    "milliseconds since 1970": table(DAYS.as_unit("ms").asi8, head="timestamp,v"),
    "midnights": table(DAYS.strftime("%Y-%m-%d %H:%M:%S")),
    "Greenwich": table(DAYS.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "half days": table(DAYS.strftime("%m/%d/%Y %I:%M %p")),
    "latest first": table(ISO[::-1], VALUES[::-1]),
    "an index of pandas": pd.DataFrame({"v": VALUES}, DAYS).to_csv(),
    "a series of pandas": pd.Series(VALUES, DAYS).to_csv(),
    "numbered by pandas": pd.DataFrame({"date": ISO, "v": VALUES}).to_csv(),
    "numbered by R": '"date","v"\n'
    + "".join(f'"{i + 1}","{x}",{y}\n' for i, (x, y) in enumerate(zip(ISO, VALUES, strict=True))),
    "parts of dates": "year,month,day,v\n"
    + "".join(
        f"{x.year},{x.month},{x.day},{y}\n" for x, y in zip(DAYS, VALUES, strict=True)
    ),
    "text and truth beside": table(
        ISO, [f"{y},{'ab'[i % 2]},True" for i, y in enumerate(VALUES)], head="date,v,kind,open"
    ),
    "a weekday beside": table(
        ISO, [f"{y},{x.dayofweek}" for x, y in zip(DAYS, VALUES, strict=True)],
        head="date,v,weekday",
    ),
    "empty cells at the end": table(ISO, [f"{y},," for y in VALUES], head="date,v,,"),
    "separators at the end": table(ISO, [f"{y}," for y in VALUES]),
    "empty rows": table(ISO) + ",\n,\n\n",
    "a title": "Sales of 2024\n\n" + table(ISO),
    "a title with separators": "Sales;\n;\n" + table(ISO, head="date;v", separator=";"),
    "remarks": "# made\n# by hand\n" + table(ISO),
    "a row per series": "name," + ",".join(ISO) + "\nv," + ",".join(map(str, VALUES)) + "\n",
    "a row per series, with places": "Name,Lat,Long,"
    + ",".join(f"{x.month}/{x.day}/{x:%y}" for x in DAYS)
    + "\nv,1.5,2.5,"
    + ",".join(map(str, VALUES)),
    "gzip": gzip.compress(table(ISO).encode()),
    "xz": lzma.compress(table(ISO).encode()),
    "bzip2": bz2.compress(table(ISO).encode()),
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


def test_a_zip_of_one_file_is_read_and_one_of_two_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", table(ISO))
    np.testing.assert_allclose(only(read(tmp_path, buffer.getvalue(), "a.csv.zip")), VALUES)

    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("b.csv", table(ISO))
    with pytest.raises(TableError, match=r"holds 2 files, not one: 'a\.csv', 'b\.csv'"):
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
        (pd.date_range("2024-01-31", periods=40, freq="BME"), "BME", "2027-05-31"),
        (pd.date_range("2024-01-01", periods=40, freq="BMS"), "BMS", "2027-05-03"),
        ([f"{2024 + i // 12}-{i % 12 + 1}-15" for i in range(40)], "MS", "2027-05-15"),
        ([f"{2024 + i // 12}-{i % 12 + 1}-{3 + i % 3}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}-{i % 12 + 1:02}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}M{i % 12 + 1}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{2024 + i // 12}{i % 12 + 1:02}" for i in range(40)], "MS", "2027-05-01"),
        ([f"{i % 12 + 1}/{2024 + i // 12}" for i in range(40)], "MS", "2027-05-01"),
        (pd.date_range("2024-01-01", periods=40, freq="MS").strftime("%b-%y"), "MS", "2027-05-01"),
        ([f"{1949 + i / 12:.4f}" for i in range(40)], "MS", "1952-05-01"),
        ([f"01/{i % 12 + 1:02}/{2024 + i // 12}" for i in range(40)], "MS", "2027-05-01"),
        (pd.date_range("2024-01-01", periods=40, freq="QS"), "QS-JAN", "2034-01-01"),
        (pd.date_range("2024-03-31", periods=40, freq="QE"), "QE-MAR", "2034-03-31"),
        ([f"{2024 + i // 4}-Q{i % 4 + 1}" for i in range(40)], "QS-JAN", "2034-01-01"),
        ([f"Q{i % 4 + 1} {2024 + i // 4}" for i in range(40)], "QS-JAN", "2034-01-01"),
        ([f"2024-W{i + 1:02}" for i in range(40)], "W-MON", "2024-10-07"),
        (pd.date_range("2024-01-01", periods=40, freq="6MS"), "6MS", "2044-01-01"),
        (range(1700, 1740), "YS-JAN", "1740-01-01"),
        (pd.date_range("1980-06-30", periods=40, freq="YE-JUN"), "YE-JUN", "2020-06-30"),
        ([f"{1980 + i}/{(81 + i) % 100:02}" for i in range(40)], "YS-JAN", "2020-01-01"),
        (range(1800, 2200, 10), "120MS", "2200-01-01"),
    ],
)  # fmt: skip
def test_steps_are_found_and_go_on(times, freq, after, tmp_path):
    found = read(tmp_path, table(times))

    series = only(found)
    np.testing.assert_allclose(series, VALUES)
    assert found.freq == freq
    assert times_after(series.index, 3)[0] == pd.Timestamp(after)


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("15min", 96), ("min", 1440), ("7h", 1), ("s", 3600), ("10s", 360), ("10ms", 1),
     ("D", 7), ("28D", 1), ("B", 5), ("W-SUN", 52), ("2W", 26), ("MS", 12), ("ME", 12), ("BME", 12),
     ("6MS", 2), ("120MS", 1), ("QS-JAN", 4), ("QE-DEC", 4), ("YS-JAN", 1), ("YE-DEC", 1),
     (None, 1)],
)  # fmt: skip
def test_steps_have_usual_seasons(freq, season):
    assert usual_season(freq) == season


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


def test_a_value_that_usually_stands_for_none_is_told_of(tmp_path):
    said = "-9999 taken as a value in 2 rows of 'v': is it one?"

    wild = read(tmp_path, table(ISO, [-9999, *VALUES[:38], -9999]))
    low = read(tmp_path, table(ISO, np.linspace(-9999, 0, 40)))

    assert said in wild.notes
    assert not any("-9999" in x for x in low.notes)


def test_holidays_are_gaps_between_business_days(tmp_path):
    days = pd.date_range("2024-01-01", periods=41, freq="B").delete(10)

    found = read(tmp_path, table(days))

    assert found.freq == "B"
    assert np.flatnonzero(only(found).isna()).tolist() == [10]


def test_times_that_are_a_little_off_are_rounded_and_it_is_told(tmp_path):
    late = np.random.default_rng(0).integers(0, 20, 40)
    times = pd.date_range("2024-01-01", periods=40, freq="5min")

    found = read(tmp_path, table(times + pd.to_timedelta(late, "s")))
    moved = pd.date_range("2024-01-01", periods=40, freq="7D").insert(
        10, pd.Timestamp("2024-03-12")
    )
    week = read(tmp_path, table(moved.delete(11)))

    assert (only(found).index == times).all()
    assert "times rounded to 5min" in found.notes
    assert (only(week).index == pd.date_range("2024-01-01", periods=40, freq="7D")).all()


def test_clocks_that_were_moved_leave_no_gap_and_no_double_hour(tmp_path):
    autumn = pd.date_range("2024-10-26 12:00", periods=40, freq="h", tz="Europe/Berlin")
    days = pd.date_range("2024-03-10", periods=40, tz="Europe/Berlin")

    found, of_days = read(tmp_path, table(autumn)), read(tmp_path, table(days))

    assert only(found).notna().all()
    assert any("in UTC" in x for x in found.notes)
    assert (only(of_days).index == days.tz_localize(None)).all()


def test_the_last_of_a_few_double_rows_counts_and_it_is_told(tmp_path):
    hours = pd.date_range("2024-10-01", periods=800, freq="h", tz="Europe/Berlin").tz_localize(None)

    found = read(tmp_path, table(hours, range(800)))

    series = only(found)
    assert series["2024-10-27 02:00"] == 627
    assert "1 rows left out, whose time a later row has too" in found.notes


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


def test_even_seconds_are_steps_and_no_series(tmp_path):
    found = read(tmp_path, table([f"{i / 10:.1f}" for i in range(40)], head="time,v"))

    np.testing.assert_allclose(only(found), VALUES)
    assert list(found.series) == ["v"]


# Which series.


def test_columns_are_series_even_if_their_names_count(tmp_path):
    wide = pd.DataFrame({f"s{i}": VALUES + i for i in range(12)}, pd.Index(ISO, name="date"))

    for text in (wide.to_csv(), wide.to_csv(index=False)):
        found = read(tmp_path, text)
        assert list(found.series) == [f"s{i}" for i in range(12)]
        np.testing.assert_allclose(found.series["s7"], VALUES + 7)


LONG = pd.DataFrame(
    {"shop": np.repeat(["b", "a", "007", "7", "NA"], 40), "date": np.tile(ISO, 5),
     "sales": np.tile(VALUES, 5) + np.repeat(np.arange(5), 40)}
)  # fmt: skip


def test_a_column_of_text_tells_series_apart_by_its_words(tmp_path):
    for frame in (LONG, LONG.sample(frac=1, random_state=0)):
        found = read(tmp_path, frame.to_csv(index=False))

        assert set(found.series) == {"b", "a", "007", "7", "NA"}
        np.testing.assert_allclose(found.series["007"], VALUES + 2)


def test_as_few_columns_as_tell_series_apart_are_taken(tmp_path):
    towns = LONG["shop"].map({"b": "X", "a": "X", "007": "Y", "7": "Y", "NA": "Y"})
    frame = pd.concat([LONG.assign(town=towns, kind=x, row=range(200)) for x in ("new", "old")])

    found = read(tmp_path, frame.assign(id=range(400)).to_csv(index=False))
    of_both = read(tmp_path, LONG.assign(town=towns, price=2.5).to_csv(index=False))

    assert set(found.series) == {f"{x}/{y}" for x in LONG["shop"] for y in ("new", "old")}
    assert set(of_both.series) == {f"{x}/{y}" for x in LONG["shop"] for y in ("sales", "price")}


def test_whole_numbers_that_come_at_every_time_tell_series_apart(tmp_path):
    frame = LONG.assign(shop=np.repeat([3, 1, 2, 5, 4], 40)).rename(columns={"shop": "region"})

    found = read(tmp_path, frame.to_csv(index=False))

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


def test_a_date_and_an_hour_are_one_time(tmp_path):
    hours = pd.date_range("2024-01-01", periods=40, freq="h")
    days = hours.strftime("%d.%m.%Y")
    ways = {
        "from 0": (hours.hour, "Date;Hour;v"),
        "from 1": (hours.hour + 1, "Date;Hour;v"),
        "clock": (hours.strftime("%H:%M:%S"), "Date;Time;v"),
    }
    for clock, head in ways.values():
        rows = [f"{x};{y};{z}" for x, y, z in zip(days, clock, VALUES, strict=True)]
        series = only(read(tmp_path, "\n".join([head, *rows])))
        assert (series.index == hours).all()


def test_a_row_per_year_and_a_column_per_month_is_one_series(tmp_path):
    names = pd.date_range("2024-01-01", periods=12, freq="MS").strftime("%b")
    values = np.arange(48.0)
    rows = [f"{2000 + i}," + ",".join(map(str, values[12 * i : 12 * i + 12])) for i in range(4)]

    found = read(tmp_path, "\n".join(["Year," + ",".join(names), *rows]))

    np.testing.assert_array_equal(only(found), values)
    assert found.freq == "MS"


def test_rows_are_series_in_the_ways_of_competitions_and_banks(tmp_path):
    values = ",".join(map(str, VALUES))
    short = ",".join(map(str, VALUES[:30])) + 10 * ","
    competition = (
        '"V1",' + ",".join(f'"V{i + 2}"' for i in range(40)) + f"\nH1,{values}\nH2,{short}\n"
    )
    years = ",".join(f'"{y} [YR{y}]"' for y in range(1980, 2020))
    bank = f"Source,x,\n\nCountry,Code,{years}\nAruba,ABW,{values}\nBenin,BEN,{short}\n"

    found, of_bank = read(tmp_path, competition), read(tmp_path, bank)

    assert {x: len(y) for x, y in found.series.items()} == {"H1": 40, "H2": 30}
    np.testing.assert_allclose(of_bank.series["Aruba"], VALUES)
    assert len(of_bank.series["Benin"]) == 40  # the end is missing
    assert of_bank.series["Aruba"].index[0] == pd.Timestamp("1980-01-01")
    dated = f"n,{','.join(ISO)}\n1,{values}\n2,{values}\n"
    assert list(read(tmp_path, dated).series) == ["1", "2"]


# Parquet and the Monash archive.


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


def test_lists_in_parquet_are_series(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet is read by pyarrow")
    rows = {"item_id": ["a", "b"], "target": [VALUES, VALUES[:30]], "season": [7, 7]}
    times = {"timestamp": [DAYS.to_numpy(), DAYS[:30].to_numpy()]}
    for columns in (rows, rows | times):
        path = tmp_path / "lists.parquet"
        pd.DataFrame(columns).to_parquet(path)
        found = read_series(path)
        assert {x: len(y) for x, y in found.series.items()} == {"a": 40, "b": 30}
        assert found.freq == ("D" if "timestamp" in columns else None)


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

NUMBERED = ",".join(f"{x}" for x in ISO)
REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "a head alone": ("date,v\n", "no rows below its head: 'date', 'v'"),
    "one row": ("date,v\n2024-01-01,5\n", "a step cannot be told from series of one line"),
    "no head": (table(ISO, head="2024-01-01,5"), "begins with a row of values"),
    "a head of numbers": ("1\n2\n3\n", "begins with numbers, '1'"),
    "no numbers": ("name,town\na,b\nc,d\n", "no column holds numbers to forecast"),
    "nothing but gaps": (table(ISO, ["NA"] * 40), "no column holds numbers to forecast"),
    "one cell that is no number": (
        table(ISO, ["12*" if i == 5 else x for i, x in enumerate(VALUES)]),
        r"the column 'v' holds '12\*' in line 7, no number",
    ),
    "a unit below the head": (table(["", *ISO], ["EUR", *VALUES]), "line 2 has no time in 'date'"),
    "a sum at the end": (table(ISO) + "Total,4000\n", "holds times, but 'Total' in line 42"),
    "a row without a time": (table(["", *ISO[1:]]), "line 2 has no time in 'date'"),
    "a day that is none": (table(["2024-02-30", *ISO[1:]]), "'2024-02-30' in line 2 of 'date'"),
    "dates in two ways": (table(["13.01.2024", *ISO[1:]]), r"but '13\.01\.2024' in line 2"),
    "two ways to read dates": (
        table([f"0{i}/02/2024" for i in range(1, 10)]),
        r"such as '01/02/2024', can be read with the day first or with the month first",
    ),
    "days without a year": (table(DAYS.strftime("%d-%b")), "'01-Jan' in line 2 of 'date'"),
    "days without a year, like months": (table(DAYS.strftime("%b-%d")), "'Jan-01' in line 2"),
    "hours without a day": (table([f"{i:02}:00" for i in range(24)], head="time,v"), "'00:00' in"),
    "uneven numbers of times": (
        table([f"{i * i / 10}" for i in range(40)], head="time,v"), "'time' does not hold times",
    ),
    "a year that is none": (
        table([1980 + i if i != 7 else 198 for i in range(40)], head="year,v"),
        "'year' holds years, but 198 in line 9",
    ),
    "a year twice": (
        table([1980, *range(1980, 2019)], head="year,v"), "two rows of 1980-01-01",
    ),
    "two rows of a time": (table([ISO[0], *ISO[:39]]), "two rows of 2024-01-01 00:00:00, and no"),
    "series without a name": (
        LONG.drop(columns="shop").to_csv(index=False), "no column was found that tells",
    ),
    "a name on the first row alone": (
        LONG.assign(shop=[x if i % 40 == 0 else "" for i, x in enumerate(LONG["shop"])])
        .to_csv(index=False), "'shop' is empty in line 3",
    ),
    "uneven times": (
        table(pd.to_datetime(np.random.default_rng(0).integers(1_600_000_000, 1_700_000_000, 40),
                             unit="s").sort_values()),
        "its times are uneven: steps from",
    ),
    "days now and then": (
        table(DAYS[0] + pd.to_timedelta(np.cumsum(np.arange(1, 41) % 27 + 5), "D")), "uneven",
    ),
    "an end of time": (table(["9999-12-31", *ISO[1:]]), "Is one of its times wrong"),
    "a start of time": (
        table([pd.Timestamp(0), *pd.date_range("2024-01-01", periods=39, freq="s")]),
        "Is one of its times wrong",
    ),
    "two steps": (
        pd.DataFrame({"unique_id": ["a"] * 20 + ["b"] * 20,
                      "ds": [*pd.date_range("2000-01-01", periods=20, freq="MS"),
                             *pd.date_range("1980-01-01", periods=20, freq="YS")],
                      "y": VALUES}).to_csv(index=False),
        "'b' has rows at 20 of 229 steps of MS",
    ),
    "an infinite value": (table(ISO, ["inf", *VALUES[1:]]), "'v' is infinite at 2024-01-01"),
    "numbers in two ways": (
        table(ISO, [f'"{x}"'.replace(".", ",") if i % 2 else x for i, x in enumerate(VALUES)]),
        "numbers are written in two ways",
    ),
    "thousands or decimals": (
        table(ISO, [f"{i + 1},{i + 100}" if i % 2 else "5" for i in range(40)],
              head="date\tv", separator="\t"),
        "may be 2 and three decimals, or thousands",
    ),
    "too many cells": (table(ISO) + "2024-03-01,1,2,3\n", "line 42 has 4 cells, and the head 2"),
    "an open quote": (table(ISO) + '2024-03-01,"5\n2024-03-02,6\n', "cannot be read as CSV"),
    "equal names of rows": (
        f"name,{NUMBERED}\na,{','.join(map(str, VALUES))}\na,{','.join(map(str, VALUES))}\n",
        "each row is a series, and 'name' does not tell them apart",
    ),
    "a row per series, one of its times broken": (
        f"name,{NUMBERED.replace('01-05', '01-5x')}\na,{','.join(map(str, VALUES))}\n",
        "its columns are named by times, but for '2024-01-5x'",
    ),
    "a broken time beside another column of times": (
        table(ISO, [f"{y},{x}" for x, y in zip(ISO, VALUES, strict=True)], head="date,v,seen")
        .replace("2024-01-05,", "2024-01-5x,", 1),
        "'date' holds times, but '2024-01-5x' in line 6",
    ),
    "a row per series without names": (
        f"{NUMBERED}\n{','.join(map(str, VALUES))}\n", "its columns are named by times",
    ),
    "equal names of series": (
        pd.DataFrame({"x": ["a", "a/b", "a", "a/b"] * 40, "y": ["b/c", "c", "c", "b/c"] * 40,
                      "date": np.repeat(ISO, 4), "v": 1.5}).to_csv(index=False),
        "two series of the name 'a/b/c'",
    ),
    "not text": (bytes(range(256)) * 4, "is not text"),
    "zeros between": (table(ISO).replace("2024", "2\x0024").encode(), "is not text"),
    "a web page": ("<!DOCTYPE html>", "is HTML or XML"),
    "JSON": ('[{"date": "2024-01-01"}]', "is JSON"),
    "parquet": (b"PAR1....PAR1", r"is parquet: let its name end with \.parquet"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook"),
    "half of a gzip": (gzip.compress(table(ISO).encode())[:-20], "is compressed, and damaged"),
    "half of an xz": (lzma.compress(table(ISO).encode())[:-20], "is compressed, and damaged"),
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
        ("daily", "1996-13-04 00-00-00", "is no time, as 2024-12-31 18-00-00"),
        ("daily", "1996-07-04:", "has 3 attributes, and the head 2"),
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
