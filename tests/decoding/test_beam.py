"""Beam search over tries against an exact ranking by brute force."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding import Beams, beam_search
from vip5.items.trie import Trie
from vip5.model.input import ModelInput

VOCAB = 8
codes_of_words = st.lists(st.integers(2, VOCAB - 1), max_size=4).map(lambda word: (*word, 1))
code_sets = st.lists(codes_of_words, min_size=1, max_size=25, unique=True)
slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Recurrent:
    """A random recurrent network with the model's face: the state of a beam depends on its whole prefix."""

    def __init__(self, seed: int, width: int = 5, vocab: int = VOCAB) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.rows, self.tokens, self.out = (2 * torch.randn(vocab, width, generator=draw) for _ in range(3))
        self.turn = torch.randn(width, width, generator=draw)
        self.steps = 0

    def encode(self, batch: ModelInput) -> Tensor:
        return self.rows[batch.input_ids[:, 0]]

    def start(self, encoded: Tensor, beams: int) -> "State":
        return State(encoded[:, None].expand(-1, beams, -1))

    def step(self, tokens_BK: Tensor, state: "State") -> Tensor:
        self.steps += 1
        state.h = torch.tanh(self.tokens[tokens_BK] + state.h @ self.turn)
        return state.h

    def head(self, h: Tensor, tokens: Tensor | None = None) -> Tensor:
        return h @ (self.out if tokens is None else self.out[tokens]).T


class State:
    def __init__(self, h: Tensor) -> None:
        self.h = h

    def reorder(self, parents_BK: Tensor) -> None:
        self.h = self.h.gather(1, parents_BK[..., None].expand(-1, -1, self.h.shape[-1]))


def unigram(logits: dict[int, float]) -> Recurrent:
    """A model with the same logits everywhere; 0 where none is given."""
    model = Recurrent(0)
    model.turn.zero_()
    model.tokens.fill_(100.0)  # so every state is all ones
    model.out.zero_()
    for token, logit in logits.items():
        model.out[token, 0] = logit
    return model


def prompts(rows: list[int]) -> ModelInput:
    ids = torch.tensor(rows).view(-1, 1)
    return ModelInput(ids, ids, ids)


def table(codes: list[tuple[int, ...]]) -> np.ndarray:
    out = np.zeros((len(codes), max(map(len, codes))), np.int64)
    for row, code in zip(out, codes, strict=True):
        row[: len(code)] = code
    return out


def exact_scores(model: Recurrent, row: int, codes: list[tuple[int, ...]]) -> list[float]:
    """log P of every code, token by token, renormalised over what some code allows after the same prefix."""
    scores = []
    for code in codes:
        state, total, token = model.start(model.encode(prompts([row])), 1), 0.0, 0
        for t, following in enumerate(code):
            logits = model.head(model.step(torch.tensor([[token]]), state))[0, 0]
            allowed = sorted({c[t] for c in codes if c[:t] == code[:t]})
            total += (logits[following] - logits[allowed].logsumexp(0)).item()
            token = following
        scores.append(total)
    return scores


def check(found: Beams, row: int, expected: dict[int, float], codes: dict[int, tuple[int, ...]]) -> None:
    """Row `row` holds exactly the expected items, best first, with their scores; then nothing."""
    items, scores = found.items_BK[row].tolist(), found.scores_BK[row].tolist()
    n = min(len(expected), len(items))
    assert len(set(items[:n])) == n
    assert scores[:n] == sorted(scores[:n], reverse=True)
    assert scores[:n] == pytest.approx(sorted(expected.values(), reverse=True)[:n], abs=1e-4)
    assert scores[:n] == pytest.approx([expected[i] for i in items[:n]], abs=1e-4)
    assert items[n:] == [-1] * (len(items) - n)
    assert all(s == -np.inf for s in scores[n:])
    for item, tokens in zip(items, found.tokens_BKT[row].tolist(), strict=True):
        known = [t for t in tokens if t]
        assert known == list(codes[item][: len(known)]) if item >= 0 else not known


@slow_machine
@given(code_sets, st.integers(0, 10**6), st.data())
def test_enough_beams_give_the_exact_ranking(codes, seed, data):
    model, rows = Recurrent(seed), [0, 3, 5]
    items = data.draw(st.permutations(range(10, 10 + len(codes))))
    excluded = [data.draw(st.lists(st.sampled_from([*items, 5, 10**6]))) for _ in rows]
    left = max(len(set(items) - set(e)) for e in excluded)
    K = data.draw(st.integers(max(left, 1), left + 5))  # enough for what may come out, not for all there is
    trie = Trie.build(table(codes), np.array(items))
    found = beam_search(model, prompts(rows), trie=trie, beams=K, exclude=[np.array(e, int) for e in excluded])
    for r, row in enumerate(rows):
        scores = dict(zip(items, exact_scores(model, row, codes), strict=True))
        assert np.exp(list(scores.values())).sum() == pytest.approx(1, abs=1e-4)
        expected = {i: s for i, s in scores.items() if i not in excluded[r]}
        check(found, r, expected, dict(zip(items, codes, strict=True)))


@slow_machine
@given(st.lists(st.lists(codes_of_words, max_size=9, unique=True), min_size=1, max_size=5), st.integers(0, 10**6))
def test_forest_is_separate_tries(lists, seed):
    model, rng = Recurrent(seed), np.random.default_rng(seed)
    pairs = [(g, code) for g, codes in enumerate(lists) for code in codes] or [(0, (1,))]
    trie = Trie.build(table([c for _, c in pairs]), groups=np.array([g for g, _ in pairs]))
    groups = rng.integers(0, len(trie.roots), 6)
    rows = rng.integers(0, VOCAB, 6).tolist()
    excluded = [rng.integers(0, len(pairs), rng.integers(0, 4)) for _ in groups]
    found = beam_search(
        model, prompts(rows), trie=trie, roots=trie.roots[torch.from_numpy(groups)], beams=9, exclude=excluded
    )
    for r, group in enumerate(groups):
        mine = {i: code for i, (g, code) in enumerate(pairs) if g == group}
        scores = dict(zip(mine, exact_scores(model, rows[r], list(mine.values())), strict=True))
        check(found, r, {i: s for i, s in scores.items() if i not in excluded[r]}, mine)


@slow_machine
@given(code_sets, st.integers(0, 10**6), st.integers(1, 4), st.data())
def test_few_beams_give_valid_distinct_items_with_their_true_scores(codes, seed, K, data):
    model, rows = Recurrent(seed), [1, 2]
    excluded = [np.array(data.draw(st.lists(st.integers(0, len(codes) - 1))), int) for _ in rows]
    found = beam_search(model, prompts(rows), trie=Trie.build(table(codes)), beams=K, exclude=excluded)
    for r, row in enumerate(rows):
        scores = exact_scores(model, row, codes)
        items = [i for i in found.items_BK[r].tolist() if i >= 0]
        assert len(items) == min(K, len(codes) - len(set(excluded[r])))
        assert not set(items) & set(excluded[r].tolist())
        check(found, r, {i: scores[i] for i in items}, dict(enumerate(codes)))


def test_rows_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    codes = sorted({(*rng.integers(2, VOCAB, rng.integers(0, 5)).tolist(), 1) for _ in range(60)})
    model, trie, rows = Recurrent(1), Trie.build(table(codes)), list(range(VOCAB))
    exclude = [rng.integers(0, len(codes), n) for n in range(VOCAB)]
    together = beam_search(model, prompts(rows), trie=trie, beams=5, exclude=exclude)
    for r in rows:
        alone = beam_search(model, prompts([r]), trie=trie, beams=5, exclude=exclude[r : r + 1])
        assert together.items_BK[r].tolist() == alone.items_BK[0].tolist()
        torch.testing.assert_close(together.scores_BK[r], alone.scores_BK[0])


def test_a_dead_end_does_not_hold_the_beam():
    # Everything below 2 is excluded and by far the most probable: the one beam must go where an item is left.
    codes = [(2, 3, 4, 1), (2, 3, 5, 1), (2, 3, 6, 1), (7, 1)]
    model, trie = unigram({2: 10.0}), Trie.build(table(codes))
    found = beam_search(model, prompts([0]), trie=trie, beams=1, exclude=[np.arange(3)])
    assert found.items_BK.tolist() == [[3]]
    assert found.scores_BK.item() == pytest.approx(-10, abs=1e-3)  # still the probability among all items
    assert model.steps == 1


def test_excluded_items_below_beams_that_have_ended():
    # After 2 there is one choice and after 3 two, both excluded: what row 0 has no use for must not reach row 1.
    codes = [(2, 4, 4, 1), (2, 4, 5, 1), (3, 4, 1), (3, 5, 1), (3, 6, 1)]
    model, trie = unigram({}), Trie.build(table(codes))
    found = beam_search(model, prompts([0, 1]), trie=trie, beams=6, exclude=[[2, 3, 4], [2, 3, 4, 0]])
    assert sorted(found.items_BK[0].tolist()) == [-1, -1, -1, -1, 0, 1]
    assert found.items_BK[1].tolist() == [1, -1, -1, -1, -1, -1]


def test_an_item_known_early_ends_beyond_the_first_beams():
    # P(2) = .6 splits into .3 and .3; P(7) = .4 is an item, second to 2 at the first step, yet the most probable item.
    model, trie = unigram({2: np.log(1.5)}), Trie.build(table([(2, 3, 1), (2, 4, 1), (7, 5, 1)]))
    found = beam_search(model, prompts([0]), trie=trie, beams=1)
    assert found.items_BK.tolist() == [[2]]
    assert found.scores_BK.exp().item() == pytest.approx(0.4)
    assert found.tokens_BKT[0, 0, 0] == 7


def test_atomic_codes_take_one_step_and_stop():
    model = Recurrent(0, vocab=500)
    trie = Trie.build(np.stack([np.arange(2, 500), np.ones(498, int)], axis=1))
    found = beam_search(model, prompts([3, 4]), trie=trie, beams=20)
    assert model.steps == 1
    logits = model.head(model.step(torch.zeros(2, 1, dtype=torch.long), model.start(model.encode(prompts([3, 4])), 1)))
    best = logits[:, 0, 2:].log_softmax(-1).topk(20)
    assert torch.equal(found.items_BK, best.indices)
    torch.testing.assert_close(found.scores_BK, best.values)


def test_nothing_left_to_recommend():
    trie = Trie.build(table([(2, 1), (3, 1)]), groups=np.array([0, 2]))
    for groups in ([0, 1], [1, 1], [0, 0]):  # group 1 has no items
        excluded = [np.zeros(1 - g, int) for g in groups]
        found = beam_search(
            Recurrent(0), prompts([0, 1]), trie=trie, roots=trie.roots[groups], beams=3, exclude=excluded
        )
        assert found.items_BK.tolist() == [[-1] * 3] * 2
        assert found.scores_BK.isneginf().all()
        assert not found.tokens_BKT.any()


def test_items_know_no_length_penalty():
    with pytest.raises(ValueError, match="length_penalty"):
        beam_search(Recurrent(0), prompts([0]), trie=Trie.build(table([(2, 1)])), length_penalty=1.0)


def test_rows_roots_and_exclusions_must_match():
    trie = Trie.build(table([(2, 1), (3, 1)]))
    with pytest.raises(ValueError, match="2 rows, but 2 roots and 1 lists"):
        beam_search(Recurrent(0), prompts([0, 1]), trie=trie, exclude=[np.array([0])])
    with pytest.raises(ValueError, match="2 rows, but 1 roots and 2 lists"):
        beam_search(Recurrent(0), prompts([0, 1]), trie=trie, roots=trie.roots)


def test_exclusions_as_ragged_rows():
    trie, lists = Trie.build(table([(2, 1), (3, 1), (4, 1)])), [np.array([0, 2]), np.array([], int)]
    found = [
        beam_search(Recurrent(0), prompts([0, 1]), trie=trie, exclude=e) for e in (lists, Ragged.from_lists(lists))
    ]
    assert torch.equal(found[0].items_BK, found[1].items_BK)
    assert found[0].items_BK[0].tolist() == [1] + [-1] * 19
