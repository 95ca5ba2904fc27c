"""The code schemes by name: what gives every item of a data set its code.

A scheme looks at the training part only (`paper` is the exception, and leaks) and at the items' own descriptions and
photos. It gives each item a word: a number, spelled by the tokenizer's digits, or new tokens such as `<item_17>`.
Schemes of tokens can be joined, as in `collaborative+atomic`: the first ones' tokens say where an item belongs, the
last one's which it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.items import numbered
from vip5.items.collaborative import CollaborativeSettings, clusters, members
from vip5.items.semantic import LEVELS, TWIN, SemanticCoder, SemanticSettings, level_words, twins
from vip5.modalities import ModalityStore

Stores = Mapping[str, ModalityStore]  # by name
NO_STORES: Stores = {}


class CodeSettings(BaseModel):
    """Which scheme, the settings of those that have some, and how users are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str = "semantic"  # the best next items on Beauty, and codes items that come later
    collaborative: CollaborativeSettings = CollaborativeSettings()
    semantic: SemanticSettings = SemanticSettings()
    users: Literal["text", "atomic"] = "text"  # by number and name, or as one new token each in place of both


@dataclass(frozen=True)
class Coding:
    """What a scheme gives: a word an item, distinct, and the new tokens, in the order of their ids."""

    words: list[str]
    new_tokens: list[str]
    collisions: int = 0  # items that only a last token made for it tells from another
    coder: SemanticCoder | None = None  # codes items that the scheme was not fitted on, where it can


@dataclass(frozen=True)
class _SchemePart:
    """One scheme's share of a code: the words that say where items belong, and what tells apart those with one word."""

    words: list[str]
    new_tokens: list[str]
    apart: list[str] | None = None  # a last token an item, "" where none is needed; none: the words are distinct
    apart_tokens: tuple[str, ...] = ()
    collisions: int = 0
    coder: SemanticCoder | None = None


def code_items(settings: CodeSettings | str, dataset: Dataset, stores: Stores = NO_STORES, seed: int = 0) -> Coding:
    """The code of every item of the data set; a scheme's name alone stands for its default settings.

    Raises: UserError for an unknown scheme, for schemes that cannot be joined, and where the data lacks what one needs.
    """
    if isinstance(settings, str):
        settings = CodeSettings(scheme=settings)
    names = settings.scheme.split("+")
    for name in names:
        if name not in SCHEMES:
            raise UserError(
                f"unknown item codes '{name}': choose one of {', '.join(SCHEMES)}, or join token schemes, as in "
                "collaborative+atomic"
            )
        if len(names) > 1 and (name in _NUMBERED or names.count(name) > 1):
            raise UserError(
                f"item codes '{settings.scheme}' cannot be joined: only different schemes of new tokens can"
            )
    parts = [SCHEMES[name](settings, dataset, stores, seed) for name in names]
    words = ["".join(spelling) for spelling in zip(*(part.words for part in parts), strict=True)]
    tokens = [token for part in parts for token in part.new_tokens]
    last = parts[-1]
    if last.apart is not None:
        words = [word + token for word, token in zip(words, last.apart, strict=True)]
        tokens += last.apart_tokens
    return Coding(words, tokens, last.collisions, last.coder if len(parts) == 1 else None)


def _paper(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    return _SchemePart(numbered.paper(dataset), [])


def _sequential(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    return _SchemePart(numbered.sequential(dataset), [])


def _random(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    return _SchemePart(numbered.random(dataset, seed), [])


def _atomic(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    words = numbered.atomic(dataset)
    return _SchemePart(words, words)


def _collaborative(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    words, cluster = clusters(dataset, settings.collaborative, seed)
    bought = np.bincount(dataset.history("train").values, minlength=dataset.n_items)
    member = members(cluster, bought)
    tokens = [f"<cluster_{n}>" for n in range(int(cluster.max()) + 1)]
    apart_tokens = tuple(f"<member_{n}>" for n in range(int(member.max()) + 1))
    shared = int((np.bincount(cluster)[cluster] > 1).sum())
    return _SchemePart(words, tokens, [f"<member_{n}>" for n in member.tolist()], apart_tokens, shared)


def _semantic(settings: CodeSettings, dataset: Dataset, stores: Stores, seed: int) -> _SchemePart:
    coder, levels = SemanticCoder.fit(dataset, settings.semantic, stores, seed)
    twin = twins(levels)
    tokens = [f"<{LEVELS[level]}_{n}>" for level, book in enumerate(coder.codebooks) for n in range(len(book))]
    apart = [f"<{TWIN}_{n}>" if n >= 0 else "" for n in twin.tolist()]
    apart_tokens = tuple(f"<{TWIN}_{n}>" for n in range(int(twin.max()) + 1))
    return _SchemePart(level_words(levels), tokens, apart, apart_tokens, int((twin >= 0).sum()), coder)


SCHEMES: dict[str, Callable[[CodeSettings, Dataset, Stores, int], _SchemePart]] = {
    "atomic": _atomic,
    "collaborative": _collaborative,
    "paper": _paper,
    "random": _random,
    "semantic": _semantic,
    "sequential": _sequential,
}
_NUMBERED = ("paper", "random", "sequential")
