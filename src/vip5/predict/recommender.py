"""A run's answers by raw ids: recommend, rank, explain, similar. The command line stands on it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from vip5.data import Ragged
from vip5.data.ids import row_of
from vip5.data.schema import MANIFEST
from vip5.errors import UserError
from vip5.predict.folder import read_run
from vip5.predict.histories import Histories
from vip5.predict.lists import Ranking
from vip5.predict.open import open_run
from vip5.predict.system import Decoding
from vip5.prompts import Prompt

NEXT, CHOICE = "A-3", "B-5"


@dataclass(frozen=True)
class Suggestion:
    """One item: what a model gives for its probability (None from a baseline, which gives an order), and its title."""

    item: str
    title: str | None
    probability: float | None = None
    similarity: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name in ("item", "title") or value is not None}


class Recommender:
    """Answers by raw ids, from a run folder alone.

        shop = Recommender("runs/quickstart/with-photos")
        shop.recommend(history=["P0003", "P0021"], n=5)
        shop.recommend("U0001", category="Kitchen")
        shop.rank(["P0003", "P0008"], user="U0001")
        shop.explain("P0008", user="U0001", stars=5)
        shop.similar("P0003")

    A history comes with the request. Of a person without one, it is taken from `dataset`, a dataset folder, or from
    the one that the run was trained on, where that is still there (False: from neither). It is read once, here. People
    whom the run does not know are answered by their history. Several threads may ask at once.

    Raises UserError for unknown items, naming similar ones, and for people of whom nothing is known.
    """

    def __init__(
        self,
        run: str | Path,
        dataset: str | Path | Literal[False] | None = None,
        device: str = "cpu",
        int8: bool = False,
        report: Callable[[str], object] = lambda line: None,
    ):
        self.system = open_run(run, device, int8)
        self.catalogue, self.report = self.system.catalogue, report
        place = dataset or read_run(run)["dataset"]["path"]
        there = dataset is not False and (dataset is not None or (Path(place) / MANIFEST).is_file())
        self.people = Histories.of(place, self.catalogue) if there else None
        if self.people is not None and self.people.left_out:
            report(
                f"{self.people.left_out:,} purchases are of items that the run does not know, and left out ({place})"
            )

    def recommend(
        self,
        user: str | None = None,
        *,
        history: Sequence[str] | None = None,
        n: int = 10,
        exclude: Sequence[str] = (),
        category: str | None = None,
        allow_again: bool | None = None,
        prompt: str = NEXT,
        beams: int = 20,
    ) -> list[Suggestion]:
        """The n items most likely to come next.

        exclude: items that must not come out. category: only items that have it. allow_again: whether what stands in
        the history may come out; as people of the shop do, where it is not said.
        """
        past = self._history(user, history)
        left_out = [self.catalogue.item_index(item) for item in exclude]
        if not (self.catalogue.buys_again if allow_again is None else allow_again):
            left_out += past.tolist()
        among = None if category is None else self._of_category(category)
        found = self.system.rank(
            self.asks(prompt, "next"),
            np.array([self.catalogue.user_index(user)]),
            Ragged.from_lists([past]),
            n,
            Decoding(beams=max(n, beams)),
            Ragged.from_lists([left_out]),
            among,
        )
        return self._suggestions(found)[:n]

    def rank(
        self,
        candidates: Sequence[str],
        *,
        user: str | None = None,
        history: Sequence[str] | None = None,
        by: Literal["next", "prompt"] | None = None,
        prompt: str | None = None,
    ) -> list[Suggestion]:
        """The given candidates, best first; of a model, their probabilities sum to 1.

        by: what decides. next: how likely each would be to come next, after the history. prompt: a prompt that shows a
        model the candidates, about a person whom it knows; no history is needed. Where it is not said, next if there is
        a history. Or give the prompt itself, of task next or choice: A-3 and B-5 are the usual ones.
        """
        items, row = self._distinct(candidates), self.catalogue.user_index(user)
        if by is None and row >= 0 and history is None and (self.people is None or self.people.get(str(user)) is None):
            usual = CHOICE
        else:
            usual = CHOICE if by == "prompt" else NEXT
        asked = self.asks(prompt or usual, "choice", "next")
        if by is not None and asked.task != ("choice" if by == "prompt" else "next"):
            raise UserError(
                f"by {by} does not go with prompt {asked.id}, which is of task {asked.task}: leave one of the two out"
            )
        if self.system.reads_history(asked):
            past = self._history(user, history)
        elif row < 0:
            who = "nobody is given" if user is None else f"it does not know {user!r}"
            raise UserError(f"prompt {asked.id} asks about a person whom the run knows ({who}): take {NEXT}")
        else:
            past = np.empty(0, np.int32)
        users, histories, everything = np.array([row]), Ragged.from_lists([past]), Decoding(beams=len(items))
        found = self.system.choose(asked, users, histories, items[None], everything)
        return self._suggestions(found)[: len(items)]

    def explain(
        self,
        item: str,
        *,
        user: str | None = None,
        stars: float | None = None,
        feature: str | None = None,
        headline: str | None = None,
        beams: int = 1,
    ) -> str:
        """A sentence on why the person would take the item, for the given stars, feature word and headline.

        The prompt is the one of the paper's that takes just what is given: C-1, C-2, C-3, C-9 or C-11.
        """
        if headline is not None and (stars is not None or feature is not None):
            raise UserError("no prompt takes a headline together with stars or a feature word: give one or the other")
        if stars is not None and not 0 <= stars <= 10:
            raise UserError(f"stars {stars} is out of range: give a rating on the data's own scale, 1 to 5")
        given = (stars is not None, feature is not None)
        plain = "C-1" if headline is None else "C-2"
        prompt = {(False, False): plain, (True, False): "C-3", (False, True): "C-9", (True, True): "C-11"}[given]
        texts = {"headline": [headline], "feature": [feature]}
        asked = pl.DataFrame(
            {
                "user": [self.catalogue.user_index(user)],
                "item": [self.catalogue.item_index(item)],
                "rating": pl.Series([stars], dtype=pl.Float32),
                **{name: pl.Series(value, dtype=pl.String) for name, value in texts.items()},
            }
        )
        return self.system.explain(self.asks(prompt, "explain"), asked, Decoding(text_beams=beams))[0]

    def similar(self, item: str, n: int = 10) -> list[Suggestion]:
        """The n items most like an item."""
        found = self.system.similar(np.array([self.catalogue.item_index(item)]), n)
        return self._suggestions(found, similarity=True)

    def asks(self, prompt: str, *tasks: str) -> Prompt:
        """The prompt of this id; UserError where it is unknown, of none of these tasks, or has no answer here."""
        if prompt not in self.system.prompts:
            raise UserError(f"unknown prompt {prompt}: there are {', '.join(self.system.prompts)}")
        found = self.system.prompts[prompt]
        if found.task not in tasks:
            raise UserError(f"prompt {prompt} is of task {found.task}: choose one of task {' or '.join(tasks)}")
        if why := self.system.why_not(found):
            raise UserError(f"prompt {prompt} has no answer here ({why}): ask another run")
        return found

    def _history(self, user: str | None, history: Sequence[str] | None) -> np.ndarray:
        """What a person had, as rows of the catalogue, int32; items that it lacks are left out, which is said."""
        if history is not None:
            rows = [row_of(self.catalogue.item_rows, item) for item in history]
            lost = [str(item) for item, row in zip(history, rows, strict=True) if row is None]
            if lost and len(lost) < len(rows):
                self.report(f"the run does not know {', '.join(lost)}: left out of the history")
            elif lost:
                self.catalogue.item_index(lost[0])  # which says what ids look like
            return np.array([row for row in rows if row is not None], np.int32)
        if user is None:
            raise UserError("nobody is asked about: give a user, or a history of items")
        past = None if self.people is None else self.people.get(user)
        if past is None:
            place = "no dataset folder is at hand" if self.people is None else "the dataset folder does not have them"
            raise UserError(
                f"nothing is known of what {user!r} bought ({place}): give a history, or the dataset folder"
            )
        return past

    def _of_category(self, category: str) -> np.ndarray:
        """The items of a category, as the catalogue spells it or in another case."""
        rows = self.catalogue.category_rows.get(category.casefold())
        if rows is None:
            names = self.catalogue.items["categories"].explode().drop_nulls()
            common = names.value_counts(sort=True)["categories"].head(5).to_list()
            there = f"common ones are {', '.join(common)}" if common else "the items have none"
            raise UserError(f"no item is of category {category!r}: {there}")
        return np.array(rows)

    def _distinct(self, candidates: Sequence[str]) -> np.ndarray:
        if not candidates:
            raise UserError("no candidates: give at least one item")
        rows = [self.catalogue.item_index(item) for item in candidates]
        for n, item in enumerate(candidates):
            if rows[n] in rows[:n]:
                raise UserError(f"candidate {item} stands twice: give each item once")
        return np.array(rows)

    def _suggestions(self, found: Ranking, similarity: bool = False) -> list[Suggestion]:
        names, titles = self.catalogue.items["item"], self.catalogue.items["title"]
        suggestions = []
        for place, item in enumerate(found.items[0].tolist()):
            if item < 0:
                continue
            score = None if found.scores is None else float(found.scores[0, place])
            known: dict[str, float | None] = {"similarity": score}
            if not similarity:
                known = {"probability": None if score is None else float(np.exp(score))}
            suggestions.append(Suggestion(names[item], titles[item], **known))
        return suggestions
