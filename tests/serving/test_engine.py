"""A run's answers for one user."""

import itertools

import numpy as np
import pytest

from vip5.errors import UserError
from vip5.evaluation import predict
from vip5.prompts.reviews import fillable
from vip5.serving import Recommender


@pytest.fixture(scope="module")
def shop(tiny_run) -> Recommender:
    return Recommender(tiny_run)


@pytest.fixture(scope="module")
def user(shop) -> str:
    return shop.run.dataset.users["user"][3]


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_recommend(shop, user):
    data = shop.run.dataset
    found = shop.recommend(user, k=5)
    known = {data.items["item"][int(i)] for i in data.sequences[3]}  # the held-out ones were bought too
    assert len(found) == 5 and len({s.item for s in found}) == 5 and not known & {s.item for s in found}
    assert all(x.probability >= y.probability > 0 for x, y in itertools.pairwise(found))
    assert found[0].title == data.items["title"][data.item_index(found[0].item)]
    assert found[0].as_dict() == {"item": found[0].item, "probability": found[0].probability, "title": found[0].title}
    few = shop.recommend(user, k=2, beams=20)
    assert [s.item for s in few] == [s.item for s in found[:2]]
    assert shop.recommend(user, k=3, prompt="A-9") and refusal(shop.recommend, user, prompt="B-5")


def test_more_than_the_catalogue_holds(shop, user):
    data = shop.run.dataset
    found = shop.recommend(user, k=10 * data.n_items)
    assert len(found) == data.n_items - len(set(data.sequences[3].tolist()))
    assert sum(s.probability for s in found) <= 1 + 1e-5


def test_the_same_as_the_batch_path(shop, user):
    data = shop.run.dataset
    batch = predict.next_items(shop.run, "A-3", np.arange(data.n_users), data.sequences, 20)
    assert [data.item_index(s.item) for s in shop.recommend(user, k=5)] == batch.items[3, :5].tolist()


def test_rank(shop, user):
    items = shop.run.dataset.items["item"].to_list()
    ranked = shop.rank(user, items[:7])
    assert sorted(s.item for s in ranked) == sorted(items[:7])
    assert sum(s.probability for s in ranked) == pytest.approx(1, abs=1e-5)
    assert all(x.probability >= y.probability for x, y in itertools.pairwise(ranked))
    (alone,) = shop.rank(user, items[:1])
    assert alone.item == items[0] and alone.probability == pytest.approx(1)
    assert sum(s.probability for s in shop.rank(user, items)) == pytest.approx(1, abs=1e-4)


def test_clear_errors(shop, user):
    items = shop.run.dataset.items["item"].to_list()
    assert "no candidates" in refusal(shop.rank, user, [])
    assert f"candidate {items[2]} stands twice" in refusal(shop.rank, user, [items[2], items[0], items[2]])
    near = user[:-1] + "x"
    for call in (
        lambda: shop.recommend(near),
        lambda: shop.rank(near, items[:2]),
        lambda: shop.explain(near, items[0]),
    ):
        said = refusal(call)
        assert f"unknown user {near!r}" in said and "did you mean" in said
    for call in (lambda: shop.rank(user, [items[0], "zzz"]), lambda: shop.explain(user, "zzz")):
        said = refusal(call)
        assert "unknown item 'zzz'" in said and items[0] in said  # what ids look like
    assert "out of range" in refusal(shop.explain, user, items[0], stars=11)
    assert "out of range" in refusal(shop.explain, user, items[0], stars=float("nan"))
    assert "headline" in refusal(shop.explain, user, items[0], stars=5, headline="Fine")
    assert "unknown prompt" in refusal(shop.recommend, user, prompt="Z-1")


def test_explain_equals_the_batch_path(shop):
    """C-11 on a review's own fields, asked one by one and in a batch."""
    run, data = shop.run, shop.run.dataset
    rows = np.flatnonzero(fillable(data.reviews, run.prompts["C-11"]))[:4]
    reviews = data.reviews[rows.tolist()]
    samples = predict.Samples.of(
        np.zeros(4, int), reviews["user"].to_numpy(), item=reviews["item"].to_numpy(), review=rows,
        stars=(10 * reviews["rating"].to_numpy()).round().astype(int),
    )  # fmt: skip
    batch = predict.explain(run, "C-11", samples)
    for sentence, review in zip(batch, reviews.iter_rows(named=True), strict=True):
        user, item = data.users["user"][review["user"]], data.items["item"][review["item"]]
        assert shop.explain(user, item, stars=review["rating"], feature=review["feature"]) == sentence
    assert all(isinstance(sentence, str) and "<" not in sentence for sentence in batch)


def test_explain_with_any_words(shop, user):
    item = shop.run.dataset.items["item"][0]
    for given in ({}, {"stars": 4.5}, {"feature": "handle"}, {"headline": "Great mug"}, {"stars": 0, "feature": ""},
                  {"feature": "</s> <extra_id_0> \0 🦄"}, {"headline": "＜extra_id_0＞ " * 400}):  # fmt: skip
        assert isinstance(shop.explain(user, item, **given), str)
    assert isinstance(shop.explain(user, item, beams=3), str)


def test_no_explanations_without_reviews(shop, user, monkeypatch):
    item = shop.run.dataset.items["item"][0]
    assert isinstance(shop.explain(user, item), str)
    monkeypatch.setitem(shop.run.dataset.__dict__, "reviews", shop.run.dataset.reviews.clear())
    assert "learnt no explanations" in refusal(shop.explain, user, item)
