"""How items are written: the vocabulary, the code schemes, and the trie of all codes."""

from vip5.items.codes import SCHEMES, ItemCodes, code_words, fit_codes
from vip5.items.trie import Trie
from vip5.items.vocabulary import IMAGE, Spans, Vocabulary

__all__ = ["IMAGE", "SCHEMES", "ItemCodes", "Spans", "Trie", "Vocabulary", "code_words", "fit_codes"]
