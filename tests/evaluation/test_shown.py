"""The users of a report page: what they had, what is recommended, what they took, all of the test part."""

import numpy as np
import pytest

from vip5.baselines.copied import FrequentSentence
from vip5.baselines.popularity import Popularity
from vip5.data.catalogue import Catalogue
from vip5.evaluation.evaluate import Evaluation
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.shown import some_cases
from vip5.predict.baseline import FittedBaseline
from vip5.predict.lists import next_items

from .conftest import Stub


def cases(system, data, **options):
    return some_cases(Evaluation(system, data, EvaluateOptions(**options)))


def test_a_models_cases(system, model, tiny_data):
    """The lists are the model's, with its probabilities; a sentence is of a review of the test part."""
    data, titles = tiny_data, tiny_data.items["title"]
    found = cases(system, data)
    names = [name or raw for name, raw in data.users.select("name", "user").rows()]
    assert len(found) == 10 == len({case.user for case in found})
    tests = data.reviews.filter(split="test")
    for case in found:
        user = names.index(case.user)
        history, target = data.history("test")[user], int(data.targets("test")[user])
        assert [p.title for p in case.history] == titles.gather(history).to_list()
        assert case.truth.title == titles[target] and case.truth.photo == data.photo_path(target)
        histories = data.history("test").take(np.array([user]))
        best = next_items(model, "A-3", np.array([user]), histories, 20, histories)
        assert [r.product.title for r in case.recommended] == titles.gather(best.items[0, :8]).to_list()
        chances = np.exp(best.scores[0, :8].astype(float))
        assert [r.probability for r in case.recommended] == pytest.approx(chances.tolist(), rel=1e-3)
        assert [r.taken for r in case.recommended] == [item == target for item in best.items[0, :8]]
        (said,) = case.explanations
        assert said.prompt == "C-12" and said.reference in tests.filter(user=user)["explanation"].to_list()


def test_a_baselines_cases_have_no_probability(tiny_data):
    popularity = FittedBaseline(Popularity.fit(tiny_data), Catalogue.of(tiny_data))
    found = cases(popularity, tiny_data)
    assert len(found) == 10 and not any(case.explanations for case in found)
    assert all(len(case.recommended) == 8 and all(r.probability is None for r in case.recommended) for case in found)
    assert cases(FittedBaseline(FrequentSentence.fit(tiny_data), Catalogue.of(tiny_data)), tiny_data) == []


def test_lists_hold_what_was_had_where_the_evaluation_lets_them(make_shop):
    """Everybody's order is v w x y z; ann had v and w, and took v again."""
    shop = make_shop({"ann": "vwvwv", "bob": "wxwxy"}, {"item": list("vwxyz"), "title": [*"VWXY", None]})
    system = Stub(Catalogue.of(shop), np.tile(np.arange(5), (2, 1)))
    ann, bob = cases(system, shop, allow_again=True)
    assert [r.product.title for r in ann.recommended] == [*"VWXY", "z"]  # the raw id where there is no title
    assert [r.taken for r in ann.recommended] == [True, False, False, False, False]
    assert [r.product.title for r in cases(system, shop, allow_again=False)[0].recommended] == ["X", "Y", "z"]
    assert [p.title for p in bob.history] == list("WXWX") and bob.truth.title == "Y"
