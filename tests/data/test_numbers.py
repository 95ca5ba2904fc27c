"""Numbers with a decimal point or comma: never silently another number."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data.numbers import with_point
from vip5.data.options import PrepareOptions
from vip5.data.tables import read_table
from vip5.errors import UserError


@given(st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=3))
def test_any_number_as_it_is_written_with_a_comma(number: object) -> None:
    point = f"{number:,}"  # 1,234.500
    comma = point.translate(str.maketrans(",.", ".,"))
    texts = pl.Series("x", [comma, comma.replace(".", "")])
    assert with_point(texts, ",").cast(pl.Float64).to_list() == [float(number)] * 2  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["4.5", "1.234", "12.34,5", "1234.567,8", "1,2,3", "1.234.56,7", ",5", "5,", "x", ""])
def test_what_is_no_number_with_a_comma(text: str) -> None:
    assert with_point(pl.Series("x", [text]), ",").to_list() == [None]


def rating(folder: Path, text: str, decimal: str) -> float:
    (folder / "t.csv").write_text(f"user;item;rating\nu;i;{text}\n")
    return read_table(folder / "t.csv", "interactions", None, PrepareOptions(decimal=decimal)).frame["rating"][0]


def test_a_rating_and_the_remedy(tmp_path: Path) -> None:
    assert rating(tmp_path, "4,5", ",") == rating(tmp_path, "4.5", ".") == 4.5
    for text, decimal in (("4,5", "."), ("4.5", ",")):
        other = ",."[decimal == ","]
        with pytest.raises(
            UserError, match=rf"rating '{text}' is not a number \(.*row 2\): mend it, or give --decimal \{other}"
        ):
            rating(tmp_path, text, decimal)
    with pytest.raises(UserError, match=r"rating 'good' is not a number \(.*row 2\): mend it, or leave it empty"):
        rating(tmp_path, "good", ",")
