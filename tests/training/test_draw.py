"""What the model is trained on: nothing held out, and as the paper draws it (section 4.1)."""

import itertools

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset, prepare
from vip5.prompts import Prompt, Samples, load_prompts
from vip5.prompts.reviews import fillable
from vip5.prompts.samples import SEPARATORS
from vip5.training import load_config
from vip5.training.draw import SampleDrawer

PROMPTS = [prompt for prompt in load_prompts().values() if not prompt.unseen]


def draw(dataset: Dataset, *overrides: str, epochs: int = 1, prompts=PROMPTS) -> Samples:
    drawer = SampleDrawer(dataset, prompts, load_config("prompts", None, list(overrides)))
    return Samples.join([drawer.draw(epoch) for epoch in range(epochs)])


def of_task(samples: Samples, task: str, prompts=PROMPTS) -> Samples:
    return samples.take(np.flatnonzero(np.isin(samples.prompt, [n for n, p in enumerate(prompts) if p.task == task])))


@pytest.fixture(scope="module")
def many(tiny_data) -> Samples:
    """Ten epochs of samples."""
    return draw(tiny_data, "samples.candidates=9", "samples.last_positions=3", epochs=10)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Dataset:
    """Six items; u1 buys all in the training part, u2 one, u3 one of them three times; a held-out item is unseen else.

    Reviews: of the training part with and without fields, and of a held-out interaction.
    """
    folder = tmp_path_factory.mktemp("small")
    bought = {"u1": "abcdefab", "u2": "abf", "u3": "cacdcfe"}
    rows = [(u, i, t) for u, items in bought.items() for t, i in enumerate(items)]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(folder / "interactions.csv")
    pl.DataFrame(
        {
            "user": ["u1", "u1", "u3", "u3", "u2", "u2"],
            "item": ["d", "c", "c", "a", "f", "a"],
            "rating": [5.0, None, 4.5, 2.0, 1.0, 3.0],
            "headline": ["Great", None, "So so", None, "Held out", None],
            "feature": ["handle", None, None, "light", "size", None],
            "explanation": ["Warm .", "It is .", "So it goes .", "Bright .", "Not to be seen .", None],
        }
    ).write_csv(folder / "reviews.csv")
    return prepare(folder / "dataset", interactions=folder / "interactions.csv", reviews=folder / "reviews.csv")


def test_nothing_held_out_is_shown_or_asked_for(tiny_data, many):
    """What a training sample holds as bought lies in the user's training part."""
    known = [set(row.tolist()) for row in tiny_data.history("train")]
    assert of_task(many, "next").item.min() >= 0
    for task in ("next", "next_yes_no"):
        part = of_task(many, task)
        for user, row in zip(part.user, part.history, strict=True):
            assert set(row.tolist()) <= known[user]
    for task in ("next", "next_yes_no", "yes_no", "choice"):
        part = of_task(many, task)
        positive = part.take(np.flatnonzero(part.yes != 0))  # -1 where nothing is asked with yes or no
        assert len(positive) and all(i in known[u] for u, i in zip(positive.user, positive.item, strict=True))
    assert set(tiny_data.reviews["split"].gather(of_task(many, "explain").review)) == {"train"}


def test_negatives_avoid_the_training_part_and_nothing_else(tiny_data, many):
    """The authors' negatives avoid the held-out items too, which gives these away."""
    known = [set(row.tolist()) for row in tiny_data.history("train")]
    drawn: list[set[int]] = [set() for _ in known]
    for task in ("next_yes_no", "yes_no"):
        part = of_task(many, task)
        for row in np.flatnonzero(part.yes == 0):
            assert part.item[row] not in known[part.user[row]]
            drawn[part.user[row]].add(int(part.item[row]))
    choices = of_task(many, "choice")
    for user, answer, listed in zip(choices.user, choices.item, choices.candidates, strict=True):
        shown = set(listed.tolist())
        assert not (shown - {int(answer)}) & known[user]
        drawn[user] |= shown - known[user]
    for user, items in enumerate(drawn):
        assert items == set(range(tiny_data.n_items)) - known[user]  # all others, the two held-out ones among them


def test_who_came_after_the_point_in_time_is_not_trained_on(tmp_path):
    rows = [(f"u{u}", f"i{(3 * u + t * t) % 20}", 10 * u + t) for u in range(10) for t in range(8)]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(tmp_path / "interactions.csv")
    data = prepare(tmp_path / "out", interactions=tmp_path / "interactions.csv", split="time", holdout=0.15)
    early = np.flatnonzero(data.history("train").lengths)
    known = [set(row.tolist()) for row in data.history("train")]
    assert early.tolist() == list(range(7))
    samples = draw(data, "samples.candidates=5", epochs=5)
    assert set(samples.user) == set(early)
    for part in (of_task(samples, "next"), of_task(samples, "choice")):
        assert all(item in known[user] for user, item in zip(part.user, part.item, strict=True))


def test_negatives_are_uniform(tiny_data):
    drawer = SampleDrawer(tiny_data, PROMPTS, load_config("prompts"))
    free = tiny_data.n_items - len(set(tiny_data.history("train")[0].tolist()))
    drawn = drawer._negatives(np.random.default_rng(0), np.zeros(6000, int), 3)
    counts = np.bincount(drawn.ravel(), minlength=tiny_data.n_items)
    expected = drawn.size / free
    assert (counts > 0).sum() == free
    assert np.abs(counts[counts > 0] - expected).max() < 6 * np.sqrt(expected)


@pytest.mark.parametrize("overrides", [("samples.last_positions=3",), ("samples.last_positions=any",),
                                       ("samples.last_positions=2", "samples.first_positions=1"),
                                       ("samples.last_positions=3", "prompts.max_history=4")])  # fmt: skip
def test_windows_of_the_training_part(tiny_data, overrides):
    """A target among the last n positions, a history from one of the first m up to it, and every such window."""
    config = load_config("prompts", None, list(overrides))
    samples = of_task(draw(tiny_data, *overrides, "samples.next=40", epochs=3), "next")
    last, first, longest = config.samples.last_positions, config.samples.first_positions, config.prompts.max_history
    seen: dict[int, set] = {}
    for user, target, row in zip(samples.user, samples.item, samples.history, strict=True):
        seen.setdefault(int(user), set()).add((*row.tolist(), int(target)))
    assert len(seen) == tiny_data.n_users
    for user, windows in seen.items():
        items = tiny_data.history("train")[user].tolist()
        n = len(items)
        ends = range(1 if last == "any" else max(1, n - last), n)
        allowed = {
            tuple(items[max(start, end - longest) : end + 1]) for end in ends for start in range(min(first, end))
        }
        assert windows <= allowed
        assert len(windows) > 0.7 * len(allowed)


def test_counts_for_each_user_and_epoch(tiny_data):
    samples = draw(tiny_data, "samples.next=1", "samples.next_yes_no=2", "samples.yes_no=3", "samples.choice=4")
    for task, times in (("next", 1), ("next_yes_no", 2), ("yes_no", 3), ("choice", 4)):
        assert np.bincount(of_task(samples, task).user).tolist() == [times] * tiny_data.n_users
    explained = of_task(samples, "explain").review
    assert sorted(explained) == np.flatnonzero((tiny_data.reviews["split"] == "train").to_numpy()).tolist()
    none = draw(tiny_data, *(f"samples.{t}=0" for t in ("next", "next_yes_no", "yes_no", "choice", "explain")))
    assert len(none) == 0


def test_half_of_the_questions_are_answered_yes(many):
    for task in ("next_yes_no", "yes_no"):
        yes = of_task(many, task).yes
        assert set(yes) == {0, 1} and abs(yes.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(yes))


def test_a_choice_holds_its_answer_once_among_distinct_items(many):
    choices = of_task(many, "choice")
    assert (choices.candidates.lengths == 9).all()
    places = []
    for answer, row in zip(choices.item, choices.candidates, strict=True):
        assert len(set(row.tolist())) == 9
        places.append(int(np.flatnonzero(row == answer).item()))
    assert np.bincount(places, minlength=9).min() > 0.5 * len(places) / 9  # anywhere in the list


def test_every_template_of_a_family_and_both_separators_are_drawn(many):
    assert set(many.prompt) == set(range(len(PROMPTS)))
    assert set(of_task(many, "next").separator) == set(range(len(SEPARATORS)))


def test_the_same_seed_and_epoch_give_the_same_samples(tiny_data):
    drawer = SampleDrawer(tiny_data, PROMPTS, load_config("prompts"))
    again = SampleDrawer(tiny_data, PROMPTS, load_config("prompts"))
    later = drawer.draw(1)

    def same(one: Samples, other: Samples) -> bool:
        columns = ("prompt", "user", "item", "separator", "review", "stars", "yes")
        return len(one) == len(other) and all(
            np.array_equal(x, y)
            for x, y in [
                *((getattr(one, c), getattr(other, c)) for c in columns),
                (one.history.values, other.history.values),
                (one.candidates.values, other.candidates.values),
            ]
        )

    assert same(drawer.draw(0), again.draw(0)) and same(again.draw(1), later)  # whatever was drawn before
    assert not same(again.draw(0), later)
    assert not same(draw(tiny_data, "seed=1"), again.draw(0))


def test_explanations_come_under_prompts_that_they_can_fill(small):
    samples = of_task(draw(small, "samples.explain=50"), "explain")
    reviews = small.reviews
    by_row: dict[int, set[str]] = {}
    for row, prompt in zip(samples.review, samples.prompt, strict=True):
        by_row.setdefault(int(row), set()).add(PROMPTS[prompt].id)
    said = {reviews["explanation"][row]: ids for row, ids in by_row.items()}
    all_c = {f"C-{n}" for n in range(1, 12)}
    headline, feature, stars = {"C-2", "C-5"}, {"C-7", "C-9", "C-10", "C-11"}, {"C-3", "C-6", "C-7", "C-8", "C-11"}
    assert said == {
        "Warm .": all_c,
        "It is .": all_c - headline - feature - stars,
        "So it goes .": all_c - feature,
        "Bright .": all_c - headline,
    }  # and neither the held-out review nor the one without explanation
    for prompt, (has, needs) in itertools.product(PROMPTS, (("headline", headline), ("feature", feature))):
        if prompt.id in needs:
            assert (fillable(reviews, prompt) <= reviews[has].is_not_null().to_numpy()).all()


def test_stars(small):
    """The rating as it is where it is given; around it, within 1 and 5, where it is to be predicted (C-7, C-8)."""
    samples = of_task(draw(small, "samples.explain=200"), "explain")
    ratings = small.reviews["rating"].to_list()
    for row, prompt, stars in zip(samples.review, samples.prompt, samples.stars, strict=True):
        rating = ratings[int(row)]
        if PROMPTS[prompt].id in ("C-7", "C-8"):
            assert 10 <= stars <= 50 and abs(stars - 10 * rating) < 25
        else:
            assert stars == (-1 if rating is None else round(10 * rating))


def test_a_user_who_bought_everything_and_one_who_bought_one_item(small):
    """The first has no negatives: never a no, and no choice. No window for the other."""
    samples = draw(small, epochs=20)
    everything, single = small.user_index("u1"), small.user_index("u2")
    for task in ("next_yes_no", "yes_no"):
        part = of_task(samples, task)
        assert set(part.yes[part.user == everything]) == {1}
        assert 0 in part.yes[part.user != everything]
    assert single not in of_task(samples, "next").user
    choices = of_task(samples, "choice")
    assert set(choices.user) == {0, 1, 2} - {everything}
    assert all(answer in row for answer, row in zip(choices.item, choices.candidates, strict=True))
    assert all(len(set(row.tolist())) == len(row) for row in choices.candidates)


def test_only_the_prompts_that_are_given(tiny_data):
    prompts = [load_prompts()[name] for name in ("B-2", "C-9")]
    samples = draw(tiny_data, prompts=prompts)
    assert set(samples.prompt) == {0, 1}
    assert (of_task(samples, "yes_no", prompts).item >= 0).all()


def test_long_histories_are_cut_into_windows_that_hold_every_item(tiny_data):
    """No item is left out or moved; what is short stays whole; the cuts lie elsewhere each time."""
    settings = ["prompts.history=decoder", "prompts.max_history=4", "samples.explain=0", "samples.next=1"]
    others = [f"samples.{task}=0" for task in ("next_yes_no", "yes_no", "choice")]
    drawer = SampleDrawer(tiny_data, PROMPTS, load_config("prompts", None, [*settings, *others]))
    cuts = set()
    for epoch in range(5):
        samples, joined = drawer.draw(epoch), {user: [] for user in range(tiny_data.n_users)}
        assert samples.then.lengths.max() == 5 and samples.then.lengths.min() >= 1
        for user, part in zip(samples.user, samples.then, strict=True):
            joined[int(user)] += part.tolist()
        assert list(joined.values()) == [row.tolist() for row in tiny_data.history("train")]
        whole = tiny_data.history("train").lengths <= 5
        assert (np.bincount(samples.user)[whole] == 1).all() and (np.bincount(samples.user)[~whole] > 1).all()
        cuts.add(tuple(samples.then.lengths.tolist()))
    assert len(cuts) == 5


def test_a_share_of_the_reviews_is_explained_others_each_time(tiny_data):
    none = [f"samples.{task}=0" for task in ("next", "next_yes_no", "yes_no", "choice")]
    all_of_them = len(draw(tiny_data, *none))
    drawn = [set(draw(tiny_data, *none, "samples.explain=0.3", f"seed={n}").review.tolist()) for n in range(5)]
    assert all(0.15 * all_of_them < len(part) < 0.45 * all_of_them for part in drawn) and drawn[0] != drawn[1]
    assert all_of_them < len(draw(tiny_data, *none, "samples.explain=1.5")) < 2 * all_of_them


def test_a_choice_shows_what_came_before_the_right_one_where_its_prompt_asks_for_it(small):
    own = Prompt(id="X-1", task="choice", input="after {purchase_history} one of {candidates}", target="{item_id}")
    prompts = [*PROMPTS, own]
    samples = draw(small, "samples.candidates=2", "prompts.max_history=2", epochs=30, prompts=prompts)
    choices = of_task(samples, "choice", prompts)
    with_history = choices.prompt == len(PROMPTS)
    assert 0 < with_history.sum() < len(choices) and (choices.history.lengths[~with_history] == 0).all()
    trained, seen = [row.tolist() for row in small.history("train")], set()
    for row in np.flatnonzero(with_history):
        user, answer, shown = int(choices.user[row]), int(choices.item[row]), choices.history[row].tolist()
        ends = [n for n, item in enumerate(trained[user]) if item == answer]
        assert any(shown == trained[user][max(0, end - 2) : end] for end in ends)
        seen.add((user, len(shown)))
    assert {(2, 0), (2, 1), (2, 2)} <= seen  # the first user has bought everything, so nothing is left to choose
