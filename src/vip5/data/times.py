"""A column of times, in whatever unit or form it is written, as seconds since 1970."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, NoReturn

import polars as pl

from vip5.data.numbers import whole, with_point
from vip5.data.options import PrepareOptions
from vip5.data.schema import time_columns
from vip5.data.table import Clock, Table
from vip5.errors import UserError

_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
_TIMES_OF_DAY = ("%H:%M", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p")
# A unit's name, the size that its numbers have at least, how many are a second. Seconds are those of 1973 to 5138.
_UNITS = (
    ("plain numbers", 0, 1),
    ("seconds", 1e8, 1),
    ("milliseconds", 1e11, 10**3),
    ("microseconds", 1e14, 10**6),
    ("nanoseconds", 1e17, 10**9),
)
_DATES = 19000101, 21001231  # whole numbers that may be dates, YYYYMMDD
_APART = 10  # plain numbers and seconds are one unit only where they lie nearer to each other than this factor
_DAY = 86400


class Times(NamedTuple):
    """seconds: Int64 where all are whole, else Float64; plain numbers stay. unit: what they were, where no seconds.

    clock is None where there is no value at all.
    """

    seconds: pl.Series
    clock: Clock | None
    unit: str | None = None


def with_timestamps(table: Table, reading: PrepareOptions) -> tuple[Table, str | None]:
    """The table with its times as seconds, in place of a column of dates and one of times too; and their unit before.

    Raises: UserError for what is no time, for times in more than one unit, and for dates and times that cannot be
    joined.
    """
    frame = table.frame
    name = next((name for name in ("timestamp", "date") if name in frame.columns), None)
    if name is None:
        return table, None
    try:
        times = read_times(table, clean(frame[name]), reading) if name == "timestamp" else _joined(table, reading)
    except pl.exceptions.PolarsError:
        raise UserError(f"column {name!r} holds {frame[name].dtype} ({table.file}): give plain values") from None
    frame.replace_column(frame.get_column_index(name), times.seconds.alias("timestamp"))
    if name == "date":
        frame.drop_in_place("time")
    return replace(table, clock=times.clock), times.unit


def note_on_time(table: Table, mapping: Mapping[str, str], unit: str | None) -> str | None:
    """What to say of how the time of a table was found, in `unit`; None where there was nothing to decide."""
    if table.clock is None:
        return None
    if "date" in table.spelled:
        names = [table.spelled[ours] for ours in ("date", "time")]
        return f"columns {names[0]!r} and {names[1]!r} of {table.file} are joined to the time"
    name = table.spelled["timestamp"]
    others = [other for other in time_columns(table.names) if other != name and other not in mapping]
    taken = f", {unit}: taken as seconds" if unit else ""
    if name in mapping or (name.lower() == "timestamp" and not others):
        return f"timestamps of {table.file} are {unit}: taken as seconds" if unit else None
    rather = f", not {' or '.join(map(repr, others))}" if others else ""
    return f"the time is column {name!r} of {table.file}{rather}{taken}"


def read_times(table: Table, values: pl.Series, reading: PrepareOptions) -> Times:
    """A column of `table` as times; the unit of numbers follows from their size, dates are UTC if they name no zone.

    Raises: UserError as `with_timestamps`.
    """
    if values.dtype == pl.Time:
        what = f"{_spelled(table, values.name)!r} holds times of day without a date ({table.file})"
        raise UserError(f"{what}: name a column with dates as well, with --map THEIRS=date")
    if values.dtype.is_temporal():
        return Times(_divided(values.dt.epoch("us"), 10**6), "time")
    if reading.date_format is not None:
        return Times(_by_format(table, values, reading.date_format), "time")
    values = values.fill_nan(None) if values.dtype.is_float() else values
    numbers = _numbers(values, reading.decimal)
    if numbers.null_count() > values.null_count():
        dates = _iso_dates(values)
        bad = values.is_not_null() & numbers.is_null() & dates.is_null()
        what = f"{values.name} {{{values.name}!r}} is neither a number nor a date like 2014-02-28 10:30:00"
        table.refuse(bad, what, "mend it, name its form with --date-format, or leave the whole column out")
        if numbers.count():
            _mixed(table, values, (numbers.is_not_null(), "a number"), (dates.is_not_null(), "a date"))
        return Times(_divided(dates, 10**6), "time")
    _refuse_cut(table, values, numbers)
    return _from_numbers(table, values, numbers)


def _numbers(values: pl.Series, decimal: str) -> pl.Series:
    """Int64 where all values are written so, else Float64; null where they are no finite numbers."""
    plain = with_point(values, decimal)
    if not plain.dtype.is_float():
        integers = plain.cast(pl.Int64, strict=False)
        if integers.null_count() == values.null_count():
            return integers
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(True), None)


def _iso_dates(values: pl.Series) -> pl.Series:
    """Microseconds of texts like 2014-02-28, 2014-02-28 10:30 and 2014-02-28T10:30:00.5+01:00; null for others."""
    texts = values.cast(pl.String).str.replace("T", " ", literal=True).str.replace(r"\s*(?:Z|UTC)$", "+00:00")
    text = pl.col(values.name)
    dates = [text.str.to_datetime(form, time_unit="us", strict=False, time_zone="UTC") for form in _FORMATS]
    return texts.to_frame().select(pl.coalesce(date.dt.epoch("us") for date in dates)).to_series()


def _by_format(table: Table, values: pl.Series, form: str) -> pl.Series:
    """Seconds of dates written as `form` (strptime) says."""
    texts = (whole(values.fill_nan(None)) if values.dtype.is_float() else values).cast(pl.String)
    dates = texts.str.to_datetime(form, time_unit="us", strict=False, time_zone="UTC")
    what = f"{values.name} {{{values.name}!r}} is not written as --date-format {_braces(form)} has it"
    remedy = "mend it or the format, which takes a day, a month and a year, as %d.%m.%Y"
    table.refuse(texts.is_not_null() & dates.is_null(), what, remedy)
    return _divided(dates.dt.epoch("us"), 10**6)


def _from_numbers(table: Table, values: pl.Series, numbers: pl.Series) -> Times:
    """Seconds of numbers, which are dates where all may be, or in one unit; else UserError."""
    if not numbers.count():
        return Times(numbers.cast(pl.Int64), None)
    if (days := _days(numbers)) is not None:
        return Times(days, "time", "dates as YYYYMMDD")
    size = numbers.abs()
    low, (high, least, per_second) = (_unit(edge(size)) for edge in (_min, _max))
    if low[0] != high:
        above = (size >= least).fill_null(False)
        # Plain numbers and seconds that follow on each other are one range, across the limit between the two.
        if high != "seconds" or _max(size.filter(~above)) * _APART < _min(size.filter(above)):
            _mixed(table, values, (~above & size.is_not_null(), low[0]), (above, high))
    if per_second == 1:
        return Times(whole(numbers), "numbers" if high == "plain numbers" else "time")
    return Times(_divided(numbers, per_second), "time", f"in {high}")


def _days(numbers: pl.Series) -> pl.Series | None:
    """Seconds of whole numbers that all are dates YYYYMMDD, else None."""
    if _min(numbers) < _DATES[0] or _max(numbers) > _DATES[1]:
        return None
    written = whole(numbers).cast(pl.String).alias("written").to_frame()
    days = written.unique().with_columns(pl.col("written").str.to_date("%Y%m%d", strict=False).alias("day"))
    if days["day"].null_count() > days["written"].null_count():
        return None
    joined = written.join(days, on="written", how="left", maintain_order="left")
    return joined["day"].dt.epoch("s").cast(pl.Int64)


def _divided(numbers: pl.Series, per_second: int) -> pl.Series:
    """Int64 where all are whole seconds, else Float64. Finer than a microsecond a Float64 is not: the rest is cut."""
    if numbers.dtype == pl.Int64:
        if (numbers % per_second == 0).all():
            return numbers // per_second
        cut = max(per_second // 10**6, 1)
        numbers, per_second = numbers // cut, per_second // cut
    # By NumPy, whose quotient is the nearest number there is: Polars multiplies by the inverse.
    return whole(pl.Series(numbers.name, numbers.to_numpy() / per_second).fill_nan(None))


def _refuse_cut(table: Table, values: pl.Series, numbers: pl.Series) -> None:
    """UserError for times like 1.39E+12, of which a spreadsheet has kept the first digits alone."""
    if values.dtype != pl.String or numbers.dtype != pl.Float64:
        return
    text = pl.col(values.name)
    shown = text.str.extract(r"^[+-]?\d(?:[.,](\d*))?[eE]\+?\d+$").fill_null("").str.len_chars()
    power = text.str.extract(r"[eE]\+?(\d+)$").cast(pl.Int64, strict=False)
    cut = values.to_frame().select((shown < power) & (numbers.abs() >= _UNITS[1][1])).to_series().fill_null(False)
    remedy = "in the spreadsheet, give the column the format of a number without decimals, and save it again"
    table.refuse(cut, f"{values.name} {{{values.name}}} has lost its last digits", remedy)


def _joined(table: Table, reading: PrepareOptions) -> Times:
    """Seconds of a column of dates and a column of times of day."""
    days = read_times(table, clean(table.frame["date"]), reading)
    date, time = (_spelled(table, name) for name in ("date", "time"))
    if days.clock != "time" or (days.seconds % _DAY != 0).any():
        what = f"{date!r} and {time!r} are not a date and a time of day, {date!r} holds other values than dates"
        raise UserError(
            f"{what} ({table.file}): say which to order by, --map {date}=timestamp or --map {time}=timestamp"
        )
    values = clean(table.frame["time"])
    seconds = _time_of_day(values)
    remedy = f"mend it, or order by {date!r} alone with --map {date}=timestamp"
    bad = seconds.is_null() & values.is_not_null()
    table.refuse(bad, f"{_braces(time)} {{time!r}} is no time of day like 08:30", remedy)
    return Times(whole(days.seconds.cast(pl.Float64) + seconds), "time")


def _time_of_day(values: pl.Series) -> pl.Series:
    """Seconds since midnight (Float64) of 08:30, 08:30:15, 8:30 pm, 0830 or 830; null for others."""
    if values.dtype == pl.Time:
        return values.cast(pl.Int64) / 1e9
    texts = (whole(values.fill_nan(None)) if values.dtype.is_float() else values).cast(pl.String)
    text = pl.col(values.name)
    four = pl.when(text.str.contains(r"^\d{1,4}$")).then(text.str.zfill(4)).str.to_time("%H%M", strict=False)
    others = (text.str.to_time(form, strict=False) for form in _TIMES_OF_DAY)
    return texts.to_frame().select(pl.coalesce(four, *others).cast(pl.Int64) / 1e9).to_series()


def _mixed(table: Table, values: pl.Series, one: tuple[pl.Series, str], other: tuple[pl.Series, str]) -> NoReturn:
    """UserError that names the first row of each kind."""
    seen = []
    for which, kind in (one, other):
        row, value = (column.filter(which)[0] for column in (table.frame["row"], values))
        seen.append((row, f"{table.unit} {row}: {value}, {kind}"))
    places = "; ".join(text for _, text in sorted(seen))
    raise UserError(f"{values.name}s of two kinds ({table.file}, {places}): write all of them alike")


def clean(values: pl.Series) -> pl.Series:
    """Texts without blanks around them, null where nothing is left; other values as they are."""
    if values.dtype.is_decimal():
        return values.cast(pl.Float64)
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    return values.str.strip_chars().replace("", None) if values.dtype == pl.String else values


def _unit(size: float) -> tuple[str, float, int]:
    return next(unit for unit in reversed(_UNITS) if size >= unit[1])


def _min(values: pl.Series) -> float:
    return values.min()  # type: ignore[return-value]


def _max(values: pl.Series) -> float:
    return values.max()  # type: ignore[return-value]


def _spelled(table: Table, ours: str) -> str:
    return table.spelled.get(ours, ours)


def _braces(text: str) -> str:
    """For a message that is formatted."""
    return text.replace("{", "{{").replace("}", "}}")
