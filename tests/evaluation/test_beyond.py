"""What is recommended: cases worked out by hand, slow loops that say the same, and what must always hold."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.evaluation.beyond import coverage, gini, novelty, popularity, wasted

LISTS = np.array([[0, 1, 2], [0, 1, -1], [0, -1, 0], [-1, -1, -1]])
COUNTS = np.array([7, 3, 0, 2])


@st.composite
def shops(draw):
    """Lists with gaps and repetitions, the counts of their catalogue, and a cutoff that may be beyond the lists."""
    n, width, n_items = draw(st.integers(1, 6)), draw(st.integers(0, 6)), draw(st.integers(1, 8))
    entries = st.lists(st.integers(-1, n_items - 1), min_size=width, max_size=width)
    ranked = np.array(draw(st.lists(entries, min_size=n, max_size=n)), dtype=int).reshape(n, width)
    counts = np.array(draw(st.lists(st.integers(0, 50), min_size=n_items, max_size=n_items)))
    return ranked, counts, draw(st.integers(1, 8))


def items_of(ranked: np.ndarray, k: int) -> list[list[int]]:
    """Each user's distinct items, as a slow loop finds them."""
    return [[item for item in dict.fromkeys(row[:k]) if item >= 0] for row in ranked.tolist()]


def test_coverage_by_hand():
    assert coverage(LISTS, 4, 3) == 3 / 4
    assert coverage(LISTS, 4, 1) == 1 / 4
    assert coverage(LISTS[3:], 4, 3) == 0


def test_gini_by_hand():
    # items are in 0, 1, 2 and 3 lists: (-3 * 0 - 1 * 1 + 1 * 2 + 3 * 3) / (6 * 3)
    assert gini(LISTS, 4, 3) == pytest.approx(10 / 18)
    assert gini(np.array([[2], [2], [2]]), 4, 1) == 1
    assert gini(np.array([[0, 1], [2, 3]]), 4, 2) == 0
    assert gini(np.tile(np.arange(5), (9, 1)), 101, 5) == pytest.approx(1 - 4 / 100)


def test_gini_where_there_is_nothing_to_be_uneven_about():
    assert gini(LISTS[3:], 4, 3) == 0
    assert gini(np.zeros((3, 1), int), 1, 1) == 0


def test_popularity_by_hand():
    assert popularity(LISTS, COUNTS, 3).tolist() == pytest.approx([10 / 3, 5, 7, 0])
    assert popularity(LISTS, COUNTS, 1).tolist() == [7, 7, 7, 0]


def test_novelty_by_hand():
    counts = np.array([7, 3, 0, 2])  # 12 purchases of 4 items: p = 8/16, 4/16, 1/16, 3/16
    assert novelty(LISTS, counts, 3).tolist() == pytest.approx([(1 + 2 + 4) / 3, 1.5, 1, 0])
    assert novelty(np.array([[0, 3]]), np.full(8, 5), 2).tolist() == pytest.approx([3])
    assert novelty(np.array([[0]]), np.zeros(4, int), 1).tolist() == [2]  # nothing was ever bought


def test_wasted_by_hand():
    found = wasted(np.array([[4, 4, 4, 6, -1], [-1, -1, 6, 2, 6], [1, 2, 3, 4, 5]]), 5)
    assert list(found) == ["invalid@5", "repeated@5"]
    assert found["invalid@5"].tolist() == pytest.approx([1 / 5, 2 / 5, 0])
    assert found["repeated@5"].tolist() == pytest.approx([2 / 5, 1 / 5, 0])


def test_a_narrow_list_ends_in_empty_places():
    narrow, padded = np.array([[3, 1]]), np.array([[3, 1, -1, -1]])
    for name, values in wasted(narrow, 4).items():
        assert values.tolist() == wasted(padded, 4)[name].tolist()
    assert wasted(narrow, 4)["invalid@4"].tolist() == [0.5]
    assert wasted(np.empty((2, 0), int), 3)["invalid@3"].tolist() == [1, 1]


def test_no_users():
    nobody = np.empty((0, 3), int)
    assert coverage(nobody, 4, 3) == gini(nobody, 4, 3) == 0
    assert len(popularity(nobody, COUNTS, 3)) == len(wasted(nobody, 3)["invalid@3"]) == 0


def test_what_cannot_be_measured():
    with pytest.raises(ValueError, match="item 7 of a catalogue of 5"):
        coverage(np.array([[7]]), 5, 1)
    with pytest.raises(ValueError, match="at least 1"):
        wasted(LISTS, 0)
    with pytest.raises(ValueError, match="lists"):
        popularity(np.array([1, 2]), COUNTS, 1)


@given(shops())
def test_equals_slow_loops(shop):
    ranked, counts, k = shop
    lists, n_items = items_of(ranked, k), len(counts)
    shown = [item for row in lists for item in row]
    assert coverage(ranked, n_items, k) == len(set(shown)) / n_items
    frequency = [shown.count(item) for item in range(n_items)]
    # the other definition of the coefficient: half the mean absolute difference over the mean, n / (n - 1) as often
    differences = sum(abs(a - b) for a in frequency for b in frequency)
    expected = differences / (2 * (n_items - 1) * sum(frequency)) if shown and n_items > 1 else 0
    assert gini(ranked, n_items, k) == pytest.approx(expected, abs=1e-12)
    probability = [(count + 1) / (sum(counts.tolist()) + n_items) for count in counts.tolist()]
    means = [[sum(f(i) for i in row) / len(row) if row else 0 for row in lists] for f in (
        lambda i: counts[i], lambda i: -math.log2(probability[i]),
    )]  # fmt: skip
    assert popularity(ranked, counts, k).tolist() == pytest.approx(means[0])
    assert novelty(ranked, counts, k).tolist() == pytest.approx(means[1])
    valid = [sum(item >= 0 for item in row[:k]) for row in ranked.tolist()]
    found = wasted(ranked, k)
    assert found[f"invalid@{k}"].tolist() == pytest.approx([1 - v / k for v in valid])
    assert found[f"repeated@{k}"].tolist() == pytest.approx(
        [(v - len(row)) / k for v, row in zip(valid, lists, strict=True)]
    )


@given(shops(), st.randoms(use_true_random=False))
def test_bounds_and_the_numbering_of_items(shop, random):
    """Shares stay between 0 and 1, and no number depends on how items are numbered."""
    ranked, counts, k = shop
    shares = [
        coverage(ranked, len(counts), k),
        gini(ranked, len(counts), k),
        *np.concatenate([*wasted(ranked, k).values()]),
    ]
    assert all(0 <= share <= 1 + 1e-12 for share in shares)
    renamed = list(range(len(counts)))
    random.shuffle(renamed)
    other = np.append(renamed, -1)[ranked]
    other_counts = np.empty_like(counts)
    other_counts[renamed] = counts
    assert gini(other, len(counts), k) == pytest.approx(gini(ranked, len(counts), k), abs=1e-12)
    assert novelty(other, other_counts, k).tolist() == pytest.approx(novelty(ranked, counts, k).tolist())


def test_a_large_shop_takes_a_moment():
    rng = np.random.default_rng(0)
    ranked, counts = rng.integers(-1, 12_000, (22_000, 20)), rng.integers(0, 100, 12_000)
    start = time.perf_counter()
    coverage(ranked, 12_000, 20), gini(ranked, 12_000, 20), wasted(ranked, 20)
    popularity(ranked, counts, 20), novelty(ranked, counts, 20)
    assert time.perf_counter() - start < 5  # a tenth of a second on an idle core
