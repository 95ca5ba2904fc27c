"""The exact lists of the best items against scores of all items, and where beams lose them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Ragged
from vip5.decoding import beam_search, best, best_items, score_items, top_items
from vip5.items.trie import Trie
from vip5.model import VIP5, Adapters, Full, ModelConfig
from vip5.model.input import ModelInput

VOCAB, ROWS, LENGTH = 60, 7, 9
FULL = Full()
code_sets = st.lists(
    st.lists(st.integers(2, 7), max_size=4).map(lambda word: (*word, 1)), min_size=1, max_size=60, unique=True
)


def make_model(peft: Full | Adapters = FULL, sharpness: float = 1.0) -> VIP5:
    torch.manual_seed(3)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 2}
    form = {"gated": False, "activation": "relu", "tied_head": True}
    config = ModelConfig(text_vocab=VOCAB, new_tokens=0, peft=peft, **size, **form)
    model = VIP5(config).eval()
    with torch.no_grad():  # away from the start, where adapters do nothing and attention is nearly flat
        for weight in model.parameters():
            weight.add_(0.15 * torch.randn_like(weight))
        model.decoder.norm.weight.mul_(sharpness)
    return model


MODEL = make_model()


def prompts() -> ModelInput:
    """Rows of different lengths, padded."""
    ids = torch.randint(2, VOCAB, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    ids *= torch.arange(LENGTH) < torch.tensor([9, 3, 6, 9, 1, 4, 8])[:, None]
    return ModelInput(ids, torch.zeros_like(ids), torch.zeros_like(ids))


def table(codes: list[tuple[int, ...]]) -> np.ndarray:
    return np.array([(*code, *[0] * (5 - len(code))) for code in codes])


def clustered(n: int = 400) -> np.ndarray:
    """Two clusters deep, of uneven sizes, then a number of one or two digits."""
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.geometric(0.2, (n, 2)).clip(max=20) + 10, rng.integers(35, 55, (n, 2)), np.ones(n)])
    short = rng.random(n) < 0.3
    codes[short, 3], codes[short, 4] = 1, 0
    return np.unique(codes.astype(int), axis=0)


def check(found: tuple[torch.Tensor, torch.Tensor], scores_BI: torch.Tensor, k: int, exclude=None) -> None:
    """The k best scores, and each that of its item."""
    items, scores = found
    assert (items.dtype, scores.dtype) == (torch.int64, torch.float32)
    _, expected = top_items(scores_BI, k, exclude)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)
    assert torch.equal(items < 0, scores.isneginf())
    own = scores_BI.gather(1, items.clamp(min=0)).masked_fill(items < 0, -torch.inf)
    torch.testing.assert_close(scores, own, atol=1e-4, rtol=0)
    for row, mine in enumerate(items):
        real = mine[mine >= 0].tolist()
        assert len(set(real)) == len(real)
        assert exclude is None or not set(real) & set(exclude[row].tolist())


def test_finds_what_a_beam_drops(monkeypatch):
    """P(a) = 0.6, shared by three items; P(b) = 0.4, nearly all of it one item's: 0.38. A beam of one follows a."""
    probability = torch.ones(VOCAB)
    probability[[2, 3, 8, 9]] = torch.tensor([0.6, 0.4, 0.95, 0.05])
    monkeypatch.setattr(MODEL, "head", lambda h, tokens: probability[tokens].log().expand(*h.shape[:-1], -1).clone())
    trie = Trie.build(table([(2, 5, 1), (2, 6, 1), (2, 7, 1), (3, 8, 1), (3, 9, 1)]))
    lost = beam_search(MODEL, prompts(), trie=trie, beams=1)
    torch.testing.assert_close(lost.scores_BK.exp(), torch.full((ROWS, 1), 0.2))
    items, scores = best_items(MODEL, prompts(), trie, 1)
    assert items.tolist() == [[3]] * ROWS
    torch.testing.assert_close(scores.exp(), torch.full((ROWS, 1), 0.38))
    items, scores = best_items(MODEL, prompts(), trie, 1, [np.array([3])] * ROWS)
    torch.testing.assert_close(scores.exp(), torch.full((ROWS, 1), 0.2))


@settings(deadline=None, max_examples=30)
@given(codes=code_sets, k=st.integers(1, 70), data=st.data())
def test_equals_the_best_of_all_scores(codes, k, data):
    items = st.lists(st.integers(-2, len(codes) + 2), max_size=len(codes))
    exclude = [np.array(data.draw(items), dtype=int) for _ in range(ROWS)]
    trie = Trie.build(table(codes))
    scores = score_items(MODEL, prompts(), trie)
    check(best_items(MODEL, prompts(), trie, k), scores, k)
    check(best_items(MODEL, prompts(), trie, k, exclude), scores, k, exclude)
    check(best_items(MODEL, prompts(), trie, k, Ragged.from_lists(exclude)), scores, k, exclude)


@pytest.mark.parametrize("peft", [FULL, Adapters(reduction=4)], ids=["full", "adapters"])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 8.0])
def test_a_large_catalogue_of_an_unsure_and_of_a_sure_model(peft, sharpness):
    model, codes = make_model(peft, sharpness), clustered()
    order = np.random.default_rng(1).permutation(len(codes))  # items need not follow their codes
    trie = Trie.build(codes, order)
    scores = score_items(model, prompts(), trie)
    exclude = list(scores.topk(3).indices.numpy())
    for k in (1, 10, len(codes) + 3):
        check(best_items(model, prompts(), trie, k, exclude), scores, k, exclude)


def test_a_sure_model_reads_little_of_the_catalogue(monkeypatch):
    model, trie = make_model(sharpness=8.0), Trie.build(clustered())
    step, read = VIP5.step, []
    monkeypatch.setattr(
        VIP5, "step", lambda self, tokens, state: (read.append(tokens.numel()), step(self, tokens, state))[1]
    )
    best_items(model, prompts(), trie, 3)
    inner = int((trie.item < 0).sum())
    assert sum(read) < 0.3 * ROWS * inner


@pytest.mark.parametrize("states, at_once, padding", [(1, 1, 1.0), (5, 2, 1.5), (40, 1, 100.0)])
def test_parts_change_nothing(states, at_once, padding, monkeypatch):
    trie = Trie.build(clustered())
    whole = best_items(MODEL, prompts(), trie, 10)
    monkeypatch.setattr(best, "CPU_STATES", states)
    monkeypatch.setattr(best, "AT_ONCE", at_once)
    monkeypatch.setattr(best, "PADDING", padding)
    items, scores = best_items(MODEL, prompts(), trie, 10)
    torch.testing.assert_close(scores, whole[1], atol=1e-5, rtol=0)
    assert torch.equal(items, whole[0])


def test_candidates_of_each_row():
    """As many beams as candidates lose none; the last row has no candidates."""
    rng, codes, width = np.random.default_rng(2), clustered(), 30
    mine = np.stack([rng.choice(len(codes), width, replace=False) for _ in range(ROWS)])
    mine[1, :] = mine[0]
    groups = np.repeat(np.arange(ROWS), width)
    trie = Trie.build(codes[mine.ravel()], mine.ravel(), groups)
    exclude = [row[:3] for row in mine]
    expected = beam_search(MODEL, prompts(), trie=trie, roots=trie.roots, beams=width, exclude=exclude)
    items, scores = best_items(MODEL, prompts(), trie, 5, exclude, trie.roots)
    torch.testing.assert_close(scores, expected.scores_BK[:, :5], atol=1e-4, rtol=0)
    assert torch.equal(items, expected.items_BK[:, :5])
    few = Trie.build(codes[[0, 1, 2]], np.array([4, 5, 6]), np.array([0, 0, 2]))
    items, scores = best_items(MODEL, prompts(), few, 2, roots=few.roots[[0, 1, 2, 0, 1, 2, 0]])
    assert [sorted(row) for row in items.tolist()] == [[4, 5], [-1, -1], [-1, 6], [4, 5], [-1, -1], [-1, 6], [4, 5]]
    assert scores[2].tolist() == [0.0, -np.inf]


def test_rows_roots_and_exclusions_must_match():
    trie = Trie.build(table([(2, 1), (3, 1)]))
    with pytest.raises(ValueError, match="7 rows, but 7 roots and 2 lists"):
        best_items(MODEL, prompts(), trie, 1, [np.array([0])] * 2)
