"""What scripts a text is in, and its words in any of them."""

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

import regex

# Scripts that put no spaces between words, as inside of a character class.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}\p{Tibetan}"
# A letter of such a script, with its marks, is a word of its own. Other words are runs of letters, digits and marks: a
# vowel of Hindi is a mark.
UNSPACED_WORD = rf"[{UNSPACED}][\p{{M}}ー]*"
WORD = rf"{UNSPACED_WORD}|(?![{UNSPACED}])[\p{{L}}\p{{N}}](?:(?![{UNSPACED}])[\p{{L}}\p{{N}}\p{{M}}])*"

_OTHER = regex.compile(r"[^\p{P}\p{S}\p{Z}\p{C}\p{N}A-Za-z]")
_LETTER, _UNSPACED = regex.compile(r"\p{L}"), regex.compile(rf"[{UNSPACED}]")
_HAN = regex.compile(r"\p{Han}")


def normal(text: str) -> str:
    """A text as the trained tokenizers write it: in NFKC, which has "..." for "…", with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


class Scripts(NamedTuple):
    """Shares of the letters of some texts."""

    other: float  # outside A to Z
    unspaced: float  # in scripts that put no spaces between words
    chinese: bool  # those are Han alone, but for a few: kana would be Japanese

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Scripts":
        """0 where there are no letters."""
        letters = other = unspaced = han = 0
        for text in texts:
            letters += len(_LETTER.findall(text))
            if not text.isascii():
                other += len(_OTHER.findall(text))
                unspaced += len(_UNSPACED.findall(text))
                han += len(_HAN.findall(text))
        letters = max(letters, 1)
        return cls(min(other / letters, 1.0), min(unspaced / letters, 1.0), 0 < unspaced <= 1.05 * han)
