"""A text an item by a template, and `tfidf` over such texts."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from vip5.errors import UserError
from vip5.modalities.linear import singular_vectors, unit_rows
from vip5.modalities.texts import FIELDS, Template, hash_of_texts, texts_of
from vip5.modalities.tfidf import encode_tfidf
from vip5.modalities.words import BUCKETS, count_words, rarity, weighted, words_in


@pytest.mark.parametrize(
    ("template", "there", "expected"),
    [
        ("{title} . {brand} . {categories}", "tbc", "T . B . C"),
        ("{title} . {brand} . {categories}", "tc", "T . C"),
        ("{title} . {brand} . {categories}", "bc", "B . C"),
        ("{title} . {brand} . {categories}", "c", "C"),
        ("{title} . {brand} . {categories}", "", ""),
        ("passage: {title}, by {brand}!", "tb", "passage: T, by B!"),
        ("passage: {title}, by {brand}!", "b", "passage: by B!"),
        ("passage: {title}, by {brand}!", "t", "passage: T!"),
        ("passage: {title}, by {brand}!", "c", ""),
        ("{title}{brand} {{x}}", "tb", "TB {x}"),
    ],
)
def test_a_missing_field_takes_its_separator_away(template: str, there: str, expected: str) -> None:
    fields = {name: name[0].upper() if name[0] in there else "" for name in FIELDS}
    assert Template.parse(template).fill(fields) == expected


@pytest.mark.parametrize("template", ["{price}", "{title", "no field", "{}", "{title!r}", "{title:>9}", "{0}", ""])
def test_no_template(template: str) -> None:
    with pytest.raises(UserError, match="template"):
        Template.parse(template)


def test_texts_of_items(dataset) -> None:
    texts = dict(texts_of(dataset))
    assert texts[0] == "Lip balm 0 . Beauty & Co"
    assert texts[1] == "Lip balm 1 . Lips"
    assert texts[3] == "Beauty & Co"
    assert texts[5] == "Lip balm 5 . Beauty & Co . Lips Care"
    assert set(texts) == set(range(23)) - {2}
    with pytest.raises(UserError, match=r"has any of description: give another --template"):
        texts_of(dataset, "{description}")


def test_the_text_of_reviews_is_of_the_training_part_alone(make_shop) -> None:
    bought = {f"u{n}": ["a", "b", "c", "d"] for n in range(3)}
    reviews = [
        {"user": user, "item": item, "text": f"{user} on  {item}", "rating": 5.0}
        for user, row in bought.items()
        for item in row
    ]
    dataset = make_shop(bought, reviews=reviews)
    of = dict(zip(dataset.items["item"], range(dataset.n_items), strict=True))
    assert dict(texts_of(dataset, "{reviews}")) == {
        of["a"]: "u0 on a u1 on a u2 on a",
        of["b"]: "u0 on b u1 on b u2 on b",
    }  # c is the validation item of everybody, d the test item


def test_hash_tells_texts_apart() -> None:
    texts = [[(0, "ab"), (1, "c")], [(0, "a"), (1, "bc")], [(0, "ab"), (2, "c")], [(0, "ab")], [(0, "ab;1:1:c")]]
    assert len({hash_of_texts(each) for each in texts}) == len(texts)


def test_weights_worked_out_by_hand() -> None:
    """Three texts: 'the' is in all of them and weighs nothing, 'cat' stands twice in one, 'dog' and 'sat' once each."""
    texts = pl.DataFrame({"text": ["The cat cat sat", "the DOG", "the"]})
    counts = count_words(texts.select(words_in(pl.col("text"))).to_series())
    assert counts.shape == (3, BUCKETS) and sorted(counts[[0]].data.tolist()) == [1, 1, 2]
    rows = weighted(counts, rarity(counts))
    cat, sat = (1 + np.log(2)) * np.log(4 / 2), np.log(4 / 2)
    expected = np.sort(np.array([0, sat, cat]) / np.hypot(sat, cat))
    np.testing.assert_allclose(np.sort(rows[[0]].data), expected, rtol=1e-6)
    assert sorted(rows[[1]].data.tolist()) == pytest.approx([0, 1])
    assert not rows[[2]].data.any()


@given(n=st.integers(1, 30), m=st.integers(1, 30), rank=st.integers(1, 35), seed=st.integers(0, 99))
def test_singular_vectors_are_numpys(n: int, m: int, rank: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((n, m))
    values, vectors = singular_vectors(csr_array(matrix), rank, np.random.default_rng(0), iterations=30)
    assert values.shape == (rank,) and vectors.shape == (m, rank)
    there = min(rank, n, m)
    np.testing.assert_allclose(values[:there], np.linalg.svd(matrix)[1][:there], rtol=1e-2, atol=1e-9)
    assert not values[there:].any() and not vectors[:, min(rank, m) :].any()


def test_tfidf_keeps_what_the_weighted_words_say(dataset) -> None:
    """With as many directions as there are items, the cosines are those of the weighted words themselves."""
    store = encode_tfidf(dataset, dim=23).store
    assert (store.kind, store.dim, store.matrix.dtype) == ("text", 23, np.float32)
    texts = texts_of(dataset)
    counts = count_words(pl.DataFrame({"t": [text for _, text in texts]}).select(words_in(pl.col("t"))).to_series())
    rows = weighted(counts, rarity(counts)).toarray()
    known = [item for item, _ in texts]
    assert np.flatnonzero(store.mask).tolist() == known
    got = store.matrix[known].astype(np.float64)
    np.testing.assert_allclose(got @ got.T, unit_rows(rows) @ unit_rows(rows).T, atol=1e-5)
    assert not store.matrix[2].any() and not store.mask[2]


def test_words_that_all_items_have_tell_nothing(dataset) -> None:
    """Every item with a brand has the same one, so a text of the brand alone leaves them unknown."""
    store = encode_tfidf(dataset, "brands", "{brand}", 4).store
    assert not store.mask.any() and not store.matrix.any()


def test_tfidf_is_there_or_made_anew(dataset, contents) -> None:
    first = encode_tfidf(dataset, dim=8)
    before = contents(dataset.path / "modalities")
    again = encode_tfidf(dataset, dim=8)
    assert (first.reused, again.reused) == (False, True)
    assert contents(dataset.path / "modalities") == before
    for other in ({"dim": 9}, {"dim": 8, "template": "{title}"}):
        made = encode_tfidf(dataset, **other)
        assert not made.reused and made.store.fingerprint != first.store.fingerprint
    encode_tfidf(dataset, dim=8)
    assert contents(dataset.path / "modalities") == before
    with pytest.raises(UserError, match="--dim 1"):
        encode_tfidf(dataset, dim=0)
