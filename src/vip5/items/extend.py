"""Codes for items that come later: those known keep theirs."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from vip5.errors import UserError
from vip5.items.codes import ItemCodes
from vip5.items.schemes import Stores
from vip5.items.semantic import TWIN


def extend_codes(codes: ItemCodes, words: Mapping[str, str], items: pl.DataFrame, stores: Stores) -> ItemCodes:
    """Codes for a newer catalogue: `words` by raw id for items that had one, new words for the others.

    New tokens stand after those there are, so that rows of a trained model keep their meaning. Numbers go on after the
    largest; semantic codes are those of the fitted codebooks, with a last token where another item has the same.

    Raises: UserError for new items of a scheme that cannot code them.
    """
    known = [words.get(raw) for raw in items["item"]]
    rows = np.array([row for row, word in enumerate(known) if word is None], np.int64)
    tokens, collisions = list(codes.new_tokens), codes.collisions
    if len(rows):
        if codes.scheme == "atomic":
            fresh = [f"<item_{n}>" for n in range(len(tokens), len(tokens) + len(rows))]
            tokens += fresh
        elif codes.scheme in ("sequential", "random"):
            top = max(int(word) for word in words.values())
            fresh = [str(top + 1 + n) for n in range(len(rows))]
        elif codes.coder is not None:
            vectors = {name: store.gather(rows) for name, store in stores.items()}
            fresh = _apart(codes.coder.code(items[rows], vectors), set(words.values()))
            twins = [word[word.index(f"<{TWIN}_") :] for word in fresh if f"<{TWIN}_" in word]
            collisions += len(twins)
            count = sum(token.startswith(f"<{TWIN}_") for token in tokens)
            most = max((int(twin[len(TWIN) + 2 : -1]) + 1 for twin in twins), default=0)
            tokens += [f"<{TWIN}_{n}>" for n in range(count, most)]
        else:
            raise UserError(
                f"codes {codes.scheme!r} cannot take the {len(rows)} items that came since: train anew, or with codes "
                "semantic or atomic"
            )
        for row, word in zip(rows, fresh, strict=True):
            known[row] = word
    return replace(codes, words=[str(word) for word in known], new_tokens=tokens, collisions=collisions)


def _apart(bases: list[str], taken: set[str]) -> list[str]:
    """Each base alone where nobody has it, else with the first twin's token that is free."""
    words = []
    for base in bases:
        word, n = base, 0
        while word in taken:
            word, n = f"{base}<{TWIN}_{n}>", n + 1
        taken.add(word)
        words.append(word)
    return words
