"""Text to tokens and back, with whatever text comes from outside."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from vip5.errors import UserError
from vip5.items import Vocabulary
from vip5.prompts import load_prompts
from vip5.prompts.tokenizer import train_vocabulary, unknown_share

HOSTILE = [
    "", " \t\n ", "\0", "a\0b", "🦄 unicorn 🏳️‍🌈", "שלום עולם \u202e abc", "</s>", "<pad> <unk>", "x<extra_id_0>y",
    "＜/s＞", "<\x01/s>", "＜extra_id_0＞", "<</s>/s>", "<extra_id_<extra_id_0>0>", "\ufeff<pad\u00ad>", "´", "ﬁ ½ …",
    "\x1c\x1d", "a" * 30_000, "< /s>", "<item_3> <user_2>", "e\u0301", "\u0301 b",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> Vocabulary:
    return Vocabulary.train(
        ["Given the history of user_1 : , -> ? </s> ＜/s＞ x</s> predict item_2 red mug ."] * 20, 300
    )


@pytest.fixture(scope="module")
def with_bytes() -> Vocabulary:
    return Vocabulary.train(["Given the history of user_1 : , -> ? red mug . 红色的杯子"] * 20, 700, bytes_too=True)


@pytest.fixture(scope="module", params=["trained", "t5", "bytes"])
def vocabulary(request, trained, with_bytes) -> Vocabulary:
    if request.param == "bytes":
        return with_bytes
    if request.param == "trained":
        return trained
    return Vocabulary.load(request.getfixturevalue("shared") / "models/t5-tokenizer", 32128)


def check(vocabulary: Vocabulary, text: str) -> None:
    """No special token comes out of text from outside, and it is the same alone and within a longer text."""
    plain = vocabulary.plain(text)
    alone = vocabulary.encode([plain])
    special = {
        t for t in vocabulary.tokenizer.get_added_tokens_decoder() if t != vocabulary.tokenizer.token_to_id("<unk>")
    }
    assert not special & set(alone.tokens[0].tolist()), text
    assert vocabulary.plain(plain) == plain
    assert plain == " ".join(plain.split())
    between = vocabulary.encode([f"red {plain} mug"]).tokens[0].tolist()
    red, mug = (vocabulary.encode([word]).tokens[0].tolist() for word in ("red", "mug"))
    assert between == [*red, *alone.tokens[0].tolist(), *mug]
    words = alone.words
    assert len(words) == len(alone.tokens.values)
    if len(words):
        assert words[0] == 0 and set(np.diff(words)) <= {0, 1} and words[-1] < len(plain.split())


def test_hostile_texts(vocabulary):
    for text in HOSTILE:
        check(vocabulary, text)


@given(st.text(max_size=30) | st.text("</s>extra_id0pad ＜＞\0\u200b", max_size=20))
@example("<\x01extra_id_0>")
@settings(max_examples=150, deadline=None)
def test_any_text(trained, text):
    check(trained, text)


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_bytes_spell_any_text(with_bytes, text):
    plain = with_bytes.plain(text)
    tokens = with_bytes.encode([plain]).tokens[0]
    assert with_bytes.decode(tokens) == plain
    assert with_bytes.tokenizer.token_to_id("<unk>") not in tokens.tolist() or "<unk>" in text


def test_bytes_are_in_the_size_and_stay_when_stored(with_bytes, tmp_path):
    assert 356 < with_bytes.size <= 700
    with_bytes.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    for text in ("红色 🦄 Größe", *HOSTILE):
        assert again.encode([text]).tokens.values.tolist() == with_bytes.encode([text]).tokens.values.tolist()
    assert len(with_bytes.encode(["红色的杯子"]).tokens.values) < 5  # what training has often is whole
    assert with_bytes.decode(np.array([with_bytes.tokenizer.token_to_id("<0xE7>")])) == "�"  # half a character


def test_plain_keeps_ordinary_text(vocabulary):
    assert vocabulary.plain("  Red\tmug ,\n 5 < 6 ") == "Red mug , 5 < 6"
    assert vocabulary.plain("Blue </s> lamp") == "Blue < /s> lamp"


def test_words_are_what_white_space_separates(vocabulary):
    spans = vocabulary.encode(["user_251 buys red-mug , now", "", "red"])
    assert len(spans) == 3 and len(spans.tokens[1]) == 0
    first = spans.words[: len(spans.tokens[0])]
    assert first[0] == 0 and sorted(set(first.tolist())) == [0, 1, 2, 3, 4]
    assert spans.words[len(first) :].tolist() == [0] * len(spans.tokens[2])  # each text counts from 0
    assert spans.tokens[0][first == 0].tolist() == vocabulary.encode(["user_251"]).tokens[0].tolist()


def test_the_tokenizer_of_a_run_knows_the_prompts_words_whole(tiny_data):
    vocabulary = train_vocabulary(tiny_data, load_prompts(), size=1500)
    assert vocabulary.size <= 1500
    words = {word for p in load_prompts().values() for word in f"{p.input} {p.target}".split() if "{" not in word}
    words |= {"yes", "no", "->"}
    split = {w for w in words if len(vocabulary.encode([w]).tokens.values) > 1}
    assert not split


def test_a_tokenizer_has_bytes_where_letters_are_not_a_to_z(tiny_data, make_shop):
    def has_bytes(vocabulary: Vocabulary) -> bool:
        return vocabulary.tokenizer.token_to_id("<0x41>") is not None

    assert not has_bytes(train_vocabulary(tiny_data, load_prompts(), 1500))
    bought = {f"u{n}": ["a", "b", "c", "d"] for n in range(4)}
    russian = {"item": ["a", "b", "c", "d"], "title": ["Красная кружка", "Синяя лампа", "Стол", "Стул"]}
    assert has_bytes(train_vocabulary(make_shop(bought, russian), load_prompts(), 1500))
    characters = "".join(map(chr, range(0xA1, 0x200))) + "".join(map(chr, range(0x2190, 0x2600)))  # arrows, boxes
    marks = russian | {"title": ["word " * 5000 + characters, "b", "c", "d"]}
    vocabulary = train_vocabulary(make_shop(bought, marks), load_prompts(), 1500)
    assert has_bytes(vocabulary) and vocabulary.size <= 1500
    assert unknown_share(vocabulary, make_shop(bought, marks), ["item_title"]) == 0


def test_a_tokenizer_of_another_language_is_refused(trained, make_shop):
    bought = {f"u{n}": ["a", "b", "c", "d"] for n in range(4)}
    items = {"item": ["a", "b", "c", "d"], "title": ["Красная кружка", "red mug", "blue lamp", "chair"]}
    told = [{"user": "u1", "item": "b", "timestamp": 0, "explanation": f"a fine mug for me {'ж' * 2}"}]
    shop = make_shop(bought, items, told)
    with pytest.raises(UserError, match=r"does not know \d\d% of the tokens of item_title .*without model.backbone"):
        unknown_share(trained, shop, {"item_title", "user_desc"})
    assert unknown_share(trained, shop, {"user_desc", "star_rating"}) == 0
    assert unknown_share(trained, make_shop(bought), {"item_title", "explanation"}) == 0
    some = make_shop(bought, {"item": ["a", "b", "c", "d"], "title": [*(["a plain red mug"] * 3), "a plain → mug"]})
    assert 0 < unknown_share(trained, some, {"item_title"}) < 0.03


def test_decode(vocabulary):
    text = "Given the red mug , user_1 ."
    tokens = vocabulary.encode([text]).tokens[0]
    assert vocabulary.decode(tokens) == text
    assert vocabulary.decode(np.array([0, *tokens, 1, *tokens])) == text  # up to </s>, padding left out
    assert vocabulary.decode(np.array([vocabulary.size + 5, *tokens, vocabulary.image_id])) == text
    assert vocabulary.decode(np.array([], int)) == "" and vocabulary.decode(np.array([1, 5])) == ""
    assert isinstance(vocabulary.decode(np.arange(vocabulary.size + 30)[2:]), str)


def test_round_trip_and_sizes(trained, tmp_path):
    trained.save(tmp_path)
    again = Vocabulary.load(tmp_path, trained.size + 28)
    assert again.size == trained.size + 28 and again.image_id == trained.image_id
    for text in HOSTILE:
        assert again.encode([text]).tokens.values.tolist() == trained.encode([text]).tokens.values.tolist()
    with pytest.raises(UserError, match="do not belong together"):
        Vocabulary.load(tmp_path, trained.size - 1)
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        Vocabulary.load(tmp_path / "none")
    with pytest.raises(UserError, match="T5 family"):
        Vocabulary(Tokenizer(models.BPE(unk_token="<unk>")))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Vocabulary.load(tmp_path)
