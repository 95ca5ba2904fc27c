"""A tiny shop with known words, under digit codes and under atomic ones; prompts checked against their whole text."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset, Ragged, prepare
from vip5.data.catalogue import Catalogue
from vip5.items import Vocabulary, fit_codes
from vip5.model.input import EOS
from vip5.prompts import FieldTexts, PromptCompiler, Samples, render
from vip5.prompts.samples import SEPARATORS


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Dataset:
    """Four users, six items, three reviews; one title holds a special token, one user has no name."""
    folder: Path = tmp_path_factory.mktemp("shop")
    rows = [
        (u, i, t)
        for u, items in {"u1": "abcd", "u2": "bcae", "u3": "cdfb", "u4": "defa"}.items()
        for t, i in enumerate(items)
    ]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(folder / "interactions.csv")
    titles = ["Red mug", "Blue </s> lamp", "Vase, tall", "Tea <extra_id_0> set", "Clock…", "Ünïcödé ´bag"]
    pl.DataFrame({"item": list("abcdef"), "title": titles}).write_csv(folder / "items.csv")
    pl.DataFrame(
        {
            "user": ["u1", "u2", "u3"],
            "item": ["a", "b", "c"],
            "rating": [5.0, 4.5, 2.0],
            "headline": ["Great mug", None, "So so"],
            "feature": ["handle", "light", None],
            "explanation": ["The handle is warm .", "I like the light", "It fell over ,  twice"],
            "user_name": ["Mara Feld", "Bo", None],
        }
    ).write_csv(folder / "reviews.csv")
    tables = {name: folder / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    return prepare(folder / "dataset", **tables)


@pytest.fixture(scope="session")
def vocabulary(shop) -> Vocabulary:
    texts = ["Given the purchase history of user_1 : , -> ? predict next item Red mug The handle is warm ."] * 5
    return Vocabulary.train(texts, 400)


@pytest.fixture(scope="session")
def texts_of(shop, vocabulary) -> Callable[..., FieldTexts]:
    """The shop's texts under a code scheme; two tokens a photo unless others are given."""

    def make(scheme: str, tokens: dict[str, int] | None = None, user_tokens: bool = False, own=vocabulary):
        tokens = {"photo": 2} if tokens is None else tokens
        return FieldTexts(Catalogue.of(shop), fit_codes(scheme, shop, own), tokens, user_tokens, shop.reviews)

    return make


@pytest.fixture(scope="session", params=["atomic", "sequential"])
def texts(request, texts_of) -> FieldTexts:
    return texts_of(request.param)


@pytest.fixture(scope="session")
def some_samples() -> Callable[..., Samples]:
    """Random samples, every column filled."""

    def make(n_prompts: int, seed: int, n: int = 40, users: int = 4, reviews: int = 3) -> Samples:
        rng = np.random.default_rng(seed)

        def items() -> Ragged:
            lengths = rng.integers(1, 6, n)
            return Ragged.from_lengths(rng.integers(0, 6, lengths.sum()).astype(np.int32), lengths)

        return Samples.of(
            rng.integers(0, n_prompts, n),
            rng.integers(0, users, n),
            items(),
            items(),
            item=rng.integers(0, 6, n),
            separator=rng.integers(0, len(SEPARATORS), n),
            review=rng.integers(0, reviews, n),
            stars=rng.choice([10, 37, 50], n),
            yes=rng.integers(0, 2, n),
        )

    return make


def whole(vocabulary: Vocabulary, text: str) -> tuple[list[int], list[int]]:
    """Tokens and whole-word indices of a text, by the tokenizer alone: a word is what white space separates."""
    encoding = vocabulary.tokenizer.encode(text, add_special_tokens=False)
    starts = [0]
    for n, char in enumerate(text):
        starts.append(starts[-1] + (not char.isspace() and (n == 0 or text[n - 1].isspace())))
    return [*encoding.ids, EOS], [*(starts[end] for _, end in encoding.offsets), 0]


@pytest.fixture(scope="session")
def check_equal() -> Callable[[PromptCompiler, Samples, FieldTexts], None]:
    """Compiled inputs and targets are the rendered text, tokenised whole."""

    def check(compiler: PromptCompiler, samples: Samples, texts: FieldTexts) -> None:
        of_users = [f"<user_{n}>" for n in range(texts.catalogue.n_users)] if texts.user_tokens else []
        knowing = texts.codes.vocabulary.knowing([*texts.codes.new_tokens, *of_users])
        for side, compiled in enumerate((compiler.inputs(samples), compiler.targets(samples))):
            for row in range(len(samples)):
                text = render(compiler.prompts[samples.prompt[row]], samples, row, texts)[side]
                part = slice(compiled.offsets[row], compiled.offsets[row + 1])
                tokens, words = whole(knowing, text)
                assert compiled.tokens[part].tolist() == tokens, text
                assert compiled.words[part].tolist() == words, text

    return check
