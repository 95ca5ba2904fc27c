"""From tables and photos to a dataset folder."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.data import amazon
from vip5.data.candidates import draw_negatives, list_width, store_lists
from vip5.data.dataset import Dataset
from vip5.data.folder import new_folder
from vip5.data.frames import (
    checked_interactions,
    in_order,
    items_of,
    refuse_two_clocks,
    reviews_as_interactions,
    split_and_explained,
    users_of,
)
from vip5.data.hashing import add_tables
from vip5.data.keywords import checked, takes
from vip5.data.movielens import read_movielens
from vip5.data.options import DatasetOptions, Job, PrepareOptions
from vip5.data.photos import Photos
from vip5.data.progress import stage
from vip5.data.ragged import Ragged, repeats
from vip5.data.reviews import why_unexplained
from vip5.data.said import notes
from vip5.data.schema import MANIFEST, TRAIN, Input, Manifest, Order, protocol_of
from vip5.data.splits import Times, split_interactions, split_times
from vip5.data.table import Table
from vip5.data.tables import read_table
from vip5.errors import UserError


def _silent(line: str) -> None:
    pass


@takes(PrepareOptions)
def prepare(
    out: str | Path,
    *,
    interactions: str | Path | None = None,
    items: str | Path | None = None,
    reviews: str | Path | None = None,
    explanations: str | Path | None = None,
    mapping: Mapping[str, str] | None = None,
    progress: bool = False,
    report: Callable[[str], object] = _silent,
    **options: Any,
) -> Dataset:
    """Write the dataset folder `out` from plain tables and a folder of photos, and open it.

    interactions: user, item and any of timestamp, position, rating, user_name. Without it each review is one
    (distinct by user, item and timestamp). items: item and any of title, brand, categories, description, image,
    paper_id; without k-core all of them are the catalogue. reviews: user, item and any of rating, headline, text,
    feature, explanation, timestamp, user_name. explanations: user, item, explanation and feature, in place of those of
    the reviews. mapping: their column name → ours. report is called with a line for whatever is left out or decided.

    Raises: UserError for anything in the input that the user can mend; nothing is written then.
    """
    paths = {"interactions": interactions, "items": items, "reviews": reviews, "explanations": explanations}
    given = {kind: Path(path) for kind, path in paths.items() if path is not None}
    if "interactions" not in given and "reviews" not in given:
        raise UserError("no interactions: give --interactions, or --reviews to take each review as one")
    chosen = checked(PrepareOptions, options)
    with new_folder(Path(out), chosen.overwrite, MANIFEST) as folder:
        tables = {}
        for kind, path in given.items():
            with stage(f"reading {path.name}", progress):
                tables[kind] = read_table(path, kind, mapping or {}, chosen, report)
        for theirs in mapping or {}:
            if not any(theirs in table.names for table in tables.values()):
                has = "; ".join(f"{table.file} has {', '.join(table.names)}" for table in tables.values())
                raise UserError(f"--map {theirs}=…: no table has a column {theirs!r} ({has}): mend the name")
        _write(folder, tables, Path(out).absolute().name, Job(chosen, progress, report))
    return Dataset(out)


@takes(DatasetOptions)
def prepare_amazon(
    out: str | Path,
    *,
    reviews: str | Path,
    meta: str | Path | None = None,
    explanations: str | Path | None = None,
    progress: bool = False,
    report: Callable[[str], object] = _silent,
    **options: Any,
) -> Dataset:
    """Write the dataset folder `out` from files of an Amazon release (2014, 2018, 2023), and open it; see `prepare`.

    The reviews are the interactions, and the catalogue is what was reviewed; what `meta` does not describe stands
    without title. Photos are files named by item, or as at the end of the address of its first photo.

    Raises: UserError as `prepare`.
    """
    chosen = checked(DatasetOptions, options)
    with new_folder(Path(out), chosen.overwrite, MANIFEST) as folder:
        tables = {"reviews": amazon.read_reviews(reviews)}
        if meta is not None:
            reviewed = tables["reviews"].frame.select(pl.col("item").unique().sort())
            known = amazon.read_meta(meta, set(reviewed["item"]), report)
            whole = reviewed.join(known.frame, on="item", how="left", maintain_order="left")
            tables["items"] = replace(known, frame=whole.with_columns(pl.col("categories").fill_null([])))
        if explanations is not None:
            tables["explanations"] = read_table(explanations, "explanations", report=report)
        _write(folder, tables, Path(out).absolute().name, Job(chosen, progress, report))
    return Dataset(out)


@takes(DatasetOptions)
def prepare_movielens(
    out: str | Path,
    *,
    ratings: str | Path,
    progress: bool = False,
    report: Callable[[str], object] = _silent,
    **options: Any,
) -> Dataset:
    """Write the dataset folder `out` from the folder `ratings` of a MovieLens release, and open it; see `prepare`.

    Raises: UserError as `prepare`.
    """
    chosen = checked(DatasetOptions, options)
    with new_folder(Path(out), chosen.overwrite, MANIFEST) as folder:
        tables = read_movielens(ratings)
        _write(folder, tables, Path(out).absolute().name, Job(chosen, progress, report))
    return Dataset(out)


def _write(folder: Path, tables: dict[str, Table], name: str, job: Job) -> None:
    """Fill `folder` with a dataset made of `tables`; they are let go as soon as they have been used."""
    if "explanations" in tables and "reviews" not in tables:
        raise UserError("explanations without reviews: give --reviews too, or the explanations as --reviews")
    if job.options.review_split == "by-time":
        refuse_two_clocks(tables)
    files = {kind: table.file for kind, table in tables.items()}
    unexplained = why_unexplained(tables["reviews"], tables.get("explanations")) if "reviews" in tables else ""
    core = _core(tables, job)
    reviews = split_and_explained(tables, core.users, core.items, core.pairs, job, core.times)
    tables.clear()
    written = {"users": core.users, "items": core.items, "interactions": core.pairs, "reviews": reviews}
    for table, frame in written.items():
        with stage(f"writing {table}", job.progress):
            frame.write_parquet(folder / f"{table}.parquet", compression="zstd")
    sequences = Ragged.from_lengths(core.pairs["item"].to_numpy(), np.bincount(core.pairs["user"].to_numpy()))
    digest = hashlib.sha256()
    width, candidates_hash = _candidates(folder / "candidates.parquet", sequences, core, job, digest)
    with stage("hashing", job.progress):
        add_tables(digest, written)  # their names come after that of the candidates
        inputs = {kind: _input(file) for kind, file in files.items()}
    counts = {
        "users": core.users.height,
        "items": core.items.height,
        "interactions": core.pairs.height,
        "repeats": repeats(sequences),
        "reviews": reviews.height,
        "explanations": reviews["explanation"].count(),
        "candidates": width,
        **core.ties,
    }
    options, photos = job.options, core.photos
    manifest = Manifest(
        name=options.name or name,
        protocol=protocol_of(options.review_split),
        k_core=options.k_core,
        split=options.split,
        holdout=options.share if core.times else None,
        split_times=core.times,
        review_split=options.review_split,
        candidates_by=options.candidates_by,
        candidate_lists=options.candidate_lists,
        candidates_hash=candidates_hash,
        order=core.order,
        ties=options.ties,
        repeats_share=_repeats_share(core.pairs),
        seed=options.seed,
        counts=counts | (photos.counts if photos else {}),
        inputs=inputs | ({"images": photos.input} if photos else {}),
        images_root=str(photos.root) if photos else None,
        versions={"vip5": __version__, "polars": pl.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hash=digest.hexdigest(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for line in notes(manifest, unexplained):
        job.report(line)
    _note_what_is_taught(core, width, job)


@dataclass(frozen=True)
class _Core:
    """Users, items, interactions with their split, where a split by time begins, photos; the order and its ties."""

    users: pl.DataFrame
    items: pl.DataFrame
    pairs: pl.DataFrame
    times: Times | None
    photos: Photos | None
    order: Order
    ties: dict[str, int]


def _core(tables: dict[str, Table], job: Job) -> _Core:
    """The table of interactions is used up."""
    options = job.options
    source = tables.pop("interactions", None) or reviews_as_interactions(tables["reviews"], job)
    with stage("checking interactions", job.progress):
        rows = checked_interactions(source, tables, job)
    times = split_times(rows.frame["timestamp"], options.share, source.file) if options.split == "time" else None
    users = users_of(rows, tables.get("reviews"))
    items, photos = items_of(rows, tables.get("items"), job)
    with stage("sorting interactions", job.progress):
        ordered = in_order(rows, items)
        settled = ordered.settled(options.ties, options.seed)
        pairs = split_interactions(settled, times, ordered.equal if options.ties == "drop" else None)
    # By time the target is the first of its part, and whatever came before is of an earlier time.
    ties = {"tied": len(ordered.tied), "tied_tests": 0 if times else ordered.last_tied}
    if options.ties == "drop" and ties["tied_tests"] == users.height:
        what = f"every user's last interaction ties with the one before ({source.file})"
        raise UserError(f"{what}: --ties drop leaves nobody to test, leave it out")
    pairs = pairs.select("user", "item", "position", "timestamp", "rating", "split")
    return _Core(users, items, pairs, times, photos, ordered.by, ties)


def _note_what_is_taught(core: _Core, width: int, job: Job) -> None:
    """Say what the data set cannot teach or test."""
    asked = job.options.candidates
    if not width:
        job.report("there are no candidates, somebody leaves no item to draw: nothing can be ranked among some")
    elif width < asked:
        job.report(f"each list has {width} candidates and not {asked}: somebody leaves no more items to draw")
    pairs = core.pairs
    if (np.bincount(pairs.filter(pl.col("split") == TRAIN)["user"].to_numpy()) < 2).all():
        job.report(
            "nobody has two interactions in the training part, so that nothing teaches what comes next: give longer "
            "histories (leave-one-out holds out the last two of each user), or --split time"
        )


def _repeats_share(pairs: pl.DataFrame) -> float:
    """Of the training part after each user's first, the share of items that they had before."""
    train = (pairs["split"] == TRAIN).to_numpy()
    lengths = np.bincount(pairs["user"].to_numpy()[train])
    later = int(np.maximum(lengths - 1, 0).sum())
    return repeats(Ragged.from_lengths(pairs["item"].to_numpy()[train], lengths)) / later if later else 0.0


def _candidates(file: Path, sequences: Ragged, core: _Core, job: Job, digest: "hashlib._Hash") -> tuple[int, str]:
    """Draw and store the lists one by one. Returns: how many candidates each has, and their hash."""
    options = job.options
    weights = np.ones(core.items.height, dtype=np.int64)
    if options.candidates_by == "popularity":
        bought = core.pairs.filter(pl.col("split") == TRAIN)["item"].to_numpy()
        weights = np.bincount(bought, minlength=core.items.height)
    shape = (options.candidate_lists, len(sequences), list_width(sequences, weights, options.candidates))

    def lists(advance: Callable[[int], object]) -> Iterator[np.ndarray]:
        for number in range(options.candidate_lists):
            yield draw_negatives(sequences, weights, options.seed, options.candidates, number, advance)

    with stage("drawing candidates", job.progress, shape[0] * shape[1]) as advance:
        return shape[2], store_lists(file, lists(advance), shape, digest)


def _input(file: Path) -> Input:
    with file.open("rb") as stream:
        return Input(
            file=str(file), bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest()
        )
