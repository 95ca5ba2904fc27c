"""What the tokens of items' modalities show, in batches."""

import numpy as np
import pytest

from vip5.data import Ragged
from vip5.modalities import ModalityStore
from vip5.model.input import EOS, ModelInput
from vip5.prompts import Prompt, PromptCompiler, Samples, collate, load_prompts
from vip5.prompts.templates import LIST_FIELDS, cut

TWO = {"photo": 2, "text": 1}


def store(name: str, dim: int, missing: int) -> ModalityStore:
    """Vectors 0 1 …, d d+1 …, of six items, one of which has none."""
    mask = np.ones(6, bool)
    mask[missing] = False
    matrix = np.arange(6 * dim, dtype=np.float32).reshape(6, dim)
    return ModalityStore(name, "photo", dim, "made up", np.where(mask[:, None], matrix, 0), mask)


STORES = {"photo": store("photo", 2, missing=2), "text": store("text", 3, missing=4)}


def items_shown(prompt: Prompt, samples: Samples, row: int) -> list[int]:
    """The items that show their content in a prompt, in the order in which they stand."""
    shown: list[int] = []
    for slot in cut(prompt.input):
        if slot.field in LIST_FIELDS:
            shown += getattr(samples, LIST_FIELDS[slot.field])[row].tolist()
        elif slot.field == "item_content":
            shown.append(int(samples.item[row]))
    return shown


def test_each_items_vector_is_gathered_once(texts):
    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    history = Ragged.from_lists([[5, 2], [2, 2, 0]])
    samples = Samples.of(np.zeros(2, int), np.zeros(2, int), history, item=np.zeros(2, int))
    batch = collate(compiler.inputs(samples), compiler.targets(samples), {"photo": 2}, STORES)
    (photo,) = batch.content.values()
    assert photo.vectors.tolist() == STORES["photo"].matrix[[0, 2, 5]].tolist()
    assert photo.present.tolist() == [True, False, True]
    assert np.array([0, 2, 5])[photo.index.numpy() // 2].tolist() == [5, 5, 2, 2, 2, 2, 2, 2, 0, 0]
    assert (photo.index.numpy() % 2).tolist() == [0, 1] * 5
    assert int((batch.category_ids == 1).sum()) == 10
    assert ((batch.input_ids == 0) == (batch.whole_word_ids == 0))[batch.input_ids != EOS].all()


def test_two_modalities_equal_the_rendered_text(texts_of, some_samples, check_equal):
    for scheme in ("atomic", "sequential"):
        texts = texts_of(scheme, TWO)
        compiler = PromptCompiler(list(load_prompts().values()), texts)
        samples = some_samples(29, 6, 200)
        check_equal(compiler, samples, texts)
        assert (compiler.input_lengths(samples) == compiler.inputs(samples).lengths).all()


@pytest.mark.parametrize("tokens", [TWO, {"text": 1, "photo": 2}, {"photo": 1, "text": 3}])
def test_every_token_shows_the_item_that_the_prompt_names(tokens, texts_of, some_samples):
    """Of each item the tokens of the first modality, then of the second, under categories 1 and 2."""
    texts = texts_of("sequential", tokens)
    compiler, samples = PromptCompiler(list(load_prompts().values()), texts), some_samples(29, 7, 200)
    batch = collate(compiler.inputs(samples), compiler.targets(samples), tokens, STORES)
    image = texts.codes.vocabulary.image_id
    assert ((batch.category_ids > 0) == (batch.input_ids == image)).all()
    expected: dict[str, list[tuple[int, int]]] = {name: [] for name in tokens}
    for row in range(len(samples)):
        shown = items_shown(compiler.prompts[samples.prompt[row]], samples, row)
        of_item = [n for n, k in enumerate(tokens.values(), 1) for _ in range(k)]
        assert batch.category_ids[row][batch.category_ids[row] > 0].tolist() == of_item * len(shown)
        for name, k in tokens.items():
            expected[name] += [(item, j) for item in shown for j in range(k)]
    for name, k in tokens.items():
        content, (matrix, mask) = batch.content[name], (STORES[name].matrix, STORES[name].mask)
        items, within = np.array(expected[name]).T
        assert len(content.vectors) == len(np.unique(items))
        assert (content.index.numpy() % k == within).all()
        assert (content.vectors.numpy()[content.index.numpy() // k] == matrix[items]).all()
        assert (content.present.numpy()[content.index.numpy() // k] == mask[items]).all()


def numbers_shown(batch: ModelInput, name: str, category: int) -> np.ndarray:
    """[B, L, d_v + 1]: at each token of a modality the vector it shows and which of the item's it is; else -1."""
    shown = np.full((*batch.category_ids.shape, STORES[name].dim + 1), -1.0)
    here = batch.category_ids.numpy() == category
    if name in batch.content:
        content, k = batch.content[name], TWO[name]
        index = content.index.numpy()
        shown[here] = np.column_stack([content.vectors.numpy()[index // k], index % k])
    else:
        assert not here.any()
    return shown


def test_a_cut_between_an_items_tokens(texts_of, some_samples):
    """What is left of a long prompt shows what it did, whichever of an item's tokens the cut takes."""
    texts = texts_of("atomic", TWO)
    free, samples = PromptCompiler([load_prompts()["B-5"]], texts), some_samples(1, 8)
    whole = collate(free.inputs(samples), None, TWO, STORES)
    first = int(np.argmax((whole.category_ids > 0).any(0).numpy()))
    for limit in range(first, first + 12):
        cut_off = PromptCompiler([load_prompts()["B-5"]], texts, limit)
        short = collate(cut_off.inputs(samples), None, TWO, STORES)
        long = free.input_lengths(samples) > limit
        assert long.any()
        for category, name in enumerate(TWO, 1):
            before, after = (numbers_shown(batch, name, category)[long, : limit - 1] for batch in (whole, short))
            assert (before == after).all()


def test_prompts_of_words_alone_have_no_content(texts_of):
    texts = texts_of("atomic", TWO)
    compiler = PromptCompiler([load_prompts()["A-1"]], texts)
    nothing = Samples.of(np.zeros(2, int), np.zeros(2, int), item=np.zeros(2, int))  # people without a history
    batch = collate(compiler.inputs(nothing), None, TWO, STORES)
    assert batch.content == {} and not batch.category_ids.any()
