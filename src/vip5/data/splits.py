"""Which interaction and which review is for training, for validation, for the test."""

import numpy as np
import polars as pl

from vip5.data.schema import TEST, TRAIN, VALIDATION, Protocol

SPLIT = pl.Enum([TRAIN, VALIDATION, TEST])
MIN_INTERACTIONS = 3  # one to train on, one to validate, one to test


def split_interactions(interactions: pl.DataFrame) -> pl.DataFrame:
    """Add `position` (0 is a user's oldest) and `split`: leave-one-out. Rows must be sorted by user and time."""
    from_end = pl.len().over("user") - pl.col("position")
    return interactions.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).over("user").alias("position")
    ).with_columns(
        pl.when(from_end == 1)
        .then(pl.lit(TEST))
        .when(from_end == 2)
        .then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TRAIN))
        .cast(SPLIT)
        .alias("split")
    )


def split_reviews(reviews: pl.DataFrame, interactions: pl.DataFrame, protocol: Protocol, seed: int) -> pl.DataFrame:
    """Add `split` to reviews (user, item, explanation).

    clean: a review of a held-out interaction goes where the interaction is; a pair that is held out and was bought
    before as well is held out, the test before the validation. paper: explanations 8:1:1 at random, every user and
    every item that has one kept in training (L. Li et al., NETE, CIKM 2020); reviews without one are for training.
    """
    if protocol == "paper":
        return reviews.with_columns(pl.Series("split", _random_split(reviews, seed), dtype=SPLIT))
    held_out = interactions.group_by("user", "item").agg(pl.col("split").max())  # train < validation < test
    joined = reviews.join(held_out, on=["user", "item"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("split").fill_null(TRAIN))


def _random_split(reviews: pl.DataFrame, seed: int) -> np.ndarray:
    splits = np.full(reviews.height, TRAIN, dtype=object)
    order = np.flatnonzero(reviews["explanation"].is_not_null().to_numpy())
    np.random.default_rng([seed, 1]).shuffle(order)
    shuffled = reviews[order] if len(order) else reviews.clear()
    free = order[~(shuffled["user"].is_first_distinct() | shuffled["item"].is_first_distinct()).to_numpy()]
    tenth = min(round(len(order) / 10), len(free) // 2)
    splits[free[:tenth]] = VALIDATION
    splits[free[tenth : 2 * tenth]] = TEST
    return splits
