"""Exact scores against beam search that drops nothing, and against teacher forcing of every code."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vip5.data import Ragged
from vip5.decoding import beam_search, exact, score_items, top_items
from vip5.items.trie import Trie
from vip5.model import VIP5, Adapters, Full, ModelConfig
from vip5.model.backbone import Encoded
from vip5.model.input import ModelInput

TEXT, NEW, ROWS, LENGTH = 30, 60, 5, 9
FULL = Full()


def make_model(peft: Full | Adapters = FULL, tied: bool = True) -> VIP5:
    torch.manual_seed(3)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 3}
    form = {"gated": not tied, "activation": "relu" if tied else "gelu_new", "tied_head": tied}
    config = ModelConfig(text_vocab=TEXT, new_tokens=NEW, peft=peft, **size, **form)
    model = VIP5(config).eval()
    with torch.no_grad():  # away from the start, where adapters do nothing and attention is nearly flat
        for weight in model.parameters():
            weight.add_(0.15 * torch.randn_like(weight))
    return model


def prompts() -> ModelInput:
    """Rows of different lengths, padded."""
    ids = torch.randint(2, TEXT, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    ids *= torch.arange(LENGTH) < torch.tensor([9, 3, 6, 9, 1])[:, None]
    return ModelInput(ids, torch.zeros_like(ids), torch.zeros_like(ids))


def atomic() -> np.ndarray:
    return np.stack([TEXT + np.arange(NEW), np.ones(NEW, int)], axis=1)


def numbers() -> np.ndarray:
    """0 … 139 in digits: some numbers are the beginning of others, so </s> is a choice."""
    codes = np.zeros((140, 4), int)
    for row, number in zip(codes, range(140), strict=True):
        digits = [10 + int(digit) for digit in str(number)]
        row[: len(digits) + 1] = [*digits, 1]
    return codes


def clustered() -> np.ndarray:
    """Two clusters deep, then a token of its own: sizes are uneven, and some clusters hold a single item."""
    rng = np.random.default_rng(0)
    clusters = np.sort(rng.geometric(0.3, (NEW, 2)).clip(max=9) + 10, axis=0)
    return np.column_stack([clusters, TEXT + np.arange(NEW), np.ones(NEW, int)])


def long_chain() -> np.ndarray:
    """Codes that part late: more steps than the fast attention over few keys takes."""
    codes = np.full((6, 13), 5)
    codes[:, 3] = [6, 7, 7, 7, 7, 7]
    codes[:, 10:12] = [(8, 2), (8, 2), (8, 3), (9, 2), (9, 4), (9, 5)]
    codes[:, 12] = 1
    return codes


CODES = {f.__name__: f() for f in (atomic, numbers, clustered, long_chain)}


def teacher_forced(model: VIP5, batch: ModelInput, codes: np.ndarray) -> torch.Tensor:
    """log P [B, I] of whole codes, each step renormalised over what some code allows after the same beginning."""
    words = [tuple(t for t in code if t) for code in codes.tolist()]
    inputs = F.pad(torch.from_numpy(codes)[:, :-1], (1, 0))
    encoded = model.encode(batch)
    scores = torch.zeros(len(batch), len(words))
    for row in range(len(batch)):
        alone = Encoded(encoded.states_BLD[row].expand(len(words), -1, -1), encoded.mask_BL[row].expand(len(words), -1))
        logits = model.head(model.decode(inputs, alone))
        for i, word in enumerate(words):
            for t, token in enumerate(word):
                allowed = sorted({other[t] for other in words if other[:t] == word[:t]})
                scores[row, i] += logits[i, t, token] - logits[i, t, allowed].logsumexp(-1)
    return scores


@pytest.mark.parametrize(("peft", "tied"), [(FULL, True), (Adapters(reduction=4), True), (FULL, False)])
@pytest.mark.parametrize("kind", CODES)
@torch.no_grad()
def test_equals_teacher_forcing_of_every_code(kind, peft, tied):
    model, batch, codes = make_model(peft, tied), prompts(), CODES[kind]
    scores = score_items(model, batch, Trie.build(codes))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, teacher_forced(model, batch, codes), atol=1e-4, rtol=0)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(ROWS), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", CODES)
def test_equals_a_beam_search_that_drops_nothing(kind):
    model, batch = make_model(), prompts()
    order = np.random.default_rng(1).permutation(len(CODES[kind]))  # items need not follow their codes
    trie = Trie.build(CODES[kind], order)
    found = beam_search(model, batch, trie=trie, beams=len(order))
    scores = score_items(model, batch, trie)
    torch.testing.assert_close(scores.gather(1, found.items_BK), found.scores_BK, atol=1e-4, rtol=0)
    items, best = top_items(scores, 5)
    torch.testing.assert_close(best, found.scores_BK[:, :5], atol=1e-4, rtol=0)
    assert items.tolist() == found.items_BK[:, :5].tolist()


@pytest.mark.parametrize("rows, states", [(1, 1), (2, 7), (3, 40)])
@pytest.mark.parametrize("kind", CODES)
def test_parts_change_nothing(kind, rows, states, monkeypatch):
    model, batch, trie = make_model(), prompts(), Trie.build(CODES[kind])
    whole = score_items(model, batch, trie)
    monkeypatch.setattr(exact, "ROWS", rows)
    monkeypatch.setattr(exact, "CPU_STATES", states)
    torch.testing.assert_close(score_items(model, batch, trie), whole, atol=1e-5, rtol=0)


def test_few_states_are_alive_whatever_the_catalogue(monkeypatch):
    """What is below a node is finished before the next ones are begun."""
    model, batch = make_model(), prompts()
    monkeypatch.setattr(exact, "CPU_STATES", 2 * ROWS)
    alive: list[int] = []
    pop = exact._NodeFrontier.split

    def split(self, n):
        alive.append(self.above.beams)
        return pop(self, n)

    monkeypatch.setattr(exact._NodeFrontier, "split", split)
    score_items(model, batch, Trie.build(CODES["numbers"]))
    assert max(alive) == 2
    assert len(alive) > 5


def test_one_item_is_certain():
    scores = score_items(make_model(), prompts(), Trie.build(np.array([[5, 6, 1]])))
    assert scores.tolist() == [[0.0]] * ROWS


@pytest.mark.parametrize(
    "trie",
    [
        Trie.build(np.array([[5, 1], [6, 1]]), groups=np.array([0, 1])),
        Trie.build(np.array([[5, 1], [6, 1]]), np.array([0, 2])),
        Trie.build(np.array([[5, 1], [6, 1]]), np.array([1, 2])),
    ],
    ids=["two roots", "a gap", "not from 0"],
)
def test_wants_the_trie_of_a_catalogue(trie):
    with pytest.raises(ValueError, match="one root whose items are 0"):
        score_items(make_model(), prompts(), trie)


def test_lists_leave_out_what_is_excluded():
    scores = torch.tensor([[-1.0, -3.0, -2.0], [-0.5, -0.1, -9.0]])
    lists = [np.array([0, 0, 77, -5]), np.array([0, 1, 2])]
    for exclude in (lists, Ragged.from_lists(lists)):
        items, best = top_items(scores, 4, exclude)
        assert items.tolist() == [[2, 1, -1, -1], [-1] * 4]
        assert best.tolist() == [[-2.0, -3.0, -np.inf, -np.inf], [-np.inf] * 4]
    assert scores[0, 0] == -1  # the caller's stay what they are
    items, best = top_items(scores, 2)
    assert items.tolist() == [[0, 2], [1, 0]]
    assert best.tolist() == [[-1.0, -2.0], scores[1, [1, 0]].tolist()]
    with pytest.raises(ValueError, match="2 rows, but 1 lists"):
        top_items(scores, 1, lists[:1])


@pytest.mark.parametrize("kind", ["numbers", "clustered"])
@torch.no_grad()
def test_as_many_beams_as_candidates_score_each_as_teacher_forcing_does(kind):
    """No beam can be dropped then, so choosing among candidates is exact."""
    model, batch, rng = make_model(), prompts(), np.random.default_rng(2)
    codes, width = CODES[kind], 20
    candidates = np.stack([rng.choice(len(codes), width, replace=False) for _ in range(ROWS)])
    trie = Trie.build(codes[candidates.ravel()], candidates.ravel(), np.repeat(np.arange(ROWS), width))
    found = beam_search(model, batch, trie=trie, roots=trie.roots, beams=width)
    for row, mine in enumerate(candidates):
        expected = teacher_forced(model, batch, codes[mine])[row]
        place = (found.items_BK[row][:, None] == torch.from_numpy(mine)).int().argmax(dim=1)
        assert sorted(found.items_BK[row].tolist()) == sorted(mine.tolist())
        torch.testing.assert_close(found.scores_BK[row], expected[place], atol=1e-4, rtol=0)
    assert F.relu(found.scores_BK.diff(dim=1)).max() == 0
