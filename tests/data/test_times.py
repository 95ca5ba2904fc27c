"""Times in any unit and form: the same instants give the same dataset; what cannot be told apart is refused."""

import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import prepare
from vip5.data.options import PrepareOptions
from vip5.data.tables import read_table
from vip5.errors import UserError

FIRST, LAST = 10**8 * 10**6, 4 * 10**9 * 10**6  # 1973 and 2096, in microseconds


def seconds(
    folder: Path, values: list, notes: list[str] | None = None, name: str = "timestamp", **options: str
) -> list:
    """The timestamps that `values`, a column of a csv, are read as."""
    table = folder / "t.csv"
    table.write_text(f"user;item;{name}\n" + "".join(f"u;i{n};{value}\n" for n, value in enumerate(values)))
    report = notes.append if notes is not None else str
    return read_table(table, "interactions", None, PrepareOptions(**options), report).frame["timestamp"].to_list()


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(FIRST, LAST), min_size=3, max_size=6, unique=True), st.sampled_from([1, 10**3, 10**6]))
def test_the_same_instants_in_any_unit_are_the_same_dataset(instants: list[int], step: int) -> None:
    """Whole microseconds, milliseconds or seconds, written in every unit that holds them, as dates and as times."""
    instants = [instant // step * step for instant in instants]
    dated = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant) for instant in instants]
    columns: list[pl.Series] = [
        pl.Series(instants),
        pl.Series([instant * 1000 for instant in instants]),
        pl.Series([str(instant) for instant in instants]),
        pl.Series([when.isoformat() for when in dated]),
        pl.Series([when.replace(tzinfo=None) for when in dated], dtype=pl.Datetime("us")),
        pl.Series([f"{instant // 10**6}.{instant % 10**6:06}" for instant in instants]),
    ]
    if step >= 10**3:
        columns.append(pl.Series([instant // 10**3 for instant in instants]))
        columns.append(pl.Series(dated, dtype=pl.Datetime("ms", "UTC")))
    if step == 10**6:
        columns.append(pl.Series([instant // 10**6 for instant in instants]))
        columns.append(pl.Series([float(instant // 10**6) for instant in instants]))
        columns.append(pl.Series([when.strftime("%d.%m.%Y %H:%M:%S") for when in dated]))
    hashes = set()
    with tempfile.TemporaryDirectory() as place:
        for values in columns:
            table = pl.DataFrame({"user": ["u"] * len(values), "item": [f"i{n}" for n in range(len(values))]})
            table.with_columns(values.alias("timestamp")).write_parquet(f"{place}/t.parquet")
            form = "%d.%m.%Y %H:%M:%S" if "." in str(values[0])[2:3] else None
            made = prepare(f"{place}/out", interactions=f"{place}/t.parquet", date_format=form, overwrite=True)
            hashes.add(made.hash)
            assert step < 10**6 or made.interactions["timestamp"].dtype == pl.Int64
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("values", "expected", "unit"),
    [
        (["1393200000", "1393200001"], [1393200000, 1393200001], None),
        (["1393200000000", "1393200001000"], [1393200000, 1393200001], "in milliseconds"),
        (["1393200000000", "1393200000500"], [1393200000, 1393200000.5], "in milliseconds"),
        (["1393200000000000", "-1393200000000000"], [1393200000, -1393200000], "in microseconds"),
        (["1393200000123456789", "1393200000123456000"], [1393200000.123456] * 2, "in nanoseconds"),
        (["20140224", "19991231"], [1393200000, 946598400], "dates as YYYYMMDD"),
        (["20140224", "20140230"], [20140224, 20140230], None),  # no day: plain numbers
        (["99999999", "100000001"], [99999999, 100000001], None),  # numbers that go on across the limit
        (["0", "7"], [0, 7], None),
    ],
)
def test_units_by_hand(tmp_path: Path, values: list[str], expected: list, unit: str | None) -> None:
    notes: list[str] = []
    assert seconds(tmp_path, values, notes) == expected
    assert notes == ([f"timestamps of {tmp_path}/t.csv are {unit}: taken as seconds"] if unit else [])


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["1393200000000", "1393200001"], "row 2: 1393200000000, milliseconds; row 3: 1393200001, seconds"),
        (["1393200000", "1393200001000000"], "row 2: 1393200000, seconds; row 3: 1393200001000000, microseconds"),
        (["1393200000", "0"], "row 2: 1393200000, seconds; row 3: 0, plain numbers"),
        (["20140224", "1393200000"], "row 2: 20140224, plain numbers; row 3: 1393200000, seconds"),
        (["2014-02-24", "1393200001"], "row 2: 2014-02-24, a date; row 3: 1393200001, a number"),
        (["7", "2014-02-24T10:00Z", "9"], "row 2: 7, a number; row 3: 2014-02-24T10:00Z, a date"),
    ],
)
def test_two_units_in_one_column_are_refused(tmp_path: Path, values: list[str], places: str) -> None:
    with pytest.raises(UserError) as caught:
        seconds(tmp_path, values)
    assert str(caught.value) == f"timestamps of two kinds ({tmp_path}/t.csv, {places}): write all of them alike"


def test_digits_that_a_spreadsheet_has_cut(tmp_path: Path) -> None:
    for value in ("1.39E+12", "1e9", "1.3932E+12"):
        with pytest.raises(UserError, match=r"has lost its last digits \(.*t.csv, row 3\): "):
            seconds(tmp_path, ["1393200000.5", value])
    assert seconds(tmp_path, ["1.393200000123E+12", "1393200000000"]) == [1393200000.123, 1393200000]
    with pytest.raises(UserError, match=r"timestamp 1,39E\+12 has lost"):
        seconds(tmp_path, ["1,39E+12"], decimal=",")


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        ("%d.%m.%Y", ["28.02.2014", "01.03.2014"], [1393545600, 1393632000]),
        ("%m/%d/%Y %I:%M %p", ["02/28/2014 10:30 AM", "02/28/2014 10:30 PM"], [1393583400, 1393626600]),
        (
            "%d %b %Y %H:%M:%S %z",
            ["28 Feb 2014 01:00:00 +0100", "28 Feb 2014 01:00:01 +0000"],
            [1393545600, 1393549201],
        ),
        ("%Y%m%d", ["20140228", "20140301"], [1393545600, 1393632000]),
        ("%y%m%d", ["140228", "140301"], [1393545600, 1393632000]),
    ],
)
def test_a_form_of_dates_that_is_given(tmp_path: Path, form: str, values: list[str], expected: list[int]) -> None:
    assert seconds(tmp_path, values, date_format=form) == expected


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%Y-%m", "{0}", "%Q", ""])
def test_dates_of_another_form_are_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(UserError, match=r"'02/28/2014' is not written as --date-format .* has it \(.*row 2\): "):
        seconds(tmp_path, ["02/28/2014"], date_format=form)
    with pytest.raises(UserError, match=r"'02/28/2014' is neither .*: mend it, name its form with --date-format"):
        seconds(tmp_path, ["02/28/2014"])


@pytest.mark.parametrize(
    ("days", "times", "expected"),
    [
        (["2020-01-02", "2020-01-01"], ["0830", "2130"], [1577953800, 1577914200]),
        (["2020-01-02", "2020-01-01"], ["830", "5"], [1577953800, 1577837100]),  # numbers lose their zeros
        (["20200102", "20200101"], ["08:30:15", "9:30 PM"], [1577953815, 1577914200]),
        (["1577923200000", "1577836800000"], ["08:30", "21:30:00.5"], [1577953800, 1577914200.5]),
    ],
)
def test_dates_and_times_of_day_are_joined(tmp_path: Path, days: list[str], times: list[str], expected: list) -> None:
    notes: list[str] = []
    rows = [f"{day};{time}" for day, time in zip(days, times, strict=True)]
    assert seconds(tmp_path, rows, notes, "Date;time") == expected
    assert notes == [f"columns 'Date' and 'time' of {tmp_path}/t.csv are joined to the time"]


def test_dates_and_times_of_day_in_their_own_types(tmp_path: Path) -> None:
    table = {"user": ["u"], "item": ["i"], "Datum": [date(2020, 1, 2)], "Zeit": [time(8, 30)]}
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    joined = read_table(tmp_path / "t.parquet", "interactions", {"Datum": "date", "Zeit": "time"})
    assert joined.frame["timestamp"].to_list() == [1577953800] and "date" not in joined.frame.columns
    with pytest.raises(UserError, match=r"'Zeit' holds times of day without a date \(.*parquet\): name a column with"):
        read_table(tmp_path / "t.parquet", "interactions", {"Zeit": "timestamp"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2020-01-02;noon", r"time 'noon' is no time of day like 08:30 \(.*row 2\): .*--map date=timestamp"),
        ("2020-01-02;2460", r"time '2460' is no time of day"),
        ("2020-01-02;1577953800", r"time '1577953800' is no time of day"),
        ("5;0830", r"'date' holds other values than dates \(.*\): .*--map date=timestamp or --map time=timestamp"),
        ("2020-01-02 10:00;0830", r"'date' holds other values than dates"),
        ("2020-13-02;0830", r"date '2020-13-02' is neither a number nor a date"),
    ],
)
def test_dates_and_times_that_cannot_be_joined(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        seconds(tmp_path, [row], name="date;time")


def test_which_of_several_columns_is_the_time_is_said(tmp_path: Path) -> None:
    cases = [
        ("time;date;ts", "1;2;3", 3, "the time is column 'ts' of {}, not 'time' or 'date'"),
        ("time;unixtime", "1;1393200000000", 1393200000, "the time is column 'unixtime' of {}, not 'time', in "
         "milliseconds: taken as seconds"),
        ("date", "20140224", 1393200000, "the time is column 'date' of {}, dates as YYYYMMDD: taken as seconds"),
        ("timestamp;time", "5;6", 5, "the time is column 'timestamp' of {}, not 'time'"),
        ("time", "0830", 830, "the time is column 'time' of {}"),
        ("Timestamp", "5", 5, None),
    ]  # fmt: skip
    for names, row, expected, note in cases:
        notes: list[str] = []
        assert seconds(tmp_path, [row], notes, names) == [expected]
        assert [said for said in notes if "not used" not in said] == ([note.format(tmp_path / "t.csv")] if note else [])
    assert read_table(tmp_path / "t.csv", "interactions", {"Timestamp": "timestamp"}, report=notes.append)
    assert not notes


def test_reviews_are_split_by_time_across_units(tmp_path: Path) -> None:
    """A review of no purchase, three days after the test purchase, is for the test whatever unit either file has."""
    start, day = 1_600_000_000, 86_400
    said = {"s": [start, start + 6 * day], "iso": ["2020-09-13T12:26:40", "2020-09-19T12:26:40"]}
    for unit in (1, 1000, 10**6):
        buys = "".join(f"u,i{n},{(start + n * day) * unit}\n" for n in range(4))
        (tmp_path / "buys.csv").write_text("user,item,timestamp\n" + buys)
        for times in said.values():
            rows = f"u,i0,{times[0]},It is good for me.\nu,later,{times[1]},I liked it later.\n"
            (tmp_path / "reviews.csv").write_text("user,item,timestamp,text\n" + rows)
            (tmp_path / "items.csv").write_text("item\n" + "".join(f"i{n}\n" for n in range(4)) + "later\n")
            tables = {name: tmp_path / f"{name}.csv" for name in ("interactions", "reviews", "items")}
            tables["interactions"] = tmp_path / "buys.csv"
            for split in ("leave-one-out", "time"):
                made = prepare(tmp_path / "out", **tables, split=split, overwrite=True)
                assert made.reviews["split"].to_list() == ["train", "test"]
