"""Packed files, Parquet and files of vectors, whole and damaged."""

import gzip
import io
import random
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import damaged
from fuzz_tables import HEADERS, compare_with_csv, compare_with_json
from safetensors.numpy import save

from vip5.data import packed
from vip5.data.tables import read_table
from vip5.modalities.vectors import open_vectors

MOST = 2**20  # bytes that a gzip may unpack to here, so that a bomb is a small one


def gzip_file(rng: random.Random, place: Path) -> None:
    """Whole, of several members, damaged, a bomb: what zlib unpacks, or refused."""
    if as_csv := rng.random() < 0.6:
        plain = b"user,item,timestamp,rating\n" + b"".join(
            b"u%d,i%d,%d,5\n" % (n, n, 1_300_000_000 + n) for n in range(50)
        )
    else:
        plain = b"".join(b'{"user": "u%d", "item": %d, "timestamp": 1300000000}\n' % (n, n) for n in range(50))
    cuts = sorted(rng.randint(0, len(plain)) for _ in range(rng.choice((0, 0, 1, 3))))
    parts = [plain[a:b] for a, b in zip([0, *cuts], [*cuts, len(plain)], strict=True)]
    data = b"".join(gzip.compress(part, rng.choice((0, 1, 6, 9))) for part in parts)
    match rng.randrange(10):
        case 0 | 1 | 2:
            data = damaged(rng, data)
        case 3:
            data += rng.choice((b"\0" * 100, b"garbage", b"\x1f\x8b", b"\n"))
        case 4:
            data += gzip.compress(b"\n" * rng.randint(2, 8) * MOST)
        case 5:
            data = plain  # not packed at all, whatever its name says
    file = place / f"table{'.csv' if as_csv else '.jsonl'}{rng.choice(('.gz', '.GZ'))}"
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.2:
        file = file.with_suffix("")  # packed, whatever its name says
    file.write_bytes(data)
    with patch.object(packed, "_FREE", MOST), patch.object(packed, "_RATIO", 1):
        found = read_table(file, "interactions").frame
    unpacked = _unpacked(data)
    if as_csv:
        compare_with_csv(found, unpacked.decode("utf-8-sig"), ",", "interactions")
    else:
        compare_with_json(found, unpacked, "interactions")


def _unpacked(data: bytes) -> bytes:
    """By zlib alone, member for member; an error where it is not whole."""
    whole = b""
    while data.rstrip(b"\0"):
        member = zlib.decompressobj(wbits=31)
        whole += member.decompress(data)
        assert member.eof, "cut short, and read"
        data = member.unused_data
    return whole


def parquet(rng: random.Random, place: Path) -> None:
    """What PyArrow reads of the same bytes, with its checksums, or refused."""
    kind = rng.choice(("interactions", "reviews", "items"))
    rows = rng.choice((1, 10, 10, 300, 300)) if rng.random() < 0.97 else 0
    columns: dict[str, pa.Array] = {name: _column(rng, name, rows) for name in HEADERS[kind]}
    if rng.random() < 0.3:
        columns["note"] = pa.array([[n] for n in range(rows)], pa.list_(pa.int64()))
    table, out = pa.table(columns), io.BytesIO()
    pq.write_table(table, out, compression=rng.choice(("none", "snappy", "zstd", "gzip")), row_group_size=100)
    data = out.getvalue()
    if harmed := rng.random() < 0.6:
        data = damaged(rng, data)
    file = place / "table.parquet"
    file.write_bytes(data)
    found = read_table(file, kind).frame
    if harmed:  # Parquet need not have checksums: what both readers take for whole is what it says
        table = pq.read_table(io.BytesIO(data), columns=[name for name in HEADERS[kind] if name in found.columns])
    rows = [row for row in table.to_pylist() if any(row.get(name) is not None for name in HEADERS[kind])]
    assert found.height == len(rows), f"{found.height} rows, and there are {len(rows)}"
    assert found["item"].to_list() == [str(row["item"]).strip() for row in rows], "other ids"


def _column(rng: random.Random, name: str, rows: int) -> pa.Array:
    if rng.random() < 0.04:
        strange = rng.choice(
            (pa.bool_(), pa.date32(), pa.list_(pa.string()), pa.binary(), pa.null(), pa.struct([("a", pa.int8())]))
        )
        return pa.nulls(rows, strange)
    if name in ("user", "item"):
        return (
            pa.array([f"{name}{n}" for n in range(rows)]) if rng.random() < 0.5 else pa.array(range(rows), pa.int64())
        )
    if name == "timestamp":
        return pa.array([1_300_000_000 + n for n in range(rows)], rng.choice((pa.int64(), pa.float64())))
    if name == "rating":
        return pa.array([n % 5 + 1.0 for n in range(rows)], rng.choice((pa.float32(), pa.float64())))
    return (
        pa.array([f"text {n}" for n in range(rows)]).dictionary_encode()
        if rng.random() < 0.3
        else pa.array(["x"] * rows)
    )


def vectors(rng: random.Random, place: Path) -> None:
    """The same numbers beside the same ids, or refused."""
    n, dim = rng.choice((1, 5, 5, 200)), rng.choice((1, 4, 4, 16))
    if rng.random() < 0.03:
        n = 0
    matrix = (
        np.random.default_rng(rng.getrandbits(32)).normal(size=(n, dim)).astype(rng.choice(("f4", "f8", "f2", "i4")))
    )
    ids = [rng.choice((f"i{k}", f"{k}", f" i{k}", f"é{k}")) for k in range(n)]
    if rng.random() < 0.1:
        ids = ids[:-1] if rng.random() < 0.5 else [*ids, rng.choice((*ids, ""))]
    if rng.random() < 0.1:
        matrix = rng.choice(
            (matrix[0] if n else matrix, matrix[None], matrix.astype("U4"), matrix.astype(complex), np.array(None))
        )
    form = rng.choice((*[".npy", ".parquet"] * 6, ".npz", ".csv", ".safetensors", ".txt", ""))
    data = _written(form, matrix, ids)
    harmed = rng.random() < 0.3
    file, beside = place / f"vectors{form}", place / "ids.txt"
    file.write_bytes(damaged(rng, data) if harmed else data)
    names = "\n".join(ids).encode() + rng.choice((b"", b"\n"))
    beside.write_bytes(damaged(rng, names) if rng.random() < 0.1 else names)
    given = beside if form == ".npy" or rng.random() < 0.03 else None
    found = open_vectors(file, given, *rng.choice(((None, None),) * 30 + (("id", None), (None, "v"))))
    read = np.concatenate([np.zeros((0, found.dim), np.float32), *found.blocks(0)])
    assert len(read) == len(found.ids) == len(set(found.ids)), "rows without ids, or ids without rows"
    if not harmed and names == beside.read_bytes():
        own = ids[:-1] if ids and not ids[-1] else ids  # a last line without anything is no id
        assert found.ids == [one.strip() for one in own], "other ids"
        np.testing.assert_allclose(read, matrix.astype(np.float32))
    elif form == ".npy":
        np.testing.assert_array_equal(read, np.load(file, allow_pickle=False).astype(np.float32))


def _written(form: str, matrix: np.ndarray, ids: list[str]) -> bytes:
    out = io.BytesIO()
    if form == ".npz":
        np.savez(out, vectors=matrix, item=ids)
    elif form == ".csv":
        out.write(b"item,x\n" + b"".join(f"{one},1.5\n".encode() for one in ids))
    elif form == ".safetensors" and matrix.dtype.kind in "fi":
        out.write(save({"vectors": np.ascontiguousarray(matrix)}))
    elif form == ".parquet" and matrix.ndim == 2 and matrix.dtype.kind in "fi" and len(ids) == len(matrix):
        lists = pl.Series("v", matrix.tolist(), dtype=pl.List(pl.Float64))
        pl.DataFrame({"item": pl.Series(ids, dtype=pl.String), "v": lists}).write_parquet(out)
    else:
        np.save(out, matrix, allow_pickle=True)
    return out.getvalue()
