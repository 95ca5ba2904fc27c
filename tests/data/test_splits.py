"""Splits: leave-one-out and one point in time by plain loops, and reviews that leak nothing."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data.frames import k_core_of
from vip5.data.splits import split_interactions, split_reviews, split_times
from vip5.errors import UserError

HISTORIES = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=7), min_size=1, max_size=5)
TIMES = st.lists(st.integers(0, 9), min_size=3, max_size=40).filter(lambda times: len(set(times)) > 2)
REVIEWS = {"user": pl.Int64, "item": pl.Int64, "explanation": pl.String, "timestamp": pl.Int64}


def interactions(histories: list[list[int]]) -> pl.DataFrame:
    """Leave-one-out; the n-th interaction of a user is at 10 * n."""
    rows = [(user, item, 10 * n) for user, history in enumerate(histories) for n, item in enumerate(history)]
    return split_interactions(pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row"))


def reviews(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(*row, None)[:4] for row in rows], schema=REVIEWS, orient="row")


def splits(table: pl.DataFrame) -> list[str]:
    return table["split"].to_list()


@settings(deadline=None, max_examples=50)
@given(HISTORIES)
def test_last_is_test_last_but_one_is_validation(histories: list[list[int]]) -> None:
    expected = [
        (user, item, place, {1: "test", 2: "validation"}.get(len(history) - place, "train"))
        for user, history in enumerate(histories)
        for place, item in enumerate(history)
    ]
    assert interactions(histories).select("user", "item", "position", "split").rows() == expected


@pytest.mark.parametrize(
    ("times", "holdout", "expected"),
    [
        (list(range(20)), 0.1, (16, 18)),  # two of twenty each
        (list(range(20)), 0.25, (10, 15)),
        ([5] * 8 + [6, 7], 0.1, (6, 7)),
        ([1, 2, 3], 0.1, (2, 3)),  # never none
        ([1] * 16 + [2, 3, 3, 3], 0.1, (2, 3)),  # the three of equal time stay together
        ([1] * 12 + [2] * 4 + [3, 4, 4, 4], 0.15, (3, 4)),  # for validation 1 or 5, where 3 are wanted: the later point
        ([1] * 8 + [2] * 8 + [3, 3] + [4, 4], 0.15, (3, 4)),  # for the test 2 or 4 likewise
        ([0.5, 0.25, 0.75, 0.125], 0.3, (0.5, 0.75)),
    ],
)
def test_two_points_in_time_by_hand(times: list, holdout: float, expected: tuple) -> None:
    found = split_times(pl.Series("timestamp", times), holdout, "buys.csv")
    assert found == expected and [type(point) for point in found] == [type(point) for point in expected]


@settings(deadline=None, max_examples=100)
@given(TIMES, st.floats(0.01, 0.49))
def test_no_other_points_are_nearer(times: list[int], holdout: float) -> None:
    validation, test = split_times(pl.Series("timestamp", times), holdout, "buys.csv")
    first, *others = sorted(set(times))
    assert first < validation < test

    def away(start: int, stop: float) -> float:
        return abs(sum(start <= t < stop for t in times) - holdout * len(times))

    assert away(test, 99) == min(away(point, 99) for point in others[1:])
    assert away(validation, test) == min(away(point, test) for point in others if point < test)


def test_too_few_times_to_split_by() -> None:
    with pytest.raises(UserError, match=r"2 different timestamps, where a split by time takes 3 \(buys.csv\): "):
        split_times(pl.Series("timestamp", [1, 1, 2]), 0.1, "buys.csv")


@st.composite
def timed(draw) -> tuple[pl.DataFrame, tuple[int, int]]:
    """Interactions of some users split by time, a user's by time, and the two points."""
    times = draw(TIMES)
    users = draw(st.lists(st.integers(0, 4), min_size=len(times), max_size=len(times)))
    items = draw(st.lists(st.integers(0, 6), min_size=len(times), max_size=len(times)))
    table = pl.DataFrame({"user": users, "item": items, "timestamp": times}).sort("user", "timestamp")
    points = split_times(table["timestamp"], draw(st.floats(0.01, 0.49)), "buys.csv")
    return split_interactions(table, points), points


@settings(deadline=None, max_examples=100)
@given(timed())
def test_one_point_in_time_for_all_users(case: tuple[pl.DataFrame, tuple[int, int]]) -> None:
    table, (validation, test) = case
    parts = {split: table.filter(pl.col("split") == split)["timestamp"] for split in ("train", "validation", "test")}
    assert all(len(part) for part in parts.values())
    assert parts["train"].max() < validation <= parts["validation"].min()
    assert parts["validation"].max() < test <= parts["test"].min()
    for _, own in table.group_by("user"):
        assert own["split"].is_sorted() and own["position"].to_list() == list(range(own.height))


def test_reviews_by_time_by_hand() -> None:
    bought = interactions([[0, 1, 0, 2], [3, 4, 5]])  # of user 0: validation at 20, test at 30; of user 1: 10 and 20
    cases = [
        ((0, 1, "why", 99), "train"),  # of a training interaction, whenever it was written
        ((0, 0, "why", 0), "validation"),  # bought before too, but held out
        ((0, 2, None, None), "test"),
        ((0, 6, "why", 19), "train"),  # of no interaction, and earlier than what is held out
        ((0, 6, "why", 20), "validation"),
        ((0, 6, "why", 30), "test"),
        ((0, 6, "why", None), "train"),
        ((1, 6, "why", 19), "validation"),
        ((1, 0, "why", 20), "test"),
    ]
    told = reviews([row for row, _ in cases])
    assert splits(split_reviews(told, bought, "by-time", 0)) == [split for _, split in cases]
    bare = bought.with_columns(timestamp=pl.lit(None, pl.Int64))
    assert splits(split_reviews(told, bare, "by-time", 0)) == ["train", "validation", "test", *["train"] * 6]


def test_reviews_by_one_point_in_time_by_hand() -> None:
    table = pl.DataFrame({"user": [0, 0, 0, 1], "item": [0, 1, 2, 3], "timestamp": [1, 5, 9, 2]})
    bought = split_interactions(table, (5, 9))
    assert splits(bought) == ["train", "validation", "test", "train"]
    cases = [
        ((0, 0, "why", 4), "train"),
        ((0, 0, "why", 5), "validation"),  # of a training interaction, but not known before the point
        ((0, 1, "why", 9), "validation"),  # where the interaction is
        ((0, 2, "why", 1), "test"),
        ((1, 2, "why", 7), "validation"),  # of a user with nothing held out
        ((1, 2, "why", 9), "test"),
        ((1, 2, "why", None), "train"),
    ]
    told = reviews([row for row, _ in cases])
    assert splits(split_reviews(told, bought, "by-time", 0, (5, 9))) == [split for _, split in cases]


@st.composite
def reviewed(draw) -> tuple[pl.DataFrame, tuple | None, pl.DataFrame]:
    """Interactions of either split, its points, and reviews of pairs bought or not, told or not, timed or not."""
    if draw(st.booleans()):
        bought, points = draw(timed())
    else:
        bought, points = interactions(draw(HISTORIES)), None
    users = st.sampled_from(bought["user"].unique().to_list())
    why, when = st.sampled_from(["why", None]), st.none() | st.integers(0, 70)
    return bought, points, reviews(draw(st.lists(st.tuples(users, st.integers(0, 7), why, when), max_size=30)))


@settings(deadline=None, max_examples=150)
@given(reviewed(), st.sampled_from(["by-time", "by-pair"]), st.integers(0, 3))
def test_clean_no_review_of_a_held_out_pair_is_for_training(case: tuple, review_split: str, seed: int) -> None:
    bought, points, told = case
    split = split_reviews(told, bought, review_split, seed, points)
    assert split.drop("split").equals(told)
    last: dict[tuple[int, int], str] = {}  # of each pair that is held out, the test before validation
    for user, item, part in bought.sort("split").select("user", "item", "split").iter_rows():
        last |= {(user, item): part} if part != "train" else {}
    for user, item, _, _, part in split.rows():
        assert part == last.get((user, item), part)
    if points and review_split == "by-time":
        train = split.filter(pl.col("split") == "train")["timestamp"].drop_nulls()
        assert not (train >= points[0]).any()


@settings(deadline=None, max_examples=80)
@given(reviewed(), st.integers(0, 3))
def test_by_pair_is_random_for_whole_pairs_and_keeps_users_and_items(case: tuple, seed: int) -> None:
    bought, points, told = case
    split = split_reviews(told, bought, "by-pair", seed, points)
    assert split.group_by("user", "item").agg(pl.col("split").n_unique())["split"].max() in (None, 1)
    held_out = bought.filter(pl.col("split") != "train")
    free = split.join(held_out, on=["user", "item"], how="anti").drop_nulls("explanation")
    train = free.filter(pl.col("split") == "train")
    assert set(train["user"]) == set(free["user"]) and set(train["item"]) == set(free["item"])
    assert split.equals(split_reviews(told, bought, "by-pair", seed, points))


def test_by_pair_is_eight_one_one_of_what_is_free() -> None:
    rows = [(n // 100, n % 100, "why") for n in range(1000)]
    bought = interactions([[0, 98, 99]] * 10)
    split = split_reviews(reviews(rows), bought, "by-pair", 0)
    free = split.filter(pl.col("item") < 98)
    assert dict(free["split"].value_counts().iter_rows()) == {"train": 784, "validation": 98, "test": 98}
    assert set(split.filter(pl.col("item") == 98)["split"]) == {"validation"}
    other = split_reviews(reviews(rows), bought, "by-pair", 1)
    assert not other.equals(split)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from(["why", None])), max_size=80),
    st.integers(0, 3),
)
def test_random_every_user_and_item_stays_in_training(rows: list[tuple], seed: int) -> None:
    split = split_reviews(reviews(rows), interactions([[0, 1, 2]]), "random", seed)
    told = split.drop_nulls("explanation")
    train = told.filter(pl.col("split") == "train")
    assert set(train["user"]) == set(told["user"]) and set(train["item"]) == set(told["item"])
    assert (split.filter(pl.col("explanation").is_null())["split"] == "train").all()
    assert split.equals(split_reviews(reviews(rows), interactions([[0, 1, 2]]), "random", seed))


def test_random_is_eight_one_one() -> None:
    rows = [(n % 10, n % 9, "why") for n in range(1000)]
    counts = dict(
        split_reviews(reviews(rows), interactions([[0, 1, 2]]), "random", 0)["split"].value_counts().iter_rows()
    )
    assert counts == {"train": 800, "validation": 100, "test": 100}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60), st.integers(1, 4))
def test_k_core_as_dropping_one_at_a_time(rows: list[tuple[int, int]], k: int) -> None:
    left = list(rows)
    while True:
        weak = [
            (user, item)
            for user, item in left
            if sum(u == user for u, _ in left) < k or sum(i == item for _, i in left) < k
        ]
        if not weak:
            break
        left.remove(weak[0])
    frame = pl.DataFrame(rows, schema={"user": int, "item": int}, orient="row")
    assert k_core_of(frame, k).rows() == [row for row in rows if row in left]
