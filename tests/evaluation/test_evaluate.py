"""A run against the held-out part, computed again in other ways."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer

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


def test_a_run_of_text_with_codes_by_number(tiny_data, tiny_settings, tmp_path):
    """Items of several tokens, no photos: everything holds as well."""
    settings = [*tiny_settings, "codes.scheme=sequential", "codes.users=text", "model.image_tokens=0", "optim.epochs=1"]
    train(Run.new(load_config("nano", None, settings), tiny_data), tmp_path / "run", quiet=True)
    run = Run.load(tmp_path / "run")
    assert run.features is None and run.codes.targets().shape[1] > 2
    test_own_history_never_comes_out_and_nothing_twice(run)
    assert {r.prompt for r in evaluate(run, ["A-9", "B-8", "C-12"]).results} == {"A-9", "B-8", "C-12"}
