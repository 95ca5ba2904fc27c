"""From tables as they were read to the frames of a dataset: checked, completed, indexed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl

from vip5.data.ids import Lost, lost_zeros
from vip5.data.options import Job
from vip5.data.order import Ordered
from vip5.data.photos import Photos, find_photos
from vip5.data.reviews import with_explanations
from vip5.data.schema import COLUMNS
from vip5.data.splits import MIN_INTERACTIONS, SPLIT, Times, split_reviews
from vip5.data.table import Table
from vip5.errors import UserError

INTERACTION_COLUMNS = tuple(COLUMNS["interactions"])
PAIR_COLUMNS: dict[str, pl.DataType] = {
    "user": pl.Int32(),
    "item": pl.Int32(),
    "timestamp": pl.Int64(),
    "rating": pl.Float32(),
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


def reviews_as_interactions(reviews: Table, job: Job) -> Table:
    """Each review as an interaction, once by user, item and timestamp."""
    keys = [name for name in ("user", "item", "timestamp") if name in reviews.frame.columns]
    columns = [name for name in (*INTERACTION_COLUMNS, "row") if name in reviews.frame.columns]
    frame = reviews.frame.select(columns).unique(keys, keep="first", maintain_order=True)
    if more := reviews.frame.height - frame.height:
        alike = " and ".join(", ".join(keys).rsplit(", ", 1))
        job.report(
            f"{more} reviews have the {alike} of another one and are no interaction of their own ({reviews.file})"
        )
    return replace(reviews, frame=frame)


def refuse_two_clocks(tables: Mapping[str, Table]) -> None:
    """UserError where the times of interactions and reviews cannot be compared, which splits reviews by time."""
    timed = [tables[kind] for kind in ("interactions", "reviews") if kind in tables and tables[kind].clock]
    if len({table.clock for table in timed}) == 2:
        kinds = {"numbers": "plain numbers", "time": "real times"}
        what = " and ".join(f"{kinds[table.clock or 'time']} in {table.file}" for table in timed)
        remedy = "write them alike, or give --review-split by-pair"
        raise UserError(f"timestamps are {what}, so reviews cannot be split by time: {remedy}")


@dataclass(frozen=True)
class Numbered:
    """Interactions in the file's order, whose users and items are places (Int32) among the raw ids, which are sorted.

    frame: user, item, and what there is of row, timestamp, position, rating, user_name. users, items: raw ids.
    """

    frame: pl.DataFrame
    users: pl.Series
    items: pl.Series

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """From raw ids, which are replaced in the very frame: as strings they are most of what a long table holds."""
        ids = {}
        for name in ("user", "item"):
            ids[name] = frame[name].unique().sort()
            places = ids[name].to_frame().with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("place"))
            numbers = frame.select(name).join(places, on=name, how="left", maintain_order="left")["place"]
            frame.replace_column(frame.get_column_index(name), numbers.alias(name))
        return cls(frame, ids["user"], ids["item"])

    def only(self, frame: pl.DataFrame) -> Self:
        """These rows of the frame alone, and the ids that they have."""
        ids = {}
        for name, known in (("user", self.users), ("item", self.items)):
            numbers = frame[name].to_numpy()
            there = np.bincount(numbers, minlength=len(known)) > 0
            ids[name] = known.filter(pl.Series(there))
            places = np.cumsum(there, dtype=np.int32) - 1
            frame = frame.with_columns(pl.Series(name, places[numbers], dtype=pl.Int32))
        return type(self)(frame, ids["user"], ids["item"])

    def named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """These rows of the frame with raw ids in place of numbers."""
        return frame.with_columns(self.users.gather(frame["user"]), self.items.gather(frame["item"]))


def checked_interactions(source: Table, tables: Mapping[str, Table], job: Job) -> Numbered:
    """The interactions that stay, checked beside the other tables. The frame of `source` is used up."""
    if job.options.split == "time" and "timestamp" not in source.frame.columns:
        remedy = "name their column with --map THEIRS=timestamp, or leave out --split time"
        raise UserError(f"no timestamps to split by ({source.file}): {remedy}")
    for name in {"timestamp", "position"} & set(source.frame.columns):
        source.refuse(pl.col(name).is_null(), f"no {name}", "fill it in, or leave the whole column out")
    rows = Numbered.of(source.frame)

    def refuse(frame: pl.DataFrame, problem: str, remedy: str) -> None:
        replace(source, frame=rows.named(frame)).refuse(pl.lit(True), problem, remedy)

    if items := tables.get("items"):
        items.refuse(~pl.col("item").is_first_distinct(), "item {item!r} stands there twice", "keep one row an item")
        unknown = ~rows.items.is_in(items.frame["item"].implode())
        remedy = f"add it to {items.file}, or remove the interaction"
        if lost := lost_zeros(rows.items, items.frame["item"]):
            unknown, remedy = rows.items == lost.here, _as_text(lost, items)
        refuse(rows.frame.filter(unknown.to_numpy()[rows.frame["item"].to_numpy()]), "unknown item {item!r}", remedy)
    _refuse_lost_zeros(rows, source, tables)
    if job.options.k_core is not None:
        frame = k_core_of(rows.frame, job.options.k_core)
        if not frame.height:
            raise UserError(
                f"nothing is left of the {job.options.k_core}-core ({source.file}): "
                "give a smaller --k-core or more data"
            )
        if left := rows.frame.height - frame.height:
            job.report(f"{left} interactions are not in the {job.options.k_core}-core and left out ({source.file})")
        rows = rows.only(frame)
    if job.options.split == "leave-one-out":
        users = rows.frame["user"].to_numpy()
        counts = np.bincount(users)
        few = rows.frame.filter(counts[users] < MIN_INTERACTIONS).unique("user", keep="first", maintain_order=True)
        refuse(
            few.with_columns(pl.Series("n", counts[few["user"].to_numpy()])),
            f"user {{user!r}} has {{n}} of the {MIN_INTERACTIONS} interactions it takes",
            f"drop such users with --k-core {MIN_INTERACTIONS}, or give more of their history",
        )
    return rows


def _as_text(lost: Lost, table: Table) -> str:
    """The remedy for ids that were read as numbers on their way to one of two tables."""
    what = f"{table.file} has {lost.there!r} where here is {lost.here!r}"
    return f"write the column as text, with all its zeros, in the file where it was read as numbers ({what})"


def _refuse_lost_zeros(rows: Numbered, source: Table, tables: Mapping[str, Table]) -> None:
    """UserError for a review or explanation whose user or item is known by another number of zeros alone.

    It would be left out as one of an item that is not there.
    """
    items = rows.items if "items" not in tables else pl.concat([rows.items, tables["items"].frame["item"]])
    for kind in {"reviews", "explanations"} & tables.keys():
        for name, known in (("user", rows.users), ("item", items)):
            if lost := lost_zeros(tables[kind].frame[name], known):
                there = tables["items"] if name == "item" and lost.there not in rows.items else source
                remedy = _as_text(lost, there)
                tables[kind].refuse(pl.col(name) == lost.here, f"unknown {name} {{{name}!r}}", remedy)


def k_core_of(interactions: pl.DataFrame, k: int) -> pl.DataFrame:
    """The largest part in which every user and every item has at least k interactions; rows keep their order.

    interactions: user and item are whole numbers from 0 on.
    """
    before = -1
    while interactions.height != before:
        before = interactions.height
        for name in ("user", "item"):
            numbers = interactions[name].to_numpy()
            interactions = interactions.filter(np.bincount(numbers)[numbers] >= k)
    return interactions


def _complete(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """These columns in this order, null where the frame lacks them."""
    return frame.select(pl.col(n) if n in frame.columns else pl.lit(None, kind).alias(n) for n, kind in columns.items())


def users_of(interactions: Numbered, reviews: Table | None) -> pl.DataFrame:
    """Users by raw id (an order that tells nothing of what they bought), each with the first name found."""
    named = [pl.DataFrame(schema={"user": pl.String, "user_name": pl.String})]
    if "user_name" in interactions.frame.columns:
        first = interactions.frame.drop_nulls("user_name").unique("user", keep="first", maintain_order=True)
        named.append(interactions.named(first).select("user", "user_name"))
    if reviews is not None and "user_name" in reviews.frame.columns:
        named.append(reviews.frame.select("user", "user_name").drop_nulls())
    names = pl.concat(named).unique("user", keep="first", maintain_order=True)
    users = interactions.users.to_frame()
    return users.join(names, on="user", how="left", maintain_order="left").rename({"user_name": "name"})


def items_of(interactions: Numbered, items: Table | None, job: Job) -> tuple[pl.DataFrame, Photos | None]:
    """Items by raw id: the whole table, or with k-core what of it is left; and their photos."""
    used = interactions.items.to_frame()
    if items is None:
        frame = used
    else:
        frame = items.frame if job.options.k_core is None else items.frame.join(used, on="item", how="semi")
    frame = _complete(frame.sort("item"), ITEM_COLUMNS).with_columns(pl.col("categories").fill_null([]))
    if job.options.images is None:
        return frame.with_columns(image=pl.lit(None, pl.String)), None
    photos = find_photos(job.options.images, frame["item"].to_list(), frame["image"].to_list(), job.progress)
    for fault in photos.faults:
        job.report(fault)
    return frame.with_columns(pl.Series("image", photos.images, dtype=pl.String)), photos


def in_order(interactions: Numbered, items: pl.DataFrame) -> Ordered:
    """The interactions by row of users and items, a user's oldest first."""
    index = items.select("item", pl.int_range(pl.len(), dtype=pl.Int32).alias("index"))
    rows = interactions.items.to_frame().join(index, on="item", how="left", maintain_order="left")["index"]
    frame = interactions.frame.drop("row", "user_name", strict=False)
    ordered = Ordered.of(frame.with_columns(rows.gather(frame["item"]).alias("item")))
    return replace(ordered, frame=_complete(ordered.frame.drop("position", strict=False), PAIR_COLUMNS))


def indexed(frame: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Raw ids replaced by row numbers; rows of unknown users and items are left out, the order stays."""
    for name, table in (("user", users), ("item", items)):
        index = table.select(name, pl.int_range(pl.len(), dtype=pl.Int32).alias("index"))
        frame = frame.join(index, on=name, maintain_order="left").drop(name).rename({"index": name})
    return frame


def _note_unused(explanations: Table, reviews: Table, job: Job) -> None:
    """Say how many explanations do not count."""
    told = explanations.frame.select("user", "item")
    pairs = told.unique()
    if more := told.height - pairs.height:
        job.report(f"{more} explanations are of a user and item that have one before them, which counts")
    if lost := pairs.join(reviews.frame, on=["user", "item"], how="anti").height:
        job.report(f"{lost} explanations left out, there is no review of that user and item ({explanations.file})")


def split_and_explained(
    tables: Mapping[str, Table],
    users: pl.DataFrame,
    items: pl.DataFrame,
    interactions: pl.DataFrame,
    job: Job,
    times: Times | None,
) -> pl.DataFrame:
    """Reviews of users and items that are in the dataset, by user, with explanation and split; the rest is reported."""
    if "reviews" not in tables:
        return pl.DataFrame(schema=REVIEW_COLUMNS)
    table = tables["reviews"]
    if explanations := tables.get("explanations"):
        _note_unused(explanations, table, job)
    whole = _complete(with_explanations(table, explanations), REVIEW_COLUMNS).drop("split")
    reviews = indexed(whole, users, items).sort("user", maintain_order=True)
    if lost := whole.height - reviews.height:
        job.report(f"{lost} reviews left out, their user or item is not in the dataset ({table.file})")
    return split_reviews(reviews, interactions, job.options.review_split, job.options.seed, times).select(
        *REVIEW_COLUMNS
    )
