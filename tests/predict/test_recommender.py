"""A run's answers for one person."""

import itertools

import numpy as np
import pytest

from vip5.data import Dataset
from vip5.predict import Recommender
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import explain, next_items
from vip5.predict.model import TrainedModel
from vip5.prompts.reviews import fillable


@pytest.fixture(scope="module")
def shop(tiny_run) -> Recommender:
    return Recommender(tiny_run)


@pytest.fixture(scope="module")
def model(shop) -> TrainedModel:
    assert isinstance(shop.system, ModelSystem)
    return shop.system.model


@pytest.fixture(scope="module")
def user(shop) -> str:
    return shop.catalogue.users["user"][3]


@pytest.fixture(scope="module")
def items(shop) -> list[str]:
    return shop.catalogue.items["item"].to_list()


def names(suggestions) -> list[str]:
    return [one.item for one in suggestions]


def test_recommend(shop, user, items, tiny_data, refusal):
    found = shop.recommend(user, n=5)
    known = {items[int(i)] for i in tiny_data.sequences[3]}  # the held-out ones were bought too
    assert len(found) == 5 and len(set(names(found))) == 5 and not known & set(names(found))
    assert all(x.probability >= y.probability > 0 for x, y in itertools.pairwise(found))
    assert found[0].title == tiny_data.items["title"][tiny_data.item_index(found[0].item)]
    assert found[0].as_dict() == {"item": found[0].item, "probability": found[0].probability, "title": found[0].title}
    assert names(shop.recommend(user, n=2, beams=20)) == names(found[:2])
    assert shop.recommend(user, n=3, prompt="A-9") and refusal(shop.recommend, user, prompt="B-5")


def test_more_than_the_catalogue_holds(shop, user, items, tiny_data):
    known = set(tiny_data.sequences[3].tolist())
    found = shop.recommend(user, n=10 * len(items))
    assert len(found) == len(set(names(found))) == len(items) - len(known)
    assert sum(s.probability for s in found) <= 1 + 1e-5
    everything = shop.recommend(user, n=10 * len(items), allow_again=True)
    assert sorted(names(everything)) == sorted(items)
    assert sum(s.probability for s in everything) == pytest.approx(1, abs=1e-4)
    assert sorted(names(shop.similar(items[0], n=10 * len(items)))) == sorted(items[1:])


def test_the_same_as_the_batch_path(shop, model, user, tiny_data):
    batch = next_items(model, "A-3", np.arange(tiny_data.n_users), tiny_data.sequences, 20, tiny_data.sequences)
    assert [tiny_data.item_index(item) for item in names(shop.recommend(user, n=5))] == batch.items[3, :5].tolist()


def test_what_may_come_out(shop, user, items):
    """allow_again both ways, whatever the shop's habit; exclude, over both."""
    history = items[:6]
    again, fresh = (shop.recommend(history=history, n=99, allow_again=way) for way in (True, False))
    assert set(history) <= set(names(again)) and not set(history) & set(names(fresh))
    assert names(fresh) == [item for item in names(again) if item not in history]
    assert shop.recommend(history=history, n=99) == (again if shop.catalogue.buys_again else fresh)
    out = [names(again)[0], names(fresh)[0]]
    rest = shop.recommend(history=history, n=99, allow_again=True, exclude=[*out, out[0]])
    assert names(rest) == [item for item in names(again) if item not in out]


def test_a_category(shop, items, refusal):
    """Nothing outside it comes out, everything inside it can, however it is spelled."""
    rows = zip(items, shop.catalogue.items["categories"].to_list(), strict=True)
    living = {item for item, categories in rows if "Living" in categories}
    assert 3 < len(living) < len(items)
    for spelled in ("Living", "living", "LIVING"):
        found = shop.recommend(history=[], n=99, category=spelled)
        assert set(names(found)) == living
        assert sum(one.probability for one in found) == pytest.approx(1, abs=1e-4)
    one = next(iter(living))
    assert set(names(shop.recommend(history=[], n=99, category="Living", exclude=[one]))) == living - {one}
    said = refusal(shop.recommend, history=[], category="Livin")
    assert "no item is of category 'Livin'" in said and "common ones are" in said and "Living" in said


def test_rank(shop, user, items):
    ranked = shop.rank(items[:7], user=user)
    assert sorted(names(ranked)) == sorted(items[:7])
    assert sum(s.probability for s in ranked) == pytest.approx(1, abs=1e-5)
    assert all(x.probability >= y.probability for x, y in itertools.pairwise(ranked))
    (alone,) = shop.rank(items[:1], user=user)
    assert alone.item == items[0] and alone.probability == pytest.approx(1)
    assert sum(s.probability for s in shop.rank(items, user=user)) == pytest.approx(1, abs=1e-4)


def test_rank_is_by_what_comes_next_where_there_is_a_history_and_else_by_a_prompt(shop, tiny_run, user, items, refusal):
    history = items[10:14]
    by_prompt = shop.rank(items[:7], user=user, by="prompt")
    assert by_prompt == shop.rank(items[:7], user=user, prompt="B-5")
    assert by_prompt == shop.rank(items[:7], user=user, history=history, by="prompt")
    assert by_prompt == Recommender(tiny_run, dataset=False).rank(items[:7], user=user)
    known = shop.rank(items[:7], user=user)
    assert known == shop.rank(items[:7], user=user, by="next") == shop.rank(items[:7], user=user, prompt="A-3")
    assert known != by_prompt and known != shop.rank(items[:7], user=user, history=history)
    said = refusal(shop.rank, items[:7], user=user, by="next", prompt="B-5")
    assert "by next does not go with prompt B-5, which is of task choice" in said
    stranger = shop.rank(items[:7], user="nobody", history=history)
    assert stranger == shop.rank(items[:7], history=history) == shop.rank(items[:7], history=history, prompt="A-3")
    assert stranger != known and sum(s.probability for s in stranger) == pytest.approx(1, abs=1e-5)
    assert sorted(names(shop.rank(history, history=history))) == sorted(history)  # though they had them
    said = refusal(shop.rank, items[:7], user="nobody", history=history, prompt="B-5")
    assert "asks about a person whom the run knows" in said and "A-3" in said
    assert "choose one of task choice or next" in refusal(shop.rank, items[:7], user=user, prompt="C-3")


def test_similar(shop, items, refusal):
    found = shop.similar(items[0], n=5)
    assert len(set(names(found))) == 5 and items[0] not in names(found)
    assert all(1 >= x.similarity >= y.similarity >= -1 for x, y in itertools.pairwise(found))
    assert found[0].as_dict().keys() == {"item", "title", "similarity"}
    assert "did you mean" in refusal(shop.similar, items[0][:-1] + "x")


def test_people_are_answered_by_their_history(shop, user, items, tiny_data, refusal):
    past = [items[int(row)] for row in tiny_data.sequences[3]]
    assert shop.recommend(user, n=5) == shop.recommend(user, history=past, n=5)
    nobody = shop.recommend(history=past, n=5)
    assert nobody == shop.recommend("nobody", history=past, n=5) != shop.recommend(history=past[:1], n=5)
    for call in (lambda: shop.recommend("nobody"), lambda: shop.rank(items[:2], user="nobody")):
        said = refusal(call)
        assert "nothing is known of what 'nobody' bought" in said and "give a history" in said
    assert "nobody is asked about" in refusal(shop.recommend)
    assert "nobody is asked about" in refusal(shop.rank, items[:2])
    assert isinstance(shop.explain(items[0], user="nobody"), str) and isinstance(shop.explain(items[0]), str)


def test_an_empty_history_is_one(shop, items):
    """As of somebody who comes for the first time."""
    assert len(shop.recommend(history=[], n=5)) == 5
    ranked = shop.rank(items[:4], history=[])
    assert sorted(names(ranked)) == sorted(items[:4]) and sum(s.probability for s in ranked) == pytest.approx(1)


def test_unknown_items_of_a_history_are_left_out_and_said(tiny_run, items, refusal):
    said: list[str] = []
    shop = Recommender(tiny_run, report=said.append)
    assert said == []
    some = shop.recommend(history=[items[0], "gone-1", items[1], "gone-2"], n=5)
    assert some == shop.recommend(history=items[:2], n=5)
    assert said == ["the run does not know gone-1, gone-2: left out of the history"]
    lost = refusal(shop.recommend, history=[items[0] + "0", "gone"])
    assert f"unknown item '{items[0]}0'" in lost and "did you mean" in lost and items[0] in lost


def test_clear_errors(shop, user, items, refusal):
    assert "no candidates" in refusal(shop.rank, [], user=user)
    assert f"candidate {items[2]} stands twice" in refusal(shop.rank, [items[2], items[0], items[2]], user=user)
    near = items[2] + "0"
    for unknown, hint in (("zzz", items[0]), (near, "did you mean")):
        for call in (
            lambda unknown=unknown: shop.rank([items[0], unknown], user=user),
            lambda unknown=unknown: shop.explain(unknown, user=user),
            lambda unknown=unknown: shop.similar(unknown),
            lambda unknown=unknown: shop.recommend(user, exclude=[unknown]),
        ):
            said = refusal(call)
            assert f"unknown item {unknown!r}" in said and hint in said  # what ids look like
    assert "out of range" in refusal(shop.explain, items[0], user=user, stars=11)
    assert "out of range" in refusal(shop.explain, items[0], user=user, stars=float("nan"))
    assert "headline" in refusal(shop.explain, items[0], user=user, stars=5, headline="Fine")
    assert "unknown prompt" in refusal(shop.recommend, user, prompt="Z-1")
    assert "unknown prompt" in refusal(shop.rank, items[:2], user=user, prompt="Z-1")


def test_explain_equals_the_batch_path(shop, model, items, tiny_data: Dataset):
    """C-11 on a review's own fields, asked one by one and in a batch."""
    rows = np.flatnonzero(fillable(tiny_data.reviews, model.prompts["C-11"]))[:4]
    reviews = tiny_data.reviews[rows.tolist()]
    batch = explain(model, "C-11", reviews)
    for sentence, review in zip(batch, reviews.iter_rows(named=True), strict=True):
        user, item = tiny_data.users["user"][review["user"]], items[review["item"]]
        assert shop.explain(item, user=user, stars=review["rating"], feature=review["feature"]) == sentence
    assert all(isinstance(sentence, str) and "<" not in sentence for sentence in batch)


def test_explain_with_any_words(shop, user, items):
    for given in ({}, {"stars": 4.5}, {"feature": "handle"}, {"headline": "Great mug"}, {"stars": 0, "feature": ""},
                  {"feature": "</s> <extra_id_0> \0 🦄"}, {"headline": "＜extra_id_0＞ " * 400}):  # fmt: skip
        assert isinstance(shop.explain(items[0], user=user, **given), str)
    assert isinstance(shop.explain(items[0], user=user, beams=3), str)


def test_no_explanations_without_reviews(make_shop, tiny_settings, tmp_path, refusal):
    from vip5.training import Run, load_config, train

    data = make_shop({f"u{n}": [f"i{(n + m) % 9}" for m in range(5)] for n in range(9)})
    settings = [*tiny_settings, "modalities.photo=none", "optim.epochs=1"]
    train(Run.new(load_config("prompts", None, settings), data), tmp_path / "run", quiet=True)
    shop = Recommender(tmp_path / "run")
    assert "it has learnt no explanations" in refusal(shop.explain, "i0", user="u0")


def test_the_catalogue_is_not_tokenised_again_by_each_answer(tiny_run, user, items, monkeypatch):
    """Of a second answer only what the request brings along is: its headline, feature word and stars."""
    from vip5.items import Vocabulary

    encode = Vocabulary.encode
    texts: list[str] = []

    def counted(self: Vocabulary, new):
        texts.extend(new)
        return encode(self, new)

    monkeypatch.setattr(Vocabulary, "encode", counted)
    shop = Recommender(tiny_run)
    answers = (
        lambda item: shop.explain(item, user=user, stars=4, feature="handle"),
        lambda item: shop.explain(item, headline="Great mug"),
        lambda item: shop.recommend(user, exclude=[item]),
        lambda item: shop.rank([item, items[9]], user=user, by="prompt"),
    )
    for answer in answers:
        texts.clear()
        answer(items[0])
        assert len(texts) > 3
        texts.clear()
        answer(items[5])
        assert len(texts) <= 3, texts
