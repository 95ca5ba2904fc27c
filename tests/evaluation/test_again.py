"""People who buy again: lists with and without what a user had before, worked out by hand, and what is said of it."""

import numpy as np
import pytest

from vip5.data.catalogue import Catalogue
from vip5.evaluation.card import card
from vip5.evaluation.compare import compare, note
from vip5.evaluation.control import control
from vip5.evaluation.evaluate import Evaluation, evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.report import write_report
from vip5.evaluation.results import Results
from vip5.evaluation.stored import load_about
from vip5.evaluation.tables import caption, markdown
from vip5.predict.baseline import fit_run

from .conftest import Stub, number

# The last but one is for validation, the last for the test. Two of five repeat what their user had in training.
BOUGHT = {"ann": "vwvwv", "bob": "wxwxy", "cat": "zzzzx"}
ORDER = [0, 1, 2, 3, 4]  # v w x y z, for everybody


@pytest.fixture
def shop(make_shop):
    return make_shop(BOUGHT, {"item": list("vwxyz")})


def scored(shop, allow_again: bool | None) -> Evaluation:
    options = EvaluateOptions(cutoffs=(1, 3, 5), allow_again=allow_again)
    return evaluate(Stub(Catalogue.of(shop), np.tile(ORDER, (3, 1))), shop, ["A-3"], options)


def test_ranks_with_what_the_user_had(shop):
    """ann's v stands first, bob's y fourth, cat's x third."""
    assert shop.buys_again
    for allow_again in (None, True):  # as is common in this shop
        done = scored(shop, allow_again)
        assert done.again and done.ranked["A-3"][1].ranks.tolist() == [[0], [3], [2]]
        assert number(done, "A-3", "HR@1").value == pytest.approx(1 / 3)
        assert number(done, "A-3", "HR@3").value == pytest.approx(2 / 3)
        assert number(done, "A-3", "NDCG@5").value == pytest.approx((1 + 1 / np.log2(5) + 1 / np.log2(4)) / 3)
        assert number(done, "A-3", "HR@5").baseline_value == 1  # popularity lists all five as well


def test_ranks_without(shop):
    """Left are x y z for ann, v y z for bob, v w x y for cat: v is lost, y stands second, x third."""
    done = scored(shop, False)
    assert not done.again and done.ranked["A-3"][1].ranks[1:].tolist() == [[1], [2]]
    assert number(done, "A-3", "HR@1").value == 0
    assert number(done, "A-3", "HR@5").value == pytest.approx(2 / 3)
    assert number(done, "A-3", "NDCG@5").value == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / 3)
    assert number(done, "A-3", "HR@5").baseline_value == pytest.approx(2 / 3)


@pytest.mark.parametrize(("again", "chance"), [(True, 3 / 5), (False, (1 + 1 + 3 / 4) / 3)])
def test_chance_of_shuffled_targets(shop, again, chance):
    """Three of five items, or of what a history leaves: 3 items, 3 and 4."""
    options = EvaluateOptions(cutoffs=(3,), allow_again=again)
    done = evaluate(Stub(Catalogue.of(shop), np.tile(ORDER, (3, 1))), shop, ["A-3"], options)
    assert number(done, "A-3", "HR@3", "control").baseline_value == pytest.approx(chance)


def test_lists_of_what_was_had_are_at_chance_where_targets_may_be_of_it(random_shop):
    tested = HeldOut.of(random_shop)
    had = np.array([np.resize(np.unique(history), 3) for history in tested.histories])
    own = np.arange(random_shop.n_items)
    rest = np.array([np.setdiff1d(own, row)[:7] for row in had])
    found = control(np.concatenate([had, rest], axis=1), tested, random_shop.n_items, again=True)
    assert found.chance_hit_rate == pytest.approx(10 / 1000) and found.p > 0.01


def test_a_shop_where_people_seldom_buy_again(random_shop):
    everything = np.tile(np.arange(random_shop.n_items), (random_shop.n_users, 1))
    system = Stub(Catalogue.of(random_shop), everything)
    for given, again in ((None, False), (True, True)):
        options = EvaluateOptions(users=5, allow_again=given)
        assert evaluate(system, random_shop, ["A-3"], options).again is again


def test_what_is_done_is_said_wherever_numbers_stand(shop, tmp_path):
    """The order in time and what people buy again: in the caption, the table, the card, the page, the comparison."""
    done = scored(shop, None)
    order, again = done.notes
    assert order == shop.order_note == "no test target carries the same time as the purchase before"
    assert again.startswith("next items may be ones the user had before (") and "% of the training" in again
    assert scored(shop, False).notes[1].startswith("what the user had before is left out (")
    results = Results.record(done.results, "vip5 evaluate", notes=done.notes)
    said = f"Data: {order}; {again}."
    assert said in caption(results.results, notes=results.notes).splitlines()
    assert said in markdown(results) and said in card(done.system, shop, results)
    assert f"| order in time | {order} |" in card(done.system, shop, results)
    write_report(tmp_path / "page.html", "a page", [results])
    assert said.replace("'", "&#39;") in (tmp_path / "page.html").read_text("utf-8")
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json").notes == tuple(done.notes)
    for name in ("popularity", "item-knn"):
        run = fit_run(name, shop, tmp_path / name, {}, "typed")
        evaluate(run, shop, ["A-3"]).save(tmp_path / name)
        assert load_about(tmp_path / name) == {"again": True, "notes": done.notes}
    assert said in note(compare([tmp_path / "popularity", tmp_path / "item-knn"], metrics=["HR@5"]))
