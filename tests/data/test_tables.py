"""Tables as people have them, read to our columns, or one line why not."""

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from vip5.data.schema import parse_mapping
from vip5.data.table import Table
from vip5.data.tables import read_table
from vip5.errors import UserError


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str | bytes, kind: str = "interactions", name: str = "table.csv", **mapping: str) -> Table:
    return read_table(write(folder, text, name), kind, mapping)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "userId,movieId,rating,timestamp\n007,1,4.5,978300019\n1,002,,978300055\n"),
        ("t.csv", "\ufeffuser;item;stars;ts\r\n007;1;4.5;978300019\r\n1;002;;978300055\r\n"),
        ("t.tsv", "customer_id\tarticle_id\tRating\tt_dat\n007\t1\t4.5\t978300019\n1\t002\t\t978300055\n"),
        ("t.csv", 'reviewerID,asin,overall,"unixReviewTime"\n"007"," 1 ",4.5,978300019\n\n1,002,"",978300055\n'),
        ("t.csv", "weight,ITEM ID,user-id,Time,score,x\n9,1,007,978300019,4.5,y\n9,002,1,978300055,,y\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_usual_names_separators_and_packing_give_the_same_table(
    tmp_path: Path, name: str, text: str, packed: bool
) -> None:
    data = text.encode()
    table = read(tmp_path, gzip.compress(data) if packed else data, name=name + ".gz" * packed)
    assert table.frame.select("user", "item", "rating", "timestamp").rows() == [
        ("007", "1", 4.5, 978300019),
        ("1", "002", None, 978300055),
    ]


def test_map_goes_before_names_and_uses_up_its_column(tmp_path: Path) -> None:
    text = "user,item,sku\na,shelf1,x\nb,shelf2,y\n"
    assert read(tmp_path, text).frame["item"].to_list() == ["shelf1", "shelf2"]
    assert read(tmp_path, text, sku="item").frame["item"].to_list() == ["x", "y"]
    with pytest.raises(UserError, match=r"no column 'user'.*row 1.*columns are user, item, sku.*--map THEIRS=user"):
        read(tmp_path, text, user="rating")


def test_map_applies_only_where_the_table_has_such_a_column(tmp_path: Path) -> None:
    assert read(tmp_path, "user,item,what\na,b,3\n", what="brand").frame.columns == ["row", "user", "item"]


def test_mapping_is_checked() -> None:
    assert parse_mapping(["a=b=item", "who=user"]) == {"a=b": "item", "who": "user"}
    with pytest.raises(UserError, match=r"not theirs=ours"):
        parse_mapping(["item"])
    with pytest.raises(UserError, match=r"no column 'thing'; ours are brand, categories"):
        parse_mapping(["x=thing"])


def test_parquet_ids_are_strings_as_written(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"user": [7.0, 8.0], "item": [1, 2], "rating": [None, 3], "ignored": [[1], [2]]}).write_parquet(path)
    table = read_table(path, "interactions")
    assert table.frame.select("user", "item", "rating").rows() == [("7", "1", None), ("8", "2", 3.0)]
    assert table.at(table.frame["row"][0]).endswith("t.parquet, row 1")
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"]}).cast(pl.Categorical).write_parquet(path)
    assert read_table(path, "interactions").frame.select("user", "item").rows() == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (["1", "20"], [1, 20]),
        (["1.5", "2"], [1.5, 2.0]),
        (["1e3", "2"], [1000, 2]),
        (["1970-01-02", "1970-01-01 00:01"], [86400, 60]),
        (["1970-01-01T00:00:02Z", "1970-01-01 01:00:03.5+01:00"], [2, 3.5]),
        (["1970-01-01T00:00:02 UTC", "1970-01-01 00:00:07"], [2, 7]),
        ([date(1970, 1, 2), date(1970, 1, 3)], [86400, 172800]),
        ([datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1, 0, 0, 2)], [1, 2]),
    ],
)
def test_times(tmp_path: Path, written: list, seconds: list) -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["c", "d"], "timestamp": written})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", "interactions").frame["timestamp"].to_list() == seconds


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("Action|Sci-Fi| Action |", ["Action", "Sci-Fi"]),
        ('"Clothing, Shoes; Hats"', ["Clothing, Shoes", "Hats"]),
        ('"[""Beauty"", ""Hair; Care"", null]"', ["Beauty", "Hair; Care"]),
        ("\"[['Beauty', 'Men\"\"s'], ['Beauty']]\"", ["Beauty", 'Men"s']),
        ("[not a list", ["[not a list"]),
        ("", []),
    ],
)
def test_categories_written_as_text(tmp_path: Path, written: str, names: list[str]) -> None:
    table = read(tmp_path, f"item,title,genres\n1,x,{written}\n2,y,\n", "items")
    assert table.frame["categories"].to_list() == [names, []]


def test_categories_as_nested_lists_and_text_as_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    nested = [[["A", "B"], ["A", " C "]], [], None]
    texts = [["One.", "Two."], [], None]
    pl.DataFrame({"asin": ["1", "2", "3"], "categories": nested, "description": texts}).write_parquet(path)
    table = read_table(path, "items")
    assert table.frame["categories"].to_list() == [["A", "B", "C"], [], []]
    assert table.frame["description"].to_list() == ["One. Two.", None, None]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("interactions", "", "empty .*t.csv"),
        ("interactions", "user,item\n", "empty .*t.csv.*give one with rows"),
        ("interactions", "user,item\n\n\n", "empty"),
        (
            "interactions",
            "user,thing\na,b\n",
            r"no column 'item'.*t.csv, row 1.*columns are user, thing.*--map THEIRS=item",
        ),
        ("interactions", "user,item\na,b\n,c\n,d\n", r"no user .*t.csv, row 3, and 1 more\): fill it in"),
        ("interactions", 'user,item\na,"  "\n', r"no item .*row 2\)"),
        ("interactions", "user,item\na,b\na,b,c\n", r"3 fields where the header has 2 .*row 3"),
        ("interactions", 'user,item\na,b\na,"b\n', r"broken quotes .*row 3"),
        ("interactions", b"user,item\na,b\nc,\xff\n", r"not UTF-8 .*row 3, byte 16.*UTF-8"),
        ("interactions", "user,item\na,b\n".encode("utf-16"), r"not UTF-8"),
        ("interactions", "user,item,ts\na,b,1\na,c,soon\n", r"timestamp 'soon' is neither .* \(.*row 3\)"),
        ("interactions", "user,item,ts\na,b,1\na,c,inf\n", r"timestamp 'inf'"),
        ("interactions", "user,item,rating\na,b,5\na,c,{five}\n", r"rating '\{five\}' is not a number .*row 3"),
        ("interactions", "user,item,position\na,b,first\n", r"position 'first' is not a number"),
        ("items", "item,paper_id\na,1\nb,x\n", r"paper_id 'x' is not a number"),
        ("items", "item,paper_id\na,1\nb,1.5\n", r"paper_id 1.5 is not a whole number .*row 3"),
        ("explanations", "user,item,feature\na,b,c\n", r"no column 'explanation'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, kind: str, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text, kind, "t.csv")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(3000)))
    for broken in (packed[:-9], packed[: len(packed) // 2], packed[:100] + b"\0" * 50 + packed[150:], b"no gzip"):
        with pytest.raises(UserError, match=r"unreadable or truncated gzip .*t.csv.gz.*download it again"):
            read(tmp_path, broken, name="t.csv.gz")
    with pytest.raises(UserError, match=r"unreadable Parquet .*t.parquet"):
        read(tmp_path, b"PAR1 but no more", name="t.parquet")
    with pytest.raises(UserError, match=r"what kind of table .*t.xlsx"):
        read(tmp_path, b"", name="t.xlsx")
    with pytest.raises(UserError, match=r"no file .*missing.csv: check the path"):
        read_table(tmp_path / "missing.csv", "items")
    with pytest.raises(UserError, match=r"is a folder: give a file"):
        read_table(tmp_path, "items")


def test_a_column_of_structs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"item": ["a"], "title": [{"en": "x"}]}).write_parquet(path)
    with pytest.raises(UserError, match=r"column 'title' holds Struct.*give plain values"):
        read_table(path, "items")


def test_columns_that_nothing_reads_are_named(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path, "user;item;Datum;Bewertung;;user\na;b;1;2;3;c\n")
    read_table(path, "interactions", {}, report=notes.append)
    what = "user, Datum, Bewertung, one without a name"
    assert notes == [f"not used: {what} ({path}); map what is needed with --map THEIRS=OURS"]
    notes.clear()
    read_table(path, "interactions", report=notes.append)
    assert notes == [f"not used: {what} ({path})"]
    notes.clear()
    mapping = {"Datum": "timestamp", "Bewertung": "rating"}
    read_table(write(tmp_path, "user,item,Datum,Bewertung\na,b,1,2\n"), "interactions", mapping, report=notes.append)
    assert notes == []
    names = ",".join(f"c{n}" for n in range(25))
    read_table(write(tmp_path, f"item,{names}\na{',' * 25}\n"), "items", report=notes.append)
    assert "c19 and 5 more (" in notes[0]


def test_json_lines(tmp_path: Path) -> None:
    """Ids that are numbers in some lines, keys that are missing, an empty line."""
    file = tmp_path / "t.jsonl"
    file.write_text('{"user": 7, "item": "01", "extra": {"a": 1}}\n\n{"item": "2", "user": "x y"}\n')
    packed = tmp_path / "t.ndjson.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    for path in (file, packed):
        assert read_table(path, "interactions").frame.select("user", "item").rows() == [("7", "01"), ("x y", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"user": 1, "item": 2}]', r"the file is one JSON list|a list where an object must stand"),
        ('{"user": 1, "item": 2}\n{"user": 1,\n', r"not JSON \(.*line 2\): write one JSON object a line"),
        ('{"reviewerID": "a", "asin": "b"}', "read it with vip5 data amazon"),
        ('{"user": "a"}', "item"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "t.json", "interactions")


def test_ids_that_lost_digits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\na,1.09E+11\n")
    with pytest.raises(UserError, match=r"item '1.09E\+11' is a number that a spreadsheet has shortened \(.*row 2\)"):
        read_table(tmp_path / "t.csv", "interactions")
    pl.DataFrame({"user": ["a"], "item": [2.0**60]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="a number with more digits than it can hold"):
        read_table(tmp_path / "t.parquet", "interactions")


def test_a_row_is_only_left_out_where_the_file_has_nothing_in_it(tmp_path: Path) -> None:
    """A total below the table, say, is a row without ids and not an empty one."""
    notes: list[str] = []
    assert read_table(write(tmp_path, "user,item,sum\na,b,1\n,,\n\n"), "interactions", report=notes.append).frame.height
    assert any("2 rows without any value are left out" in note for note in notes)
    with pytest.raises(UserError, match=r"no user \(.*table.csv, row 3\): fill it in or remove the row"):
        read(tmp_path, "user,item,sum\na,b,1\n,,9\n")
    with pytest.raises(UserError, match=r"no item \(.*t.jsonl, line 2\): fill it in or remove the row"):
        read(tmp_path, '{"item": 1}\n{"sum": 9}\n', "items", "t.jsonl")
    frame = pl.DataFrame({"user": ["a", None, None], "item": ["b", None, None], "sum": [1, None, 9]})
    frame[:2].write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", "interactions").frame.height == 1
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"no user \(.*t.parquet, row 3\): fill it in or remove the row"):
        read_table(tmp_path / "t.parquet", "interactions")
