"""The training samples of an epoch, drawn for all users at once (the paper, section 4.1).

Only the training part of each sequence is looked at; negatives avoid what the user bought in it, and nothing else.
"""

from dataclasses import replace

import numpy as np

from vip5.data import Dataset, Ragged
from vip5.prompts import Prompt, Samples
from vip5.prompts.reviews import explainable, fillable, stars_in_tenths
from vip5.prompts.samples import SEPARATORS, slices
from vip5.training.config import RunConfig

_NAMES = {
    "next": "next items",
    "next_yes_no": "yes or no about the next item",
    "yes_no": "yes or no about an item",
    "choice": "one of several items",
    "explain": "explanations",
}


class SampleDrawer:
    """Draws an epoch's samples; the same seed and epoch give the same samples."""

    def __init__(self, dataset: Dataset, prompts: list[Prompt], config: RunConfig):
        self.dataset, self.prompts, self.config = dataset, prompts, config
        self.history = dataset.history("train")
        self.of_task = {
            task: np.array([n for n, p in enumerate(prompts) if p.task == task], int)
            for task in ("next", "next_yes_no", "yes_no", "choice", "explain")
        }
        self._shows_history = np.array(["purchase_history" in p.needs for p in prompts], bool)
        self._bought = np.unique(self.history.rows * dataset.n_items + self.history.values)
        bought = np.bincount(self._bought // dataset.n_items, minlength=dataset.n_users)
        self._unbought = dataset.n_items - bought  # how many items there are to draw a user's negatives from
        self.reviews = explainable(dataset, "train")

    def draw(self, epoch: int) -> Samples:
        """All samples of an epoch, not yet in random order."""
        rng = np.random.default_rng([self.config.seed, epoch])
        with_past, with_any = self.config.samples.shortest_history, 0
        parts = []
        next_one, next_yes_no = self._asked(rng, "next", "next_yes_no", with_past)
        if len(next_one):
            whole = self.config.prompts.history == "decoder"
            parts.append(self._sequences(rng, next_one) if whole else self._next(rng, next_one, "next"))
        if len(next_yes_no):
            parts.append(self._yes_no(rng, self._next(rng, next_yes_no, "next_yes_no")))
        yes_no, choice = self._asked(rng, "yes_no", "choice", with_any)
        if len(yes_no):
            parts.append(self._yes_no(rng, self._bought_items(rng, yes_no, "yes_no")))
        if len(choice):
            parts.append(self._choice(rng, self._bought_items(rng, choice, "choice")))
        reviewed = self.config.samples.explain
        if len(self.of_task["explain"]) and reviewed and len(self.reviews):
            parts.append(self._explain(rng, reviewed))
        parts = [part for part in parts if len(part)]
        return Samples.join(parts) if parts else Samples.of(np.zeros(0, int), np.zeros(0, int))

    def tasks(self, samples: Samples) -> set[str]:
        """The tasks that samples are of."""
        drawn = set(samples.prompt.tolist())
        return {task for task, prompts in self.of_task.items() if drawn & set(prompts.tolist())}

    def untaught(self, samples: Samples) -> list[str]:
        """Why an epoch has no sample of tasks that are to be trained, in a phrase each."""
        there = self.tasks(samples)
        wanted = [task for task, prompts in self.of_task.items() if len(prompts) and getattr(self.config.samples, task)]
        return [f"{_NAMES[task]}: {self._why_untaught(task)}" for task in wanted if task not in there]

    def _why_untaught(self, task: str) -> str:
        longer = self.config.samples.shortest_history
        if task in ("next", "next_yes_no") and not (self.history.lengths > longer).any():
            return f"nobody has more than {longer} interactions in the training part"
        if task == "choice":
            return "there are too few items that people have not bought, see samples.candidates"
        if task == "explain":
            reviews = self.dataset.reviews
            if not len(self.reviews):
                return "no review of the training part has an explanation" if len(reviews) else "there are no reviews"
            return "no review of the training part has what the prompts tell"
        return "no sample was drawn"

    def _asked(self, rng: np.random.Generator, one: str, other: str, longer: int) -> tuple[np.ndarray, np.ndarray]:
        """The users of the samples of a family's two tasks, those alone whose training part is longer than `longer`.

        With mix "prompts" each sample is of a prompt drawn over both tasks', as in P5 (Geng et al. 2022).
        """
        users, counts = np.flatnonzero(self.history.lengths > longer), self.config.samples
        prompts = np.array([len(self.of_task[task]) for task in (one, other)])
        times = np.array([getattr(counts, task) for task in (one, other)])
        if counts.mix == "prompts" and prompts.all():
            both = np.repeat(users, times.sum())
            of_one = rng.integers(0, prompts.sum(), len(both)) < prompts[0]
            return both[of_one], both[~of_one]
        first, second = (np.repeat(users, n) for n in np.where(prompts > 0, times, 0))
        return first, second

    def _next(self, rng: np.random.Generator, users: np.ndarray, task: str) -> Samples:
        """A target among the last positions of the training part, a history that starts among the first."""
        settings, lengths = self.config.samples, self.history.lengths
        shortest = settings.shortest_history
        length = lengths[users]
        first = np.zeros(len(users), int) if settings.last_positions == "any" else length - settings.last_positions
        end = rng.integers(np.maximum(first, shortest), length)
        start = rng.integers(0, np.minimum(settings.first_positions, end - shortest + 1))
        start = np.maximum(start, end - self.config.prompts.max_history)
        at = self.history.offsets[users]
        history = Ragged.from_lengths(self.history.values[slices(at + start, end - start)], end - start)
        return Samples.of(
            rng.choice(self.of_task[task], len(users)),
            users,
            history,
            item=self.history.values[at + end],
            separator=rng.integers(0, len(SEPARATORS), len(users)),
        )

    def _sequences(self, rng: np.random.Generator, users: np.ndarray) -> Samples:
        """The training part of each user for the decoder to write, all but a share of its items.

        One that is longer than a model reads is cut into several, at other places each time.
        """
        settings, history = self.config.samples, self.history.take(users)
        kept = rng.random(len(history.values)) >= settings.leave_out
        kept |= (np.bincount(history.rows[kept], minlength=len(users)) < 2)[history.rows]
        left = Ragged.from_lengths(history.values[kept], np.bincount(history.rows[kept], minlength=len(users)))
        then, row = _windows(rng, left, self.config.prompts.max_history + 1)
        return Samples.of(
            rng.choice(self.of_task["next"], len(row)),
            np.where(rng.random(len(row)) < settings.forget_user, -1, users[row]),
            then=then,
        )

    def _bought_items(self, rng: np.random.Generator, users: np.ndarray, task: str) -> Samples:
        """An item of each user's training part, at random, and what came before it."""
        end, at = rng.integers(0, self.history.lengths[users]), self.history.offsets[users]
        prompt = rng.choice(self.of_task[task], len(users))
        length = np.where(self._shows_history[prompt], np.minimum(end, self.config.prompts.max_history), 0)
        before = Ragged.from_lengths(self.history.values[slices(at + end - length, length)], length)
        return Samples.of(prompt, users, before, item=self.history.values[at + end])

    def _yes_no(self, rng: np.random.Generator, samples: Samples) -> Samples:
        """Half of the samples keep their item (yes), the others ask about one the user did not buy (no)."""
        yes = np.where(self._unbought[samples.user] > 0, rng.integers(0, 2, len(samples)), 1)
        item, no = samples.item.copy(), yes == 0
        item[no] = self._negatives(rng, samples.user[no], 1)[:, 0]
        return replace(samples, item=item, yes=yes)

    def _choice(self, rng: np.random.Generator, samples: Samples) -> Samples:
        """The item among distinct negatives, in random order."""
        others = min(self.config.samples.candidates - 1, int(np.median(self._unbought)))
        samples = samples.take(np.flatnonzero(self._unbought[samples.user] >= others))
        lists = np.column_stack([samples.item, self._negatives(rng, samples.user, others)])
        lists = rng.permuted(lists, axis=1).astype(np.int32)
        shown = Ragged.from_lengths(lists.ravel(), np.full(len(lists), lists.shape[1]))
        if self.config.prompts.history == "prompt":
            return replace(samples, candidates=shown)
        then = Ragged.from_lengths(samples.item.astype(np.int32), np.ones(len(samples), np.int64))
        return replace(samples, candidates=shown, then=then)

    def _negatives(self, rng: np.random.Generator, users: np.ndarray, count: int) -> np.ndarray:
        """int [n, count]: distinct items, uniform over those the user did not buy in the training part."""
        n_items = self.dataset.n_items
        drawn = np.full((len(users), count), -1)
        rows = np.arange(len(users))
        while len(rows):  # redraw what was bought or stands in the row already
            part = drawn[rows]
            empty = part < 0
            part[empty] = rng.integers(0, n_items, int(empty.sum()))
            keys = users[rows, None] * n_items + part
            found = np.searchsorted(self._bought, keys)
            bought = self._bought[np.minimum(found, len(self._bought) - 1)] == keys
            order = np.argsort(part, axis=1, kind="stable")
            in_order = np.take_along_axis(part, order, 1)
            twice = np.zeros_like(bought)
            np.put_along_axis(twice, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], 1)
            part[bought | twice] = -1
            drawn[rows] = part
            rows = rows[(part < 0).any(1)]
        return drawn

    def _explain(self, rng: np.random.Generator, times: float) -> Samples:
        """Each training review so many times on average, under a template whose fields it can fill."""
        rows = self.reviews["row"].to_numpy()
        whole, share = divmod(times, 1.0)
        rows = np.repeat(rows, int(whole) + (rng.random(len(rows)) < share) if share else int(whole))
        table = self.dataset.reviews
        fits = np.column_stack([fillable(table, self.prompts[p])[rows] for p in self.of_task["explain"]])
        keep = fits.any(1)
        rows, fits = rows[keep], fits[keep]
        choice = np.argmax(np.where(fits, rng.random(fits.shape), -1), axis=1)
        prompt = self.of_task["explain"][choice]
        stars = stars_in_tenths(table)[rows]
        jittered = np.array(["{star_rating}" in p.target for p in self.prompts])[prompt]
        noisy = jittered_stars(rng, stars)
        return Samples.of(
            prompt,
            table["user"].to_numpy()[rows],
            item=table["item"].to_numpy()[rows],
            review=rows,
            stars=np.where(jittered & (stars >= 0), noisy, stars),
        )


def _windows(rng: np.random.Generator, rows: Ragged, longest: int) -> tuple[Ragged, np.ndarray]:
    """Rows in parts of at most `longest` items one after the other, the first cut at random; and the row of each."""
    lengths = rows.lengths
    first = np.where(lengths > longest, rng.integers(1, longest + 1, len(rows)), longest)
    place = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], lengths)
    part = (place + longest - first[rows.rows]) // longest
    starts = np.flatnonzero((np.diff(part, prepend=-1) != 0) | (place == 0))
    ends = np.append(starts[1:], len(rows.values))
    return Ragged.from_lengths(rows.values, ends - starts), rows.rows[starts]


def jittered_stars(rng: np.random.Generator, tenths: np.ndarray) -> np.ndarray:
    """Ratings as the targets of C-7 and C-8 say them, int [n] in tenths: drawn normally around the middle of the star's
    band with a quarter of its width, and kept within 1 to 5 (on a scale to 10, to 10).

    The bands are those of the authors: 1 to 1.4, 1.5 to 2.4, …, 4.5 to 5.
    """
    most = np.where(tenths > 50, 100, 50)
    star = (tenths + 5) // 10 * 10  # the band is of what rounds to it
    low, high = np.maximum(star - 5, 10), np.minimum(star + 4, most)
    drawn = rng.normal((low + high) / 2, np.maximum(high - low, 0) / 4)
    return np.clip(np.round(drawn), 10, most).astype(int)
