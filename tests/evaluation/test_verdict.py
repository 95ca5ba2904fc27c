"""The sentence that says who wins, and the baselines that stand beside every evaluation."""

import pytest

from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.rules import Rules
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import Difference, Estimate
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.report import write_report
from vip5.evaluation.results import Result
from vip5.evaluation.rivals import fit_rivals
from vip5.evaluation.tables import caption
from vip5.evaluation.verdict import RIVALS, verdict
from vip5.predict.answers import ModelSystem


def result(
    baseline: str, own: float, other: float, half: float, task: str = "next item", prompt: str = "A-3"
) -> Result:
    return Result.of(
        Estimate(own, own - 0.01, own + 0.01, 100),
        Estimate(other, other - 0.01, other + 0.01, 100),
        Difference(own - other, own - other - half, own - other + half, 0.01),
        dataset="shop", data_hash="c0ffee", protocol="clean", split="test", task=task, prompt=prompt, metric="NDCG@10",
        model="VIP5", seed=0, baseline=baseline,
    )  # fmt: skip


def test_the_model_wins_over_the_best_baseline():
    found = [
        result("popularity", 0.15, 0.02, 0.01),
        result("item-knn", 0.15, 0.10, 0.02),
        result("rules", 0.15, 0.12, 0.02),
    ]
    assert verdict(found) == [
        "Best for the next item: VIP5, +.0300 [+.0100, +.0500] above rules (NDCG@10 .1500 by A-3, rules .1200)."
    ]
    assert verdict(found)[0] in caption(found)


def test_a_baseline_wins_and_its_command_is_said():
    found = [
        result("item-knn", 0.10, 0.15, 0.01, "one of 100", "B-5"),
        result("rules", 0.10, 0.12, 0.01, "one of 100", "B-5"),
    ]
    (line,) = verdict(found)
    assert line.startswith("Best for one of 100: item-knn, +.0500 above VIP5 (NDCG@10 .1000 by B-5, item-knn .1500);")
    assert "`vip5 baseline item-knn DATASET --out RUN`" in line


def test_what_may_be_chance_is_no_win():
    (line,) = verdict([result("rules", 0.10, 0.095, 0.01)])
    assert line.startswith(
        "No winner for the next item: VIP5 and rules differ by +.0050 [−.0050, +.0150], which may be"
    )


def test_the_best_prompt_of_a_task_stands_for_the_model():
    found = [result("rules", 0.10, 0.12, 0.01, prompt="A-9"), result("rules", 0.14, 0.12, 0.01)]
    assert len(verdict(found)) == 1 and "by A-3" in verdict(found)[0]


def test_popularity_alone_is_no_rival():
    assert verdict([result("popularity", 0.15, 0.02, 0.01)]) == []


@pytest.mark.parametrize("prompt", ["A-3", "A-3 of 25"])
def test_the_rivals_numbers_are_those_of_their_lists(model, tiny_data, prompt):
    done = evaluate(ModelSystem(model), tiny_data, ["A-3"], EvaluateOptions(beams=10))
    held, own = (
        HeldOut.of(tiny_data),
        {r.baseline: r for r in done.results if (r.prompt, r.metric) == (prompt, "NDCG@10")},
    )
    assert {*RIVALS} <= own.keys()
    for rival in fit_rivals(tiny_data):
        if prompt == "A-3":
            lists = rival.rank(held.histories, 10, held.users, exclude=held.histories)
        else:
            lists = rival.rank_candidates(held.lists, held.histories, held.users)
        value = ranking_metrics(ranks_in_list(lists, held.targets), (10,))["NDCG@10"].mean()
        r = own[rival.name]
        assert r.baseline_value == pytest.approx(value) and r.difference == pytest.approx(r.value - value)
    assert [type(rival) for rival in fit_rivals(tiny_data)] == [ItemKNN, Rules]


def test_the_page_says_it_too(results, tmp_path):
    found = [result("item-knn", 0.15, 0.10, 0.02), result("rules", 0.15, 0.12, 0.02)]
    page = tmp_path / "report.html"
    write_report(page, "A shop", [results.model_copy(update={"results": tuple(found)})])
    assert f"<strong>{verdict(found)[0]}</strong>" in page.read_text(encoding="utf-8")
