"""USR, FMR, FCR, DIV and copies: cases worked out by hand, and slow loops that say the same."""

import itertools
import re
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.evaluation.sentences import (
    FeatureCatalogue,
    copied,
    feature_coverage,
    feature_diversity,
    feature_matching,
    plain,
    unique_sentence_ratio,
)

SENTENCES = ["The strap is long.", "The pick guard is nice, and so is the strap!", "the strap is LONG", "I'd buy it"]
TEXTS = st.lists(st.sampled_from(["a", "b", "c", "B", "a,", "c's", "!", "d"]), max_size=8).map(" ".join)


def test_words():
    assert plain("  The Strap's LONG -- 10% longer, don’t worry. ") == "the strap 's long 10 longer don 't worry"
    assert plain("'quoted' T-shirt") == "quoted t shirt"
    assert plain("STRASSE") == plain("Straße")
    assert plain("!?") == ""


def test_words_of_any_script():
    assert plain("这双鞋很舒服。") == "这 双 鞋 很 舒 服"
    assert plain("ใส่สบาย") == "ใ ส่ ส บ า ย"
    assert plain("बहुत अच्छा है।") == "बहुत अच्छा है"
    assert plain("Очень УДОБНО!") == "очень удобно"
    assert plain("cafe\u0301 ﬁt…") == plain("CAFÉ fit...") == "café fit"
    assert plain("snake_case don´t") == "snake_case don t"


def test_metrics_of_any_script():
    told = ["这双鞋很舒服。", "颜色很漂亮，我很喜欢。", "这双鞋很舒服"]
    assert feature_matching(told, ["舒服", "颜色", "颜色"]).tolist() == [1, 1, 0]
    assert unique_sentence_ratio(told) == 2 / 3
    assert copied(told, ["这双鞋很舒服！"]).tolist() == [1, 0, 1]
    catalogue = FeatureCatalogue(["舒服", "颜色"])
    assert [row.tolist() for row in catalogue.find(told)] == [[0], [1], [0]]
    assert feature_matching(["Цвет красивый", "สีสวยมากค่ะ", "रंग बहुत अच्छा"], ["цвет", "สวย", "अच्छी"]).tolist() == [
        1,
        1,
        0,
    ]


def test_unique_sentences_by_hand():
    assert unique_sentence_ratio(SENTENCES) == 3 / 4  # the first and the third have the same words
    assert unique_sentence_ratio(["Good."] * 5) == 1 / 5


def test_feature_matching_by_hand():
    features = ["strap", "pick guard", "straps", "d"]
    assert feature_matching(SENTENCES, features).tolist() == [1, 1, 0, 0]
    assert feature_matching(["nice guard, pick it", "T-Shirt"], ["pick guard", "t shirt"]).tolist() == [0, 1]
    assert feature_matching(["", "!"], ["strap", "?"]).tolist() == [0, 0]


def test_catalogue_by_hand():
    catalogue = FeatureCatalogue(["strap", "Strap", "pick", "pick guard", "amp", "long neck", "!"])
    assert catalogue.names == ["amp", "long neck", "pick", "pick guard", "strap"] and len(catalogue) == 5
    found = catalogue.find([*SENTENCES, "strap, strap: a long", ""])
    assert [row.tolist() for row in found] == [[4], [2, 3, 4], [4], [], [4], []]
    assert feature_coverage(found, len(catalogue)) == 3 / 5
    assert feature_diversity(found) == pytest.approx(
        (4 * 3 / 2) / (6 * 5 / 2)
    )  # only "strap" is shared, by 6 of 15 pairs


def test_diversity_by_hand():
    catalogue = FeatureCatalogue(["a", "b"])
    assert feature_diversity(catalogue.find(["a b", "b a"])) == 2
    assert feature_diversity(catalogue.find(["a", "b", "a"])) == pytest.approx(1 / 3)
    assert feature_diversity(catalogue.find(["a"])) == feature_diversity(catalogue.find(["x", "y"])) == 0


def test_copies_by_hand():
    training = ["the strap is long", "I like it"]
    assert copied(SENTENCES, training).tolist() == [1, 0, 1, 0]
    assert copied(SENTENCES, []).tolist() == [0, 0, 0, 0]
    assert copied(["", "I like it a lot"], training).tolist() == [0, 0]


def test_what_cannot_be_scored():
    for metric in (unique_sentence_ratio, lambda none: feature_matching(none, []), lambda none: copied(none, ["a"])):
        with pytest.raises(ValueError, match="no sentences"):
            metric([])
    with pytest.raises(ValueError, match="shorter"):
        feature_matching(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        FeatureCatalogue(["", "!"])


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, max_size=4))
def test_equals_slow_loops(sentences, features, training):
    """Every feature is sought in every sentence by a pattern, and every pair of sentences is compared."""

    def inside(feature: str, sentence: str) -> bool:
        return feature != "" and re.search(rf"(?<!\S){re.escape(feature)}(?!\S)", plain(sentence)) is not None

    names = {plain(feature) for feature in features} - {""}
    cases = [features[i % len(features)] for i in range(len(sentences))]
    assert feature_matching(sentences, cases).tolist() == [
        inside(plain(feature), sentence) for sentence, feature in zip(sentences, cases, strict=True)
    ]
    assert copied(sentences, training).tolist() == [plain(s) in [plain(t) for t in training] for s in sentences]
    distinct: list[str] = []
    for sentence in map(plain, sentences):
        if sentence not in distinct:
            distinct.append(sentence)
    assert unique_sentence_ratio(sentences) == len(distinct) / len(sentences)
    if not names:
        return
    catalogue = FeatureCatalogue(features)
    found = catalogue.find(sentences)
    sets = [{name for name in names if inside(name, sentence)} for sentence in sentences]
    assert [[catalogue.names[number] for number in row] for row in found] == [sorted(names) for names in sets]
    assert feature_coverage(found, len(catalogue)) == len(set().union(*sets)) / len(names)
    pairs = [len(a & b) for a, b in itertools.combinations(sets, 2)]
    assert feature_diversity(found) == pytest.approx(np.mean(pairs) if pairs else 0)


def test_features_of_real_explanations_stand_in_them(shared):
    """The features of the data set were drawn from its sentences; nearly all stand there as whole words."""
    table = pl.read_parquet(shared / "data/amazon2014/musical_instruments/explanations.parquet")
    sentences, features = table["explanation"].to_list(), table["feature"].to_list()
    matching = feature_matching(sentences, features)
    assert matching.mean() > 0.7
    catalogue = FeatureCatalogue(features)
    found = catalogue.find(sentences)
    number = {name: i for i, name in enumerate(catalogue.names)}
    own = [number[plain(feature)] in row for feature, row in zip(features, found, strict=True)]
    assert own == matching.tolist()
    assert copied(sentences, sentences).all()


def test_forty_thousand_sentences_and_five_thousand_features_take_seconds():
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{i}" for i in range(8000)])
    sentences = [" ".join(row) for row in vocabulary[rng.integers(0, 8000, (40_000, 15))]]
    features = [" ".join(vocabulary[rng.integers(0, 8000, rng.integers(1, 4))]) for _ in range(5000)]
    start = time.perf_counter()
    found = FeatureCatalogue(features).find(sentences)
    feature_coverage(found, 5000), feature_diversity(found)
    assert time.perf_counter() - start < 15  # about a second on an idle core
