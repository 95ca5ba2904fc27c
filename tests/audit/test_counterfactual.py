"""Another held-out part: all of it is other, and nothing else is."""

import numpy as np
import polars as pl

from vip5.audit.counterfactual import blind, counterfactual, first_users
from vip5.data import Dataset


def test_only_the_held_out_part_differs(random_shop: Dataset):
    other = counterfactual(random_shop, seed=1)
    assert (other.n_users, other.n_items) == (300, 1000)
    assert other.users.equals(random_shop.users) and other.items.equals(random_shop.items)
    assert [r.tolist() for r in other.history("train")] == [r.tolist() for r in random_shop.history("train")]
    for split in ("validation", "test"):
        assert (other.targets(split) != random_shop.targets(split)).all()
        assert other.targets(split).min() >= 0 and other.targets(split).max() < 1000
    for table in ("interactions", "reviews"):
        mine, theirs = getattr(random_shop, table), getattr(other, table)
        assert mine.schema == theirs.schema and mine["split"].equals(theirs["split"])
        train = pl.col("split") == "train"
        assert mine.filter(train).equals(theirs.filter(train))
    held = other.reviews.filter(pl.col("split") != "train")
    mine = random_shop.reviews.filter(pl.col("split") != "train")
    for column in ("headline", "explanation", "item"):
        assert (held[column] != mine[column]).all()
    assert (other.candidates != random_shop.candidates).all()
    assert counterfactual(random_shop, seed=1).interactions.equals(other.interactions)


def test_a_review_of_a_held_out_pair_changes_whatever_its_split(make_shop):
    reviews = [{"user": "a", "item": i, "explanation": f"Of {i} it says ."} for i in "wxyz"]
    dataset = make_shop({"a": "wxyz", "b": "zyxw"}, reviews=reviews, review_split="random")
    texts = counterfactual(dataset).reviews["explanation"].to_list()
    assert [text.startswith("Of ") for text in texts] == [True, True, False, False]


def test_first_users(random_shop: Dataset):
    part = first_users(random_shop, 10)
    assert (part.n_users, part.n_items, len(part.users)) == (10, 1000, 10)
    assert [r.tolist() for r in part.sequences] == [random_shop.sequences[n].tolist() for n in range(10)]
    assert part.reviews["user"].max() == 9 and len(part.history("train")) == 10
    assert random_shop.n_users == 300 and first_users(random_shop, 300) is random_shop


def test_blind(random_shop: Dataset):
    other = counterfactual(random_shop)
    assert blind(lambda d: d.history("train"), random_shop, other)
    assert not blind(lambda d: d.history("test"), random_shop, other)
    assert blind(lambda d: [d.users, np.arange(3)], random_shop, other)
    assert not blind(lambda d: [d.users, d.reviews], random_shop, other)
    assert not blind(lambda d: d.reviews["headline"].to_list(), random_shop, other)
