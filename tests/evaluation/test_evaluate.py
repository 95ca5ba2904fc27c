"""A system against the held-out part, computed again in other ways."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer

from vip5.data import Dataset, Ragged
from vip5.data.catalogue import Catalogue
from vip5.decoding import score_items
from vip5.errors import UserError
from vip5.evaluation.evaluate import PROMPTS, Evaluation, evaluate
from vip5.evaluation.explanations import held_out_explanations
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.stored import load_about, load_ranks, load_sentences
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import choose, next_items
from vip5.prompts import Samples

from .conftest import Stub, by_hand, number


@pytest.fixture(scope="module")
def evaluation(system, tiny_data) -> Evaluation:
    return evaluate(system, tiny_data, options=EvaluateOptions(beams=10))


def test_every_prompt_has_its_numbers(tiny_data, evaluation):
    assert {r.prompt for r in evaluation.results} == {*PROMPTS, "A-3 of 25"} and evaluation.left_out == []
    whole = ("coverage@10", "Gini@10", "USR", "FCR", "DIV")  # numbers of all users together
    for r in evaluation.results:
        assert r.n > 0 and r.protocol == "clean" and r.split == "test" and r.data_hash == tiny_data.hash
        assert r.baseline_value is not None
        assert r.low is None if r.metric in whole else r.low <= r.value <= r.high
        if r.difference is not None:
            assert r.difference == pytest.approx(r.value - r.baseline_value, abs=1e-9)
    compared = {r.metric for r in evaluation.results if r.difference is not None}
    assert {"HR@1", "HR@10", "NDCG@5", "MRR@10", "BLEU-4", "ROUGE-L"} <= compared


def test_next_item_numbers(model, tiny_data, evaluation):
    """Of people who seldom buy again, the history is left out."""
    histories, targets = tiny_data.history("test"), tiny_data.targets("test")
    assert not tiny_data.buys_again and not evaluation.again
    for prompt in ("A-3", "A-9"):
        found = next_items(model, prompt, np.arange(tiny_data.n_users), histories, 10, histories).items
        for k in (5, 10):
            hit, gain = by_hand(found, targets, k)
            assert number(evaluation, prompt, f"HR@{k}").value == pytest.approx(hit)
            assert number(evaluation, prompt, f"NDCG@{k}").value == pytest.approx(gain)


def test_one_of_the_candidates(model, tiny_data, evaluation):
    lists = HeldOut.of(tiny_data).lists
    width = lists.shape[1]
    assert width == tiny_data.candidates.shape[2] + 1
    places = [row.tolist().index(target) for row, target in zip(lists, tiny_data.targets("test"), strict=True)]
    assert len(set(places)) > 3  # the true item may stand anywhere
    for prompt in ("B-5", "B-8"):
        found = choose(model, prompt, np.arange(tiny_data.n_users), tiny_data.history("test"), lists, width)
        for k in (1, 5, 10):
            hit, gain = by_hand(found.items, tiny_data.targets("test"), k)
            assert number(evaluation, prompt, f"HR@{k}").value == pytest.approx(hit)
            assert number(evaluation, prompt, f"NDCG@{k}").value == pytest.approx(gain)
        assert number(evaluation, prompt, "HR@1").task == f"one of {width}"


def test_one_of_the_candidates_by_what_comes_next(model, tiny_data, evaluation):
    """Nothing but the candidates may be written after the history: the order is that of all items' scores."""
    lists, histories, targets = HeldOut.of(tiny_data).lists, tiny_data.history("test"), tiny_data.targets("test")
    users = np.arange(tiny_data.n_users)
    compiler, width = model.compiler(["A-3"]), lists.shape[1]
    batch = model.batch(compiler, Samples.of(np.zeros(len(users), int), users, histories))
    with torch.no_grad():
        own = score_items(model.model, batch, model.trie).gather(1, torch.from_numpy(lists.astype(np.int64)))
    wanted = np.take_along_axis(lists, own.argsort(dim=1, descending=True).numpy(), axis=1)
    found = choose(model, "A-3", users, histories, lists, width)
    assert (found.items == wanted).mean() > 0.99  # codes here are one token long, and equal scores are not
    hit, _ = by_hand(found.items, targets, 10)
    assert number(evaluation, f"A-3 of {width}", "HR@10").value == pytest.approx(hit)
    assert number(evaluation, f"A-3 of {width}", "HR@10").task == f"one of {width}"


def test_each_list_of_candidates_has_an_order_of_its_own(tiny_data):
    data = Dataset(tiny_data.path)
    data.__dict__["candidates"] = np.concatenate([tiny_data.candidates] * 2)
    first, second = HeldOut.of(data).lists, HeldOut.of(data, number=1).lists
    assert (first == HeldOut.of(tiny_data).lists).all() and (np.sort(first) == np.sort(second)).all()
    at_once = np.column_stack([data.targets("test"), data.candidates[0]])
    assert (first == np.random.default_rng(99).permuted(at_once, axis=1)).all()  # as published
    assert ((first == second).mean(axis=1) < 0.5).all()


def test_several_lists_of_candidates_are_averaged(system, model, tiny_data):
    data, targets = Dataset(tiny_data.path), tiny_data.targets("test")
    other = np.roll(tiny_data.candidates[0], 1, axis=0)
    free = ~(other == targets[:, None]).any(axis=1)
    data.__dict__["candidates"] = np.stack(
        [tiny_data.candidates[0], np.where(free[:, None], other, tiny_data.candidates[0])]
    )
    done = evaluate(system, data, ["B-5"])
    users, lists = np.arange(data.n_users), [HeldOut.of(data, number=n).lists for n in (0, 1)]
    alone = [by_hand(choose(model, "B-5", users, data.history("test"), shown).items, targets, 10)[0] for shown in lists]
    assert number(done, "B-5", "HR@10").value == pytest.approx(np.mean(alone))
    assert done.ranked["B-5"][1].ranks.shape == (data.n_users, 2)


def test_only_the_tested_users_are_scored(system, model, some, tmp_path):
    users = np.arange(20, some.n_users)
    assert some.tested("test").tolist() == users.tolist()
    done = evaluate(system, some, ["A-3", "B-5"], EvaluateOptions(beams=10))
    histories = Ragged.from_lists([some.history("test")[user] for user in users])
    assert all(len(h) + 1 + user % 3 == len(some.sequences[user]) for user, h in zip(users, histories, strict=True))
    targets = np.array([some.sequences[user][len(history)] for user, history in zip(users, histories, strict=True)])
    lists = HeldOut.of(some).lists
    assert [target in shown for target, shown in zip(targets, lists.tolist(), strict=True)] == [True] * len(users)
    for prompt, found in (
        ("A-3", next_items(model, "A-3", users, histories, 10, histories)),
        ("B-5", choose(model, "B-5", users, histories, lists, 10)),
    ):
        hit, gain = by_hand(found.items, targets, 10)
        assert number(done, prompt, "HR@10").value == pytest.approx(hit)
        assert number(done, prompt, "NDCG@10").value == pytest.approx(gain)
        assert number(done, prompt, "HR@10").n == len(users) == len(done.ranked[prompt][1].ranks)
    done.save(tmp_path)
    table = load_ranks(tmp_path)
    assert table.filter(pl.col("prompt") == "B-5")["user"].equals(some.users["user"].gather(users))


def test_where_nobody_can_be_tested_it_is_said(system, some):
    counts = some.__dict__["_split_counts"]
    some.__dict__["_split_counts"] = np.stack([counts.sum(axis=0), 0 * counts[0], 0 * counts[0]])
    done = evaluate(system, some, ["A-3", "B-5", "C-3"])
    lacks = "no user has both a training and a test part"
    assert done.left_out == [f"A-3: {lacks}", f"B-5: {lacks}"] and {r.prompt for r in done.results} == {"C-3"}


def test_explanation_numbers(system, tiny_data, evaluation):
    scorer = RougeScorer(["rouge1", "rougeL"])
    tests = tiny_data.reviews.filter(pl.col("split") == "test")
    for prompt in ("C-3", "C-12"):
        told = evaluation.told[prompt]
        asked = held_out_explanations(tiny_data, system.prompts[prompt])
        assert told.reviews.equals(asked) and len(told.written) == len(told.truth) == len(asked)
        assert told.truth == asked["explanation"].to_list()
        assert len(asked.join(tests, on=["user", "item", "explanation"], how="anti")) == 0
        for metric, name in (("ROUGE-1", "rouge1"), ("ROUGE-L", "rougeL")):
            pairs = zip(told.truth, told.written, strict=True)
            hand = np.mean([scorer.score(true, written)[name].fmeasure for true, written in pairs])
            assert number(evaluation, prompt, metric).value == pytest.approx(100 * hand, abs=0.01)


def test_a_perfect_system_scores_one_and_a_useless_one_nothing(tiny_data):
    catalogue, targets = Catalogue.of(tiny_data), tiny_data.targets("test")
    rest = [np.setdiff1d(np.arange(tiny_data.n_items), [target]) for target in targets]
    perfect = np.array([[target, *others] for target, others in zip(targets, rest, strict=True)])
    for best, value in ((perfect, 1.0), (perfect[:, ::-1], 0.0)):
        for r in evaluate(Stub(catalogue, best), tiny_data, ["A-3", "B-5"], EvaluateOptions(beams=10)).results:
            if r.metric.startswith(("HR", "NDCG", "MRR")) and r.kind == "model":
                assert (r.value, r.low, r.high) == (value, value, value)
    true = {(user, item): said for user, item, said in tiny_data.reviews.select("user", "item", "explanation").rows()}

    def say(asked: pl.DataFrame) -> list[str]:
        assert "explanation" not in asked.columns
        return [true[row] for row in asked.select("user", "item").rows()]

    results = evaluate(Stub(catalogue, perfect, say), tiny_data, ["C-3"]).results
    assert all(r.value == pytest.approx(100) for r in results if r.metric.startswith(("BLEU", "ROUGE")))
    assert all(r.value == r.baseline_value for r in results if r.baseline == "the true sentences")


def test_sentences_of_any_language_are_scored_in_its_words(tiny_data):
    """Who says the truth has 100 in all metrics, and the results say what they are counted over."""
    chinese = Dataset(tiny_data.path)
    told = pl.col("explanation").is_not_null()
    chinese.__dict__["reviews"] = tiny_data.reviews.with_columns(
        explanation=pl.when(told).then(pl.format("第{}双鞋很舒服，颜色好。", pl.int_range(pl.len()))),
        feature=pl.when(told).then(pl.lit("颜色")),
    )
    true = {(user, item): said for user, item, said in chinese.reviews.select("user", "item", "explanation").rows()}
    stub = Stub(Catalogue.of(tiny_data), [], lambda asked: [true[row] for row in asked.select("user", "item").rows()])
    done = evaluate(stub, chinese, ["C-3"])
    assert {r.metric: r.tokens for r in done.results if r.tokens} == {
        "BLEU-1": "zh", "BLEU-4": "zh", "ROUGE-1": "Unicode", "ROUGE-2": "Unicode", "ROUGE-L": "Unicode"
    }  # fmt: skip
    assert all(r.value == pytest.approx(100) for r in done.results if r.tokens or r.metric == "FMR")


def test_what_the_data_cannot_answer_is_said(system, tiny_data):
    bare = Dataset(tiny_data.path)
    bare.__dict__["reviews"] = tiny_data.reviews.with_columns(feature=pl.lit(None, pl.String))
    done = evaluate(system, bare, ["C-3", "C-12"])
    assert done.left_out == ["C-12: its fields are missing"] and {r.prompt for r in done.results} == {"C-3"}
    bare.__dict__["reviews"] = tiny_data.reviews.with_columns(explanation=pl.lit(None, pl.String))
    assert "no review of the test part gives an explanation" in evaluate(system, bare, ["C-3"]).left_out[0]
    bare.__dict__["reviews"] = tiny_data.reviews.clear()
    done = evaluate(system, bare, ["C-3", "C-12"])
    assert done.results == [] and all("no reviews" in line for line in done.left_out) and len(done.left_out) == 2


def test_the_papers_protocol_is_named(model, tiny_data):
    codes = model.config.codes.model_copy(update={"scheme": "paper"})
    leaky = ModelSystem(replace(model, config=model.config.model_copy(update={"codes": codes})))
    assert {r.protocol for r in evaluate(leaky, tiny_data, ["A-3"]).results} == {"paper"}


def test_prompts_that_cannot_be_evaluated(system, model, tiny_data):
    for prompt, said in (("A-7", "prompt A-7 is not evaluated"), ("A-99", "unknown prompt A-99")):
        with pytest.raises(UserError, match=said):
            evaluate(system, tiny_data, [prompt])
    with pytest.raises(UserError, match="no prompts to evaluate"):
        evaluate(system, tiny_data, [])
    with pytest.raises(UserError, match="of task choice"):
        next_items(model, "B-5", np.arange(2), tiny_data.history("test"))
    twice, once = (evaluate(system, tiny_data, names, EvaluateOptions(users=5)) for names in (["A-3", "A-3"], ["A-3"]))
    assert twice.results == once.results


def test_ranks_are_left_for_paired_comparisons(system, tiny_data, evaluation, tmp_path):
    evaluation.save(tmp_path)
    table = load_ranks(tmp_path)
    assert set(table["prompt"]) == {"A-3", "A-3 of 25", "A-9", "B-5", "B-8"}
    for prompt in ("A-3", "B-5"):
        ranks = table.filter(pl.col("prompt") == prompt)
        assert ranks["user"].to_list() == tiny_data.users["user"].to_list()
        assert (ranks["rank"].fill_null(99) < 10).mean() == pytest.approx(number(evaluation, prompt, "HR@10").value)
        assert ranks["rank"].drop_nulls().max() < 100
    sentences = load_sentences(tmp_path)
    assert set(sentences["prompt"]) == {"C-3", "C-12"}
    assert sentences.filter(pl.col("prompt") == "C-3")["written"].to_list() == evaluation.told["C-3"].written
    assert set(sentences["item"]) <= set(tiny_data.items["item"])
    assert load_about(tmp_path) == {"again": False, "notes": evaluation.notes}
    evaluate(system, tiny_data, ["A-3"]).save(tmp_path)  # nothing of an earlier evaluation stays
    assert set(load_ranks(tmp_path)["prompt"]) == {"A-3", "A-3 of 25"} and load_sentences(tmp_path).is_empty()


def test_groups_part_the_users(tiny_data, evaluation):
    groups = [r for r in evaluation.results if (r.prompt, r.metric) == ("A-3", "HR@10") and r.group != "all"]
    for family in ("history", "bought"):
        mine = [r for r in groups if r.group.startswith(family)]
        assert sum(r.n for r in mine) == tiny_data.n_users
        mean = sum(r.n * r.value for r in mine) / tiny_data.n_users
        assert mean == pytest.approx(number(evaluation, "A-3", "HR@10").value)


def test_shuffled_targets_are_at_chance(evaluation):
    for prompt in ("A-3", "B-5"):
        control = number(evaluation, prompt, "HR@10", "control")
        assert control.baseline == "chance" and control.low <= control.baseline_value <= control.high


def test_some_users_only(system, tiny_data):
    done = evaluate(system, tiny_data, ["A-3", "C-3"], EvaluateOptions(users=7))
    assert number(done, "A-3", "HR@10").n == 7 and number(done, "C-3", "BLEU-4").n == 7
    assert len(done.ranked["A-3"][0]) == 7
