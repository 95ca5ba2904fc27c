"""Which interaction and which review is for training, for validation, for the test."""

import numpy as np
import polars as pl

from vip5.data.schema import TEST, TRAIN, VALIDATION, ReviewSplit
from vip5.errors import UserError

SPLIT = pl.Enum([TRAIN, VALIDATION, TEST])
MIN_INTERACTIONS = 3  # of a user in leave-one-out: one to train on, one to validate, one to test
Times = tuple[int | float, int | float]  # where validation and where the test begins, in the unit of the timestamps


def split_interactions(
    interactions: pl.DataFrame, times: Times | None = None, equal: np.ndarray | None = None
) -> pl.DataFrame:
    """Add `position` (0 is a user's oldest) and `split`. Rows must be sorted by user and time.

    With `times`, what lies before the first is for training, what lies before the second for validation, and the rest
    for the test, whoever the user is. Without, leave-one-out: the last of each user is for the test, the last but one
    for validation. With `equal` (bool [n], rows that tie with the row before), who has a last row that ties is not
    tested: all of theirs is for training; and the last but one is for training where it ties.
    """
    users = interactions["user"].to_numpy()
    starts = np.flatnonzero(np.diff(users, prepend=users[0] - 1))
    lengths = np.diff(starts, append=len(users)).astype(np.int32)
    position = np.arange(len(users), dtype=np.int32) - np.repeat(starts.astype(np.int32), lengths)
    placed = interactions.with_columns(pl.Series("position", position))
    if times is not None:
        return placed.with_columns(_at(pl.col("timestamp"), *times).alias("split"))
    from_end = position - np.repeat(lengths, lengths)
    if equal is not None:
        last = starts + lengths - 1
        from_end[last[equal[last]]] = -3
        from_end[last[equal[last] | equal[last - 1]] - 1] = -3
    return placed.with_columns(_at(pl.lit(pl.Series(from_end)), -2, -1).alias("split"))


def split_times(timestamps: pl.Series, holdout: float, file: object) -> Times:
    """Where validation and where the test begins, for each to hold as nearly as may be `holdout` of all interactions.

    Equal timestamps stay together; each part gets one at least, and of two equally near points the later one is taken.
    Raises: UserError where there are fewer than three to tell apart.
    """
    points, counts = np.unique(timestamps.to_numpy(), return_counts=True)
    if len(points) < 3:
        remedy = "give finer ones, or leave out --split time"
        raise UserError(f"{len(points)} different timestamps, where a split by time takes 3 ({file}): {remedy}")
    wanted = holdout * len(timestamps)
    after = np.cumsum(counts[::-1])[::-1]  # interactions at or after each point
    test = _nearest(after[2:], wanted) + 2
    validation = _nearest(after[1:test] - after[test], wanted) + 1
    return points[validation].item(), points[test].item()


def split_reviews(
    reviews: pl.DataFrame,
    interactions: pl.DataFrame,
    review_split: ReviewSplit,
    seed: int,
    times: Times | None = None,
) -> pl.DataFrame:
    """Add `split` to reviews (user, item, explanation, timestamp).

    by-time: a review of a held-out interaction goes where the interaction is; a pair that is held out and was bought
    before as well is held out, the test before the validation. A review of no interaction goes where its time is, as
    the user's held-out interactions divide it, or `times` where all are divided so; then every review does, of a
    training interaction too. Without a time it is for training.
    by-pair: of a held-out pair as above; the other pairs that are explained 8:1:1 at random, every user and every item
    that has one kept in training.
    random: explanations 8:1:1 at random, kept likewise (L. Li et al., NETE, CIKM 2020), whatever is held out.
    """
    if review_split == "random":
        return reviews.with_columns(pl.Series("split", _random_split(reviews, seed), dtype=SPLIT))
    bought = interactions.group_by("user", "item").agg(pl.col("split").max())  # train < validation < test
    joined = reviews.join(bought, on=["user", "item"], how="left", maintain_order="left")
    if review_split == "by-pair":
        free = joined.filter(pl.col("split").fill_null(TRAIN) == TRAIN, pl.col("explanation").is_not_null())
        pairs = free.unique(["user", "item"], keep="first", maintain_order=True)
        drawn = pairs.select("user", "item", pl.Series("drawn", _random_split(pairs, seed), dtype=SPLIT))
        joined = joined.join(drawn, on=["user", "item"], how="left", maintain_order="left")
        return joined.with_columns(pl.coalesce("drawn", "split", pl.lit(TRAIN, SPLIT)).alias("split")).drop("drawn")
    if times is None:
        first = [pl.col("timestamp").filter(pl.col("split") == s).min().alias(s) for s in (VALIDATION, TEST)]
        joined = joined.join(interactions.group_by("user").agg(first), on="user", how="left", maintain_order="left")
        late = _at(pl.col("timestamp"), pl.col(VALIDATION), pl.col(TEST))
        return joined.with_columns(pl.coalesce("split", late).alias("split")).drop(VALIDATION, TEST)
    held_out = pl.when(pl.col("split") != TRAIN).then("split")
    return joined.with_columns(pl.coalesce(held_out, _at(pl.col("timestamp"), *times)).alias("split"))


def _at(time: pl.Expr, validation: pl.Expr | float, test: pl.Expr | float) -> pl.Expr:
    """The split of what happened at `time`: a part begins where it is not earlier than its point; null is training."""
    late = pl.when(time >= test).then(pl.lit(TEST, SPLIT)).when(time >= validation).then(pl.lit(VALIDATION, SPLIT))
    return late.otherwise(pl.lit(TRAIN, SPLIT))


def _nearest(counts: np.ndarray, wanted: float) -> int:
    """Place of the count nearest to `wanted`, the last of equals."""
    away = np.abs(counts - wanted)
    return int(np.flatnonzero(away == away.min())[-1])


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
