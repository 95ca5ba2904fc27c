"""From tables as they were read to the frames of a dataset: checked, completed, indexed."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from vip5.data.options import Options
from vip5.data.photos import Photos, find_photos
from vip5.data.reviews import with_explanations
from vip5.data.splits import MIN_INTERACTIONS, SPLIT, Times, split_reviews
from vip5.data.tables import Table
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


def reviews_as_interactions(reviews: Table) -> Table:
    """Each review as an interaction, once by user, item and timestamp."""
    keys = [name for name in ("user", "item", "timestamp") if name in reviews.frame.columns]
    columns = [name for name in (*INTERACTION_COLUMNS, "row") if name in reviews.frame.columns]
    return replace(reviews, frame=reviews.frame.select(columns).unique(keys, keep="first", maintain_order=True))


def checked_interactions(source: Table, items: Table | None, options: Options) -> pl.DataFrame:
    """The interactions that stay, with all columns, in the file's order."""
    if options.split == "time" and "timestamp" not in source.frame.columns:
        remedy = "name their column with --map THEIRS=timestamp, or leave out --split time"
        raise UserError(f"no timestamps to split by ({source.file}): {remedy}")
    for name in {"timestamp", "position"} & set(source.frame.columns):
        source.refuse(pl.col(name).is_null(), f"no {name}", "fill it in, or leave the whole column out")
    if items is not None:
        known = items.frame["item"]
        items.refuse(~known.is_first_distinct(), "item {item!r} stands there twice", "keep one row an item")
        remedy = f"add it to {items.file}, or remove the interaction"
        source.refuse(~pl.col("item").is_in(known.implode()), "unknown item {item!r}", remedy)
    frame = source.frame
    if options.k_core is not None:
        frame = k_core_of(frame, options.k_core)
        if not frame.height:
            raise UserError(
                f"nothing is left of the {options.k_core}-core ({source.file}): give a smaller --k-core or more data"
            )
    if options.split == "leave-one-out":
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


def users_of(interactions: pl.DataFrame, reviews: Table | None) -> pl.DataFrame:
    """Users by raw id (an order that tells nothing of what they bought), each with the first name found."""
    named = [interactions.select("user", "user_name")]
    if reviews is not None and "user_name" in reviews.frame.columns:
        named.append(reviews.frame.select("user", "user_name"))
    names = pl.concat(named).drop_nulls().unique("user", keep="first", maintain_order=True)
    users = interactions.select(pl.col("user").unique().sort())
    return users.join(names, on="user", how="left", maintain_order="left").rename({"user_name": "name"})


def items_of(interactions: pl.DataFrame, items: Table | None, options: Options) -> tuple[pl.DataFrame, Photos | None]:
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


def indexed(frame: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Raw ids replaced by row numbers; rows of unknown users and items are left out, the order stays."""
    for name, table in (("user", users), ("item", items)):
        index = table.select(name, pl.int_range(pl.len(), dtype=pl.Int32).alias("index"))
        frame = frame.join(index, on=name, maintain_order="left").drop(name).rename({"index": name})
    return frame


def split_and_explained(
    tables: Mapping[str, Table],
    users: pl.DataFrame,
    items: pl.DataFrame,
    interactions: pl.DataFrame,
    options: Options,
    times: Times | None,
) -> pl.DataFrame:
    """Reviews of users and items that are in the dataset, by user, with explanation and split; the rest is reported."""
    if "reviews" not in tables:
        return pl.DataFrame(schema=REVIEW_COLUMNS)
    table = tables["reviews"]
    whole = _complete(with_explanations(table, tables.get("explanations")), REVIEW_COLUMNS).drop("split")
    reviews = indexed(whole, users, items).sort("user", maintain_order=True)
    if lost := whole.height - reviews.height:
        options.report(f"{lost} reviews left out, their user or item is not in the dataset ({table.file})")
    return split_reviews(reviews, interactions, options.review_split, options.seed, times).select(*REVIEW_COLUMNS)
