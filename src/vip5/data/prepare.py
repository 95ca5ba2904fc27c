"""From tables and photos to a dataset folder."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.data import amazon
from vip5.data.candidates import NEGATIVES, draw_negatives, hash_of_lists
from vip5.data.dataset import Dataset
from vip5.data.folder import new_folder
from vip5.data.frames import (
    checked_interactions,
    indexed,
    items_of,
    reviews_as_interactions,
    split_and_explained,
    users_of,
)
from vip5.data.hashing import content_hash
from vip5.data.options import Options
from vip5.data.ragged import Ragged
from vip5.data.schema import MANIFEST, TRAIN, CandidatesBy, Input, Manifest, ReviewSplit, SplitKind, protocol_of
from vip5.data.splits import split_interactions, split_times
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
        tables = {kind: read_table(path, kind, mapping) for kind, path in given.items()}
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


def _write(folder: Path, tables: dict[str, Table], options: Options) -> None:
    """Fill `folder` with a dataset made of `tables`."""
    if "explanations" in tables and "reviews" not in tables:
        raise UserError("explanations without reviews: give --reviews too, or the explanations as --reviews")
    source = tables.get("interactions") or reviews_as_interactions(tables["reviews"])
    interactions = checked_interactions(source, tables.get("items"), options)
    times = split_times(interactions["timestamp"], options.share, source.file) if options.split == "time" else None
    users = users_of(interactions, tables.get("reviews"))
    items, photos = items_of(interactions, tables.get("items"), options)
    pairs = indexed(interactions, users, items).sort("user", "timestamp", "position", maintain_order=True)
    pairs = split_interactions(pairs, times).select("user", "item", "position", "timestamp", "rating", "split")
    reviews = split_and_explained(tables, users, items, pairs, options, times)
    lists = _candidates(pairs, items.height, options)
    written = {
        "users": users,
        "items": items,
        "interactions": pairs,
        "reviews": reviews,
        "candidates": _as_table(lists),
    }
    for table, frame in written.items():
        frame.write_parquet(folder / f"{table}.parquet", compression="zstd")
    counts = {
        "users": users.height,
        "items": items.height,
        "interactions": pairs.height,
        "repeats": pairs.height - pairs.select("user", "item").n_unique(),
        "reviews": reviews.height,
        "explanations": reviews["explanation"].count(),
        "candidates": lists.shape[2],
    }
    inputs = {kind: _input(table.file) for kind, table in tables.items()}
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
        candidates_hash=hash_of_lists(lists),
        seed=options.seed,
        counts=counts | (photos.counts if photos else {}),
        inputs=inputs | ({"images": photos.input} if photos else {}),
        images_root=str(photos.root) if photos else None,
        versions={"vip5": __version__, "polars": pl.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hash=content_hash(written),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _candidates(interactions: pl.DataFrame, n_items: int, options: Options) -> np.ndarray:
    """int32 [n_lists, n_users, width]: each list drawn by itself."""
    sequences = Ragged.from_lengths(interactions["item"].to_numpy(), np.bincount(interactions["user"].to_numpy()))
    weights = np.ones(n_items, dtype=np.int64)
    if options.candidates_by == "popularity":
        weights = np.bincount(interactions.filter(pl.col("split") == TRAIN)["item"].to_numpy(), minlength=n_items)
    lists = [
        draw_negatives(sequences, weights, options.seed, options.candidates, number)
        for number in range(options.candidate_lists)
    ]
    return np.stack(lists)


def _as_table(lists: np.ndarray) -> pl.DataFrame:
    """user, item; before them list, where there are several."""
    n_lists, n_users, width = lists.shape
    users = np.tile(np.repeat(np.arange(n_users, dtype=np.int32), width), n_lists)
    numbers = {"list": np.repeat(np.arange(n_lists, dtype=np.int32), n_users * width)} if n_lists > 1 else {}
    return pl.DataFrame({**numbers, "user": users, "item": lists.ravel()})


def _input(file: Path) -> Input:
    with file.open("rb") as stream:
        return Input(
            file=str(file), bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest()
        )
