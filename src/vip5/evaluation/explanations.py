"""Explanations of a system for held-out reviews: what is asked, what is written, and the numbers of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from vip5.baselines.copied import most_frequent_sentence
from vip5.data import Dataset
from vip5.evaluation import sentences as of_sentences
from vip5.evaluation.intervals import Estimate, estimate
from vip5.evaluation.results import Result
from vip5.evaluation.text import TextScores
from vip5.predict.system import Decoding, System
from vip5.prompts import Prompt
from vip5.prompts.reviews import explainable, fillable

FREQUENT = "most frequent sentence"


@dataclass(frozen=True)
class Told:
    """n sentences that a system wrote for held-out reviews."""

    reviews: pl.DataFrame  # user and item (rows of the data set), rating, headline, feature, explanation
    written: list[str]

    @property
    def truth(self) -> list[str]:
        """The true sentences."""
        return self.reviews["explanation"].to_list()


def held_out_explanations(dataset: Dataset, prompt: Prompt, most: int | None = None) -> pl.DataFrame:
    """The test reviews that can fill an explanation prompt; with `most`, no more, spread evenly."""
    reviews = dataset.reviews
    rows = explainable(dataset, "test")["row"].to_numpy()
    rows = rows[fillable(reviews, prompt)[rows]]
    if most is not None and most < len(rows):
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    return reviews[rows].select("user", "item", "rating", "headline", "feature", "explanation")


def why_unanswered(dataset: Dataset) -> str:
    """Why `held_out_explanations` finds none."""
    if not (dataset.reviews["split"] == "test").any():
        return "the test part has no reviews"
    if not len(explainable(dataset, "test")):
        return "no review of the test part gives an explanation: none has a text of three words or more"
    return "its fields are missing"


def tell(system: System, prompt: Prompt, reviews: pl.DataFrame, how: Decoding) -> Told:
    """Let a system explain some of `held_out_explanations`, whose true sentences it does not see."""
    return Told(reviews, system.explain(prompt, reviews.drop("explanation"), how))


def explanation_results(told: Told, reviews: pl.DataFrame, about: dict[str, Any], seed: int) -> list[Result]:
    """BLEU and ROUGE beside the most frequent sentence's; and how distinct, apt and original the sentences are.

    The latter stand beside those of the true sentences: what a writer reaches who is right.
    """
    frequent = [most_frequent_sentence(reviews) or ""] * len(told.truth)
    scores, other = TextScores(told.written, told.truth), TextScores(frequent, told.truth)
    own, others, differences = (
        scores.estimates(seed=seed),
        other.estimates(seed=seed),
        scores.differences(other, seed=seed),
    )
    results = [
        Result.of(
            own[m],
            others[m],
            differences[m],
            **about,
            metric=m,
            baseline=FREQUENT,
            tokens=scores.tokens.for_metric(m),
        )
        for m in scores.metrics
    ]
    trained = reviews.filter((pl.col("split") == "train") & pl.col("explanation").is_not_null())
    features = told.reviews["feature"]
    written, true = (_beyond(said, features, trained, seed) for said in (told.written, told.truth))
    results += [Result.of(written[m], true[m], **about, metric=m, baseline="the true sentences") for m in written]
    return results


def _beyond(said: list[str], features: pl.Series, trained: pl.DataFrame, seed: int) -> dict[str, Estimate]:
    """USR, FMR, FCR, DIV and the share copied from training; per cent, but for DIV. FMR of cases with a feature."""
    nan, n = float("nan"), len(said)
    found = {"USR": Estimate(100 * of_sentences.unique_sentence_ratio(said), nan, nan, n)}
    known = features.is_not_null().to_numpy()
    named = trained["feature"].drop_nulls().to_list() + features.drop_nulls().to_list()
    if known.any():
        matched = of_sentences.feature_matching(
            [sentence for sentence, there in zip(said, known, strict=True) if there], features.drop_nulls().to_list()
        )
        catalogue = of_sentences.FeatureCatalogue(named)
        inside = catalogue.find(said)
        found["FMR"] = estimate(100 * matched, seed=seed)
        found["FCR"] = Estimate(100 * of_sentences.feature_coverage(inside, len(catalogue)), nan, nan, n)
        found["DIV"] = Estimate(of_sentences.feature_diversity(inside), nan, nan, n)
    found["copied"] = estimate(100 * of_sentences.copied(said, trained["explanation"].to_list()), seed=seed)
    return found
