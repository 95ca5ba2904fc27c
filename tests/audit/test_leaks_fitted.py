"""What is fitted and drawn: each leak planted and caught, the project's own parts pass."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from vip5.audit.audit import FITTED, _choices
from vip5.audit.counterfactual import counterfactual
from vip5.audit.leaks_fitted import (
    _expected_draws,
    codes_above_training,
    codes_of_new_items,
    fitted_findings,
    refitted_codes,
    stored_negatives,
    training_negatives,
)
from vip5.data import Dataset, Ragged
from vip5.evaluation.held_out import HeldOut
from vip5.items import SCHEMES, CodeSettings, Vocabulary, code_items


def first_read(dataset: Dataset) -> list[str]:
    """Numbers in the order in which whole sequences are read, as in the paper's data: the planted leak."""
    seen, first = np.unique(dataset.sequences.values, return_index=True)
    rank = np.full(dataset.n_items, 10**6)
    rank[seen] = first
    return [str(n) for n in np.argsort(np.argsort(rank, kind="stable"))]


@pytest.fixture
def other(random_shop: Dataset) -> Dataset:
    return counterfactual(random_shop)


@pytest.mark.parametrize("scheme", sorted(SCHEMES.keys() - {"paper"}))
def test_our_schemes_do_not_look_at_held_out_items(random_shop, other, scheme):
    settings = CodeSettings(scheme=scheme, semantic={"sources": ["purchases"], "size": 16, "dimensions": 16})
    words = code_items(settings, random_shop).words
    assert refitted_codes(words, lambda d: code_items(settings, d).words, random_shop, other).status == "ok"
    assert codes_of_new_items(words, random_shop).status == "ok"


def test_codes_numbered_through_the_test_items_are_caught(random_shop, other):
    words = first_read(random_shop)
    changed = refitted_codes(words, first_read, random_shop, other)
    assert changed.status == "leak" and "change with the held-out items" in changed.words
    found = codes_of_new_items(words, random_shop)
    assert found.status == "leak" and found.figure > 0.6
    elsewhere = refitted_codes(words, lambda d: code_items("sequential", d).words, random_shop, other)
    assert elsewhere.status == "note" and "not what their scheme gives" in elsewhere.words


def test_few_new_items_are_not_judged(make_shop):
    dataset = make_shop({"a": "vwxyz", "b": "zyxwv"})
    assert "too few to judge" in codes_of_new_items(first_read(dataset), dataset).words


def test_a_rule_must_beat_all_that_read_the_training_part():
    rng = np.random.default_rng(0)
    low, high = (rng.random(3000) < 0.02).astype(float), (rng.random(3000) < 0.1).astype(float)
    found = codes_above_training({"id + 1": high, "id gap": low}, {"popularity": low, "item-kNN": 0 * low})
    assert found.status == "leak" and "'id + 1'" in found.words and found.figure < 0.001
    assert codes_above_training({"id + 1": high}, {"popularity": low, "item-kNN": high}).status == "ok"
    assert codes_above_training({"id + 1": low}, {"popularity": low}).status == "ok"


def test_what_training_makes_is_blind(random_shop, other):
    assert [f.status for f in fitted_findings(FITTED, random_shop, other)] == ["ok"] * len(FITTED)


def test_planted_leaks_of_training_are_caught(random_shop, other):
    def words(dataset: Dataset) -> str:
        texts = dataset.reviews["explanation"].drop_nulls()
        return Vocabulary.train(texts, 300).tokenizer.to_str()

    planted = {
        "popularity of whole sequences": lambda d: np.bincount(d.sequences.values, minlength=d.n_items),
        "tokenizer of all reviews": words,
        "samples of validation histories": lambda d: d.history("test"),
        "explanations of all": lambda d: d.reviews.select("user", "item", "explanation"),
        "stored candidates": lambda d: d.candidates,
    }
    found = fitted_findings(planted, random_shop, other)
    assert [f.name for f in found if f.status == "leak"] == list(planted)
    assert all("has read it" in f.words for f in found)


def test_the_random_split_of_reviews_is_caught_in_all_that_reads_them(make_shop):
    """Protocol paper: training holds reviews of held-out purchases."""
    rows = [{"user": f"u{n}", "item": i, "explanation": f"It is {i} ."} for n in range(30) for i in "vwxyz"]
    dataset = make_shop({f"u{n}": "vwxyz" for n in range(30)}, None, rows, review_split="random")
    found = {f.name: f.status for f in fitted_findings(FITTED, dataset, counterfactual(dataset))}
    leaks = dict.fromkeys(("tokenizer", "training samples", "training explanations"), "leak")
    assert found == {"popularity": "ok"} | leaks


def test_training_negatives(random_shop):
    choices = _choices(random_shop)
    assert training_negatives(choices, random_shop).status == "ok"
    held = {u: {*random_shop.sequences[u][-2:].tolist()} for u in range(300)}
    values, rows = choices.candidates.values.copy(), choices.candidates.rows
    for n, (row, item) in enumerate(zip(rows, values, strict=True)):
        if item in held[choices.user[row]] and item != choices.item[row]:
            values[n] = choices.item[row]
    planted = replace(choices, candidates=Ragged(values, choices.candidates.offsets))
    found = training_negatives(planted, random_shop)
    assert found.status == "leak" and "drawn 0 times" in found.words
    few = choices.take(np.arange(3))
    assert "too few draws" in training_negatives(few, random_shop).words


def lists_avoiding(tested: HeldOut, sequences: Ragged, n_items: int, avoided: np.ndarray) -> HeldOut:
    rng = np.random.default_rng(1)
    rows = []
    for own, target in zip(sequences, tested.targets, strict=True):
        allowed = np.setdiff1d(np.arange(n_items), np.concatenate([own, avoided]))
        rows.append([target, *rng.choice(allowed, 99, replace=False)])
    return replace(tested, lists=rng.permuted(np.array(rows), axis=1))


def test_stored_negatives(random_shop):
    tested, sequences = HeldOut.of(random_shop), random_shop.sequences
    assert stored_negatives(tested, sequences, 1000).status == "ok"
    fair = lists_avoiding(tested, sequences, 1000, np.empty(0, int))
    assert stored_negatives(fair, sequences, 1000).status == "ok"
    planted = lists_avoiding(tested, sequences, 1000, np.unique(tested.targets))
    found = stored_negatives(planted, sequences, 1000)
    assert found.status == "leak" and "negatives 0 times" in found.words
    halves = lists_avoiding(tested, sequences, 1000, np.unique(tested.targets)[::2])
    assert stored_negatives(halves, sequences, 1000).status == "leak"


def test_stored_negatives_by_weight(random_shop):
    """Drawn by weight, light items are seldom negatives, and that is as it should be."""
    tested, sequences = HeldOut.of(random_shop), random_shop.sequences
    weights = np.where(np.isin(np.arange(1000), tested.targets), 1.0, 3.0)
    rng = np.random.default_rng(2)
    rows = []
    for own, target in zip(sequences, tested.targets, strict=True):
        w = weights.copy()
        w[own] = 0
        rows.append([target, *rng.choice(1000, 9, replace=False, p=w / w.sum())])
    drawn = replace(tested, lists=np.array(rows))
    assert stored_negatives(drawn, sequences, 1000, weights).status == "ok"
    assert stored_negatives(drawn, sequences, 1000).status == "leak"


def test_expected_draws_without_replacement():
    """Popular items cannot be drawn twice: fewer than their share come. Against lists drawn one by one."""
    weight = np.arange(1, 201, dtype=float) ** 2
    own = np.array([3, 199, 200 + 198])  # user 0 has items 3 and 199, user 1 has 198
    wanted = np.isin(np.arange(200), [150, 180, 199])
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(3000):
        for mine in ([3, 199], [198]):
            w = weight.copy()
            w[mine] = 0
            seen.append(wanted[rng.choice(200, 50, replace=False, p=w / w.sum())].sum())
    assert _expected_draws(weight, own, 2, 50, wanted) == pytest.approx(np.mean(seen) * 2, rel=0.02)
    assert _expected_draws(np.ones(200), own, 2, 50, wanted) == pytest.approx(50 / 198 * 2 + 50 / 199 * 3)
    assert _expected_draws(np.ones(4), np.array([0, 4]), 2, 3, np.ones(4, bool)) == pytest.approx(
        6, abs=0.01
    )  # all there are


def test_without_negatives(random_shop):
    tested = HeldOut.of(random_shop)
    assert stored_negatives(replace(tested, lists=tested.lists[:, :1]), random_shop.sequences, 1000).status == "ok"
    assert random_shop.reviews.filter(pl.col("split") == "test").height == 300
