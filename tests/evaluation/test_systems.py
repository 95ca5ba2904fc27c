"""One evaluation for all: a model and a baseline are asked about the same people, and leave the same files."""

import shutil

import polars as pl
import pytest

from vip5.baselines.copied import FrequentSentence
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.popularity import Popularity
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError
from vip5.evaluation.card import card
from vip5.evaluation.compare import compare
from vip5.evaluation.evaluate import Evaluation, evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.opened import open_on_dataset
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import Results
from vip5.evaluation.stored import load_ranks, load_sentences
from vip5.predict.baseline import FittedBaseline, fit_run

from .conftest import number

PROMPTS = ("A-3", "B-5", "C-3")


@pytest.fixture(scope="module")
def runs(tiny_data, tiny_run, tmp_path_factory):
    """A model's run, and those of a baseline that ranks and one that writes."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(tiny_run, folder / "model")
    for name in ("item-knn", "frequent-sentence"):
        fit_run(name, tiny_data, folder / name, {"seed": 3}, "typed")
    return folder


@pytest.fixture(scope="module")
def done(runs) -> dict[str, Evaluation]:
    found = {}
    for name in ("model", "item-knn", "frequent-sentence"):
        system, data = open_on_dataset(runs / name)
        found[name] = evaluate(system, data, PROMPTS, EvaluateOptions(beams=10))
        found[name].save(runs / name)
    return found


def test_all_are_asked_about_the_same(runs, done):
    model, knn, writer = done.values()
    for prompt in ("A-3", "B-5"):
        (own, _), (other, _) = model.ranked[prompt], knn.ranked[prompt]
        assert (own.users == other.users).all() and (own.targets == other.targets).all()
        assert (own.lists == other.lists).all() and own.histories.values.tolist() == other.histories.values.tolist()
    cases = [load_ranks(runs / name).drop("rank", "depth") for name in ("model", "item-knn")]
    assert cases[0].equals(cases[1]) and set(cases[0]["prompt"]) == {"A-3", "A-3 of 25", "B-5"}
    asked = [load_sentences(runs / name).drop("written") for name in ("model", "frequent-sentence")]
    assert asked[0].equals(asked[1]) and set(asked[0]["prompt"]) == {"C-3"} and len(asked[0])
    assert load_sentences(runs / "item-knn").is_empty() and load_ranks(runs / "frequent-sentence").is_empty()
    assert writer.told["C-3"].reviews.equals(model.told["C-3"].reviews)


def test_both_have_the_same_numbers_beside_the_same_baseline(done):
    def measured(name: str, prompt: str) -> dict:
        return {(r.metric, r.group, r.kind): r for r in done[name].results if r.prompt == prompt}

    for prompt in ("A-3", "B-5"):
        own, other = measured("model", prompt), measured("item-knn", prompt)
        assert own.keys() == other.keys()
        assert all(own[key].baseline_value == other[key].baseline_value for key in own if key[2] != "control")
    texts = [measured(name, "C-3") for name in ("model", "frequent-sentence")]
    assert texts[0].keys() == texts[1].keys()
    assert {(r.model, r.seed) for r in done["item-knn"].results if r.kind == "model"} == {("item-knn", 3)}


def test_what_a_baseline_has_no_answer_to_is_said(done):
    assert done["model"].left_out == []
    assert done["item-knn"].left_out == ["C-3: item-knn ranks items and writes no sentences"]
    why = "frequent-sentence writes sentences and ranks no items"
    assert done["frequent-sentence"].left_out == [f"A-3: {why}", f"B-5: {why}"]


def test_a_baselines_numbers_are_those_of_its_lists(tiny_data, done):
    held = HeldOut.of(tiny_data)
    knn = ItemKNN.fit(tiny_data, seed=3)
    listed = {"A-3": knn.rank(held.histories, 10, held.users, exclude=held.histories)}
    listed["B-5"] = knn.rank_candidates(held.lists, held.histories, held.users)
    for prompt, ranked in listed.items():
        expected = ranking_metrics(ranks_in_list(ranked, held.targets), (5, 10))
        for metric in ("HR@5", "NDCG@5", "HR@10", "NDCG@10", "MRR@10"):
            assert number(done["item-knn"], prompt, metric).value == pytest.approx(expected[metric].mean())


def test_popularity_beside_itself_is_no_different(tiny_data):
    run = FittedBaseline(Popularity.fit(tiny_data), Catalogue.of(tiny_data))
    for r in evaluate(run, tiny_data, ["A-3", "A-9", "B-5"], EvaluateOptions(beams=10)).results:
        if r.difference is not None and r.baseline == Popularity.name:
            assert r.difference == 0 and r.value == r.baseline_value


def test_a_model_and_a_baseline_are_compared(runs, done):
    found = compare([runs / "model", runs / "item-knn"], metrics=["HR@5"])
    assert [(row.prompt, row.system, row.reference) for row in found.rows] == [
        ("A-3", "item-knn", "model"), ("A-3 of 25", "item-knn", "model"), ("B-5", "item-knn", "model"),
    ]  # fmt: skip
    for row in found.rows:
        assert row.value.value == pytest.approx(number(done["item-knn"], row.prompt, "HR@5").value)
        assert row.reference_value.value == pytest.approx(number(done["model"], row.prompt, "HR@5").value)
    assert found.left_out == ("C-3",) and [s.seeds for s in found.systems] == [(0,), (3,)]
    told = compare([runs / "model", runs / "frequent-sentence"])
    assert {(row.prompt, row.metric) for row in told.rows} == {("C-3", "BLEU-4"), ("C-3", "ROUGE-L")}


def test_a_writer_reads_of_a_review_what_the_prompt_tells(tiny_data, monkeypatch):
    run = FittedBaseline(FrequentSentence.fit(tiny_data), Catalogue.of(tiny_data))
    seen: list[pl.DataFrame] = []
    monkeypatch.setattr(FrequentSentence, "write", lambda self, told: seen.append(told) or ["so it is"] * len(told))
    prompts = {"C-1": set(), "C-2": {"headline"}, "C-3": {"rating"}, "C-9": {"feature"}, "C-12": {"rating", "feature"}}
    done = evaluate(run, tiny_data, list(prompts))
    for shown, (name, told) in zip(seen, prompts.items(), strict=True):
        assert {field for field in ("rating", "feature", "headline") if shown[field].count()} == told
        assert "explanation" not in shown.columns
        assert shown.select("user", "item").equals(done.told[name].reviews.select("user", "item"))


def test_the_card_says_which_system_it_is(tiny_data, done):
    for name, words in (("model", "| item codes | atomic: "), ("item-knn", "| system | item-knn: Sarwar")):
        page = card(done[name].system, tiny_data, Results.record(done[name].results, "vip5 evaluate"))
        assert (
            page.startswith(f"# A run of {done[name].system.name}\n") and words in page and tiny_data.hash[:12] in page
        )


def test_decoding_is_a_matter_of_models(tiny_data, done):
    for decode in ("exact", "free"):
        with pytest.raises(UserError, match=r"item-knn is a baseline.*leave out --decode"):
            evaluate(done["item-knn"].system, tiny_data, ["A-3"], EvaluateOptions(decode=decode))


def test_the_data_set_must_be_that_of_the_run(runs, tiny_data, random_shop, tmp_path):
    with pytest.raises(UserError, match="is not the data set of this run"):
        open_on_dataset(runs / "item-knn", random_shop.path)
    moved = shutil.copytree(tiny_data.path, tmp_path / "moved")
    system, data = open_on_dataset(runs / "item-knn", moved)
    assert data.path == moved and system.name == "item-knn"
