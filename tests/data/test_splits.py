"""Splits: leave-one-out by a plain loop, and reviews that leak nothing."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data.prepare import k_core_of
from vip5.data.splits import split_interactions, split_reviews

HISTORIES = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=7), min_size=1, max_size=5)


def interactions(histories: list[list[int]]) -> pl.DataFrame:
    rows = [(user, item) for user, history in enumerate(histories) for item in history]
    return split_interactions(pl.DataFrame(rows, schema=["user", "item"], orient="row"))


@settings(deadline=None, max_examples=50)
@given(HISTORIES)
def test_last_is_test_last_but_one_is_validation(histories: list[list[int]]) -> None:
    expected = [
        (user, item, place, {1: "test", 2: "validation"}.get(len(history) - place, "train"))
        for user, history in enumerate(histories)
        for place, item in enumerate(history)
    ]
    assert interactions(histories).rows() == expected


@settings(deadline=None, max_examples=50)
@given(HISTORIES, st.data())
def test_clean_no_review_of_a_held_out_interaction_is_for_training(
    histories: list[list[int]], data: st.DataObject
) -> None:
    pairs = st.tuples(st.integers(0, len(histories) - 1), st.integers(0, 6), st.just("why"))
    reviews = pl.DataFrame(
        data.draw(st.lists(pairs)), schema={"user": int, "item": int, "explanation": str}, orient="row"
    )
    for user, item, _, split in split_reviews(reviews, interactions(histories), "clean", 0).rows():
        held = "test" if item == histories[user][-1] else "validation" if item == histories[user][-2] else "train"
        assert split == held


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from(["why", None])), max_size=80),
    st.integers(0, 3),
)
def test_paper_every_user_and_item_stays_in_training(rows: list[tuple], seed: int) -> None:
    reviews = pl.DataFrame(rows, schema={"user": int, "item": int, "explanation": str}, orient="row")
    split = split_reviews(reviews, interactions([[0, 1, 2]]), "paper", seed)
    told = split.drop_nulls("explanation")
    train = told.filter(pl.col("split") == "train")
    assert set(train["user"]) == set(told["user"]) and set(train["item"]) == set(told["item"])
    assert (split.filter(pl.col("explanation").is_null())["split"] == "train").all()
    assert split.equals(split_reviews(reviews, interactions([[0, 1, 2]]), "paper", seed))


def test_paper_is_eight_one_one() -> None:
    rows = [(n % 10, n % 9, "why") for n in range(1000)]
    reviews = pl.DataFrame(rows, schema=["user", "item", "explanation"], orient="row")
    counts = dict(split_reviews(reviews, interactions([[0, 1, 2]]), "paper", 0)["split"].value_counts().iter_rows())
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
