"""Preparing a table of interactions beside the plain way, in Polars on the raw ids with all draws in one table.

The table is generated. Each measurement is made in a process of its own, from the file to the folder.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

from vip5.bench.measure import OURS, Bench, Rate, Times, alone, copy_rate, in_threads, ratio
from vip5.data import Dataset, prepare
from vip5.data.candidates import NEGATIVES
from vip5.data.splits import MIN_INTERACTIONS
from vip5.errors import UserError

PEER = "polars on raw ids"
_DRAWS = NEGATIVES + NEGATIVES // 4 + 1  # for each user in the first round, ours and the peer's
_PEER_MOST = 1_000_000  # interactions the peer is given: it holds all draws as rows
_DISK = 100  # bytes an interaction takes at most, the table and the folder together
_AT_ONCE = 2**21  # interactions
NOTE = "ratio: interactions a second on the smaller table, candidates included; the peer checks and hashes nothing"


def bench_prepare(
    interactions: int,
    users: int | None = None,
    items: int | None = None,
    k_core: int | None = None,
    threads: int | None = None,
    quick: bool = False,
) -> Bench:
    """Interactions a second and peak memory of `prepare`; see the module.

    users, items: an interaction in 12.5 and one in 50 where not given, with three interactions or more of each user.
    The ratio is ours over the peer's rate on one smaller table, where both write the same test items.
    Raises: UserError where the disk is too small, or interactions are fewer than three a user.
    """
    rounds, most = (1, 50_000) if quick else (3, _PEER_MOST)
    sizes = _sizes(interactions, users, items)
    few = interactions if interactions <= most else most
    small = (few, *(max(1, int(size * few / interactions)) for size in sizes[1:]))
    os.environ["POLARS_MAX_THREADS"] = str(in_threads(threads))  # for the processes to come
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _check_disk(folder, interactions + few)
        write_interactions(folder / "small.parquet", *small)
        times, memory = _beside(folder, k_core, rounds)
        same = _same_targets(Dataset(folder / OURS), folder / PEER)
        write_interactions(folder / "large.parquet", *sizes)
        seconds, of_large = alone(_load_ours, folder / "large.parquet", folder / "large", k_core)
        dataset = Dataset(folder / "large")
        floor, floor_parts = _floor(folder / "large.parquet", dataset)
        written = sum(file.stat().st_size for file in dataset.path.iterdir())
        read = (folder / "large.parquet").stat().st_size
    ours = Rate.of(OURS, "interactions", interactions, [seconds], floor=floor, **of_large)
    ratios = {f"{OURS} over {PEER}, interactions a second": ratio(times, OURS, PEER)}
    if of_large:
        ratios |= {f"{PEER} over {OURS}, {name}": memory[PEER][name] / memory[OURS][name] for name in of_large}
    counted = {
        "seconds": round(seconds, 1),
        "read MiB": round(read / 2**20, 2),
        "written MiB": round(written / 2**20, 2),
    }
    return Bench.of(
        "prepare",
        packages=("polars", "pyarrow"),
        quick=quick,
        sizes={
            "interactions": interactions,
            **_counts(dataset),
            **counted,
            "data hash": dataset.hash[:12],
            **floor_parts,
        },
        rows=[ours, *_rows_beside(few, times, memory)],
        ratio=next(iter(ratios.values())),
        ratios=ratios,
        checks={f"{PEER} finds the same test items": same},
        notes=[NOTE],
    )


def _rows_beside(few: int, times: Times, memory: dict[str, dict[str, float]]) -> list[Rate]:
    return [
        Rate.of(f"{method}, {few:,} of them", "interactions", few, times[method], **memory[method])
        for method in (OURS, PEER)
    ]


def _beside(folder: Path, k_core: int | None, rounds: int) -> tuple[Times, dict[str, dict[str, float]]]:
    """Seconds and memory of ours and the peer on the smaller table, in turns."""
    times: Times = {OURS: [], PEER: []}
    memory: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for method, load in ((OURS, _load_ours), (PEER, _load_peer)):
            seconds, memory[method] = alone(load, folder / "small.parquet", folder / method, k_core)
            times[method].append(seconds)
    return times, memory


def _counts(dataset: Dataset) -> dict[str, int]:
    candidates = dataset.n_users * dataset.manifest.counts["candidates"]
    return {"users": dataset.n_users, "items": dataset.n_items, "candidates": candidates}


def write_interactions(file: Path, n: int, users: int, items: int, seed: int = 0) -> None:
    """A table of n interactions as Parquet: user, item (strings), timestamp (rising, distinct), rating.

    Three of each user and the rest skewed; an item's popularity falls with its rank as in Zipf's law. Ids tell nothing.
    """
    rng = np.random.default_rng(seed)
    more = n - MIN_INTERACTIONS * users
    who = np.empty(n, dtype=np.int32)
    who[more:] = np.repeat(np.arange(users), MIN_INTERACTIONS)
    for start in range(0, more, _AT_ONCE):
        stop = min(start + _AT_ONCE, more)
        who[start:stop] = users * rng.random(stop - start) ** 2
    rng.shuffle(who)
    popularity = np.cumsum(1 / (np.arange(items) + 50))
    by_rank = rng.permutation(items)
    frames = []
    with tempfile.TemporaryDirectory(dir=file.parent) as parts:
        for start in range(0, n, _AT_ONCE):
            user = who[start : start + _AT_ONCE]
            rank = np.searchsorted(popularity, popularity[-1] * rng.random(len(user)))
            table = pl.DataFrame(
                {
                    "user": user,
                    "item": by_rank[np.minimum(rank, items - 1)],
                    "timestamp": 1_500_000_000 + np.arange(start, start + len(user)) * 2,
                    "rating": rng.integers(1, 6, len(user)).astype(np.float32),
                }
            )
            raw = [
                pl.format(f"{name[0].upper()}{{}}", pl.col(name).cast(pl.String).str.zfill(digits)).alias(name)
                for name, digits in (("user", 7), ("item", 6))
            ]
            frames.append(Path(parts) / f"{start}.parquet")
            table.with_columns(raw).write_parquet(frames[-1])
        pl.scan_parquet(frames).sink_parquet(file)


def _sizes(interactions: int, users: int | None, items: int | None) -> tuple[int, int, int]:
    sizes = interactions, users or int(interactions / 12.5), items or max(1, interactions // 50)
    if interactions < MIN_INTERACTIONS * sizes[1] or not sizes[1]:
        raise UserError(f"{interactions} interactions of {sizes[1]} users: give three or more a user")
    return sizes


def _check_disk(folder: Path, interactions: int) -> None:
    free, needed = shutil.disk_usage(folder).free, _DISK * interactions
    if free < needed:
        what = f"{needed / 2**30:.1f} GiB are needed and {free / 2**30:.1f} are free ({folder.parent})"
        raise UserError(f"{what}: name a larger disk with TMPDIR, or give fewer --interactions")


def _load_ours(file: Path, out: Path, k_core: int | None) -> Callable[[], object]:
    return lambda: prepare(out, interactions=file, k_core=k_core, overwrite=True)


def _load_peer(file: Path, out: Path, k_core: int | None) -> Callable[[], object]:
    """As one writes it down: read, k-core, numbers by joins, sort, split by windows; draws less those taken; write."""

    def work() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        table, before = pl.read_parquet(file), -1
        while k_core is not None and table.height != before:
            before = table.height
            table = table.filter(pl.len().over("user") >= k_core).filter(pl.len().over("item") >= k_core)
        index = pl.int_range(pl.len(), dtype=pl.Int32)
        for name in ("user", "item"):
            raw = table.select(pl.col(name).unique().sort()).with_columns(index.alias(f"{name}_index"))
            raw.write_parquet(out / f"{name}s.parquet")
            table = table.join(raw, on=name, maintain_order="left").drop(name)
        table = table.rename({"user_index": "user", "item_index": "item"})
        table = table.sort("user", "timestamp", maintain_order=True)
        from_end = pl.len().over("user") - index.over("user")
        split = pl.when(from_end == 1).then(pl.lit("test")).when(from_end == 2).then(pl.lit("validation"))
        table = table.with_columns(
            index.over("user").alias("position"), split.otherwise(pl.lit("train")).alias("split")
        )
        table.write_parquet(out / "interactions.parquet")
        n_users, n_items = table["user"].n_unique(), table["item"].n_unique()
        users = np.repeat(np.arange(n_users, dtype=np.int32), _DRAWS)
        drawn = np.random.default_rng(0).integers(n_items, size=len(users), dtype=np.int32)
        draws = pl.DataFrame({"user": users, "item": drawn}).unique(maintain_order=True)
        draws = draws.join(table.select("user", "item"), on=["user", "item"], how="anti", maintain_order="left")
        draws.group_by("user", maintain_order=True).head(NEGATIVES).write_parquet(out / "candidates.parquet")

    return work


def _same_targets(ours: Dataset, peer: Path) -> bool:
    """Whether both hold out the same last item of the same user."""
    theirs = pl.read_parquet(peer / "interactions.parquet").filter(pl.col("split") == "test").sort("user")
    names = pl.read_parquet(peer / "items.parquet")["item"].gather(theirs["item"])
    users = pl.read_parquet(peer / "users.parquet")["user"]
    return users.equals(ours.users["user"]) and names.equals(ours.items["item"].gather(ours.targets("test")))


def _floor(file: Path, dataset: Dataset) -> tuple[float, dict[str, float]]:
    """Seconds that no way to the same folder can save, on one thread, and what they are made of.

    The columns of the table and of the folder are read and written once; the hashes are of 8 bytes a number, and
    4 more of each candidate; candidates are the first of so many draws.
    """
    counts = dataset.manifest.counts
    candidates = dataset.n_users * counts["candidates"]
    interactions = counts["interactions"]
    read = interactions * (8 + 7 + 8 + 4)  # both ids, timestamp, rating
    written = interactions * (3 * 4 + 8 + 4 + 1) + candidates * 2 * 4
    hashed = interactions * 6 * 8 + candidates * (2 * 8 + 4) + file.stat().st_size
    draws = dataset.n_users * _DRAWS
    block, rng = bytes(2**26), np.random.default_rng(0)
    parts = {
        "floor: copying, s": (read + written) / copy_rate(),
        "floor: sha256, s": hashed / (len(block) / _best(lambda: hashlib.sha256(block).digest())),
        "floor: draws, s": draws / (2**22 / _best(lambda: rng.integers(counts["items"], size=2**22, dtype=np.uint32))),
    }
    return sum(parts.values()), {name: round(seconds, 3) for name, seconds in parts.items()}


def _best(work: Callable[[], object]) -> float:
    """Seconds, the least of several."""
    seconds = []
    for _ in range(5):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return min(seconds)
