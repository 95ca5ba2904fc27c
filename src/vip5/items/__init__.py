"""How items are written: the vocabulary, the code schemes, and the trie of all codes."""

from vip5.items.codes import ItemCodes, fit_codes, save_words
from vip5.items.extend import extend_codes
from vip5.items.schemes import SCHEMES, CodeSettings, code_items
from vip5.items.trie import Trie
from vip5.items.vocabulary import IMAGE, Spans, Vocabulary

__all__ = [
    "IMAGE",
    "SCHEMES",
    "CodeSettings",
    "ItemCodes",
    "Spans",
    "Trie",
    "Vocabulary",
    "code_items",
    "extend_codes",
    "fit_codes",
    "save_words",
]
