"""Text metrics equal sacrebleu's and rouge-score's own corpus numbers, and their bootstrap equals scoring resamples."""

import time

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from vip5.evaluation import text
from vip5.evaluation.text import BLEU_SIGNATURE, TextScores

WORDS = np.array(
    ["the", "cotton", "is", "soft,", "and", "I", "love", "blue", "stripes.", "it's", "don't", "-", "!", "10%"]
)
RNG = np.random.default_rng(0)


def sentences(n: int, longest: int = 18) -> list[str]:
    return [" ".join(RNG.choice(WORDS, RNG.integers(1, longest))) for _ in range(n)]


def pairs(n: int) -> tuple[list[str], list[str]]:
    """Hypotheses that share beginnings with their references, so that 4-grams match."""
    references = sentences(n)
    return [f"{r[: len(r) // 2]} {s}".strip() for r, s in zip(references, sentences(n, 6), strict=True)], references


def theirs(hypotheses: list[str], references: list[str]) -> dict[str, float]:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    rouge = [scorer.score(r, h) for h, r in zip(hypotheses, references, strict=True)]
    return {
        "BLEU-1": BLEU(tokenize="13a", max_ngram_order=1).corpus_score(hypotheses, [references]).score,
        "BLEU-4": sacrebleu.corpus_bleu(hypotheses, [references], tokenize="13a").score,
        "ROUGE-1": 100 * np.mean([s["rouge1"].fmeasure for s in rouge]),
        "ROUGE-2": 100 * np.mean([s["rouge2"].fmeasure for s in rouge]),
        "ROUGE-L": 100 * np.mean([s["rougeL"].fmeasure for s in rouge]),
    }


def test_equals_the_libraries():
    hypotheses, references = pairs(300)
    ours = TextScores(hypotheses, references).values()
    assert tuple(ours) == TextScores.metrics
    assert ours == pytest.approx(theirs(hypotheses, references), abs=1e-9)
    assert ours["BLEU-4"] > 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from("abcde"), max_size=7).map(" ".join)] * 2), min_size=1))
def test_equals_the_libraries_on_short_and_empty_sentences(corpus):
    hypotheses, references = [h for h, _ in corpus], [r for _, r in corpus]
    assert TextScores(hypotheses, references).values() == pytest.approx(theirs(hypotheses, references), abs=1e-9)


def test_written_out_case():
    values = TextScores(["the cat sat on the mat"], ["the cat is on the mat"]).values()
    assert values["BLEU-1"] == pytest.approx(100 * 5 / 6)
    assert values["ROUGE-1"] == pytest.approx(100 * 5 / 6)
    assert values["ROUGE-2"] == pytest.approx(100 * 3 / 5)
    assert values["ROUGE-L"] == pytest.approx(100 * 5 / 6)


def test_perfect_and_empty_sentences():
    references = ["I love the blue stripes of it", "soft and warm in the winter"]
    assert TextScores(references, references).values() == pytest.approx(dict.fromkeys(TextScores.metrics, 100.0))
    assert TextScores(["", ""], references).values() == dict.fromkeys(TextScores.metrics, 0.0)


def test_signature_is_sacrebleus():
    bleu = BLEU(tokenize="13a")
    bleu.corpus_score(["a"], [["a"]])
    assert str(bleu.get_signature()) == BLEU_SIGNATURE


def test_bootstrap_scores_resampled_corpora():
    """The vectorised bootstrap gives, for one and the same draw of sentences, the score of that corpus."""
    hypotheses, references = pairs(40)
    scores = TextScores(hypotheses, references)
    drawn = [RNG.integers(0, 40, 40) for _ in range(20)]
    sums = np.array([scores.statistics[rows].sum(axis=0) for rows in drawn])
    ours = text._scores(sums, 40)
    for number, rows in enumerate(drawn):
        expected = theirs([hypotheses[i] for i in rows], [references[i] for i in rows])
        assert {name: ours[name][number] for name in ours} == pytest.approx(expected, abs=1e-9)


def test_interval_and_difference():
    hypotheses, references = pairs(300)
    good, bad = TextScores(hypotheses, references), TextScores(sentences(300), references)
    for found in good.estimates(resamples=2000).values():
        assert found.low < found.value < found.high and found.n == 300
    for name, found in good.differences(bad, resamples=2000).items():
        assert found.value == pytest.approx(good.values()[name] - bad.values()[name])
        assert found.low < found.value < found.high and found.p < 0.01
    assert all(d.p == 1 for d in good.differences(good, resamples=200).values())


def test_a_difference_needs_the_same_references():
    with pytest.raises(ValueError, match="same references"):
        TextScores(["a"], ["a b"]).differences(TextScores(["a"], ["a b c"]))


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="as many sentences"):
        TextScores(["a"], [])
    with pytest.raises(ValueError, match="and some"):
        TextScores([], [])


def test_five_thousand_pairs_take_seconds():
    hypotheses, references = pairs(5000)
    start = time.perf_counter()
    TextScores(hypotheses, references).estimates()
    assert time.perf_counter() - start < 30  # a few seconds on an idle core
