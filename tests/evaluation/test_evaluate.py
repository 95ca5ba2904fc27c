"""A run against the held-out part, computed again in other ways."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer

from vip5.data import Dataset, Ragged, prepare
from vip5.data.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation import evaluate as module
from vip5.evaluation.evaluate import (
    PROMPTS,
    Evaluation,
    evaluate,
    held_out_explanations,
    shown_candidates,
    validation_score,
)
from vip5.evaluation.predict import Ranking, choose, next_items
from vip5.training import Run, load_config, train


@pytest.fixture(scope="module")
def run(tiny_run) -> Run:
    return Run.load(tiny_run)


@pytest.fixture(scope="module")
def evaluation(run) -> Evaluation:
    return evaluate(run, beams=10)


def number(evaluation: Evaluation, prompt: str, metric: str):
    return next(r for r in evaluation.results if (r.prompt, r.metric) == (prompt, metric))


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
    for r in evaluation.results:
        assert r.low <= r.value <= r.high and r.n > 0 and r.protocol == "clean" and r.split == "test"
        assert r.data_hash == run.dataset.hash and r.baseline_value is not None
        assert r.difference == pytest.approx(r.value - r.baseline_value, abs=1e-9)


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
    lists = shown_candidates(data)
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
    first, second = shown_candidates(data), shown_candidates(data, 1)
    assert (first == shown_candidates(run.dataset)).all() and (np.sort(first) == np.sort(second)).all()
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
    done = evaluate(some, ["A-3", "B-5"], beams=10)
    histories = Ragged.from_lists([data.history("test")[user] for user in users])
    assert all(len(h) + 1 + user % 3 == len(data.sequences[user]) for user, h in zip(users, histories, strict=True))
    targets = np.array([data.sequences[user][len(history)] for user, history in zip(users, histories, strict=True)])
    lists = shown_candidates(data)
    assert [target in shown for target, shown in zip(targets, lists.tolist(), strict=True)] == [True] * len(users)
    for prompt, found in (
        ("A-3", next_items(some, "A-3", users, histories, 10)),
        ("B-5", choose(some, "B-5", users, lists, 10)),
    ):
        hit, gain = by_hand(found.items, targets, 10)
        assert number(done, prompt, "HR@10").value == pytest.approx(hit)
        assert number(done, prompt, "NDCG@10").value == pytest.approx(gain)
        assert number(done, prompt, "HR@10").n == len(users) == len(done.ranks[prompt])
    done.save_ranks(tmp_path / "ranks.parquet", data)
    table = pl.read_parquet(tmp_path / "ranks.parquet")
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
        written, truth = evaluation.sentences[prompt]
        rows = held_out_explanations(run, run.prompts[prompt]).review
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
            assert (r.value, r.low, r.high) == (value, value, value)
    said = run.dataset.reviews["explanation"]
    monkeypatch.setattr(module, "explain", lambda run, prompt, samples, **_: said.gather(samples.review).to_list())
    assert all(r.value == pytest.approx(100) for r in evaluate(run, ["C-3"]).results)


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
    evaluation.save_ranks(tmp_path / "ranks.parquet", run.dataset)
    table = pl.read_parquet(tmp_path / "ranks.parquet")
    assert set(table["prompt"]) == {"A-3", "A-9", "B-5", "B-8"}
    for prompt in ("A-3", "B-5"):
        ranks = table.filter(pl.col("prompt") == prompt)
        assert ranks["user"].to_list() == run.dataset.users["user"].to_list()
        assert (ranks["rank"].fill_null(99) < 10).mean() == pytest.approx(number(evaluation, prompt, "HR@10").value)
        assert ranks["rank"].drop_nulls().max() < 100


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
    assert {r.n for r in done.results} == {len(tested)} and number(done, "B-5", "HR@1").task == "one of 10"


def test_a_run_of_text_with_codes_by_number(tiny_data, tiny_settings, tmp_path):
    """Items of several tokens, no photos: everything holds as well."""
    settings = [*tiny_settings, "codes.scheme=sequential", "codes.users=text", "model.image_tokens=0", "optim.epochs=1"]
    train(Run.new(load_config("nano", None, settings), tiny_data), tmp_path / "run", quiet=True)
    run = Run.load(tmp_path / "run")
    assert run.features is None and run.codes.targets().shape[1] > 2
    test_own_history_never_comes_out_and_nothing_twice(run)
    assert {r.prompt for r in evaluate(run, ["A-9", "B-8", "C-12"]).results} == {"A-9", "B-8", "C-12"}
