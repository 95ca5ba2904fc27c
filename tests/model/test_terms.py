"""Terms of items' scores, on shops small enough to work out by hand."""

import math

import numpy as np
import pytest
import torch

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.model.sparse import taken_together, transitions, word_vectors
from vip5.model.terms import ScoreTerms, TermSettings, unit


def dense(csr, width: int) -> np.ndarray:
    start, column, value = (x.numpy() for x in csr)
    out = np.zeros((len(start) - 1, width))
    for row in range(len(out)):
        out[row, column[start[row] : start[row + 1]]] = value[start[row] : start[row + 1]]
    return out


def test_transitions_by_hand():
    """One person takes 0, 1, 2: a step counts 1, two steps a half, backwards half of that; one purchase is little."""
    counts = np.array([[0, 1, 0.5], [0.5, 0, 1], [0.25, 0.5, 0]])
    damped = counts * (counts.sum(axis=0) + 1) ** -0.3
    once = damped / damped.sum(axis=1, keepdims=True)
    found = dense(transitions(Ragged.from_lists([[0, 1, 2]]), 3), 3)
    assert np.allclose(found, (once + 0.3 * once @ once) / 11, atol=1e-6)


def test_nothing_leads_from_one_person_to_the_next():
    found = dense(transitions(Ragged.from_lists([[0, 1], [2, 3]]), 4), 4)
    assert found[1, 2] == found[2, 1] == 0 and found[0, 1] > found[1, 0] * 0.99 and found[0, 2] == 0


def test_who_buys_again_says_nothing_of_what_follows():
    assert not dense(transitions(Ragged.from_lists([[0, 0, 0]]), 2), 2).any()


def test_what_is_taken_together_by_hand():
    """Two people took 0 and 1, one of them 2 as well; a pair that one person took twice counts once."""
    found = dense(taken_together(Ragged.from_lists([[0, 1, 0], [2, 1, 0], [1]]), 3), 3)
    root = math.sqrt(2 * 3)
    assert found[0, 1] == found[1, 0] == pytest.approx(2 / (root + 2))
    assert found[0, 2] == pytest.approx(1 / (math.sqrt(2) + 2)) and not found.diagonal().any()


def test_words_are_weighted_by_how_rare_they_are():
    rows = dense(word_vectors(["red mug mug", "Red, scarf", "", "blue"]), 4)
    red, rare = math.log(4 / 2), math.log(4)
    length = math.hypot(red, rare)
    assert sorted(rows[0][rows[0] > 0]) == pytest.approx([red / length, rare / length])
    assert rows[0] @ rows[1] == pytest.approx(red * red / length**2)
    assert not rows[2].any() and rows[3].max() == pytest.approx(1)


def test_recent_items_weigh_more():
    """Of three items the last two count, the one before the last a half."""
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    settings = TermSettings(again=True, popularity=True, recent=2)
    history = Ragged.from_lists([[0, 1, 1], [1, 2]])
    terms = ScoreTerms.of(settings, history, 4, {"looks": (vectors, np.ones(4, bool))}, [""] * 4)
    asked = Ragged.from_lists([[3, 0, 1]])
    assert terms.names == ["popularity", "again", "looks"]
    assert terms.scores("again", asked)[0].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert terms.scores("popularity", asked)[0].tolist() == pytest.approx([3**-0.5, 1.0, 3**-0.5, 0.0])
    taste = np.array([0.5, 1.0]) / math.hypot(0.5, 1.0)
    assert terms.scores("looks", asked)[0].tolist() == pytest.approx([taste[0], taste[1], 0.0, 0.0])


def test_the_score_is_the_root_of_p_and_weighted_terms():
    terms = ScoreTerms.of(TermSettings(again=True), Ragged.from_lists([[0]]), 2, {}, ["", ""])
    total = terms.total(torch.tensor([[0.25, 0.75]]).sqrt(), Ragged.from_lists([[1]]), {"again": 0.3})
    assert total[0].tolist() == pytest.approx([0.5, math.sqrt(0.75) + 0.3])


def test_an_empty_history_has_terms_too():
    settings = TermSettings(transitions=True, together=True, words=True, popularity=True, again=True)
    vectors = {"looks": (np.eye(3, dtype=np.float32), np.array([True, True, False]))}
    terms = ScoreTerms.of(settings, Ragged.from_lists([[0, 1]]), 3, vectors, ["a", "a b", ""])
    for name in terms.names:
        found = terms.scores(name, Ragged.from_lists([[], [0]]))
        assert found.shape == (2, 3) and found.isfinite().all()
        assert name == "popularity" or not found[0].any()


def test_what_has_no_vector_is_like_nothing():
    rows = unit(np.array([[3, 1], [1, 1], [9, 9]], np.float32), np.array([True, True, False]))
    assert rows.tolist() == [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]


def test_saved_and_loaded(tmp_path):
    settings = TermSettings(transitions=True, together=True, words=True, popularity=True)
    vectors = {"looks": (np.eye(3, dtype=np.float32), np.ones(3, bool))}
    terms = ScoreTerms.of(settings, Ragged.from_lists([[0, 1, 2], [2, 0]]), 3, vectors, ["a b", "b c", "c"])
    terms.weights, terms.power = {"words": 0.2, "looks": 0.1}, 1.7
    terms.recency = {"words": 0.9, "together": 1.0}
    terms.save(tmp_path / "terms")
    loaded = ScoreTerms.load(tmp_path / "terms", vectors, 3)
    asked = Ragged.from_lists([[0, 2], [1]])
    assert loaded.names == terms.names and (loaded.weights, loaded.power) == (terms.weights, 1.7)
    for name in terms.names:
        assert torch.equal(loaded.scores(name, asked), terms.scores(name, asked))
    name, written = loaded.facts()[0]
    assert name == "score of a next item"
    assert written == "√p + 0.2 · words (0.9 per item back) + 0.1 · looks (0.5 per item back)"
    assert loaded.facts()[1] == ("score among candidates", "√p")
    (tmp_path / "terms").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged"):
        ScoreTerms.load(tmp_path / "terms", vectors, 3)


@pytest.mark.parametrize("logs", [True, False])
def test_a_new_item_stands_where_its_content_alone_would_put_it(logs):
    """As many known items stand before it as are liker to the history; the known ones keep their scores."""
    rng, n = np.random.default_rng(0), 30
    terms = ScoreTerms(TermSettings(), n, {"sound": unit(rng.normal(size=(n, 6)), np.ones(n, bool))})
    terms.new = torch.from_numpy(rng.random(n) < 0.3)
    histories = Ragged.from_lists([[3, 4], [7]])
    before = torch.from_numpy(rng.normal(size=(2, n)).astype(np.float32))
    before = before if logs else before.exp()
    before[0, 3] = before[0, 4] = -torch.inf  # must not come out
    after, like = terms.place_new(before.clone(), histories), terms.scores("sound", histories)
    open_known = ~terms.new & (before > -torch.inf)
    assert torch.equal(after[:, ~terms.new].clamp(min=-1e4), before[:, ~terms.new].clamp(min=-1e4))
    for row in range(2):
        for item in np.flatnonzero(terms.new.numpy()):
            if like[row, item] > 0:
                liker = int((like[row, open_known[row]] > like[row, item]).sum())
                assert int((after[row, open_known[row]] > after[row, item]).sum()) == liker
    assert terms.new.any() and not torch.equal(after, before)


def test_a_new_item_that_is_liker_than_twins_stands_just_above_them():
    vectors = np.array([[1, 0, 0], [0.9, 0.3, 0], [0.9, 0.3, 0], [0, 1, 0], [0, 0, 1], [0.99, 0.05, 0]])
    terms = ScoreTerms(
        TermSettings(), 6, {"sound": torch.nn.functional.normalize(torch.tensor(vectors).float(), dim=1)}
    )
    terms.new = torch.arange(6) == 5
    before = torch.tensor([[-torch.inf, -2.0, -3.0, -5.0, -6.0, -9.0]])  # the history's own item must not come out
    after = terms.place_new(before.clone(), Ragged.from_lists([[0]]))
    assert -2.0 < float(after[0, 5]) <= -1.0 and torch.equal(after[:, 1:5], before[:, 1:5])


def test_a_new_item_comes_last_where_nothing_is_known_of_a_person():
    """After no history, and where the history has no vectors, no item is like it."""
    vectors, there = np.random.default_rng(0).normal(size=(20, 6)), np.arange(20) != 5
    terms = ScoreTerms(TermSettings(), 20, {"sound": unit(vectors, there)})
    terms.new = torch.arange(20) >= 17
    after = terms.place_new(torch.rand(2, 20) + 1.0, Ragged.from_lists([[], [5]]))
    assert (after[:, 17:] <= after[:, :17].min(dim=1, keepdim=True).values).all()
