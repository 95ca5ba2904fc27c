"""Numbers as people write them: with a decimal point or a decimal comma."""

import polars as pl

from vip5.data.table import Table

# 1234,5 or 1.234,5; a dot without a comma may be either, so it is no number at all
_COMMA = r"^[+-]?(?:\d+(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+)(?:[eE][+-]?\d+)?$"


def with_point(values: pl.Series, decimal: str) -> pl.Series:
    """Texts as with a decimal point, null where they are no number of that kind; other types as they are."""
    if decimal == "." or values.dtype != pl.String:
        return values
    text = pl.col(values.name)
    plain = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return values.to_frame().select(pl.when(text.str.contains(_COMMA)).then(plain)).to_series().alias(values.name)


def read_numbers(table: Table, values: pl.Series, decimal: str) -> pl.Series:
    """Float64, null where `values` is; UserError at the first that is not a finite number."""
    numbers = with_point(values, decimal).cast(pl.Float64, strict=False).fill_nan(None)
    bad = (numbers.is_null() | numbers.is_infinite()) & values.is_not_null()
    if values.dtype.is_float():
        bad &= values.is_not_nan()
    bad = bad.fill_null(False)
    if bad.any():
        other = with_point(values, "," if decimal == "." else ".").filter(bad).cast(pl.Float64, strict=False)
        remedy = f"mend it, or give --decimal {',' if decimal == '.' else '.'}" if other.count() else "mend it"
        table.refuse(bad, f"{values.name} {{{values.name}!r}} is not a number", f"{remedy}, or leave it empty")
    return numbers


def whole(numbers: pl.Series) -> pl.Series:
    """As Int64 where no number has a fraction."""
    if numbers.dtype == pl.Int64:
        return numbers
    exact = (numbers.round() == numbers).all() and not (numbers.abs() >= 2**53).any()
    return numbers.cast(pl.Int64) if exact else numbers
