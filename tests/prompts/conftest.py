"""A tiny shop with known words, under digit codes and under atomic ones."""

from pathlib import Path

import polars as pl
import pytest

from vip5.data import Dataset, prepare
from vip5.items import Vocabulary, fit_codes
from vip5.prompts import FieldTexts


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


@pytest.fixture(scope="session", params=["atomic", "sequential"])
def texts(request, shop, vocabulary) -> FieldTexts:
    return FieldTexts(shop, fit_codes(request.param, shop, vocabulary), image_tokens=2)
