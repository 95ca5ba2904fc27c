"""A tokenizer for a data set, trained on the words that its prompts will hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vip5.data import Dataset
from vip5.items import Vocabulary
from vip5.prompts.samples import SEPARATORS
from vip5.prompts.templates import Prompt

_CORPUS_LINES = 300_000  # names and titles in a corpus, repetitions counted, at most about


def train_vocabulary(dataset: Dataset, prompts: Mapping[str, Prompt], size: int) -> Vocabulary:
    """A tokenizer of the prompts' words, the users' names and numbers, and the words of items and training reviews.

    Each counts about as often as training meets it; nothing of a held-out interaction is read. Item codes stay out, so
    that numbers are spelled by their digits.
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
    wording = [" ".join(s for s in f"{p.input} {p.target}".split() if "{" not in s) for p in prompts.values()]
    for text in (*wording, "item_ yes no", *SEPARATORS * 20):
        lines += [" ".join([text] * 100)] * max(1, len(users) // 100)
    return Vocabulary.train(lines, size)
