"""A csv of any encoding."""

import gzip
from pathlib import Path

import pytest

from vip5.data.options import PrepareOptions
from vip5.data.tables import read_table
from vip5.errors import UserError


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8-sig", "cp1252", "utf-16", "utf-16-le", "mac-roman"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_same_table_in_any_encoding(tmp_path: Path, encoding: str, packed: bool) -> None:
    data = "user,item,user_name\nü,„é“,Zoë\n".encode(encoding)
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    file.write_bytes(gzip.compress(data) if packed else data)
    table = read_table(file, "interactions", None, PrepareOptions(encoding=encoding))
    assert table.frame.select("user", "item", "user_name").rows() == [("ü", "„é“", "Zoë")]


def test_a_byte_that_the_encoding_does_not_have_is_named(tmp_path: Path) -> None:
    cases = [
        (
            "utf-8",
            b"user,item\na,b\nc,\xff\n",
            r"not UTF-8 \(.*t.csv, row 3, byte 16\): .*its --encoding",
        ),
        ("cp1252", b"user,item\na,b\nc,\x81\n", r"not cp1252 \(.*t.csv, row 3, byte 16\): name the right --encoding"),
        ("ascii", "user,item\né,b\n".encode(), r"not ascii \(.*t.csv, row 2, byte 10\)"),
        ("utf-16", "user,item\na,b\n".encode("utf-16") + b"\x00", r"not utf-16 \(.*t.csv, row 3, byte 30\)"),
    ]
    for encoding, data, message in cases:
        (tmp_path / "t.csv").write_bytes(data)
        with pytest.raises(UserError, match=message):
            read_table(tmp_path / "t.csv", "interactions", None, PrepareOptions(encoding=encoding))


def test_where_a_table_breaks_is_said_in_another_encoding_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("user,item\né,b\né,b,c\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"3 fields where the header has 2 \(.*row 3\)"):
        read_table(tmp_path / "t.csv", "interactions", None, PrepareOptions(encoding="utf-16"))
