"""A csv is read as Python's csv module reads it, or the row that is broken is named: no row vanishes, none merge."""

import csv
import gzip
import io
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vip5.data.tables import read_table
from vip5.errors import UserError


def rows_of(file: Path) -> list[tuple]:
    return read_table(file, "interactions").frame.select("row", "user", "item").rows()


def by_python(text: str, separator: str) -> list[tuple] | None:
    """Row numbers and both ids, without empty rows; None where it is broken."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error:
        return None
    head = next(n for n, row in enumerate(rows) if row)
    header = rows[head]
    if any(len(row) > len(header) for row in rows[head:]):
        return None
    places = [header.index(name) for name in ("user", "item")]
    whole = [(n, [row[i].strip() if i < len(row) else "" for i in places], row) for n, row in enumerate(rows, start=1)]
    return [(n, *ids) for n, ids, row in whole[head + 1 :] if any(value.strip() for value in row)]


BITS = ["a", "1/2", '"', '""', ",", "\t", " ", "\n", "\r\n", "\r", "\\", '\\"', "é", "'"]
values = st.lists(st.sampled_from(BITS), max_size=4).map("".join)
inside = st.sampled_from(["", "", ",", '"', "\n", "\r\n", " x ", "\t"])  # of ids
plain = st.sampled_from(["a", "b c", 'say "hi"', "x,y", "two\nlines", "", "é", "\\", "tab\there"])


@st.composite
def well_formed(draw, separator: str) -> str:
    """As the csv module writes it, with any quoting and ending of lines, and the column that is not read anywhere."""
    at = draw(st.integers(0, 2))
    out = io.StringIO(newline="")
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    writer = csv.writer(out, delimiter=separator, lineterminator=ending, quoting=quoting)
    for n in range(draw(st.integers(2, 7))):
        row = [f"u{n}" + draw(inside), f"i{n}" + draw(inside)] if n else ["user", "item"]
        writer.writerow([*row[:at], draw(plain) if n else "note", *row[at:]])
    return draw(st.sampled_from(["", "\ufeff"])) + out.getvalue()


@st.composite
def broken(draw, separator: str) -> str:
    at, lines = draw(st.integers(0, 2)), []
    for n in range(draw(st.integers(2, 7))):
        row = [f"u{n}", f"i{n}"] if n else ["user", "item"]
        row = [*row[:at], draw(values) if n else "note", *row[at:]]
        lines.append(separator.join(row[: draw(st.sampled_from([3, 3, 3, 3, 2, 1])) if n else 3]))
    ending = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return draw(st.sampled_from(["", "\n", "\r\n"])) + ending.join(lines) + draw(st.sampled_from(["", ending]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(well_formed(","), broken(",")), tsv=st.booleans())
@example(text='user,item,note\nu0,i0,pipe 1/2" wide\nu1,i1,x\nu2,i2,1/2"\n', tsv=False)
@example(text='user,item,note\nu0,i0,"open\nu1,i1,x\n', tsv=False)
@example(text="user,item,note\ru0,i0,x\ru1,i1,y\r", tsv=False)
@example(text='user,item,note\nu0,i0,"a \\" b, c"\nu1,i1,y\n', tsv=False)
@example(text='\n\nuser,item,note\nu0,i0,"x"\n', tsv=False)
def test_no_row_vanishes_and_no_two_merge(text: str, tsv: bool, tmp_path: Path) -> None:
    """Whatever stands in a column that is not read."""
    text = text.replace(",", "\t") if tsv else text
    plain = text.removeprefix("\ufeff")
    file = tmp_path / ("t.tsv" if tsv else "t.csv")
    file.write_bytes(text.encode())
    try:
        found = rows_of(file)
    except UserError as error:
        assert f"{file}" in str(error)
        truth = by_python(plain, "\t" if tsv else ",")
        assert not truth or any(not all(ids) for _, *ids in truth)  # an id that is missing is named too
        return
    assert found == by_python(plain, "\t" if tsv else ",")


def test_a_quote_in_a_column_that_is_not_read(tmp_path: Path) -> None:
    """Polars' reader took what lies between two such quotes for one value, over the ends of rows."""
    file = tmp_path / "t.csv"
    file.write_text('user,item,name\nU0,P0,pipe 1/2" copper\nU0,P1,paint\nU1,P2,pipe 1/2" copper\nU1,P3,"a ""b"", c"\n')
    assert rows_of(file) == [(2, "U0", "P0"), (3, "U0", "P1"), (4, "U1", "P2"), (5, "U1", "P3")]


def test_the_separator_is_one_outside_quotes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('user,item,"a;b;c;d"\nu,i,x\n')
    assert rows_of(tmp_path / "t.csv") == [(2, "u", "i")]


def test_an_open_quote_is_named_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('user\titem\tname\nU0\tP0\t"x\nU0\tP1\ty\n')
    with pytest.raises(UserError, match=r"broken quotes \(.*t.tsv, row 2: unexpected end of data\)"):
        rows_of(tmp_path / "t.tsv")


@pytest.mark.slow
def test_a_gzip_is_unpacked_beside_memory_and_up_to_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.gz"
    line = b"u1,i1," + b"x" * 990 + b"\n"
    with gzip.open(file, "wb", compresslevel=9) as out:
        out.write(b"user,item,note\n")
        for _ in range(200):
            out.write(line * 1000)
    assert file.stat().st_size < 2e6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_table(file, "interactions").frame.height == 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 450_000  # KiB; 200 MB unpacked


def test_a_gzip_of_an_absurd_size_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vip5.data.packed._FREE", 2**16)
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b"user,item\n" + b"a,b\n" * 2**22))
    with pytest.raises(UserError, match="unpacks to more than"):
        rows_of(file)
