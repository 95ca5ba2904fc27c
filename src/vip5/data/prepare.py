"""From tables and photos to a dataset folder."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.data import amazon
from vip5.data.candidates import NEGATIVES, draw_negatives, list_width, store_lists
from vip5.data.dataset import Dataset
from vip5.data.folder import new_folder
from vip5.data.frames import (
    checked_interactions,
    in_order,
    items_of,
    reviews_as_interactions,
    split_and_explained,
    users_of,
)
from vip5.data.hashing import add_tables
from vip5.data.options import Options
from vip5.data.photos import Photos
from vip5.data.progress import stage
from vip5.data.ragged import Ragged, repeats
from vip5.data.schema import MANIFEST, TRAIN, CandidatesBy, Input, Manifest, ReviewSplit, SplitKind, protocol_of
from vip5.data.splits import Times, split_interactions, split_times
from vip5.data.tables import Table, read_table
from vip5.errors import UserError


def _silent(line: str) -> None:
    pass


def prepare(
    out: str | Path,
    *,
    interactions: str | Path | None = None,
    items: str | Path | None = None,
    reviews: str | Path | None = None,
    explanations: str | Path | None = None,
    images: str | Path | None = None,
    mapping: Mapping[str, str] | None = None,
    k_core: int | None = None,
    split: SplitKind = "leave-one-out",
    holdout: float | None = None,
    review_split: ReviewSplit = "by-time",
    candidates: int = NEGATIVES,
    candidates_by: CandidatesBy = "uniform",
    candidate_lists: int = 1,
    seed: int = 0,
    name: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    report: Callable[[str], object] = _silent,
) -> Dataset:
    """Write the dataset folder `out` from plain tables and a folder of photos, and open it.

    interactions: user, item and any of timestamp, position, rating, user_name. Without it each review is one
    (distinct by user, item and timestamp). items: item and any of title, brand, categories, description, image,
    paper_id; without k-core all of them are the catalogue. reviews: user, item and any of rating, headline, text,
    feature, explanation, timestamp, user_name. explanations: user, item, explanation and feature, in place of those of
    the reviews. mapping: their column name → ours. report is called with a line for whatever is left out.

    split: the last two interactions of each user are held out, or those from one point in time on, `holdout` (0.1 when
    not given) of all for the test and as much for validation. review_split: see `split_reviews`. candidates: how many
    negatives stand in each of `candidate_lists` lists of a user, drawn uniformly or by how often training has them.

    Raises: UserError for anything in the input that the user can mend; nothing is written then.
    """
    paths = {"interactions": interactions, "items": items, "reviews": reviews, "explanations": explanations}
    given = {kind: Path(path) for kind, path in paths.items() if path is not None}
    if "interactions" not in given and "reviews" not in given:
        raise UserError("no interactions: give --interactions, or --reviews to take each review as one")
    options = Options(
        name or Path(out).absolute().name, images, k_core, split, holdout, review_split,
        candidates, candidates_by, candidate_lists, seed, progress, report,
    )  # fmt: skip
    with new_folder(Path(out), overwrite, MANIFEST) as folder:
        tables = {kind: _read(path, kind, mapping, options) for kind, path in given.items()}
        for theirs in mapping or {}:
            if not any(theirs in table.names for table in tables.values()):
                has = "; ".join(f"{table.file} has {', '.join(table.names)}" for table in tables.values())
                raise UserError(f"--map {theirs}=…: no table has a column {theirs!r} ({has}): mend the name")
        _write(folder, tables, options)
    return Dataset(out)


def prepare_amazon(
    out: str | Path,
    *,
    reviews: str | Path,
    meta: str | Path | None = None,
    explanations: str | Path | None = None,
    images: str | Path | None = None,
    k_core: int | None = None,
    split: SplitKind = "leave-one-out",
    holdout: float | None = None,
    review_split: ReviewSplit = "by-time",
    candidates: int = NEGATIVES,
    candidates_by: CandidatesBy = "uniform",
    candidate_lists: int = 1,
    seed: int = 0,
    name: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    report: Callable[[str], object] = _silent,
) -> Dataset:
    """Write the dataset folder `out` from files of the 2014 Amazon release, and open it; see `prepare`.

    The reviews are the interactions, and the catalogue is what was reviewed; what `meta` does not describe stands
    without title. Photos are files named `<asin>.jpg`, or as in the item's imUrl.

    Raises: UserError as `prepare`.
    """
    options = Options(
        name or Path(out).absolute().name, images, k_core, split, holdout, review_split,
        candidates, candidates_by, candidate_lists, seed, progress, report,
    )  # fmt: skip
    with new_folder(Path(out), overwrite, MANIFEST) as folder:
        tables = {"reviews": amazon.read_reviews(reviews)}
        if meta is not None:
            reviewed = tables["reviews"].frame.select(pl.col("item").unique().sort())
            known = amazon.read_meta(meta, set(reviewed["item"]))
            whole = reviewed.join(known.frame, on="item", how="left", maintain_order="left")
            tables["items"] = replace(known, frame=whole.with_columns(pl.col("categories").fill_null([])))
        if explanations is not None:
            tables["explanations"] = read_table(explanations, "explanations")
        _write(folder, tables, options)
    return Dataset(out)


def _read(path: Path, kind: str, mapping: Mapping[str, str] | None, options: Options) -> Table:
    with stage(f"reading {path.name}", options.progress):
        return read_table(path, kind, mapping)


def _write(folder: Path, tables: dict[str, Table], options: Options) -> None:
    """Fill `folder` with a dataset made of `tables`; they are let go as soon as they have been used."""
    if "explanations" in tables and "reviews" not in tables:
        raise UserError("explanations without reviews: give --reviews too, or the explanations as --reviews")
    files = {kind: table.file for kind, table in tables.items()}
    users, items, pairs, times, photos = _core(tables, options)
    reviews = split_and_explained(tables, users, items, pairs, options, times)
    tables.clear()
    written = {"users": users, "items": items, "interactions": pairs, "reviews": reviews}
    for name, frame in written.items():
        with stage(f"writing {name}", options.progress):
            frame.write_parquet(folder / f"{name}.parquet", compression="zstd")
    sequences = Ragged.from_lengths(pairs["item"].to_numpy(), np.bincount(pairs["user"].to_numpy()))
    digest = hashlib.sha256()
    width, candidates_hash = _candidates(folder / "candidates.parquet", sequences, pairs, items.height, options, digest)
    with stage("hashing", options.progress):
        add_tables(digest, written)  # their names come after that of the candidates
        inputs = {kind: _input(file) for kind, file in files.items()}
    counts = {
        "users": users.height,
        "items": items.height,
        "interactions": pairs.height,
        "repeats": repeats(sequences),
        "reviews": reviews.height,
        "explanations": reviews["explanation"].count(),
        "candidates": width,
    }
    manifest = Manifest(
        name=options.name,
        protocol=protocol_of(options.review_split),
        k_core=options.k_core,
        split=options.split,
        holdout=options.share if times else None,
        split_times=times,
        review_split=options.review_split,
        candidates_by=options.candidates_by,
        candidate_lists=options.candidate_lists,
        candidates_hash=candidates_hash,
        seed=options.seed,
        counts=counts | (photos.counts if photos else {}),
        inputs=inputs | ({"images": photos.input} if photos else {}),
        images_root=str(photos.root) if photos else None,
        versions={"vip5": __version__, "polars": pl.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hash=digest.hexdigest(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _core(
    tables: dict[str, Table], options: Options
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, Times | None, Photos | None]:
    """Users, items, interactions, where a split by time begins, photos. The table of interactions is used up."""
    source = tables.pop("interactions", None) or reviews_as_interactions(tables["reviews"])
    with stage("checking interactions", options.progress):
        rows = checked_interactions(source, tables.get("items"), options)
    times = split_times(rows.frame["timestamp"], options.share, source.file) if options.split == "time" else None
    users = users_of(rows, tables.get("reviews"))
    items, photos = items_of(rows, tables.get("items"), options)
    with stage("sorting interactions", options.progress):
        pairs = split_interactions(in_order(rows, items), times)
    return users, items, pairs.select("user", "item", "position", "timestamp", "rating", "split"), times, photos


def _candidates(
    file: Path, sequences: Ragged, interactions: pl.DataFrame, n_items: int, options: Options, digest: "hashlib._Hash"
) -> tuple[int, str]:
    """Draw and store the lists one by one. Returns: how many candidates each has, and their hash."""
    weights = np.ones(n_items, dtype=np.int64)
    if options.candidates_by == "popularity":
        weights = np.bincount(interactions.filter(pl.col("split") == TRAIN)["item"].to_numpy(), minlength=n_items)
    shape = (options.candidate_lists, len(sequences), list_width(sequences, weights, options.candidates))

    def lists(advance: Callable[[int], object]) -> Iterator[np.ndarray]:
        for number in range(options.candidate_lists):
            yield draw_negatives(sequences, weights, options.seed, options.candidates, number, advance)

    with stage("drawing candidates", options.progress, shape[0] * shape[1]) as advance:
        return shape[2], store_lists(file, lists(advance), shape, digest)


def _input(file: Path) -> Input:
    with file.open("rb") as stream:
        return Input(
            file=str(file), bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest()
        )
