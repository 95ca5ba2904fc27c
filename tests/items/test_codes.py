"""How items are written: by numbers in P5's spelling, by the paper's own, by tokens of their own."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Dataset, Ragged
from vip5.errors import UserError
from vip5.items import SCHEMES, ItemCodes, Vocabulary, code_words, fit_codes


def dataset(sequences: list[list[int]], n_items: int, paper_ids: list[int | None] | None = None) -> Dataset:
    """A data set in memory; item n has the raw id of the n-th letter, counted from the end."""
    made = Dataset.__new__(Dataset)
    made.path = SimpleNamespace(__truediv__=lambda self, name: name)
    made.manifest = SimpleNamespace(counts={"users": len(sequences), "items": n_items})
    made.__dict__["sequences"] = Ragged.from_lists(sequences)
    made.__dict__["items"] = pl.DataFrame(
        {"item": [f"i{n_items - n:03}" for n in range(n_items)], "paper_id": paper_ids or [None] * n_items},
        schema_overrides={"paper_id": pl.Int64},
    )
    return made


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(["user_1 item_7 buys 1001 1002"] * 9, 300)


def test_sequential_counts_in_the_order_of_the_training_part():
    """Users one after the other, from 1001 as in P5; held-out items that training never meets follow by raw id."""
    data = dataset([[4, 2, 0, 1], [2, 5, 3, 0, 1]], 7)  # trained on: 4 2 | 2 5 3; raw ids run backwards
    numbers = dict(enumerate(code_words("sequential", data)))
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


@given(two_datasets())
@settings(max_examples=60, deadline=None)
def test_held_out_interactions_reach_no_number(pair):
    one, other = (code_words("sequential", data) for data in pair)
    assert one == other
    assert sorted(map(int, one)) == list(range(1001, 1001 + len(one)))


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
    assert "no codes.parquet" in refusal(ItemCodes.load, tmp_path, "atomic", vocabulary)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_round_trip(scheme, vocabulary, tmp_path):
    data = dataset([[3, 1, 2, 0]], 12, list(range(30, 18, -1)))
    codes = fit_codes(scheme, data, vocabulary)
    codes.save(tmp_path, data.items["item"])
    again = ItemCodes.load(tmp_path, scheme, vocabulary)
    assert again == codes and (again.targets() == codes.targets()).all()
    table = pl.read_parquet(tmp_path / "codes.parquet")
    assert table["item"].to_list() == data.items["item"].to_list()
    assert table["tokens"].to_list() == [row.tolist() for row in codes.spans().tokens]
