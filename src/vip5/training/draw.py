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

STAR_JITTER = 0.4  # spread of the rating in the targets of C-7 and C-8; the authors draw around the true star


class SampleDrawer:
    """Draws an epoch's samples; the same seed and epoch give the same samples."""

    def __init__(self, dataset: Dataset, prompts: list[Prompt], config: RunConfig):
        self.dataset, self.prompts, self.config = dataset, prompts, config
        self.history = dataset.history("train")
        self.of_task = {
            task: np.array([n for n, p in enumerate(prompts) if p.task == task], int)
            for task in ("next", "next_yes_no", "yes_no", "choice", "explain")
        }
        self._bought = np.unique(self.history.rows * dataset.n_items + self.history.values)
        bought = np.bincount(self._bought // dataset.n_items, minlength=dataset.n_users)
        self._unbought = dataset.n_items - bought  # how many items there are to draw a user's negatives from
        self.reviews = explainable(dataset, "train")

    def draw(self, epoch: int) -> Samples:
        """All samples of an epoch, not yet in random order."""
        rng = np.random.default_rng([self.config.seed, epoch])
        counts = self.config.samples
        parts = []
        if len(self.of_task["next"]) and counts.next:
            parts.append(self._next(rng, counts.next, "next"))
        if len(self.of_task["next_yes_no"]) and counts.next_yes_no:
            parts.append(self._yes_no(rng, self._next(rng, counts.next_yes_no, "next_yes_no")))
        if len(self.of_task["yes_no"]) and counts.yes_no:
            parts.append(self._yes_no(rng, self._bought_items(rng, counts.yes_no, "yes_no")))
        if len(self.of_task["choice"]) and counts.choice:
            parts.append(self._choice(rng, self._bought_items(rng, counts.choice, "choice")))
        if len(self.of_task["explain"]) and counts.explain and len(self.reviews):
            parts.append(self._explain(rng, counts.explain))
        parts = [part for part in parts if len(part)]
        return Samples.join(parts) if parts else Samples.of(np.zeros(0, int), np.zeros(0, int))

    def _next(self, rng: np.random.Generator, times: int, task: str) -> Samples:
        """A target among the last positions of the training part, a history that starts among the first."""
        settings, lengths = self.config.samples, self.history.lengths
        shortest = settings.shortest_history
        users = np.repeat(np.flatnonzero(lengths > shortest), times)
        length = lengths[users]
        first = np.zeros(len(users), int) if settings.last_positions == "any" else length - settings.last_positions
        end = rng.integers(np.maximum(first, shortest), length)
        start = rng.integers(0, np.minimum(settings.first_positions, end - shortest + 1))
        start = np.maximum(start, end - self.config.prompts.max_history)
        at = self.history.offsets[users]
        items = Ragged.from_lengths(self.history.values[slices(at + start, end - start)], end - start)
        return Samples.of(
            rng.choice(self.of_task[task], len(users)),
            users,
            items,
            item=self.history.values[at + end],
            separator=rng.integers(0, len(SEPARATORS), len(users)),
        )

    def _bought_items(self, rng: np.random.Generator, times: int, task: str) -> Samples:
        """An item of the user's training part, at random."""
        users = np.repeat(np.flatnonzero(self.history.lengths), times)
        item = self.history.values[self.history.offsets[users] + rng.integers(0, self.history.lengths[users])]
        return Samples.of(rng.choice(self.of_task[task], len(users)), users, item=item)

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
        return replace(samples, items=Ragged.from_lengths(lists.ravel(), np.full(len(lists), lists.shape[1])))

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

    def _explain(self, rng: np.random.Generator, times: int) -> Samples:
        """Each training review, under a template whose fields it can fill."""
        rows = np.repeat(self.reviews["row"].to_numpy(), times)
        table = self.dataset.reviews
        fits = np.column_stack([fillable(table, self.prompts[p])[rows] for p in self.of_task["explain"]])
        keep = fits.any(1)
        rows, fits = rows[keep], fits[keep]
        choice = np.argmax(np.where(fits, rng.random(fits.shape), -1), axis=1)
        prompt = self.of_task["explain"][choice]
        stars = stars_in_tenths(table)[rows]
        jittered = np.array(["{star_rating}" in p.target for p in self.prompts])[prompt]
        most = np.where(stars > 50, 100, 50)  # scales to 5 and to 10
        noisy = np.clip(np.round(stars + 10 * rng.normal(0, STAR_JITTER, len(stars))), 10, most).astype(int)
        return Samples.of(
            prompt,
            table["user"].to_numpy()[rows],
            item=table["item"].to_numpy()[rows],
            review=rows,
            stars=np.where(jittered & (stars >= 0), noisy, stars),
        )
