"""How items are written: by numbers in P5's spelling, by the paper's own, by tokens of their own."""

import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Dataset, Ragged
from vip5.errors import UserError
from vip5.items import SCHEMES, CodeSettings, ItemCodes, Trie, Vocabulary, code_items, fit_codes
from vip5.items.semantic import SemanticCoder, SemanticSettings
from vip5.items.vectors import ItemVectors


def dataset(sequences: list[list[int]], n_items: int, paper_ids: list[int | None] | None = None) -> Dataset:
    """A data set in memory, leave-one-out; item n has the raw id of the n-th letter, counted from the end."""
    made = Dataset.__new__(Dataset)
    made.path = SimpleNamespace(__truediv__=lambda self, name: name)
    made.manifest = SimpleNamespace(counts={"users": len(sequences), "items": n_items})
    made.__dict__["sequences"] = Ragged.from_lists(sequences)
    made.__dict__["_split_counts"] = np.array([[len(row) - 2, 1, 1] for row in sequences]).T
    made.__dict__["items"] = pl.DataFrame(
        {
            "item": [f"i{n_items - n:03}" for n in range(n_items)],
            "title": [f"A thing of kind {n % 5}, number {n}" for n in range(n_items)],
            "categories": [["things", f"kind {n % 5}"] for n in range(n_items)],
            "paper_id": paper_ids or [None] * n_items,
        },
        schema_overrides={"paper_id": pl.Int64},
    )
    return made


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(["user_1 item_7 buys 1001 1002"] * 9, 300)


def test_sequential_counts_in_the_order_of_the_training_part():
    """Users one after the other, from 1001 as in P5; held-out items that training never meets follow by raw id."""
    data = dataset([[4, 2, 0, 1], [2, 5, 3, 0, 1]], 7)  # trained on: 4 2 | 2 5 3; raw ids run backwards
    numbers = dict(enumerate(code_items("sequential", data).words))
    assert [numbers[i] for i in (4, 2, 5, 3)] == ["1001", "1002", "1003", "1004"]
    assert [numbers[i] for i in (6, 1, 0)] == ["1005", "1006", "1007"]


@st.composite
def two_datasets(draw):
    """Two data sets that differ in held-out interactions alone."""
    n_items = draw(st.integers(3, 12))
    item = st.integers(0, n_items - 1)
    pair = st.lists(item, min_size=2, max_size=2)
    users = draw(st.lists(st.tuples(st.lists(item, min_size=1, max_size=6), pair, pair), min_size=1, max_size=6))
    return (dataset([known + held for known, held, _ in users], n_items),
            dataset([known + other for known, _, other in users], n_items))  # fmt: skip


BLIND = sorted({*SCHEMES, "collaborative+atomic", "semantic+atomic"} - {"paper"})


@pytest.mark.parametrize("scheme", BLIND)
@given(pair=two_datasets())
@settings(max_examples=20, deadline=None)
def test_held_out_interactions_reach_no_code(scheme, pair):
    one, other = (code_items(scheme, data) for data in pair)
    assert one.words == other.words and one.new_tokens == other.new_tokens
    assert len(set(one.words)) == len(one.words)


@pytest.mark.parametrize("scheme", ["sequential", "random"])
def test_numbers_have_no_gaps(scheme):
    words = code_items(scheme, dataset([[0, 1, 2, 1, 2]] * 3, 40)).words
    assert sorted(map(int, words)) == list(range(1001, 1041))


def test_random_numbers_depend_on_the_seed_alone():
    one, other = dataset([[0, 1, 2, 1, 2]], 40), dataset([[5, 9, 8, 7, 6]], 40)
    assert code_items("random", one, seed=1).words == code_items("random", other, seed=1).words
    assert code_items("random", one, seed=1).words != code_items("random", one, seed=2).words


def test_p5s_spelling_with_t5s_tokenizer(shared):
    """A number is spelled by the pieces that T5's vocabulary has for it, alone and as "item_1001"."""
    t5 = Vocabulary.load(shared / "models/t5-tokenizer", 32128)
    codes = fit_codes("sequential", dataset([[0, 1, 2, 1, 2]], 3), t5)

    def pieces(prefix: str) -> list[list[str]]:
        return [[t5.tokenizer.id_to_token(t) for t in row] for row in codes.spans(prefix).tokens]

    assert codes.words == ["1001", "1002", "1003"]
    assert all("".join(row).removeprefix("▁") == word for row, word in zip(pieces(""), codes.words, strict=True))
    assert pieces("item_")[0][:2] == ["▁item", "_"] and "".join(pieces("item_")[0]) == "▁item_1001"
    assert (codes.spans("item_").words == 0).all()  # one whole word
    targets = codes.targets()
    for row, word in zip(targets, codes.words, strict=True):
        assert row[np.flatnonzero(row)[-1]] == 1 and t5.decode(row) == word


def test_atomic_is_one_new_token_an_item(vocabulary):
    codes = fit_codes("atomic", dataset([[0, 1, 2]], 12), vocabulary)
    assert codes.targets().tolist() == [[vocabulary.size + n, 1] for n in range(12)]
    spans = codes.spans("item_")
    head = vocabulary.encode(["item_"]).tokens[0].tolist()
    assert [row.tolist() for row in spans.tokens] == [[*head, vocabulary.size + n] for n in range(12)]
    assert codes.user_spans(3).tokens.values.tolist() == [vocabulary.size + 12 + n for n in range(3)]
    assert len(codes) == 12 and codes.new_tokens[10] == "<item_10>"


def test_paper_spells_the_papers_numbers(vocabulary):
    codes = fit_codes("paper", dataset([[0, 1, 2]], 3, [7, 120, 12]), vocabulary)
    assert codes.words == ["7", "120", "12"] and codes.new_tokens == []
    assert [vocabulary.decode(row) for row in codes.targets()] == codes.words


def test_refusals(vocabulary, tmp_path):
    def refusal(call, *args) -> str:
        with pytest.raises(UserError) as error:
            call(*args)
        assert "\n" not in str(error.value)
        return str(error.value)

    some = dataset([[0, 1, 2]], 3, [7, None, None])
    some.path = tmp_path
    assert "2 have none" in (said := refusal(fit_codes, "paper", some, vocabulary)) and "items.parquet" in said
    twice = dataset([[0, 1, 2]], 3, [7, 8, 7])
    assert "two items share the code 7" in refusal(fit_codes, "paper", twice, vocabulary)
    assert all(name in refusal(fit_codes, "digits", some, vocabulary) for name in SCHEMES)
    assert "no codes.parquet" in refusal(ItemCodes.load, tmp_path, vocabulary)


@pytest.mark.parametrize("scheme", [*sorted(SCHEMES), "collaborative+atomic"])
def test_round_trip(scheme, vocabulary, tmp_path):
    data = dataset([[3, 1, 2, 0]], 12, list(range(30, 18, -1)))
    codes = fit_codes(scheme, data, vocabulary)
    codes.save(tmp_path, data.items["item"])
    again = ItemCodes.load(tmp_path, vocabulary)
    assert again == codes and (again.targets() == codes.targets()).all()
    table = pl.read_parquet(tmp_path / "codes.parquet")
    assert table["item"].to_list() == data.items["item"].to_list()
    assert table["tokens"].to_list() == [row.tolist() for row in codes.spans().tokens]


# -- codes of clusters -------------------------------------------------------------------------------------------------


def two_worlds() -> Dataset:
    """Items 0-19 are bought by some users, 20-39 by others, and nobody buys 40 and 41 but in the held-out part."""
    rng = np.random.default_rng(0)
    rows = [[*rng.choice(20, 8, replace=False) + 20 * (user % 2), 40, 41] for user in range(60)]
    return dataset([[int(item) for item in row] for row in rows], 42)


def test_collaborative_codes_part_what_different_people_buy():
    codes = code_items(CodeSettings(scheme="collaborative", collaborative={"width": 2, "depth": 1}), two_worlds())
    first = [re.match(r"<cluster_\d+>", word)[0] for word in codes.words]
    assert len(set(first[:20])) == len(set(first[20:40])) == 1 and first[0] != first[20]
    assert first[40] == first[41] not in first[:40]  # what nobody bought is a cluster of its own
    assert codes.collisions == 42 and not codes.coder


def test_members_are_numbered_from_the_best_seller_down():
    data = two_worlds()
    words = code_items(CodeSettings(scheme="collaborative", collaborative={"width": 2, "depth": 1}), data).words
    bought = np.bincount(data.history("train").values, minlength=data.n_items)
    member = [int(word.rpartition("_")[2][:-1]) for word in words]
    for world in (range(20), range(20, 40)):
        assert sorted(member[i] for i in world) == list(range(20))
        assert (np.diff([bought[i] for i in sorted(world, key=member.__getitem__)]) <= 0).all()


def test_a_cluster_token_is_one_set_of_items_and_depth_is_the_number_of_them():
    data = two_worlds()
    words = code_items(CodeSettings(scheme="collaborative", collaborative={"width": 3, "depth": 3}), data).words
    above: dict[str, str] = {}
    for word in words:
        tokens = re.findall(r"<cluster_\d+>", word)
        assert 1 <= len(tokens) <= 3
        for before, token in zip(["", *tokens], tokens, strict=False):
            assert above.setdefault(token, before) == before


def test_semantic_codes_of_equal_items_are_told_apart():
    """Five kinds of things that read alike but for a number: the same levels, and one token more."""
    data = dataset([[0, 1, 2, 1, 2]], 10)
    data.__dict__["items"] = data.items.with_columns(title=pl.lit("kind ") + (pl.int_range(10) % 5).cast(pl.String))
    codes = code_items(CodeSettings(scheme="semantic", semantic={"sources": ["text"], "size": 8}), data)
    assert codes.collisions == 10
    for kind in range(5):
        same, twin = (codes.words[n].partition("<twin_") for n in (kind, kind + 5))
        assert same[0] == twin[0] and (same[2], twin[2]) == ("0>", "1>")
    assert len({word.partition("<twin_")[0] for word in codes.words}) == 5


def test_semantic_codes_quantise_their_vectors():
    """What the codebooks add up to is nearer to each item's vector with every level."""
    data = two_worlds()
    settings = SemanticSettings(sources=("text", "purchases"), levels=3, size=4, dimensions=8)
    coder, levels = SemanticCoder.fit(data, settings, {}, seed=0)
    _, vectors = ItemVectors.fit(data, settings.sources, {}, 8, 0)
    left, errors = vectors.copy(), [np.square(vectors).mean()]
    for level, book in enumerate(coder.codebooks):
        distance = np.square(left[:, None] - book[None]).sum(-1)
        assert (distance.argmin(1) == levels[:, level]).mean() > 0.95  # ties and rounding aside
        left = left - book[levels[:, level]]
        errors.append(np.square(left).mean())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.7 * errors[0]


def test_a_new_item_is_coded_by_what_it_is(vocabulary, tmp_path):
    """With codes from text alone, an item that reads like one of the catalogue gets that one's code, also from disk."""
    data = dataset([[0, 1, 2, 1, 2]], 30)
    chosen = CodeSettings(scheme="semantic", semantic={"sources": ["text"], "size": 16})
    codes = fit_codes(chosen, data, vocabulary)
    assert codes.coder and codes.facts()["codes_new_items"]
    codes.save(tmp_path, data.items["item"])
    again = ItemCodes.load(tmp_path, vocabulary).coder
    known = [word.partition("<twin_")[0] for word in codes.words]
    for coder in (codes.coder, again):
        assert coder.code(data.items) == known
        (code,) = coder.code(pl.DataFrame({"title": ["a THING of kind 3"], "brand": [None]}))
        assert set(re.findall(r"<\w+>", code)) <= set(codes.new_tokens)
    assert fit_codes("atomic", data, vocabulary).coder is None


def test_joined_codes(vocabulary):
    data = two_worlds()
    alone, joined = (fit_codes(scheme, data, vocabulary) for scheme in ("collaborative", "collaborative+atomic"))
    for n, (word, both) in enumerate(zip(alone.words, joined.words, strict=True)):
        assert both == f"{word[: word.index('<member')]}<item_{n}>"
    assert len(joined.new_tokens) == len({*joined.new_tokens})
    assert Trie.build(joined.targets()).n_items == 42
    for scheme in ("atomic+sequential", "atomic+atomic", "collaborative+nothing"):
        with pytest.raises(UserError, match=r"unknown item codes|cannot be joined"):
            code_items(scheme, data)


def test_what_a_source_needs():
    bare = dataset([[0, 1, 2, 1, 2]], 6)
    bare.path = SimpleNamespace(__str__=lambda self: "data")
    bare.__dict__["items"] = pl.DataFrame({"item": list("abcdef"), "categories": [[]] * 6})
    for source, said in (("text", "need titles or categories"), ("photo", "has no modality of that name")):
        with pytest.raises(UserError, match=said):
            code_items(CodeSettings(scheme="semantic", semantic={"sources": [source]}), bare)
    purchases = CodeSettings(scheme="semantic", semantic={"sources": ["purchases"]})
    assert code_items("semantic", bare).words == code_items(purchases, bare).words  # by what there is


def test_facts(vocabulary):
    facts = fit_codes("collaborative", two_worlds(), vocabulary).facts()
    assert facts["items"] == 42 and facts["tokens_longest"] <= 3 and facts["tokens_shortest"] >= 2
    assert facts["new_tokens"] > 20 and facts["collisions"] > 0 and facts["codes_new_items"] is False
