"""Compiled prompts equal the rendered text, tokenised whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data import Ragged
from vip5.items import Vocabulary, fit_codes
from vip5.modalities import ModalityStore
from vip5.model.input import EOS, VISUAL
from vip5.prompts import FieldTexts, PromptCompiler, Samples, collate, load_prompts, render
from vip5.prompts.compile import _distinct
from vip5.prompts.samples import SEPARATORS, slices


def whole(vocabulary: Vocabulary, text: str) -> tuple[list[int], list[int]]:
    """Tokens and whole-word indices of a text, by the tokenizer alone: a word is what white space separates."""
    encoding = vocabulary.tokenizer.encode(text, add_special_tokens=False)
    starts = [0]
    for n, char in enumerate(text):
        starts.append(starts[-1] + (not char.isspace() and (n == 0 or text[n - 1].isspace())))
    return [*encoding.ids, EOS], [*(starts[end] for _, end in encoding.offsets), 0]


def some_samples(n_prompts: int, rng: np.random.Generator, n: int = 40) -> Samples:
    lengths = rng.integers(1, 6, n)
    return Samples.of(
        rng.integers(0, n_prompts, n),
        rng.integers(0, 4, n),
        Ragged.from_lengths(rng.integers(0, 6, lengths.sum()).astype(np.int32), lengths),
        item=rng.integers(0, 6, n),
        separator=rng.integers(0, len(SEPARATORS), n),
        review=rng.integers(0, 3, n),
        stars=rng.choice([10, 37, 50], n),
        yes=rng.integers(0, 2, n),
    )


def check_equal(compiler: PromptCompiler, samples: Samples, texts: FieldTexts) -> None:
    knowing = texts.codes.vocabulary.knowing(texts.codes.new_tokens)
    for side, compiled in enumerate((compiler.inputs(samples), compiler.targets(samples))):
        for row in range(len(samples)):
            text = render(compiler.prompts[samples.prompt[row]], samples, row, texts)[side]
            part = slice(compiled.offsets[row], compiled.offsets[row + 1])
            tokens, words = whole(knowing, text)
            assert compiled.tokens[part].tolist() == tokens, text
            assert compiled.words[part].tolist() == words, text


def test_every_prompt_equals_tokenising_the_text_whole(texts):
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    samples = some_samples(29, np.random.default_rng(0), 400)
    assert set(samples.prompt) == set(range(29))
    check_equal(compiler, samples, texts)
    assert (compiler.input_lengths(samples) == compiler.inputs(samples).lengths).all()


def test_a_prompt_of_ones_own(tmp_path, texts):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[prompt]]\nid = "X-1"\ntask = "choice"\n'
        'input = "({user_desc}!) of {candidates} takes"\ntarget = "{item_id}."\n'
    )
    prompts = load_prompts(file)
    compiler = PromptCompiler([prompts["X-1"]], texts)
    check_equal(compiler, some_samples(1, np.random.default_rng(1)), texts)


def test_with_t5s_own_tokenizer(shared, shop):
    vocabulary = Vocabulary.load(shared / "models/t5-tokenizer", 32128)
    for scheme in ("atomic", "sequential"):
        texts = FieldTexts(shop, fit_codes(scheme, shop, vocabulary), image_tokens=1)
        compiler = PromptCompiler(list(load_prompts().values()), texts)
        check_equal(compiler, some_samples(29, np.random.default_rng(2), 200), texts)


def test_a_written_out_example_with_t5s_tokenizer(shared, shop):
    """ "user_251" is "▁user", "_", "25", "1" under one whole-word index; an image token is a word (the paper, 3.1)."""
    vocabulary = Vocabulary.load(shared / "models/t5-tokenizer", 32128)
    codes = fit_codes("sequential", shop, vocabulary)
    texts = FieldTexts(shop, codes, image_tokens=2)
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
    assert compiled.images[first : first + 2].tolist() == [0, 1]  # item 0, its two image tokens
    assert sorted(compiled.images[compiled.images >= 0].tolist()) == [0, 1, 2, 3]
    spelled = vocabulary.encode(["user_251"])
    assert [vocabulary.tokenizer.id_to_token(t) for t in spelled.tokens[0]] == ["▁user", "_", "25", "1"]
    assert spelled.words.tolist() == [0, 0, 0, 0]


def test_no_photo_tokens_without_photos(shop, vocabulary):
    texts = FieldTexts(shop, fit_codes("atomic", shop, vocabulary), image_tokens=0)
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    samples = some_samples(29, np.random.default_rng(3), 100)
    check_equal(compiler, samples, texts)
    assert (compiler.inputs(samples).images == -1).all()


@pytest.mark.parametrize("limit", [12, 20, 21, 22, 23])  # also between the two image tokens of an item
def test_a_long_prompt_is_cut_and_still_ends(texts, limit):
    compiler = PromptCompiler([load_prompts()["A-1"]], texts, max_input=limit)
    samples = some_samples(1, np.random.default_rng(4))
    compiled, free = compiler.inputs(samples), PromptCompiler([load_prompts()["A-1"]], texts).inputs(samples)
    assert (compiled.lengths == np.minimum(free.lengths, limit)).all()
    assert (compiler.input_lengths(samples) == compiled.lengths).all()
    for row in range(len(samples)):
        for name, end in (("tokens", EOS), ("words", 0), ("images", -1)):
            cut = getattr(compiled, name)[compiled.offsets[row] : compiled.offsets[row + 1]]
            whole = getattr(free, name)[free.offsets[row] : free.offsets[row + 1]]
            assert cut[-1] == end and (cut[:-1] == whole[: len(cut) - 1]).all()


def test_no_samples_are_no_prompts(texts):
    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    nothing = some_samples(1, np.random.default_rng(5)).take(np.zeros(0, int))
    assert len(compiler.inputs(nothing).lengths) == len(compiler.input_lengths(nothing)) == 0


def test_text_from_outside_cannot_write_special_tokens(texts):
    compiler = PromptCompiler([load_prompts()["B-3"]], texts)
    samples = Samples.of(np.zeros(6, int), np.zeros(6, int), item=np.arange(6))
    compiled = compiler.inputs(samples)
    image = texts.codes.vocabulary.image_id
    assert (compiled.tokens == EOS).sum() == 6
    assert ((compiled.tokens == image) == (compiled.images >= 0)).all()


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


def test_collate_gathers_each_items_features_once(texts, tmp_path):
    matrix = np.arange(12, dtype=np.float32).reshape(6, 2)
    mask = np.array([True, True, False, True, True, True])

    class Store:
        dim = 2

        def gather(self, rows):
            return matrix[rows], mask[rows]

    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    history = Ragged.from_lists([[5, 2], [2, 2, 0]])
    samples = Samples.of(np.zeros(2, int), np.zeros(2, int), history, item=np.zeros(2, int))
    store: ModalityStore = Store()  # type: ignore[assignment]
    batch = collate(compiler.inputs(samples), compiler.targets(samples), store, image_tokens=2)
    assert batch.features.tolist() == matrix[[0, 2, 5]].tolist()
    assert batch.has_photo.tolist() == [True, False, True]
    items = batch.image_index.numpy() // 2
    assert np.array([0, 2, 5])[items].tolist() == [5, 5, 2, 2, 2, 2, 2, 2, 0, 0]
    assert (batch.image_index.numpy() % 2).tolist() == [0, 1] * 5
    assert int((batch.category_ids == VISUAL).sum()) == 10
    assert ((batch.input_ids == 0) == (batch.whole_word_ids == 0))[batch.input_ids != EOS].all()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('id = "A-1"\ntask = "next"\ninput = "x {purchase_history}"\ntarget = "{item_id}"', "id of a built-in"),
        ('id = "X"\ntask = "next"\ninput = "x {who}"\ntarget = "{item_id}"', "unknown field"),
        ('id = "X"\ntask = "next"\ninput = "x {item_id}"\ntarget = "{item_id}"', "gives the answer away"),
        ('id = "X"\ntask = "choice"\ninput = "{purchase_history}"\ntarget = "{item_id}"', "no purchase_history"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}{item_photo}"\ntarget = "{yes_no}"', "two fields"),
        ('id = "X"\ntask = "yes_no"\ninput = "a ({item_photo})"\ntarget = "{yes_no}"', "put spaces around"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}"\ntarget = "maybe"', "must hold {yes_no}"),
        ('id = "X"\ntask = "buy"\ninput = "a {item_id}"\ntarget = "{yes_no}"', "task"),
        ('id = "X"\ntask = "yes_no"\ninput = "a {item_id}"\ntarget = "{yes_no}"\ncolour = 1', "colour"),
        ('id = "X', "not valid TOML"),
    ],
)
def test_a_bad_prompt_is_one_clear_line(tmp_path, table, said):
    from vip5.errors import UserError

    file = tmp_path / "own.toml"
    file.write_text(f"[[prompt]]\n{table}\n")
    with pytest.raises(UserError, match=said.replace("{", r"\{")) as error:
        load_prompts(file)
    assert "\n" not in str(error.value) and "own.toml" in str(error.value)


def test_there_are_29_prompts_and_three_are_unseen():
    prompts = load_prompts()
    assert len(prompts) == 29
    assert [name for name, prompt in prompts.items() if prompt.unseen] == ["A-9", "B-8", "C-12"]
