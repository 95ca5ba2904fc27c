"""Tables of any make, beside Python's own csv and json modules."""

import csv
import io
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vip5.data import prepare
from vip5.data.options import PrepareOptions
from vip5.data.tables import read_table

HEADERS = {
    "interactions": ("user", "item", "timestamp", "rating"),
    "reviews": ("user", "item", "rating", "headline", "text"),
    "items": ("item", "title", "brand", "description", "image"),
}
BITS = (
    "a",
    "Zoë",
    "日本",
    "1/2",
    '"',
    '""',
    '"x"',
    ",",
    ";",
    "|",
    "\t",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    "\\",
    '\\"',
    "'",
    "#",
    "NA",
    "null",
    "\x00",
    "\u2028",
    "\x85",
    "\xa0",
    "\ufeff",
    "🛍",
    "=1+1",
    "0",
    "[",
    "{",
    "\x1c",
    "\x0b",
    "%s",
    "{item}",
)
ENCODINGS = ("utf-8",) * 8 + (
    "utf-8-sig",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "cp1252",
    "latin-1",
    "shift_jis",
    "ascii",
)
WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and not 0x1C <= code <= 0x1F)


def text(rng: random.Random) -> str:
    return "".join(rng.choice(BITS) for _ in range(rng.choice((0, 1, 1, 2, 3, 5))))


def cell(rng: random.Random, name: str, row: int) -> str:
    """What a column mostly holds, and now and then anything."""
    if rng.random() < 0.02:
        return text(rng)
    if name == "user":
        return rng.choice((f"u{row}", f"{row:03}", f" u{row}", f"u{row} ", f"{row}.0", f"{2**53 + row}", f"ü{row}"))
    if name == "item":
        return rng.choice((f"i{row}", f"{row}", f"B0{row}", f"i,{row}", f"i{row}\t", f"0{row}"))
    if name == "timestamp":
        return str(1_300_000_000 + row * 1000) if rng.random() < 0.99 else rng.choice(("", "1e9", "nan", "2014-01-02"))
    if name == "rating":
        return (
            rng.choice(("5", "4.0", "3.5", "", "1", " 2 "))
            if rng.random() < 0.99
            else rng.choice(("x", "4,5", "inf", "1e300"))
        )
    return text(rng) or "plain words"


def csv_bytes(rng: random.Random, kind: str) -> tuple[bytes, str, str]:
    """A file, what separates its values, and its encoding; whole more often than not."""
    separator = rng.choice((",", ",", ",", ";", "\t", "|"))
    names = list(HEADERS[kind])
    for _ in range(rng.choice((0, 1, 1, 2))):  # columns that nobody reads
        names.insert(rng.randint(0, len(names)), rng.choice(("note", "Datum", "", "x y", "note", "été")))
    if rng.random() < 0.3:
        rng.shuffle(names)
    rows = [
        names,
        *(
            [cell(rng, name, n) for name in names]
            for n in range(rng.choice((1, 3, 3, 8, 8, 20)) if rng.random() < 0.98 else 0)
        ),
    ]
    out = io.StringIO(newline="")
    ending = rng.choice(("\n", "\n", "\n", "\r\n", "\r\n", "\r"))
    if rng.random() < 0.7:
        quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
        csv.writer(out, delimiter=separator, lineterminator=ending, quoting=quoting).writerows(rows)
    else:  # as people glue them together
        out.write("".join(separator.join(row) + ending for row in rows))
    whole = out.getvalue()
    if rng.random() < 0.3:
        whole = _torn(rng, whole, ending, separator)
    encoding = rng.choice(ENCODINGS)
    data = whole.encode(encoding, "replace")
    if rng.random() < 0.05:
        at = rng.randint(0, len(data))
        data = data[:at] + rng.randbytes(rng.randint(1, 3)) + data[at:]
    named = encoding if rng.random() < 0.95 else rng.choice(("utf-8", "cp1252", "utf-16", "big5"))
    return data, separator, named


def _torn(rng: random.Random, whole: str, ending: str, separator: str) -> str:
    """Something that is not as it should be."""
    lines = whole.split(ending)
    at = rng.randrange(len(lines))
    match rng.randrange(9):
        case 0:
            lines.insert(at, "")
        case 1:
            lines.insert(0, rng.choice(("", " ", "\t", '""', separator)))
        case 2:
            lines[at] += separator + "more"
        case 3:
            lines[at] = lines[at].rpartition(separator)[0]
        case 4:
            lines[at] += '"'
        case 5:
            place = rng.randint(0, len(lines[at]))
            lines[at] = lines[at][:place] + rng.choice(BITS) + lines[at][place:]
        case 6:
            return whole[: rng.randint(0, len(whole))]
        case 7:
            lines[at] = separator * rng.randint(0, 8)
        case 8:
            return whole.rstrip("\r\n")
    return ending.join(lines)


def csv_table(rng: random.Random, place: Path) -> None:
    kind = rng.choice(("interactions", "interactions", "reviews", "items"))
    data, separator, encoding = csv_bytes(rng, kind)
    suffix = (
        rng.choice((".tsv", ".TSV"))
        if separator == "\t" and rng.random() < 0.7
        else rng.choice((".csv", ".txt", ".CSV"))
    )
    file = place / f"table{suffix}"
    file.write_bytes(data)
    found = read_table(file, kind, {}, PrepareOptions(encoding=encoding)).frame
    plain = data.decode("utf-8-sig" if encoding in ("utf-8", "utf-8-sig") else encoding).removeprefix("\ufeff")
    compare_with_csv(found, plain, "\t" if suffix.lower() == ".tsv" else separator, kind)


def compare_with_csv(found: pl.DataFrame, plain: str, separator: str, kind: str) -> None:
    """Each row that the csv module finds is there, with its values."""
    records = [row for row in csv.reader(io.StringIO(plain, newline=""), delimiter=separator) if row]
    names, *rows = records
    assert not any(len(row) > len(names) for row in rows), "a row with too many values was read"
    places = {name: names.index(name) for name in HEADERS[kind] if name in names}
    cells = [{name: row[i] if i < len(row) else "" for name, i in places.items()} for row in rows]
    kept = [cell for cell in cells if any(value.strip(WHITE) for value in cell.values())]
    dropped = [
        row for row, cell in zip(rows, cells, strict=True) if not any(value.strip(WHITE) for value in cell.values())
    ]
    assert not any(value.strip(WHITE) for row in dropped for value in row), "a row without ids was left out"
    compare(found, kept)


def compare(found: pl.DataFrame, rows: Sequence[dict[str, Any]]) -> None:
    """The columns of a table that was read beside the rows of another reader; ids are plain, numbers numbers."""
    assert found.height == len(rows), f"{found.height} rows, and there are {len(rows)}"
    for ours, theirs in zip(found.iter_rows(named=True), rows, strict=True):
        for name, value in theirs.items():
            if name in ours:
                assert _same(name, ours[name], value), f"{name}: {ours[name]!r} of {value!r}"
            else:
                assert value in ("", None), f"column {name} is lost"


def _same(name: str, ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None or str(theirs).strip(WHITE) == "":
        return ours is None and (
            theirs is None or str(theirs).strip() == "" or not str(theirs).strip(WHITE + "\x1c\x1d\x1e\x1f")
        )
    if name in ("timestamp", "rating"):
        try:
            number = float(theirs)
        except ValueError:
            return name == "timestamp" and "-" in str(theirs)  # a date
        return math.isclose(number, ours, rel_tol=1e-6)
    if isinstance(theirs, int | float) and not isinstance(theirs, bool):
        return (int(ours) == theirs) if isinstance(theirs, int) else float(ours) == theirs
    return ours == str(theirs).strip(WHITE)


# -- JSON lines --------------------------------------------------------------------------------------------------------


def value(rng: random.Random, name: str, row: int) -> Any:
    if rng.random() < 0.015:
        return rng.choice(
            (None, True, 0, -0.0, 1e300, 2**70, [], {}, [1], ["a", "b"], {"a": 1}, "", " ", "\ud800", "\x00")
        )
    if name in ("user", "item"):
        return rng.choice((f"{name[0]}{row}", row, f"0{row}", 2**53 + row, f" {row} ", f"é{row}"))
    if name == "timestamp":
        return 1_300_000_000 + row * 1000
    if name == "rating":
        return rng.choice((5, 4.5, "3", None, 1.0))
    return rng.choice((text(rng), "plain words", f"{row} of them"))


def json_lines(rng: random.Random, place: Path) -> None:
    kind = rng.choice(("interactions", "reviews", "items"))
    names = [*HEADERS[kind], *rng.choice(((), ("note",), ("extra", "été")))]
    lines = []
    for row in range(rng.choice((1, 3, 3, 8, 8, 20)) if rng.random() < 0.98 else 0):
        shown = [name for name in names if rng.random() < 0.97]
        rng.shuffle(shown)
        record = {name: value(rng, name, row) for name in shown}
        lines.append(json.dumps(record, ensure_ascii=rng.random() < 0.5, indent=None))
    if rng.random() < 0.25 and lines:
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                lines[at] = lines[at][: rng.randint(0, len(lines[at]))]
            case 1:
                lines.insert(at, rng.choice(("", " ", "\t")))
            case 2:
                lines[at] = rng.choice(("[]", "1", "null", '"x"', "[" * 5000, "NaN", "{}", '{"a": ' * 3000, "1" * 5000))
            case 3:
                lines[at] += lines[at]
            case 4:
                lines[at] += ","
            case 5:
                lines[at] = lines[at].replace("{", '{"user": "twice", ', 1)
            case 6:
                lines[at] = lines[at].replace(":", ": NaN, ", 1)
            case 7:
                lines = [f"[{', '.join(lines)}]"]
    ending = rng.choice(("\n", "\n", "\r\n"))
    data = ending.join(lines).encode("utf-8", "surrogatepass") + rng.choice((b"", b"\n", b"\r\n", b"\n\n"))
    data = rng.choice((b"", b"", b"", b"\xef\xbb\xbf")) + data
    if rng.random() < 0.05:
        at = rng.randint(0, len(data))
        data = data[:at] + rng.randbytes(rng.randint(1, 3)) + data[at:]
    file = place / f"table{rng.choice(('.jsonl', '.ndjson', '.json', '.JSONL'))}"
    file.write_bytes(data)
    found = read_table(file, kind).frame
    compare_with_json(found, data, kind)


def compare_with_json(found: pl.DataFrame, data: bytes, kind: str) -> None:
    records = [json.loads(line) for line in data.decode("utf-8-sig").split("\n") if line.strip()]
    rows = []
    for record in records:
        row = {name: record.get(name) for name in HEADERS[kind]}
        row = {n: " ".join(map(str, v)) if isinstance(v, list) else v for n, v in row.items()}
        row = {n: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for n, v in row.items()}
        if any(v is not None and str(v).strip() for v in row.values()):
            rows.append(row)
        else:
            assert not any(v not in (None, "", " ") for v in record.values()), "a row without ids was left out"
    compare(found, rows)


# -- the whole way -----------------------------------------------------------------------------------------------------


def prepared(rng: random.Random, place: Path) -> None:
    """Every purchase of a file is in the data set that is made of it, or it is said what became of it."""
    separator = rng.choice((",", ";", "\t", "|"))
    users = [f"{rng.choice(('u', '0', 'ü ', 'u,'))}{n}" for n in range(rng.randint(1, 6))]
    rows = []
    for n, user in enumerate(users):
        for at in range(rng.randint(3, 7) if rng.random() < 0.98 else 2):
            rows.append(
                [
                    user,
                    f"{rng.choice(('i', '00', 'i;'))}{rng.randint(0, 9)}",
                    str(1_300_000_000 + 1000 * n + at),
                    text(rng),
                ]
            )
    rng.shuffle(rows)
    if rng.random() < 0.2:
        rows.append(list(rng.choice(rows)))  # twice: one purchase
    file = place / "buys.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, delimiter=separator).writerows([["user", "item", "timestamp", "note"], *rows])
    said: list[str] = []
    dataset = prepare(place / "data", interactions=file, candidates=5, report=said.append)
    table = dataset.interactions
    bought = {(user, item, float(time)) for user, item, time, _ in rows}
    ids, names = dataset.users["user"], dataset.items["item"]
    ours = [(ids[u], names[i], float(t)) for u, i, t in table.select("user", "item", "timestamp").iter_rows()]
    assert set(ours) == bought, f"lost or made up: {set(ours) ^ bought}"
    assert len(ours) == len(rows) or any("same" in line or "twice" in line or "distinct" in line for line in said), said
