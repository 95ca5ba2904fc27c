"""Item codes: how each item is written in tokens, and the plain table that they are kept in."""

import json
import re
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged
from vip5.errors import UserError
from vip5.files import written_aside
from vip5.items.schemes import NO_STORES, CodeSettings, Stores, code_items
from vip5.items.semantic import CODEBOOK, SemanticCoder
from vip5.items.vocabulary import Spans, Vocabulary

CODES = "codes.parquet"
_NEW_TOKEN = re.compile(r"<[a-z]+_\d+>")


@dataclass(frozen=True)
class ItemCodes:
    """One code an item.

    `words[i]` is how item i stands in a prompt's text; `new_tokens` are the tokens that the scheme adds, in the order
    of their ids from `vocabulary.size` on. `collisions` is how many items only a last token made for it tells from
    another. A scheme that can code items that it was not fitted on has a `coder`.
    """

    scheme: str
    words: list[str]
    vocabulary: Vocabulary
    new_tokens: list[str] = field(default_factory=list)
    collisions: int = 0
    seed: int = 0  # that they were fitted with
    coder: SemanticCoder | None = field(default=None, compare=False)

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

    def spelled(self, tokens: np.ndarray) -> str:
        """What token ids [T] spell, up to </s>: the word of an item, where they do spell one."""
        ids = [int(t) for t in tokens]
        ids = ids[: ids.index(1)] if 1 in ids else ids
        if not self.new_tokens:
            return self.vocabulary.decode(np.array(ids, int))
        added = [t - self.vocabulary.size for t in ids if t]
        return "".join(self.new_tokens[t] if 0 <= t < len(self.new_tokens) else "?" for t in added)

    def facts(self) -> dict[str, object]:
        """What there is to know of the codes: how long they are, how many tokens they add, whether they can grow."""
        lengths = self.spans().tokens.lengths
        return {
            "scheme": self.scheme,
            "items": len(self),
            "tokens_shortest": int(lengths.min()),
            "tokens_mean": round(float(lengths.mean()), 3),
            "tokens_longest": int(lengths.max()),
            "new_tokens": len(self.new_tokens),
            "collisions": self.collisions,
            "codes_new_items": self.coder is not None,
        }

    # -- a plain table one can read ------------------------------------------------------------------------------------

    def save(self, folder: Path, item_ids: pl.Series) -> None:
        """Write `codes.parquet` (item, code, and the tokens' ids) and, for a scheme that has one, its codebook."""
        tokens = self.spans().tokens
        frame = pl.DataFrame(
            {
                "item": item_ids,
                "code": self.words,
                "tokens": [tokens[i].tolist() for i in range(len(tokens))],
            },
            schema_overrides={"tokens": pl.List(pl.Int32)},
        )
        about = {
            "scheme": self.scheme,
            "seed": self.seed,
            "collisions": self.collisions,
            "new_tokens": _series(self.new_tokens),
        }
        with written_aside(folder / CODES) as aside:
            frame.write_parquet(aside, metadata={"vip5": json.dumps(about)})
        if self.coder is not None:
            self.coder.save(folder)

    @classmethod
    def load(cls, folder: Path, vocabulary: Vocabulary) -> "ItemCodes":
        """Read what `save` wrote; UserError where it is not there."""
        file = folder / CODES
        if not file.is_file():
            raise UserError(f"no {CODES} in {folder}: it is not a whole run folder")
        try:
            about = json.loads(pl.read_parquet_metadata(file)["vip5"])
            words = pl.read_parquet(file)["code"].to_list()
            coder = SemanticCoder.load(folder) if (folder / CODEBOOK).is_file() else None
            tokens = [f"<{name}_{n}>" for name, count in about["new_tokens"] for n in range(count)]
            return cls(about["scheme"], words, vocabulary, tokens, about["collisions"], about["seed"], coder)
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{file} is damaged or of another version ({reason}): train again") from None


def save_words(words: list[str], item_ids: pl.Series, file: Path) -> None:
    """Write a table of item and code alone; whole or not at all."""
    with written_aside(file) as aside:
        pl.DataFrame({"item": item_ids, "code": words}).write_parquet(aside)


def _series(new_tokens: list[str]) -> list[tuple[str, int]]:
    """`<a_0>`, `<a_1>`, `<b_0>` as [("a", 2), ("b", 1)]: the tokens of one name are numbered from 0."""
    names = (token[1 : token.index("_")] for token in new_tokens)
    return [(name, len(list(group))) for name, group in groupby(names)]


def fit_codes(
    settings: CodeSettings | str,
    dataset: Dataset,
    vocabulary: Vocabulary,
    stores: Stores = NO_STORES,
    seed: int = 0,
) -> ItemCodes:
    """Write every item of the data set in the tokens of a scheme; its name alone stands for its default settings."""
    if isinstance(settings, str):
        settings = CodeSettings(scheme=settings)
    coding = code_items(settings, dataset, stores, seed)
    return ItemCodes(
        settings.scheme, coding.words, vocabulary, coding.new_tokens, coding.collisions, seed, coding.coder
    )
