"""A tokenizer for a data set, trained on the words that its prompts will hold; and what a tokenizer does not know."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from vip5.data import Dataset
from vip5.data.scripts import Scripts
from vip5.errors import UserError
from vip5.items import Vocabulary
from vip5.items.vocabulary import ALPHABET, UNK
from vip5.prompts.samples import REVIEW_FIELDS, SEPARATORS
from vip5.prompts.templates import Prompt

_CORPUS_LINES = 300_000  # names and titles in a corpus, repetitions counted, at most about
_OTHER = 0.01  # share of letters outside A to Z from which on a text may hold letters that training does not
_UNKNOWN = 0.03  # share of the tokens of a field from which on a tokenizer is not for its language
_COUNTED = 5000  # texts of a field, spread evenly, about


def train_vocabulary(dataset: Dataset, prompts: Mapping[str, Prompt], size: int) -> Vocabulary:
    """A tokenizer of the prompts' words, the users' names and numbers, and the words of items and training reviews.

    Each counts about as often as training meets it; nothing of a held-out interaction is read. Item codes stay out, so
    that numbers are spelled by their digits. Where not nearly all letters are A to Z, or there are too many characters
    for a token each, bytes spell those that have none: held-out texts of such a language have some.
    """
    history = dataset.history("train")
    thin = max(1.0, 3 * len(history.values) / _CORPUS_LINES)

    def often(texts: list[Any], counts: np.ndarray) -> list[str]:
        kept = np.ceil(counts / thin).astype(int)
        return [" ".join([str(text)] * n) for text, n in zip(texts, kept, strict=True) if text and n]

    users, items = dataset.users, dataset.items
    of_user = history.lengths
    of_item = np.bincount(history.values, minlength=dataset.n_items)
    lines = often([f"user_{n}" for n in range(1, len(users) + 1)], of_user)
    lines += often(users["name"].fill_null(users["user"]).to_list(), of_user)
    lines += often(items["title"].fill_null(items["item"]).to_list(), of_item)
    reviews = dataset.reviews.filter(dataset.reviews["split"] == "train")
    for column in ("headline", "feature", "explanation"):
        lines += reviews[column].drop_nulls().to_list()
    characters = {letter for line in lines for letter in line}
    bytes_too = len(characters) > ALPHABET or Scripts.of(lines).other > _OTHER
    wording = [" ".join(s for s in f"{p.input} {p.target}".split() if "{" not in s) for p in prompts.values()]
    for text in (*wording, "item_ yes no", *SEPARATORS * 20):
        lines += [" ".join([text] * 100)] * max(1, len(users) // 100)
    return Vocabulary.train(lines, size, bytes_too)


def unknown_share(vocabulary: Vocabulary, dataset: Dataset, fields: Collection[str]) -> float:
    """The largest share of unknown tokens in one of the fields of prompts, counted on the training part.

    Raises: UserError where it is so large that the model would read and write gaps.
    """
    reviews = dataset.reviews.filter(dataset.reviews["split"] == "train")
    texts = {
        "user_desc": dataset.users["name"].fill_null(dataset.users["user"]),
        "item_title": dataset.items["title"].fill_null(dataset.items["item"]),
        **{field: reviews[column].drop_nulls() for field, column in REVIEW_FIELDS.items()},
    }
    shares = {}
    for field in (name for name in texts if name in fields and len(texts[name])):
        some = texts[field].gather_every(max(1, len(texts[field]) // _COUNTED))
        tokens = vocabulary.encode([vocabulary.plain(text) for text in some]).tokens.values
        shares[field] = float((tokens == vocabulary.tokenizer.token_to_id(UNK)).sum() / max(len(tokens), 1))
    worst = max(shares, key=shares.__getitem__, default="")
    if shares.get(worst, 0.0) > _UNKNOWN:
        raise UserError(
            f"the tokenizer does not know {shares[worst]:.0%} of the tokens of {worst} in {dataset.path}: train from "
            "scratch, without model.backbone and model.tokenizer, and one is trained on these texts"
        )
    return shares.get(worst, 0.0)
