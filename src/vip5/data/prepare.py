"""From tables and photos to a dataset folder."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.data import amazon
from vip5.data.candidates import draw_negatives
from vip5.data.dataset import Dataset
from vip5.data.folder import new_folder
from vip5.data.photos import Photos, find_photos
from vip5.data.ragged import Ragged
from vip5.data.reviews import with_explanations
from vip5.data.schema import MANIFEST, Input, Manifest, Protocol
from vip5.data.splits import MIN_INTERACTIONS, SPLIT, split_interactions, split_reviews
from vip5.data.tables import Table, read_table
from vip5.errors import UserError

MAX_FAULTS = 20  # photos named one by one
INTERACTION_COLUMNS: dict[str, pl.DataType] = {
    "user": pl.String(),
    "item": pl.String(),
    "timestamp": pl.Int64(),
    "position": pl.Float64(),
    "rating": pl.Float32(),
    "user_name": pl.String(),
}
ITEM_COLUMNS: dict[str, pl.DataType] = {
    "item": pl.String(),
    "title": pl.String(),
    "brand": pl.String(),
    "categories": pl.List(pl.String()),
    "description": pl.String(),
    "image": pl.String(),
    "paper_id": pl.Int64(),
}
REVIEW_COLUMNS: dict[str, pl.DataType] = {
    "user": pl.Int32(),
    "item": pl.Int32(),
    "rating": pl.Float32(),
    "headline": pl.String(),
    "text": pl.String(),
    "feature": pl.String(),
    "explanation": pl.String(),
    "timestamp": pl.Int64(),
    "split": SPLIT,
}


@dataclass(frozen=True)
class _Options:
    name: str
    images: str | Path | None
    k_core: int | None
    protocol: Protocol
    seed: int
    progress: bool
    report: Callable[[str], object]


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
    protocol: Protocol = "clean",
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

    Raises: UserError for anything in the input that the user can mend; nothing is written then.
    """
    paths = {"interactions": interactions, "items": items, "reviews": reviews, "explanations": explanations}
    given = {kind: Path(path) for kind, path in paths.items() if path is not None}
    if "interactions" not in given and "reviews" not in given:
        raise UserError("no interactions: give --interactions, or --reviews to take each review as one")
    options = _Options(name or Path(out).absolute().name, images, k_core, protocol, seed, progress, report)
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
    protocol: Protocol = "clean",
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
    options = _Options(name or Path(out).absolute().name, images, k_core, protocol, seed, progress, report)
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


def _write(folder: Path, tables: dict[str, Table], options: _Options) -> None:
    """Fill `folder` with a dataset made of `tables`."""
    if "explanations" in tables and "reviews" not in tables:
        raise UserError("explanations without reviews: give --reviews too, or the explanations as --reviews")
    source = tables.get("interactions") or _reviews_as_interactions(tables["reviews"])
    interactions = _interactions(source, tables.get("items"), options.k_core)
    users = _users(interactions, tables.get("reviews"))
    items, photos = _items(interactions, tables.get("items"), options)
    pairs = _indexed(interactions, users, items).sort("user", "timestamp", "position", maintain_order=True)
    pairs = split_interactions(pairs).select("user", "item", "position", "timestamp", "rating", "split")
    reviews = _reviews(tables, users, items, pairs, options)
    sequences = Ragged.from_lengths(pairs["item"].to_numpy(), np.bincount(pairs["user"].to_numpy()))
    negatives = draw_negatives(sequences, items.height, options.seed)
    rows = np.repeat(np.arange(len(negatives), dtype=np.int32), negatives.shape[1])
    written = {
        "users": users,
        "items": items,
        "interactions": pairs,
        "reviews": reviews,
        "candidates": pl.DataFrame({"user": rows, "item": negatives.ravel()}),
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
        "candidates": negatives.shape[1],
    }
    inputs = {kind: _input(table.file) for kind, table in tables.items()}
    manifest = Manifest(
        name=options.name,
        protocol=options.protocol,
        k_core=options.k_core,
        seed=options.seed,
        counts=counts | (photos.counts if photos else {}),
        inputs=inputs | ({"images": photos.input} if photos else {}),
        images_root=str(photos.root) if photos else None,
        versions={"vip5": __version__, "polars": pl.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hash=content_hash(written),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def content_hash(tables: Mapping[str, pl.DataFrame]) -> str:
    """sha256 (hex) of what the tables hold, whatever file, compression, time or machine."""
    digest = hashlib.sha256()
    for table, frame in sorted(tables.items()):
        for column in frame:
            digest.update(f"{table}.{column.name} {frame.height}\n".encode())
            _digest(digest, column)
    return digest.hexdigest()


def _digest(digest: "hashlib._Hash", values: pl.Series) -> None:
    digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
    if values.dtype == pl.List:
        digest.update(values.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
        _digest(digest, values.filter(values.list.len() > 0).explode())
    elif values.dtype == pl.String or values.dtype == pl.Enum:
        texts = values.cast(pl.String).fill_null("")
        digest.update(texts.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
        digest.update("".join(texts).encode())
    else:
        digest.update(values.fill_null(0).to_numpy().astype("<f8" if values.dtype.is_float() else "<i8").tobytes())


def _reviews_as_interactions(reviews: Table) -> Table:
    keys = [name for name in ("user", "item", "timestamp") if name in reviews.frame.columns]
    columns = [name for name in (*INTERACTION_COLUMNS, "row") if name in reviews.frame.columns]
    return replace(reviews, frame=reviews.frame.select(columns).unique(keys, keep="first", maintain_order=True))


def _interactions(source: Table, items: Table | None, k_core: int | None) -> pl.DataFrame:
    """The interactions that stay, checked, with all columns, in the file's order."""
    for name in {"timestamp", "position"} & set(source.frame.columns):
        source.refuse(pl.col(name).is_null(), f"no {name}", "fill it in, or leave the whole column out")
    if items is not None:
        known = items.frame["item"]
        items.refuse(~known.is_first_distinct(), "item {item!r} stands there twice", "keep one row an item")
        remedy = f"add it to {items.file}, or remove the interaction"
        source.refuse(~pl.col("item").is_in(known.implode()), "unknown item {item!r}", remedy)
    frame = source.frame
    if k_core is not None:
        frame = k_core_of(frame, k_core)
        if not frame.height:
            raise UserError(
                f"nothing is left of the {k_core}-core ({source.file}): give a smaller --k-core or more data"
            )
    counted = frame.with_columns(pl.len().over("user").alias("n")).unique("user", keep="first", maintain_order=True)
    replace(source, frame=counted).refuse(
        pl.col("n") < MIN_INTERACTIONS,
        f"user {{user!r}} has {{n}} of the {MIN_INTERACTIONS} interactions it takes",
        f"drop such users with --k-core {MIN_INTERACTIONS}, or give more of their history",
    )
    return _complete(frame, INTERACTION_COLUMNS)


def k_core_of(interactions: pl.DataFrame, k: int) -> pl.DataFrame:
    """The largest part in which every user and every item has at least k interactions; rows keep their order."""
    before = -1
    while interactions.height != before:
        before = interactions.height
        interactions = interactions.filter(pl.len().over("user") >= k).filter(pl.len().over("item") >= k)
    return interactions


def _complete(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """These columns in this order, null where the frame lacks them."""
    return frame.select(pl.col(n) if n in frame.columns else pl.lit(None, kind).alias(n) for n, kind in columns.items())


def _users(interactions: pl.DataFrame, reviews: Table | None) -> pl.DataFrame:
    """Users by raw id (an order that tells nothing of what they bought), each with the first name found."""
    named = [interactions.select("user", "user_name")]
    if reviews is not None and "user_name" in reviews.frame.columns:
        named.append(reviews.frame.select("user", "user_name"))
    names = pl.concat(named).drop_nulls().unique("user", keep="first", maintain_order=True)
    users = interactions.select(pl.col("user").unique().sort())
    return users.join(names, on="user", how="left", maintain_order="left").rename({"user_name": "name"})


def _items(interactions: pl.DataFrame, items: Table | None, options: _Options) -> tuple[pl.DataFrame, Photos | None]:
    """Items by raw id: the whole table, or with k-core what of it is left; and their photos."""
    used = interactions.select(pl.col("item").unique())
    if items is None:
        frame = used
    else:
        frame = items.frame if options.k_core is None else items.frame.join(used, on="item", how="semi")
    frame = _complete(frame.sort("item"), ITEM_COLUMNS).with_columns(pl.col("categories").fill_null([]))
    if options.images is None:
        return frame.with_columns(image=pl.lit(None, pl.String)), None
    photos = find_photos(options.images, frame["item"].to_list(), frame["image"].to_list(), options.progress)
    for fault in photos.faults[:MAX_FAULTS]:
        options.report(fault)
    if len(photos.faults) > MAX_FAULTS:
        options.report(f"{len(photos.faults) - MAX_FAULTS} more photos are broken or escape the folder")
    return frame.with_columns(pl.Series("image", photos.images, dtype=pl.String)), photos


def _indexed(frame: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Raw ids replaced by row numbers; rows of unknown users and items are left out, the order stays."""
    for name, table in (("user", users), ("item", items)):
        index = table.select(name, pl.int_range(pl.len(), dtype=pl.Int32).alias("index"))
        frame = frame.join(index, on=name, maintain_order="left").drop(name).rename({"index": name})
    return frame


def _reviews(
    tables: dict[str, Table], users: pl.DataFrame, items: pl.DataFrame, pairs: pl.DataFrame, options: _Options
) -> pl.DataFrame:
    """Reviews of users and items that are in the dataset, by user, with explanation and split; the rest is reported."""
    if "reviews" not in tables:
        return pl.DataFrame(schema=REVIEW_COLUMNS)
    table = tables["reviews"]
    whole = _complete(with_explanations(table, tables.get("explanations")), REVIEW_COLUMNS).drop("split")
    reviews = _indexed(whole, users, items).sort("user", maintain_order=True)
    if lost := whole.height - reviews.height:
        options.report(f"{lost} reviews left out, their user or item is not in the dataset ({table.file})")
    return split_reviews(reviews, pairs, options.protocol, options.seed).select(*REVIEW_COLUMNS)


def _input(file: Path) -> Input:
    with file.open("rb") as stream:
        return Input(
            file=str(file), bytes=file.stat().st_size, sha256=hashlib.file_digest(stream, "sha256").hexdigest()
        )
