"""The same data with another held-out part: what is fitted on the training part alone cannot tell the two apart."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from vip5.data import Dataset

_WORDS = "qzxjk vwqzx kjxqz"  # of no language, so that whatever reads them changes


def counterfactual(dataset: Dataset, seed: int = 0) -> Dataset:
    """In memory: every held-out interaction is of another item, and every review of one says something else.

    Held out are the pairs of user and item of the validation and the test, and the reviews of these splits. Stored
    candidates are others as well. Users, items, lengths, splits and the training part stay.
    """
    rng = np.random.default_rng([seed, 7])

    def others(items: pl.Series) -> pl.Series:
        shift = rng.integers(1, max(dataset.n_items, 2), len(items))
        return pl.Series((items.to_numpy() + shift) % dataset.n_items, dtype=items.dtype)

    held = pl.col("split") != "train"
    interactions, reviews = dataset.interactions, dataset.reviews
    pairs = interactions.filter(held).select("user", "item", _pair=True).unique()
    reviews = reviews.join(pairs, on=["user", "item"], how="left", maintain_order="left")
    reviews = reviews.with_columns(_held=held | pl.col("_pair").fill_null(False))
    texts = [pl.when("_held").then(pl.lit(_WORDS)).otherwise(t).alias(t) for t in _TEXTS]
    changed = {
        "_other": others(reviews["item"]),
        "_rating": pl.Series(rng.integers(1, 6, len(reviews)), dtype=pl.Float32),
    }
    reviews = reviews.with_columns(**changed).with_columns(
        *texts,
        item=pl.when("_held").then("_other").otherwise("item"),
        rating=pl.when("_held").then("_rating").otherwise("rating"),
    )
    interactions = interactions.with_columns(_other=others(interactions["item"])).with_columns(
        item=pl.when(held).then("_other").otherwise("item")
    )
    return _with(
        dataset,
        interactions=interactions.select(dataset.interactions.columns),
        reviews=reviews.select(dataset.reviews.columns),
        candidates=(dataset.candidates + 1) % dataset.n_items,
    )


_TEXTS = ("headline", "text", "feature", "explanation")


def first_users(dataset: Dataset, n: int) -> Dataset:
    """In memory: the first n users with what they bought and wrote, and the whole catalogue."""
    if dataset.n_users <= n:
        return dataset
    own = pl.col("user") < n
    part = _with(
        dataset,
        users=dataset.users.head(n),
        interactions=dataset.interactions.filter(own),
        reviews=dataset.reviews.filter(own),
    )
    part.manifest = dataset.manifest.model_copy(update={"counts": dataset.manifest.counts | {"users": n}})
    return part


def _with(dataset: Dataset, **tables: Any) -> Dataset:
    """A data set in memory, with some tables in place of those in the folder."""
    other = Dataset.__new__(Dataset)
    other.path, other.manifest = dataset.path, dataset.manifest
    known = {"users": dataset.users, "items": dataset.items} | tables
    other.__dict__.update(known)
    return other


def blind(what: Callable[[Dataset], Any], dataset: Dataset, other: Dataset) -> bool:
    """Whether `what` gives the same for both: it has not looked at what they differ in."""
    return _same(what(dataset), what(other))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, pl.DataFrame | pl.Series):
        return a.equals(b)
    if dataclasses.is_dataclass(a):
        return all(_same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a))
    if isinstance(a, list | tuple) and a and not isinstance(a[0], str | int | float):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
