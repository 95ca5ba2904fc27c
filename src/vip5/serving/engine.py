"""A trained run, ready to answer: recommend, rank, explain. The command line and the server both stand on it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.evaluation.predict import Ranking, choose, explain, next_items
from vip5.prompts import Samples
from vip5.prompts.reviews import explainable
from vip5.training import Run


@dataclass(frozen=True)
class Suggestion:
    """One item, the model's probability of it, and its title if it has one."""

    item: str
    probability: float
    title: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Recommender:
    """Answers for the users and items of a run's data set, by their raw ids.

        shop = Recommender("runs/quickstart")
        shop.recommend("u17", k=5)
        shop.rank("u17", ["i3", "i8", "i21"])
        shop.explain("u17", "i8", stars=5)

    Raises UserError for unknown ids, naming similar ones.
    """

    def __init__(self, run: str | Path, dataset: str | Path | None = None, device: str = "cpu", int8: bool = False):
        self.run = Run.load(run, dataset, device, int8)

    def recommend(self, user: str, k: int = 10, prompt: str = "A-3", beams: int = 20) -> list[Suggestion]:
        """The k items most likely to come next, of the whole catalogue without the user's own history."""
        row = self.run.dataset.user_index(user)
        history = Ragged.from_lists([self.run.dataset.sequences[row]])
        return self._suggestions(next_items(self.run, prompt, np.array([row]), history, max(k, beams)))[:k]

    def rank(self, user: str, candidates: list[str], prompt: str = "B-5") -> list[Suggestion]:
        """The given candidates, best first; their probabilities sum to 1."""
        if not candidates:
            raise UserError("no candidates: give at least one item")
        data = self.run.dataset
        items = [data.item_index(item) for item in candidates]
        for n, item in enumerate(candidates):
            if item in candidates[:n]:
                raise UserError(f"candidate {item} stands twice: give each item once")
        row = np.array([data.user_index(user)])
        return self._suggestions(choose(self.run, prompt, row, np.array([items]), len(items)))

    def explain(
        self, user: str, item: str, stars: float | None = None, feature: str | None = None,
        headline: str | None = None, beams: int = 1,
    ) -> str:  # fmt: skip
        """A sentence on why the user would take the item, for the given stars, feature word and headline.

        The prompt is the one of the paper's that takes just what is given: C-1, C-2, C-3, C-9 or C-11.
        """
        if headline is not None and (stars is not None or feature is not None):
            raise UserError("no prompt takes a headline together with stars or a feature word: give one or the other")
        if stars is not None and not 0 <= stars <= 10:
            raise UserError(f"stars {stars} is out of range: give a rating on the data's own scale, 1 to 5")
        name = {
            (False, False): "C-2" if headline is not None else "C-1",
            (True, False): "C-3",
            (False, True): "C-9",
            (True, True): "C-11",
        }[stars is not None, feature is not None]
        data = self.run.dataset
        if not len(explainable(data, "train")):
            raise UserError(
                f"this run has learnt no explanations: {data.path} has no reviews; prepare it with --reviews"
            )
        asked = pl.DataFrame(
            {"headline": [headline], "feature": [feature], "explanation": [""]},
            schema={"headline": pl.String, "feature": pl.String, "explanation": pl.String},
        )
        sample = Samples.of(
            np.zeros(1, int),
            np.array([data.user_index(user)]),
            item=np.array([data.item_index(item)]),
            review=np.zeros(1, int),
            stars=np.array([-1 if stars is None else round(10 * stars)]),
        )
        return explain(self.run, name, sample, asked, beams)[0]

    def _suggestions(self, ranking: Ranking) -> list[Suggestion]:
        items = self.run.dataset.items
        return [
            Suggestion(items["item"][int(item)], float(np.exp(score)), items["title"][int(item)])
            for item, score in zip(ranking.items[0], ranking.scores[0], strict=True)
            if item >= 0
        ]
