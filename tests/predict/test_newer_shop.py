"""The shop has new purchases, new people and new items since a run was trained: the run still answers."""

import numpy as np
import pytest

from vip5.data import Dataset
from vip5.predict import Recommender

KINDS = ("photos", "text", "item-knn", "bpr-mf")


def names(suggestions) -> list[str]:
    return [one.item for one in suggestions]


@pytest.fixture
def open_now(own_place):
    """Opens a run; gives what it reports too."""

    def opened(kind: str, **options) -> tuple[Recommender, list[str]]:
        said: list[str] = []
        return Recommender(own_place / "runs" / kind, report=said.append, **options), said

    return opened


@pytest.mark.parametrize("kind", KINDS)
def test_histories_come_from_the_shop_of_today_by_raw_ids(kind, open_now, own_place, grow, ask, refusal):
    before = ask(open_now(kind)[0], kind)
    data = grow()
    shop, said = open_now(kind)
    assert ask(shop, kind) == before  # which brings its histories along
    newcomer, known = "A-new-U0001", shop.catalogue.users["user"][5]
    for user in (newcomer, known):
        bought = [data.items["item"][int(item)] for item in data.sequences[data.user_index(user)]]
        kept = [item for item in bought if item in shop.catalogue.item_rows]
        assert len(bought) > 3 and shop.recommend(user, n=5) == shop.recommend(user, history=kept, n=5)
    gone = int((~np.isin(data.items["item"].to_numpy()[data.sequences.values], shop.catalogue.items["item"])).sum())
    assert gone > 5 and len(said) == 1
    assert f"{gone} purchases are of items that the run does not know" in said[0] and str(own_place) in said[0]
    assert "unknown item" in refusal(shop.recommend, known, exclude=["A-new-P0001"])
    with_new = [*kept[:2], "A-new-P0001", kept[2]]
    assert shop.recommend(history=with_new, n=5) == shop.recommend(history=kept[:3], n=5)
    assert "A-new-P0001" in said[-1] and "left out" in said[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_who_opened_before_the_overwrite_answers_from_what_was_opened(kind, open_now, grow):
    """First asked after it, too: nothing is left to be read later."""
    asked, waiting = open_now(kind)[0], open_now(kind)[0]
    items, user = asked.catalogue.items["item"].to_list(), asked.catalogue.users["user"][4]

    def answers(shop: Recommender) -> list[object]:
        return [shop.recommend(user, n=5), shop.rank(items[:5], user=user), shop.similar(items[1])]

    before = answers(asked)
    grow()
    assert answers(asked) == before == answers(waiting)
    now, then = (shop.people.get(user) for shop in (open_now(kind)[0], asked) if shop.people is not None)
    assert now.tolist()[:-1] == then.tolist()  # who opens now has a purchase more to go by


def test_the_data_set_of_another_shop_has_nothing_to_say(own_place, make_shop, refusal):
    """Its people are not known by what they bought; a history that comes along is."""
    other = make_shop({f"x{n}": [f"y{(n + m) % 9}" for m in range(5)] for n in range(9)})
    shop = Recommender(own_place / "runs/item-knn", other.path)
    assert shop.people is not None and shop.people.left_out == 45
    assert len(shop.recommend("x0", n=3)) <= 3  # all that x0 had is left out: an empty history
    assert "nothing is known" in refusal(shop.recommend, shop.catalogue.users["user"][0])


def test_a_data_set_that_is_replaced_while_it_is_read_is_refused(own_place, grow, monkeypatch, refusal):
    lazy = Dataset.__dict__["sequences"]
    read = lazy.func

    def slow(self):
        found = read(self)
        monkeypatch.setattr(lazy, "func", read)
        grow()
        return found

    monkeypatch.setattr(lazy, "func", slow)
    assert "was replaced while it was read: try again" in refusal(Recommender, own_place / "runs/item-knn")
    assert Recommender(own_place / "runs/item-knn").people is not None
