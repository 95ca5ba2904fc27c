"""Items that come later: those known keep their codes and tokens, and the new ones get codes of their own."""

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.items import CodeSettings, ItemCodes, Trie, Vocabulary, extend_codes, fit_codes
from vip5.modalities import ModalityStore

KINDS = ["red mug", "blue lamp", "tall vase", "tea set", "clock", "bag"]
TEXT = CodeSettings(scheme="semantic", semantic={"sources": ["text"], "levels": 2, "size": 4})


@pytest.fixture
def data(make_shop) -> Dataset:
    """Eight items; the last two read like the first two."""
    titles = [*KINDS, KINDS[0], KINDS[1]]
    bought = {f"u{n}": [f"i{(n + k) % 8}" for k in range(4)] for n in range(8)}
    return make_shop(bought, {"item": [f"i{n}" for n in range(8)], "title": titles})


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(["user_1 item_7 buys 1001 1002"] * 9, 300)


def extended(codes: ItemCodes, data: Dataset, more: dict[str, str], stores=None) -> tuple[pl.DataFrame, ItemCodes]:
    """The catalogue without item i3, turned about, with more items by id and title in its midst; and its codes."""
    new = pl.DataFrame(
        {"item": list(more), "title": list(more.values())}, schema={"item": pl.String, "title": pl.String}
    )
    known = data.items.select("item", "title").filter(pl.col("item") != "i3").reverse()
    items = pl.concat([known[:2], new, known[2:]])
    words = dict(zip(data.items["item"], codes.words, strict=True))
    return items, extend_codes(codes, words, items, stores or {})


def check(before: ItemCodes, data: Dataset, items: pl.DataFrame, after: ItemCodes) -> list[str]:
    """Known items keep word and token ids, all codes are distinct; gives the new words."""
    assert after.new_tokens[: len(before.new_tokens)] == before.new_tokens
    row_of = {raw: row for row, raw in enumerate(data.items["item"])}
    old, now = before.spans().tokens, after.spans().tokens
    for row, raw in enumerate(items["item"]):
        if raw in row_of:
            assert after.words[row] == before.words[row_of[raw]]
            assert now[row].tolist() == old[row_of[raw]].tolist()
    assert len(set(after.words)) == len(after.words) == len(items)
    assert Trie.build(after.targets()).n_items == len(items)
    new = [word for word, raw in zip(after.words, items["item"], strict=True) if raw not in row_of]
    assert not set(new) & set(before.words)  # not even that of an item which is gone
    return new


def test_atomic_items_get_tokens_after_those_there_are(data, vocabulary):
    codes = fit_codes("atomic", data, vocabulary)
    items, more = extended(codes, data, {"x": "a", "y": "b"})
    assert check(codes, data, items, more) == ["<item_8>", "<item_9>"]
    assert more.new_tokens == [f"<item_{n}>" for n in range(10)]


@pytest.mark.parametrize("scheme", ["sequential", "random"])
def test_numbers_go_on_after_the_largest(scheme, data, vocabulary):
    codes = fit_codes(scheme, data, vocabulary)
    items, more = extended(codes, data, {"x": "a", "y": "b"})
    assert check(codes, data, items, more) == ["1009", "1010"] and more.new_tokens == []


def test_semantic_codes_are_those_of_the_codebooks_and_twins_are_told_apart(data, vocabulary, tmp_path):
    codes = fit_codes(TEXT, data, vocabulary)
    base = [word.partition("<twin_")[0] for word in codes.words]
    assert base[0] == base[6] and base[1] == base[7] and "<twin_1>" in codes.new_tokens
    titles = {"x": KINDS[0], "y": KINDS[0], "z": KINDS[4], "w": "a TALL vase"}
    items, more = extended(codes, data, titles)
    found = dict(zip(titles, check(codes, data, items, more), strict=True))
    like = {"x": 0, "y": 0, "z": 4, "w": 2}
    assert {name: word.partition("<twin_")[0] for name, word in found.items()} == {n: base[i] for n, i in like.items()}
    taken = [word for word, own in zip(codes.words, base, strict=True) if own == base[0]]
    numbers = [int(word.rpartition("_")[2][:-1]) for word in (*taken, found["x"], found["y"]) if "<twin_" in word]
    assert sorted(numbers) == list(range(len(numbers)))  # the first that are free
    assert more.collisions == sum("<twin_" in word for word in (*codes.words, *found.values()))
    more.save(tmp_path, items["item"])
    again = ItemCodes.load(tmp_path, vocabulary)
    assert again == more and (again.targets() == more.targets()).all()


def test_semantic_codes_from_vectors(data, vocabulary):
    """New items are coded by their own vectors; without one, they all read alike, and are told apart."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(8, 6)).astype(np.float32)
    old = {"photo": ModalityStore("photo", "photo", 6, "made up", matrix, np.ones(8, bool))}
    chosen = CodeSettings(scheme="semantic", semantic={"sources": ["photo"], "levels": 2, "size": 8})
    codes = fit_codes(chosen, data, vocabulary, old)
    items, _ = extended(codes, data, {}, old)
    titles = {"x": "a", "y": "b", "z": "c", "w": "d"}
    rows = [*(int(raw[1:]) for raw in items["item"][:2]), 4, 5, 0, 0, *(int(raw[1:]) for raw in items["item"][2:])]
    mask = np.ones(len(rows), bool)
    mask[4:6] = False
    new = {"photo": ModalityStore("photo", "photo", 6, "made up", np.where(mask[:, None], matrix[rows], 0), mask)}
    items, more = extended(codes, data, titles, new)
    like_4, like_5, *blank = (word.partition("<twin_")[0] for word in check(codes, data, items, more))
    assert [like_4, like_5] == [codes.words[n].partition("<twin_")[0] for n in (4, 5)]
    assert blank[0] == blank[1]


def test_an_extension_can_be_extended(data, vocabulary):
    for settings in ("atomic", "sequential", TEXT):
        codes = fit_codes(settings, data, vocabulary)
        items, once = extended(codes, data, {"x": KINDS[0], "y": KINDS[2]})
        words = dict(zip(items["item"], once.words, strict=True))
        later = pl.concat([items, pl.DataFrame({"item": ["v"], "title": [KINDS[0]]})])
        twice = extend_codes(once, words, later, {})
        assert twice.words[:-1] == once.words and twice.words[-1] not in codes.words
        assert Trie.build(twice.targets()).n_items == len(later)


@pytest.mark.parametrize("scheme", ["collaborative", "collaborative+atomic", "paper"])
def test_what_cannot_code_new_items_says_so(scheme, data, vocabulary):
    data.__dict__["items"] = data.items.with_columns(paper_id=pl.int_range(8))
    codes = fit_codes(scheme, data, vocabulary)
    with pytest.raises(UserError, match="cannot take the 2 items that came since: train anew, or with codes") as error:
        extended(codes, data, {"x": "a", "y": "b"})
    assert scheme in str(error.value) and "\n" not in str(error.value)
    items, same = extended(codes, data, {})  # none is new: fewer items are no trouble
    assert check(codes, data, items, same) == []
