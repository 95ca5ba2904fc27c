"""Compiled prompts equal the rendered text, tokenised whole."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data import Ragged
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError
from vip5.items import Vocabulary, fit_codes
from vip5.model.input import EOS
from vip5.prompts import FieldTexts, Prompt, PromptCompiler, Samples, load_prompts
from vip5.prompts.compile import _distinct
from vip5.prompts.samples import slices


def test_every_prompt_equals_tokenising_the_text_whole(texts, some_samples, check_equal):
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    samples = some_samples(29, 0, 400)
    assert set(samples.prompt) == set(range(29))
    check_equal(compiler, samples, texts)
    assert (compiler.input_lengths(samples) == compiler.inputs(samples).lengths).all()


def test_a_prompt_of_ones_own(tmp_path, texts, some_samples, check_equal):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[prompt]]\nid = "X-1"\ntask = "choice"\n'
        'input = "({user_desc}!) of {candidates} takes"\ntarget = "{item_id}."\n'
    )
    prompts = load_prompts(file)
    compiler = PromptCompiler([prompts["X-1"]], texts)
    check_equal(compiler, some_samples(1, 1), texts)


@pytest.mark.parametrize(
    "template",
    [
        "User_{user_id} bought {purchase_history} . Choose one of {candidates}",
        "{candidates} for {user_desc} , who had {purchase_history}",
        "{purchase_history} {candidates} {purchase_history} or {candidates} ?",
    ],
)
def test_history_and_candidates_in_one_prompt(template, texts, some_samples, check_equal):
    """In either order, and beside prompts that show one of them; some samples have nothing in one or the other."""
    own = Prompt(id="X", task="choice", input=template, target="{item_id}")
    prompts = [own, load_prompts()["A-1"], load_prompts()["B-5"], load_prompts()["C-3"]]
    compiler, samples = PromptCompiler(prompts, texts), some_samples(4, 6, 200)
    for name in ("history", "candidates"):
        rows = list(getattr(samples, name))
        empty = Ragged.from_lists([row[: n % 5] for n, row in enumerate(rows)])
        samples = replace(samples, **{name: empty.take(np.arange(200)[:: -1 if name == "history" else 1])})
    check_equal(compiler, samples, texts)
    assert (compiler.input_lengths(samples) == compiler.inputs(samples).lengths).all()


def test_candidates_are_not_cut_off(texts, some_samples):
    """A prompt that is just as long as the limit is whole; one token more is refused, and what helps is said."""
    prompts, samples = [load_prompts()[name] for name in ("B-5", "A-1")], some_samples(2, 7)
    lengths = PromptCompiler(prompts, texts).input_lengths(samples)
    longest = int(lengths[samples.prompt == 0].max())
    assert (PromptCompiler(prompts, texts, longest).input_lengths(samples) == np.minimum(lengths, longest)).all()
    with pytest.raises(UserError, match=f"prompt B-5 .* is {longest} tokens .*max_input \\({longest - 1}\\)") as error:
        PromptCompiler(prompts, texts, longest - 1).input_lengths(samples)
    enough = int(re.search(r"train with prompts.max_input=(\d+)", str(error.value))[1])
    assert PromptCompiler(prompts, texts, enough).input_lengths(samples).max() <= enough


def test_with_t5s_own_tokenizer(shared, texts_of, some_samples, check_equal):
    vocabulary = Vocabulary.load(shared / "models/t5-tokenizer", 32128)
    for scheme in ("atomic", "sequential"):
        texts = texts_of(scheme, {"photo": 1}, own=vocabulary)
        compiler = PromptCompiler(list(load_prompts().values()), texts)
        check_equal(compiler, some_samples(29, 2, 200), texts)


def test_a_written_out_example_with_t5s_tokenizer(shared, shop):
    """ "user_251" is "▁user", "_", "25", "1" under one whole-word index; a photo's token is a word (the paper, 3.1)."""
    vocabulary = Vocabulary.load(shared / "models/t5-tokenizer", 32128)
    codes = fit_codes("sequential", shop, vocabulary)
    texts = FieldTexts(Catalogue.of(shop), codes, {"photo": 2})
    compiler = PromptCompiler([load_prompts()["A-3"]], texts)
    history = Ragged.from_lists([[0, 1]])
    samples = Samples.of(np.zeros(1, int), np.array([2]), history, item=np.array([3]))
    compiled = compiler.inputs(samples)
    pieces = [vocabulary.tokenizer.id_to_token(t) for t in compiled.tokens]
    assert "".join(pieces[:12]).replace("▁", " ").strip() == "Here is the purchase history list of user_3 :"
    first = pieces.index("<extra_id_0>")
    assert pieces[first : first + 2] == ["<extra_id_0>"] * 2
    code = codes.spans().tokens[0].tolist()
    assert compiled.tokens[first - len(code) : first].tolist() == code
    words = compiled.words
    assert words[pieces.index("▁user")] == 8 and words[pieces.index("▁user") + 1] == 8  # "_" is in the same word
    assert words[first - 1] + 1 == words[first] and words[first] + 1 == words[first + 1]
    assert words[-1] == 0 and pieces[-1] == "</s>"
    assert compiled.content[first : first + 2].tolist() == [0, 1]  # item 0, its two tokens
    assert sorted(compiled.content[compiled.content >= 0].tolist()) == [0, 1, 2, 3]
    spelled = vocabulary.encode(["user_251"])
    assert [vocabulary.tokenizer.id_to_token(t) for t in spelled.tokens[0]] == ["▁user", "_", "25", "1"]
    assert spelled.words.tolist() == [0, 0, 0, 0]


def test_no_content_without_modalities(texts_of, some_samples, check_equal):
    texts = texts_of("atomic", {})
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    samples = some_samples(29, 3, 100)
    check_equal(compiler, samples, texts)
    assert (compiler.inputs(samples).content == -1).all()


@pytest.mark.parametrize("limit", [12, 20, 21, 22, 23])  # also between the two tokens of an item
def test_a_long_prompt_is_cut_and_still_ends(texts, limit, some_samples):
    compiler = PromptCompiler([load_prompts()["A-1"]], texts, max_input=limit)
    samples = some_samples(1, 4)
    compiled, free = compiler.inputs(samples), PromptCompiler([load_prompts()["A-1"]], texts).inputs(samples)
    assert (compiled.lengths == np.minimum(free.lengths, limit)).all()
    assert (compiler.input_lengths(samples) == compiled.lengths).all()
    for row in range(len(samples)):
        for name, end in (("tokens", EOS), ("words", 0), ("content", -1)):
            cut = getattr(compiled, name)[compiled.offsets[row] : compiled.offsets[row + 1]]
            whole = getattr(free, name)[free.offsets[row] : free.offsets[row + 1]]
            assert cut[-1] == end and (cut[:-1] == whole[: len(cut) - 1]).all()


def test_no_samples_are_no_prompts(texts, some_samples):
    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    nothing = some_samples(1, 5).take(np.zeros(0, int))
    assert len(compiler.inputs(nothing).lengths) == len(compiler.input_lengths(nothing)) == 0


def test_text_from_outside_cannot_write_special_tokens(texts):
    compiler = PromptCompiler([load_prompts()["B-3"]], texts)
    samples = Samples.of(np.zeros(6, int), np.zeros(6, int), item=np.arange(6))
    compiled = compiler.inputs(samples)
    image = texts.codes.vocabulary.image_id
    assert (compiled.tokens == EOS).sum() == 6
    assert ((compiled.tokens == image) == (compiled.content >= 0)).all()


def test_slices_by_hand():
    starts, lengths = np.array([3, 0, 10]), np.array([2, 0, 3])
    assert slices(starts, lengths).tolist() == [3, 4, 10, 11, 12]
    assert slices(starts, lengths, step=2).tolist() == [3, 5, 10, 12, 14]
    assert slices(starts[:0], lengths[:0]).tolist() == []


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3)))
def test_distinct_is_unique_and_its_inverse(items):
    values = np.array(items, np.int32)
    for found, expected in zip(_distinct(values), np.unique(values, return_inverse=True), strict=True):
        assert found.tolist() == expected.tolist()
