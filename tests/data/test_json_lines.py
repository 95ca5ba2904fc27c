"""JSON lines are read as Python's json module reads them, or the line that is broken is named."""

import json
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vip5.data.ids import as_id
from vip5.data.tables import read_table
from vip5.errors import UserError

LONE = {"blacklist_categories": ["Cs"]}
ids = st.one_of(
    st.text(st.characters(**LONE), min_size=1, max_size=4).filter(lambda text: as_id(text) and "\0" not in text),
    st.integers(-(10**25), 10**25),
)
others = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=3), v, max_size=2),
    max_leaves=3,
)
records = st.fixed_dictionaries({"user": ids, "item": ids}, optional={"note": others})
breaks = st.sampled_from(["", " ", '{"user": 1', "[1]", "7", "null", '{"user": 1, "item": 2} x', "{'user': 1}"])


def read(folder: Path, text: str | bytes, kind: str = "interactions"):
    file = folder / "t.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return read_table(file, kind)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.one_of(records.map(json.dumps), breaks), min_size=1, max_size=6), ending=st.booleans())
@example(lines=['{"user": 1, "item": 2}', '{"user": 1.5, "item": 2}'], ending=True)
def test_no_row_vanishes_and_no_id_changes(lines: list[str], ending: bool, tmp_path: Path) -> None:
    wanted, broken = [], False
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line, parse_float=str, parse_int=str) if line.strip() else None
        except ValueError:
            broken = True
            break
        if isinstance(record, dict):
            wanted.append((number, as_id(record["user"]), as_id(record["item"])))
        elif line.strip():
            broken = True
            break
    try:
        found = read(tmp_path, ("\r\n" if ending else "\n").join(lines)).frame.select("row", "user", "item").rows()
    except UserError as error:
        assert broken or not wanted, error
        assert not broken or f"line {number}" in str(error)
        return
    assert not broken
    assert found == wanted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": true, "item": "b"}', r"'user' holds true or false \(.*line 2\): give plain values"),
        ('{"user": "a", "item": ["b"]}', r"'item' holds a list \(.*line 2\)"),
        ('{"user": "a", "item": {"id": 1}}', r"'item' holds an object \(.*line 2\)"),
        ('{"user": "a", "item": "b\\ud800"}', r"'item' holds half a character .*line 2"),
        ('{"user": "a", "item": null}', r"no item \(.*line 2\)"),
        (b'{"user": "a", "item": "b\xff"}', r"not UTF-8 \(.*line 2\): save it as UTF-8"),
        ('{"user": "a", "item": "b", "rating": NaN}', r"rating 'NaN' is not a number \(.*line 2\)"),
    ],
)
def test_what_no_id_is_is_named_with_its_line(tmp_path: Path, line: str | bytes, message: str) -> None:
    line = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(UserError, match=message):
        read(tmp_path, b'{"user": "a", "item": "c"}\n' + line)


def test_ids_are_as_written_whatever_stands_in_other_lines(tmp_path: Path) -> None:
    text = '\ufeff{"user": 9007199254740993, "item": " 01 "}\n{"user": 1.5, "item": 2, "note": {"a": [1]}}\n'
    assert read(tmp_path, text).frame.rows() == [(1, "9007199254740993", "01"), (2, "1.5", "2")]


def test_lists_of_paragraphs_and_of_categories(tmp_path: Path) -> None:
    lines = [
        {"item": 1, "title": "[New] hat", "description": ["One.", "Two."], "categories": [["A", "B"], ["A", "C"]]},
        {"item": 2, "description": [], "categories": "D|E"},
        {"item": 3, "description": None, "categories": None, "title": "a\ud800"},
    ]
    table = read(tmp_path, "\n".join(json.dumps(line) for line in lines), "items")
    assert table.frame.select("item", "title", "description", "categories").rows() == [
        ("1", "[New] hat", "One. Two.", ["A", "B", "C"]),
        ("2", None, None, ["D", "E"]),
        ("3", "a?", None, []),
    ]


@pytest.mark.slow
def test_columns_that_are_not_read_take_no_memory(tmp_path: Path) -> None:
    line = json.dumps({"user": "u", "item": "i", "note": "x" * 1000}).encode() + b"\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "big.jsonl").open("wb") as out:
        for _ in range(150):
            out.write(line * 1000)
    assert read_table(tmp_path / "big.jsonl", "interactions").frame.height == 150_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB, of 150 MB
