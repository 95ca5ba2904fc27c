"""Corpus BLEU and ROUGE of generated sentences, in per cent, each with one reference.

BLEU is sacrebleu's (Post, WMT 2018), ROUGE the F1 of rouge-score without stemming, averaged over sentences. How they
cut sentences into words, `Tokens` chooses by the references' script; the choice goes with every number. Both compare
texts in NFKC: so the sentences of a tokenizer that knows no "…" stand beside those that were copied as they are.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import regex
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu.metrics.bleu import BLEU

from vip5.data.scripts import WORD, Scripts, normal
from vip5.evaluation.intervals import LEVEL, RESAMPLES, Difference, Estimate, difference_of, percentiles, resampled_sums

ORDER = 4  # the longest n-gram of BLEU
_ROUGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
_UNSPACED = 0.1  # share of the letters from which on BLEU counts letters, where a script has no spaces
_OTHER = (
    1e-3  # share of letters outside A to Z from which on ROUGE reads all letters; below are foreign words in English
)


def bleu_signature(tokens: str) -> str:
    """What sacrebleu says of a BLEU score over these tokens."""
    return f"nrefs:1|case:mixed|eff:no|tok:{tokens}|smooth:exp|version:{sacrebleu.__version__}"


BLEU_SIGNATURE = bleu_signature("13a")


class Tokens(NamedTuple):
    """How sentences are cut into words."""

    bleu: Literal["13a", "zh", "char"]  # by the tokenizer of sacrebleu that is so called
    rouge: Literal["a-z0-9", "Unicode"]  # runs of these letters and digits; the first is rouge-score's own

    @classmethod
    def of(cls, references: Sequence[str]) -> "Tokens":
        """Of Chinese "zh", of other scripts without spaces "char", else "13a"; "Unicode" for all but English.

        Sentences in ASCII have the same words by both tokenizers of ROUGE.
        """
        found = Scripts.of(references)
        unspaced = found.unspaced >= _UNSPACED
        return cls(
            "13a" if not unspaced else "zh" if found.chinese else "char",
            "Unicode" if found.other >= _OTHER else "a-z0-9",
        )

    def for_metric(self, metric: str) -> str:
        """The tokens of one of `TextScores.metrics`."""
        return self.bleu if metric.startswith("BLEU") else self.rouge


class HasTokens(Protocol):
    """A number that knows its metric and its tokens."""

    @property
    def metric(self) -> str: ...

    @property
    def tokens(self) -> str | None: ...


def tokens_of(numbers: Iterable[HasTokens]) -> dict[str, list[str]]:
    """What BLEU and ROUGE were counted over, as far as there are any and it is known."""
    found: dict[str, list[str]] = {}
    for number in numbers:
        if number.tokens is not None:
            used = found.setdefault(number.metric.partition("-")[0], [])
            used += [number.tokens] if number.tokens not in used else []
    return found


def cut_into(numbers: Iterable[HasTokens]) -> list[str]:
    """The same as one line for readers; none where there is nothing to say."""
    said = [f"{metric} over {' and '.join(used)} tokens" for metric, used in tokens_of(numbers).items()]
    return [f"{', '.join(said)}."] if said else []


class _UnicodeWords(Tokenizer):
    _word = regex.compile(WORD)

    def tokenize(self, text: str) -> list[str]:
        return self._word.findall(normal(text.casefold()))


class TextScores:
    """What n sentences contribute to each metric, so that any set of them can be scored without reading them again.

    `statistics` is float64 [n, 2 + 2 * ORDER + 3]: the hypothesis' and the reference's length in tokens, n-grams found
    and n-grams there for n of 1 to ORDER, then ROUGE-1, ROUGE-2 and ROUGE-L in per cent. All metrics are functions of
    the SUM of these rows.
    """

    metrics = ("BLEU-1", "BLEU-4", *_ROUGE)

    def __init__(self, hypotheses: Sequence[str], references: Sequence[str]):
        if len(hypotheses) != len(references) or len(references) == 0:
            raise ValueError(f"want as many sentences as references, and some: {len(hypotheses)}, {len(references)}")
        hypotheses, references = list(map(normal, hypotheses)), list(map(normal, references))
        self.tokens = Tokens.of(references)
        bleu = BLEU(tokenize=self.tokens.bleu, max_ngram_order=ORDER, effective_order=True)  # for its counts alone
        words = _UnicodeWords() if self.tokens.rouge == "Unicode" else None
        rouge = RougeScorer(list(_ROUGE.values()), tokenizer=words)
        self.statistics = np.empty((len(references), 2 + 2 * ORDER + len(_ROUGE)))
        for row, hypothesis, reference in zip(self.statistics, hypotheses, references, strict=True):
            found = bleu.sentence_score(hypothesis, [reference])
            scores = rouge.score(reference, hypothesis)
            row[:] = [found.sys_len, found.ref_len, *found.counts, *found.totals] + [
                100 * scores[name].fmeasure for name in _ROUGE.values()
            ]

    def __len__(self) -> int:
        return len(self.statistics)

    def values(self) -> dict[str, float]:
        """Each metric over the whole corpus, in per cent."""
        scores = _scores(self.statistics.sum(axis=0), len(self))
        return {name: float(value) for name, value in scores.items()}

    def estimates(self, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL) -> dict[str, Estimate]:
        """Each metric with its bootstrap interval over sentences."""
        samples = _scores(resampled_sums(self.statistics, resamples, seed), len(self))
        return {
            name: Estimate(value, *percentiles(samples[name], level), len(self))
            for name, value in self.values().items()
        }

    def differences(
        self, other: "TextScores", resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
    ) -> dict[str, Difference]:
        """Each metric minus that of another system's sentences for the same references in the same order."""
        if len(self) != len(other) or (self.statistics[:, 1] != other.statistics[:, 1]).any():
            raise ValueError("a paired difference needs the same references in the same order")
        width = self.statistics.shape[1]
        sums = resampled_sums(np.hstack([self.statistics, other.statistics]), resamples, seed)
        mine, theirs = _scores(sums[:, :width], len(self)), _scores(sums[:, width:], len(self))
        other_values = other.values()
        return {
            name: difference_of(value - other_values[name], mine[name] - theirs[name], level)
            for name, value in self.values().items()
        }


def _scores(sums: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """The metrics of corpora of n sentences from the sums [..., 2 + 2 * ORDER + 3] of their statistics."""
    rouge = sums[..., 2 + 2 * ORDER :] / n
    return {
        "BLEU-1": corpus_bleu(sums[..., : 2 + 2 * ORDER], 1),
        "BLEU-4": corpus_bleu(sums[..., : 2 + 2 * ORDER], 4),
        **{name: rouge[..., column] for column, name in enumerate(_ROUGE)},
    }


def corpus_bleu(sums: np.ndarray, order: int) -> np.ndarray:
    """BLEU in per cent from summed statistics [..., 2 + 2 * ORDER], up to n-grams of `order`.

    Papineni et al., ACL 2002, with the "exp" smoothing of mteval-v13a: the i-th order without a match counts 2^-i
    matches. 0 where nothing matches at all or no sentence has an n-gram of some order.
    """
    ours, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + order], sums[..., 2 + ORDER : 2 + ORDER + order]
    missed = matched == 0
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matched)
    log_precision = np.log(smoothed / np.maximum(total, 1)).mean(axis=-1)
    log_brevity = np.minimum(0.0, 1 - reference / np.maximum(ours, 1))
    defined = (matched > 0).any(axis=-1) & (total > 0).all(axis=-1)
    return np.where(defined, 100 * np.exp(log_precision + log_brevity), 0.0)
