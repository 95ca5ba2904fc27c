"""Text metrics equal sacrebleu's and rouge-score's own corpus numbers, and their bootstrap equals scoring resamples."""

import time

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu.metrics.bleu import BLEU

from vip5.evaluation import text
from vip5.evaluation.intervals import Estimate
from vip5.evaluation.results import Result, Results
from vip5.evaluation.tables import caption
from vip5.evaluation.text import BLEU_SIGNATURE, TextScores, Tokens, bleu_signature, cut_into
from vip5.items import Vocabulary

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


SAID = {
    "English": (["It fits great, and it’s “nice”.", "I like the colour of it."], Tokens("13a", "a-z0-9")),
    "Russian": (["Очень удобная обувь для прогулок.", "Цвет красивый и яркий."], Tokens("13a", "Unicode")),
    "German": (["Sehr schöne, größere Schuhe.", "Für mich nicht zu weit."], Tokens("13a", "Unicode")),
    "Arabic": (["الحذاء مريح جدا للمشي", "اللون جميل ومناسب"], Tokens("13a", "Unicode")),
    "Hindi": (["जूते बहुत आरामदायक हैं।", "रंग बहुत अच्छा है।"], Tokens("13a", "Unicode")),
    "Korean": (["신발이 정말 편하고 좋아요.", "색이 예쁘고 마음에 들어요."], Tokens("13a", "Unicode")),
    "Chinese": (["这双鞋很舒服。", "颜色很漂亮，我很喜欢。"], Tokens("zh", "Unicode")),
    "Japanese": (["とても軽くて歩きやすい靴です。", "色がきれい。"], Tokens("char", "Unicode")),
    "Thai": (["รองเท้าใส่สบายมาก", "สีสวยมากค่ะ"], Tokens("char", "Unicode")),
}


@pytest.mark.parametrize("language", SAID)
def test_identical_sentences_are_100_in_any_language_and_others_are_not(language):
    references, tokens = SAID[language]
    same, other = TextScores(references, references), TextScores(references[::-1], references)
    assert same.tokens == tokens
    assert same.values() == pytest.approx(dict.fromkeys(TextScores.metrics, 100.0))
    assert max(other.values().values()) < 60
    bleu = BLEU(tokenize=tokens.bleu)
    bleu.corpus_score(references, [references])
    assert str(bleu.get_signature()) == bleu_signature(tokens.bleu)
    assert other.values()["BLEU-4"] == pytest.approx(bleu.corpus_score(references[::-1], [references]).score)


def test_other_letters_are_other_words():
    assert TextScores(["schüne grüßere"], ["schöne größere"]).values()["ROUGE-1"] == 0
    assert TextScores(["बहुत अच्छा"], ["बहुत अच्छी"]).values()["ROUGE-1"] == pytest.approx(50)
    assert TextScores(["ЦВЕТ cafe\u0301"], ["цвет café"]).values()["ROUGE-1"] == pytest.approx(100)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_on_ascii_both_tokenizers_of_rouge_are_one(written):
    """So that a foreign word in English changes the score of its own sentence alone."""
    assert text._UnicodeWords().tokenize(written) == DefaultTokenizer().tokenize(written)


def test_both_sides_are_normalised_alike():
    """A tokenizer in NFKC writes no "…", "½", "™" or "ﬁ"; what it knows by heart is right all the same."""
    truth = ["Well… it fits great, ½ price™ and “nice”.", "It’s OK… I like the ﬁt."]
    vocabulary = Vocabulary.train(truth * 100, 500)
    back = [vocabulary.decode(vocabulary.encode([vocabulary.plain(said)]).tokens[0]) for said in truth]
    assert back != truth
    for said in (back, truth):
        assert TextScores(said, truth).values() == pytest.approx(dict.fromkeys(TextScores.metrics, 100.0))


def test_what_the_numbers_are_over_is_said_once():
    about = {"task": "explanation", "dataset": "d", "data_hash": "h", "protocol": "clean", "split": "test"}
    about |= {"prompt": "C-3", "model": "m", "seed": 0}
    one = Estimate(10.0, 9.0, 11.0, 5)
    results = [
        Result.of(one, **about, metric=metric, tokens=Tokens("zh", "Unicode").for_metric(metric))
        for metric in TextScores.metrics
    ]
    assert cut_into(results) == ["BLEU over zh tokens, ROUGE over Unicode tokens."]
    assert "tok:zh" in Results.record(results, "vip5 evaluate x").metrics["BLEU"]
    assert cut_into([*results, Result.of(one, **about, metric="USR")]) == cut_into(results) and cut_into([]) == []
    assert cut_into(results)[0] in caption(results)
