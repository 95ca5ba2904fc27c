"""What papers on explanations report beside BLEU and ROUGE: USR, FMR, FCR and DIV, and how much is copied.

Definitions of L. Li, Zhang and Chen, Generate Neural Template Explanations for Recommendation (NETE), CIKM 2020.
All are shares from 0 to 1, but DIV, which is a number of features. USR, FCR and DIV depend on how many sentences there
are: compare them on the same cases only.

Text is compared by its words (`plain`) in any script: in NFKC, case folded, without punctuation, not stemmed. So the
feature "strap" is in "The Strap's long", and "strap" is not in "straps" or "strapless". In scripts that put no spaces
between words, each letter is one.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import regex

from vip5.data import Ragged
from vip5.data.scripts import UNSPACED, UNSPACED_WORD, normal

_RUN = rf"(?:(?![{UNSPACED}])[\p{{L}}\p{{N}}\p{{M}}_])+"
# A run of letters and digits; or what stands behind an apostrophe within a word, with it: "I'd" has no word "d".
_WORD = regex.compile(rf"{UNSPACED_WORD}|(?!\p{{M}}){_RUN}|(?<=\w)'{_RUN}")


def plain(text: str) -> str:
    """The words of a text with one space between them."""
    return " ".join(_WORD.findall(normal(normal(text).casefold().replace("’", "'"))))


def unique_sentence_ratio(sentences: Sequence[str]) -> float:
    """USR: distinct sentences / sentences."""
    _some(sentences)
    return len({plain(sentence) for sentence in sentences}) / len(sentences)


def feature_matching(sentences: Sequence[str], features: Sequence[str]) -> np.ndarray:
    """FMR of each sentence, float [n]: 1 where it contains the feature of its case, word after word, else 0.

    The mean is the feature matching ratio. Cases that have no feature are to be left out before; a feature without any
    word is in no sentence.
    """
    _some(sentences)
    pairs = ((plain(sentence), plain(feature)) for sentence, feature in zip(sentences, features, strict=True))
    found = (feature != "" and f" {feature} " in f" {sentence} " for sentence, feature in pairs)
    return np.fromiter(found, np.float64, len(sentences))


class FeatureCatalogue:
    """All distinct features of a data set, numbered, to be found in sentences.

    Features with the same words are one; those without any word are left out. ValueError where none is left.
    """

    def __init__(self, features: Iterable[str]):
        self.names = sorted({plain(feature) for feature in features} - {""})
        if not self.names:
            raise ValueError("a catalogue of features needs at least one that has a word")
        self._number = {name: number for number, name in enumerate(self.names)}
        self._lengths: dict[str, set[int]] = {}  # first word → the numbers of words of the features that begin with it
        for name in self.names:
            words = name.split()
            self._lengths.setdefault(words[0], set()).add(len(words))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, sentences: Sequence[str]) -> Ragged:
        """int32 numbers of the features in each sentence, each once, ascending.

        A look-up for each word and each length of the features that begin with it, however many features there are.
        """
        flat: list[int] = []
        lengths = np.zeros(len(sentences), dtype=np.int64)
        for row, sentence in enumerate(sentences):
            words = plain(sentence).split()
            spans = (" ".join(words[at : at + n]) for at, word in enumerate(words) for n in self._lengths.get(word, ()))
            found = sorted({self._number[span] for span in spans if span in self._number})
            flat += found
            lengths[row] = len(found)
        return Ragged.from_lengths(np.array(flat, dtype=np.int32), lengths)


def feature_coverage(found: Ragged, n_features: int) -> float:
    """FCR: distinct features in any sentence / features of the catalogue; `found` as `FeatureCatalogue.find` has it."""
    return len(np.unique(found.values)) / n_features


def feature_diversity(found: Ragged) -> float:
    """DIV: how many features two sentences share, in the mean over all pairs; LOWER is more diverse.

    A feature that c of the n sentences contain is shared by c (c - 1) / 2 pairs, so no pair has to be looked at. 0 for
    a single sentence.
    """
    n = len(found)
    counts = np.bincount(found.values).astype(np.float64)
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else 0.0


def copied(sentences: Sequence[str], training: Iterable[str]) -> np.ndarray:
    """Where a sentence stands in training word for word: float [n] of 1 and 0; the mean is the share that is copied."""
    _some(sentences)
    known = {plain(sentence) for sentence in training}
    return np.fromiter((plain(sentence) in known for sentence in sentences), np.float64, len(sentences))


def _some(sentences: Sequence[str]) -> None:
    if len(sentences) == 0:
        raise ValueError("no sentences to score")
