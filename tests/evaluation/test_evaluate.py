"""A run against the held-out part, computed again in other ways."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer

from vip5.audit.audit import audit_run
from vip5.data import Dataset, Ragged, prepare
from vip5.decoding import score_items, top_items
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation import evaluate as module
from vip5.evaluation import explanations
from vip5.evaluation.evaluate import (
    PROMPTS,
    Evaluation,
    Settings,
    evaluate,
    validation_score,
)
from vip5.evaluation.explanations import held_out_explanations
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.predict import Ranking, choose, exact_next, next_items, write_choice, write_next
from vip5.evaluation.stored import load_ranks, load_sentences
from vip5.prompts import Samples
from vip5.training import Run, load_config, train


@pytest.fixture(scope="module")
def run(tiny_run) -> Run:
    return Run.load(tiny_run)


@pytest.fixture(scope="module")
def evaluation(run) -> Evaluation:
    return evaluate(run, settings=Settings(beams=10))


def number(evaluation: Evaluation, prompt: str, metric: str):
    return next(
        r for r in evaluation.results if (r.prompt, r.metric, r.group, r.kind) == (prompt, metric, "all", "model")
    )


def by_hand(lists: np.ndarray, targets: np.ndarray, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k of ranked lists."""
    hits, gains = [], []
    for ranked, target in zip(lists.tolist(), targets.tolist(), strict=True):
        place = ranked[:k].index(target) if target in ranked[:k] else None
        hits.append(place is not None)
        gains.append(0.0 if place is None else 1 / np.log2(place + 2))
    return float(np.mean(hits)), float(np.mean(gains))


def test_every_prompt_has_its_numbers(run, evaluation):
    assert {r.prompt for r in evaluation.results} == set(PROMPTS) and evaluation.left_out == []
    whole = ("coverage@10", "Gini@10", "USR", "FCR", "DIV")  # numbers of all users together
    for r in evaluation.results:
        assert r.n > 0 and r.protocol == "clean" and r.split == "test" and r.data_hash == run.dataset.hash
        assert r.baseline_value is not None
        assert r.low is None if r.metric in whole else r.low <= r.value <= r.high
        if r.difference is not None:
            assert r.difference == pytest.approx(r.value - r.baseline_value, abs=1e-9)
    compared = {r.metric for r in evaluation.results if r.difference is not None}
    assert {"HR@1", "HR@10", "NDCG@5", "MRR@10", "BLEU-4", "ROUGE-L"} <= compared


def test_next_item_numbers(run, evaluation):
    data = run.dataset
    targets = data.targets("test")
    for prompt in ("A-3", "A-9"):
        found = next_items(run, prompt, np.arange(data.n_users), data.history("test"), 10).items
        for k in (5, 10):
            hit, gain = by_hand(found, targets, k)
            assert number(evaluation, prompt, f"HR@{k}").value == pytest.approx(hit)
            assert number(evaluation, prompt, f"NDCG@{k}").value == pytest.approx(gain)


def test_own_history_never_comes_out_and_nothing_twice(run):
    data = run.dataset
    history = data.history("test")
    found = next_items(run, "A-3", np.arange(data.n_users), history, data.n_items)
    for user in range(data.n_users):
        items = found.items[user][found.items[user] >= 0].tolist()
        assert sorted(items) == sorted(set(range(data.n_items)) - set(history[user].tolist()))
        scores = found.scores[user][: len(items)]
        assert (np.diff(scores) <= 0).all() and np.isneginf(found.scores[user][len(items) :]).all()
        assert np.exp(scores.astype(float)).sum() <= 1 + 1e-5
    everything = next_items(run, "A-3", np.arange(3), data.history("test"), data.n_items, exclude_history=False)
    assert np.exp(everything.scores.astype(float)).sum(1) == pytest.approx(1, abs=1e-4)


def test_answers_do_not_depend_on_who_is_asked_together(run, monkeypatch):
    from vip5.evaluation import predict

    data = run.dataset
    whole = next_items(run, "A-3", np.arange(data.n_users), data.history("test"), 5)
    monkeypatch.setattr(predict, "BATCH_TOKENS", 1)  # one user at a time
    alone = next_items(run, "A-3", np.arange(data.n_users), data.history("test"), 5)
    assert np.allclose(whole.scores, alone.scores, atol=1e-4) and (whole.items == alone.items).mean() > 0.99


def test_one_of_the_candidates(run, evaluation):
    data = run.dataset
    lists = HeldOut.of(data).lists
    width = lists.shape[1]
    assert width == data.candidates.shape[2] + 1
    places = [row.tolist().index(target) for row, target in zip(lists, data.targets("test"), strict=True)]
    assert len(set(places)) > 3  # the true item may stand anywhere
    for prompt in ("B-5", "B-8"):
        found = choose(run, prompt, np.arange(data.n_users), lists, width)
        assert all(
            sorted(row) == sorted(shown) for row, shown in zip(found.items.tolist(), lists.tolist(), strict=True)
        )
        assert np.exp(found.scores.astype(float)).sum(1) == pytest.approx(1, abs=1e-4)
        for k in (1, 5, 10):
            hit, gain = by_hand(found.items, data.targets("test"), k)
            assert number(evaluation, prompt, f"HR@{k}").value == pytest.approx(hit)
            assert number(evaluation, prompt, f"NDCG@{k}").value == pytest.approx(gain)
        assert number(evaluation, prompt, "HR@1").task == f"one of {width}"


def test_each_list_of_candidates_has_an_order_of_its_own(run):
    data = Dataset(run.dataset.path)
    data.__dict__["candidates"] = np.concatenate([run.dataset.candidates] * 2)
    first, second = HeldOut.of(data).lists, HeldOut.of(data, number=1).lists
    assert (first == HeldOut.of(run.dataset).lists).all() and (np.sort(first) == np.sort(second)).all()
    at_once = np.column_stack([data.targets("test"), data.candidates[0]])
    assert (first == np.random.default_rng(99).permuted(at_once, axis=1)).all()  # as published
    assert ((first == second).mean(axis=1) < 0.5).all()


@pytest.fixture
def some(tiny_run) -> Run:
    """The run, where users 0 to 9 have no test part, 10 to 19 no training part, and others 1 to 3 test items."""
    run = Run.load(tiny_run)
    lengths = run.dataset.sequences.lengths
    test = np.where(np.arange(len(lengths)) < 10, 0, 1 + np.arange(len(lengths)) % 3)
    train = np.where(np.isin(np.arange(len(lengths)), range(10, 20)), 0, lengths - test - 1)
    run.dataset.__dict__["_split_counts"] = np.stack([train, lengths - test - train, test])
    return run


def test_only_the_tested_users_are_scored(some, tmp_path):
    data = some.dataset
    users = np.arange(20, data.n_users)
    assert data.tested("test").tolist() == users.tolist()
    done = evaluate(some, ["A-3", "B-5"], Settings(beams=10))
    histories = Ragged.from_lists([data.history("test")[user] for user in users])
    assert all(len(h) + 1 + user % 3 == len(data.sequences[user]) for user, h in zip(users, histories, strict=True))
    targets = np.array([data.sequences[user][len(history)] for user, history in zip(users, histories, strict=True)])
    lists = HeldOut.of(data).lists
    assert [target in shown for target, shown in zip(targets, lists.tolist(), strict=True)] == [True] * len(users)
    for prompt, found in (
        ("A-3", next_items(some, "A-3", users, histories, 10)),
        ("B-5", choose(some, "B-5", users, lists, 10)),
    ):
        hit, gain = by_hand(found.items, targets, 10)
        assert number(done, prompt, "HR@10").value == pytest.approx(hit)
        assert number(done, prompt, "NDCG@10").value == pytest.approx(gain)
        assert number(done, prompt, "HR@10").n == len(users) == len(done.ranked[prompt][1].ranks)
    done.save(tmp_path)
    table = load_ranks(tmp_path)
    assert table.filter(pl.col("prompt") == "B-5")["user"].equals(data.users["user"].gather(users))


def test_where_nobody_can_be_tested_it_is_said(some):
    counts = some.dataset.__dict__["_split_counts"]
    some.dataset.__dict__["_split_counts"] = np.stack([counts.sum(axis=0), 0 * counts[0], 0 * counts[0]])
    done = evaluate(some, ["A-3", "B-5", "C-3"])
    lacks = "no user has both a training and a test part"
    assert done.left_out == [f"A-3: {lacks}", f"B-5: {lacks}"] and {r.prompt for r in done.results} == {"C-3"}
    with pytest.raises(UserError, match="no user has both a training and a validation part: set it to 0"):
        validation_score(some, 10)


def test_explanation_numbers(run, evaluation):
    scorer = RougeScorer(["rouge1", "rougeL"])
    reviews = run.dataset.reviews
    for prompt in ("C-3", "C-12"):
        written, truth = evaluation.told[prompt].written, evaluation.told[prompt].truth
        rows = held_out_explanations(run.dataset, run.prompts[prompt]).review
        assert truth == [reviews["explanation"][int(row)] for row in rows] and len(written) == len(truth)
        assert set(reviews["split"].gather(rows)) == {"test"}
        for metric, name in (("ROUGE-1", "rouge1"), ("ROUGE-L", "rougeL")):
            hand = np.mean([scorer.score(t, w)[name].fmeasure for t, w in zip(truth, written, strict=True)])
            assert number(evaluation, prompt, metric).value == pytest.approx(100 * hand, abs=0.01)


def test_a_perfect_model_scores_one_and_a_useless_one_nothing(run, monkeypatch):
    targets = run.dataset.targets("test")

    def perfect(run, prompt, users, *_, **__):
        return Ranking(np.repeat(targets[users][:, None], 1, 1), np.zeros((len(users), 1)))

    def useless(run, prompt, users, *_, **__):
        return Ranking(np.full((len(users), 1), -1), np.zeros((len(users), 1)))

    for answer, value in ((perfect, 1.0), (useless, 0.0)):
        monkeypatch.setattr(module, "next_items", answer)
        monkeypatch.setattr(module, "choose", answer)
        for r in evaluate(run, ["A-3", "B-5"]).results:
            if r.metric.startswith(("HR", "NDCG", "MRR")) and r.kind == "model":
                assert (r.value, r.low, r.high) == (value, value, value)
    said = run.dataset.reviews["explanation"]
    answer = lambda run, prompt, samples, **_: said.gather(samples.review).to_list()  # noqa: E731
    monkeypatch.setattr(explanations, "explain", answer)
    results = evaluate(run, ["C-3"]).results
    assert all(r.value == pytest.approx(100) for r in results if r.metric.startswith(("BLEU", "ROUGE")))
    assert all(r.value == r.baseline_value for r in results if r.baseline == "the true sentences")


def test_what_the_data_cannot_answer_is_said(run, tiny_run):
    reviews = run.dataset.reviews
    bare = Run.load(tiny_run)
    bare.dataset.__dict__["reviews"] = reviews.with_columns(feature=pl.lit(None, pl.String))
    done = evaluate(bare, ["C-3", "C-12"])
    assert done.left_out == ["C-12: its fields are missing"] and {r.prompt for r in done.results} == {"C-3"}
    bare.dataset.__dict__["reviews"] = reviews.clear()
    done = evaluate(bare, ["C-3", "C-12"])
    assert done.results == [] and all("no reviews" in line for line in done.left_out) and len(done.left_out) == 2


def test_the_papers_protocol_is_named(run):
    codes = run.config.codes.model_copy(update={"scheme": "paper"})
    leaky = replace(run, config=run.config.model_copy(update={"codes": codes}))
    assert {r.protocol for r in evaluate(leaky, ["A-3"]).results} == {"paper"}


def test_prompts_that_cannot_be_evaluated(run):
    for prompt, said in (("A-7", "prompt A-7 is not evaluated"), ("A-99", "unknown prompt A-99")):
        with pytest.raises(UserError, match=said):
            evaluate(run, [prompt])
    with pytest.raises(UserError, match="of task choice"):
        next_items(run, "B-5", np.arange(2), run.dataset.history("test"))
    assert len(evaluate(run, ["A-3", "A-3"]).results) == len(evaluate(run, ["A-3"]).results)


def test_ranks_are_left_for_paired_comparisons(run, evaluation, tmp_path):
    evaluation.save(tmp_path)
    table = load_ranks(tmp_path)
    assert set(table["prompt"]) == {"A-3", "A-9", "B-5", "B-8"}
    for prompt in ("A-3", "B-5"):
        ranks = table.filter(pl.col("prompt") == prompt)
        assert ranks["user"].to_list() == run.dataset.users["user"].to_list()
        assert (ranks["rank"].fill_null(99) < 10).mean() == pytest.approx(number(evaluation, prompt, "HR@10").value)
        assert ranks["rank"].drop_nulls().max() < 100
    sentences = load_sentences(tmp_path)
    assert set(sentences["prompt"]) == {"C-3", "C-12"}
    assert sentences.filter(pl.col("prompt") == "C-3")["written"].to_list() == evaluation.told["C-3"].written
    assert set(sentences["item"]) <= set(run.dataset.items["item"])
    evaluate(run, ["A-3"]).save(tmp_path)  # nothing of an earlier evaluation stays
    assert set(load_ranks(tmp_path)["prompt"]) == {"A-3"} and load_sentences(tmp_path).is_empty()


def test_validation_looks_at_the_validation_items_alone(run, monkeypatch):
    data = run.dataset
    scores = validation_score(run, data.n_users, 10)
    found = next_items(run, "A-3", np.arange(data.n_users), data.history("validation"), 10).items
    hit, gain = by_hand(found, data.targets("validation"), 10)
    assert scores == {"A-3 NDCG@10": pytest.approx(gain), "A-3 HR@10": pytest.approx(hit)}
    monkeypatch.setattr(type(data), "targets", lambda self, split: {"validation": found[:, 0]}[split])
    assert validation_score(run, 4, 10)["A-3 NDCG@10"] == 1.0


def test_validation_looks_at_some_of_the_tested_users(some, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "next_items", lambda run, name, users, *_: asked.append(users) or next_items(
        run, name, users, *_))  # fmt: skip
    validation_score(some, 5, 10)
    assert len(asked[0]) == 5 and set(asked[0].tolist()) <= set(some.dataset.tested("validation").tolist())
    validation_score(some, 99, 10)
    assert asked[1].tolist() == some.dataset.tested("validation").tolist() == [*range(10), *range(20, 30)]


@pytest.mark.slow
def test_a_shop_split_by_time_from_tables_to_numbers(tmp_path, tiny_settings):
    """Users who came late are neither trained on nor scored, and are no reason to stop."""
    write_demo(tmp_path / "shop", users=30, items=40)
    tables = {name: tmp_path / "shop" / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    late = pl.read_csv(tables["interactions"]).with_columns(pl.col("user") + " late", pl.col("timestamp") + 10**9)
    pl.concat([pl.read_csv(tables["interactions"]), late.head(30)]).write_csv(tables["interactions"])
    data = prepare(tmp_path / "data", **tables, split="time", candidates=9, candidates_by="popularity")
    tested = data.tested("test")
    assert 0 < len(tested) < data.n_users and (data.history("train").lengths == 0).any()
    settings = [*tiny_settings, "model.image_tokens=0", "optim.epochs=1", "run.validate_epochs=1"]
    train(
        Run.new(load_config("nano", None, settings), data),
        tmp_path / "run",
        validate=lambda run: validation_score(run, 9),
        quiet=True,
    )
    done = evaluate(Run.load(tmp_path / "run"), ["A-3", "B-5"])
    assert {r.n for r in done.results if r.group == "all"} == {len(tested)}
    assert number(done, "B-5", "HR@1").task == "one of 10"
    assert audit_run(Run.load(tmp_path / "run")).reasons == []


@pytest.mark.slow
def test_a_run_of_text_with_codes_by_number(tiny_data, tiny_settings, tmp_path):
    """Items of several tokens, no photos: everything holds as well."""
    settings = [*tiny_settings, "codes.scheme=sequential", "codes.users=text", "model.image_tokens=0", "optim.epochs=1"]
    train(Run.new(load_config("nano", None, settings), tiny_data), tmp_path / "run", quiet=True)
    run = Run.load(tmp_path / "run")
    assert run.features is None and run.codes.targets().shape[1] > 2
    test_own_history_never_comes_out_and_nothing_twice(run)
    assert {r.prompt for r in evaluate(run, ["A-9", "B-8", "C-12"]).results} == {"A-9", "B-8", "C-12"}


# -- other ways to find items, and other numbers -----------------------------------------------------------------------


def test_exact_lists_are_those_of_all_scores(run):
    """As many beams as items drop nothing, and neither does scoring every item: both are the truth."""
    data = run.dataset
    users, history, targets = np.arange(data.n_users), data.history("test"), data.targets("test")
    ranking = exact_next(run, "A-3", users, history, 10)
    whole = next_items(run, "A-3", users, history, data.n_items)
    assert (
        np.allclose(ranking.scores, whole.scores[:, :10], atol=1e-4)
        and (ranking.items == whole.items[:, :10]).mean() > 0.95
    )
    compiler = run.compiler(["A-3"])
    batch = run.batch(compiler, Samples.of(np.zeros(len(users), int), users, history))
    best = top_items(score_items(run.model, batch, run.trie), 10, history)[1].numpy()
    assert np.allclose(ranking.scores, best, atol=1e-4)
    done = evaluate(run, ["A-3", "B-5"], Settings(decode="exact", cutoffs=(10, 25), beams=25))
    assert number(done, "A-3", "HR@25").value == pytest.approx(by_hand(whole.items, targets, 25)[0], abs=0.04)
    assert done.ranked["A-3"][1].depth == 25
    lists = HeldOut.of(data).lists
    assert (done.ranked["B-5"][1].lists[0] == choose(run, "B-5", users, lists, lists.shape[1]).items).all()


def test_what_is_written_freely_may_be_no_item(run, monkeypatch):
    """Places of codes that do not exist are wasted, and counted; with every code legal there are none to waste."""
    data, users = run.dataset, np.arange(run.dataset.n_users)
    found = write_next(run, "A-3", users, data.history("test"), 20)
    valid = found.items[found.items >= 0]
    assert found.items.shape == (data.n_users, 20) and len(valid) and valid.max() < data.n_items
    lists = HeldOut.of(data).lists
    chosen = write_choice(run, "B-5", users, lists, 20).items
    assert all(set(row) <= {-1, *shown} for row, shown in zip(chosen.tolist(), lists.tolist(), strict=True))
    done = evaluate(run, ["A-3", "B-5"], Settings(decode="free"))
    by_hand_invalid = np.mean([np.mean([item < 0 for item in row[:10]]) for row in found.items.tolist()])
    assert number(done, "A-3", "invalid@10").value == pytest.approx(by_hand_invalid)
    assert number(done, "A-3", "repeated@10").value == 0  # an atomic code is one token
    assert not [r for r in evaluate(run, ["A-3"]).results if r.metric.startswith(("invalid", "repeated"))]


def test_codes_are_read_back_from_tokens(run):
    codes = run.codes
    assert [codes.spelled(row) for row in codes.targets()] == codes.words
    assert codes.spelled(np.array([5, 1])) == "?" and codes.spelled(np.array([1])) == ""


def test_several_lists_of_candidates_are_averaged(tiny_run):
    several = Run.load(tiny_run)
    data = several.dataset
    other = np.roll(data.candidates[0], 1, axis=0)
    targets = data.targets("test")
    free = ~(other == targets[:, None]).any(axis=1)
    data.__dict__["candidates"] = np.stack([data.candidates[0], np.where(free[:, None], other, data.candidates[0])])
    done = evaluate(several, ["B-5"])
    alone = [
        by_hand(choose(several, "B-5", np.arange(data.n_users), HeldOut.of(data, number=n).lists).items, targets, 10)[0]
        for n in (0, 1)
    ]
    assert number(done, "B-5", "HR@10").value == pytest.approx(np.mean(alone))
    assert done.ranked["B-5"][1].ranks.shape == (data.n_users, 2)


def test_groups_part_the_users(run, evaluation):
    groups = [r for r in evaluation.results if (r.prompt, r.metric) == ("A-3", "HR@10") and r.group != "all"]
    for family in ("history", "bought"):
        mine = [r for r in groups if r.group.startswith(family)]
        assert sum(r.n for r in mine) == run.dataset.n_users
        mean = sum(r.n * r.value for r in mine) / run.dataset.n_users
        assert mean == pytest.approx(number(evaluation, "A-3", "HR@10").value)


def test_shuffled_targets_are_at_chance(evaluation):
    for prompt in ("A-3", "B-5"):
        control = next(r for r in evaluation.results if (r.prompt, r.kind, r.metric) == (prompt, "control", "HR@10"))
        assert control.baseline == "chance" and control.low <= control.baseline_value <= control.high


def test_some_users_only(run):
    done = evaluate(run, ["A-3", "C-3"], Settings(users=7))
    assert number(done, "A-3", "HR@10").n == 7 and number(done, "C-3", "BLEU-4").n == 7
    assert len(done.ranked["A-3"][0]) == 7


def test_settings_that_cannot_be(run):
    for wrong, said in (
        ({"beams": 5}, "at least 10"),
        ({"cutoffs": ()}, "no cut-offs"),
        ({"cutoffs": (0,)}, "no cut-"),
    ):
        with pytest.raises(UserError, match=said):
            Settings(**wrong)
