"""Item codes: how each item is written in tokens.

A scheme is a function of the data set that gives every item a word: a number, spelled by the tokenizer's digits, or one
or more new tokens such as `<item_17>`. Schemes look at the training part only; `paper` is the exception, and leaks.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged
from vip5.errors import UserError
from vip5.items.vocabulary import Spans, Vocabulary

_NEW_TOKEN = re.compile(r"<[a-z]+_\d+>")


@dataclass(frozen=True)
class ItemCodes:
    """One code an item.

    `words[i]` is how item i stands in a prompt's text; `new_tokens` are the tokens that the scheme adds, in the order
    of their ids from `vocabulary.size` on.
    """

    scheme: str
    words: list[str]
    vocabulary: Vocabulary
    new_tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words):
            seen: set[str] = set()
            twice = next(w for w in self.words if w in seen or seen.add(w))  # type: ignore[func-returns-value]
            raise UserError(f"item codes: two items share the code {twice}: codes must be distinct")

    def __len__(self) -> int:
        return len(self.words)

    def spans(self, prefix: str = "", suffix: str = "") -> Spans:
        """Every item's code as tokens, inside one white-space word with a prefix and a suffix ("item_" + code)."""
        if not self.new_tokens:
            return self.vocabulary.encode([f"{prefix}{word}{suffix}" for word in self.words])
        ids = {token: self.vocabulary.size + n for n, token in enumerate(self.new_tokens)}
        return self._one_word(prefix, [[ids[t] for t in _NEW_TOKEN.findall(word)] for word in self.words], suffix)

    def user_spans(self, n_users: int, prefix: str = "", suffix: str = "") -> Spans:
        """Every user as one token of their own, after those of the items."""
        first = self.vocabulary.size + len(self.new_tokens)
        return self._one_word(prefix, [[first + n] for n in range(n_users)], suffix)

    def _one_word(self, prefix: str, rows: list[list[int]], suffix: str) -> Spans:
        before, after = (
            self.vocabulary.encode([text]).tokens.values.tolist() if text else [] for text in (prefix, suffix)
        )
        tokens = Ragged.from_lists([[*before, *row, *after] for row in rows], np.int32)
        return Spans(tokens, np.zeros(len(tokens.values), np.int32))

    def targets(self) -> np.ndarray:
        """int64 [n, T]: what the decoder writes for each item, </s> last, padded with 0."""
        tokens = self.spans().tokens
        table = np.zeros((len(tokens), int(tokens.lengths.max()) + 1), np.int64)
        inside = np.arange(table.shape[1]) < tokens.lengths[:, None]
        table[inside] = tokens.values
        table[np.arange(len(tokens)), tokens.lengths] = 1
        return table

    # -- a plain table one can read ------------------------------------------------------------------------------------

    def save(self, folder: Path, item_ids: pl.Series) -> None:
        """Write `codes.parquet`: item, code, and the tokens' ids."""
        tokens = self.spans().tokens
        pl.DataFrame(
            {
                "item": item_ids,
                "code": self.words,
                "tokens": [tokens[i].tolist() for i in range(len(tokens))],
            },
            schema_overrides={"tokens": pl.List(pl.Int32)},
        ).write_parquet(folder / "codes.parquet")

    @classmethod
    def load(cls, folder: Path, scheme: str, vocabulary: Vocabulary) -> "ItemCodes":
        file = folder / "codes.parquet"
        if not file.is_file():
            raise UserError(f"no codes.parquet in {folder}: it is not a whole run folder")
        words = pl.read_parquet(file)["code"].to_list()
        return cls(scheme, words, vocabulary, _new_tokens(words))


def _new_tokens(words: list[str]) -> list[str]:
    """The distinct new tokens of the codes, level by level and in the order of their numbers."""
    found = {token for word in words for token in _NEW_TOKEN.findall(word)}
    return sorted(found, key=lambda t: (t[1 : t.index("_")], int(t[t.index("_") + 1 : -1])))


def paper(dataset: Dataset) -> list[str]:
    """The numbers of the paper's own data (`paper_id`), test items included: leaky, for comparison only."""
    numbers = dataset.items["paper_id"]
    if numbers.null_count():
        raise UserError(
            f"codes 'paper' need a paper_id for every item ({numbers.null_count()} have none in "
            f"{dataset.path / 'items.parquet'}): use codes 'sequential' or 'atomic'"
        )
    return [str(n) for n in numbers]


def sequential(dataset: Dataset) -> list[str]:
    """Consecutive numbers in the order in which items first appear, user by user, as P5 has them (Geng et al. 2022),
    but reading the training part only. Items without a training interaction follow in the order of their raw ids."""
    seen, first = np.unique(dataset.history("train").values, return_index=True)
    rank = np.full(dataset.n_items, np.iinfo(np.int64).max)
    rank[seen] = first
    unseen_last = np.lexsort((dataset.items["item"].to_numpy(), rank))
    numbers = np.empty(dataset.n_items, np.int64)
    numbers[unseen_last] = np.arange(1001, 1001 + dataset.n_items)  # P5's first number
    return [str(n) for n in numbers]


def atomic(dataset: Dataset) -> list[str]:
    """One new token an item."""
    return [f"<item_{n}>" for n in range(dataset.n_items)]


SCHEMES: dict[str, Callable[[Dataset], list[str]]] = {"atomic": atomic, "paper": paper, "sequential": sequential}


def fit_codes(scheme: str, dataset: Dataset, vocabulary: Vocabulary) -> ItemCodes:
    """Write every item of the data set in the tokens of `scheme`."""
    words = code_words(scheme, dataset)
    return ItemCodes(scheme, words, vocabulary, _new_tokens(words))


def code_words(scheme: str, dataset: Dataset) -> list[str]:
    """The items' codes as text, before there is a vocabulary (a tokenizer is trained on prompts that hold them)."""
    if scheme not in SCHEMES:
        raise UserError(f"unknown item codes '{scheme}': choose one of {', '.join(sorted(SCHEMES))}")
    return SCHEMES[scheme](dataset)
