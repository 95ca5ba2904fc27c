"""What evaluation, tables and answers ask of any system, a model or a baseline."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import polars as pl

from vip5.data import Ragged
from vip5.data.catalogue import Catalogue
from vip5.predict.lists import Ranking
from vip5.prompts import Prompt

Decode = Literal["beam", "exact", "free"]


@dataclass(frozen=True)
class Decoding:
    """How a model finds its answers. A baseline scores everything and takes no notice."""

    decode: Decode = "beam"  # exact: no item is lost; free: whatever tokens come, as the paper's own code decodes
    beams: int = 20
    text_beams: int = 1
    progress: bool = False


class System(Protocol):
    """A model or a baseline. People and items are rows of its catalogue; users are -1 where they are not known."""

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def seed(self) -> int: ...

    @property
    def leaky(self) -> bool:
        """Whether its item codes were made from held-out interactions."""

    @property
    def prompts(self) -> dict[str, Prompt]:
        """All that it can be asked."""

    def why_not(self, prompt: Prompt) -> str | None:
        """Why it has no answer to a prompt, if it has none."""

    def reads_history(self, prompt: Prompt) -> bool:
        """Whether its answer to a prompt rests on what the person had, and not on who the person is."""

    def rank(
        self,
        prompt: Prompt,
        users: np.ndarray,
        histories: Ragged,
        k: int,
        how: Decoding,
        exclude: Ragged | None = None,
        among: np.ndarray | None = None,
    ) -> Ranking:
        """At least the k best next items, or all there are: nothing of `exclude` [n rows], and of the items `among`
        alone, where they are given."""

    def choose(
        self, prompt: Prompt, users: np.ndarray, histories: Ragged, candidates: np.ndarray, how: Decoding
    ) -> Ranking:
        """Each person's own candidates, int [n, C], the best first; as many as there are beams, or all."""

    def explain(self, prompt: Prompt, asked: pl.DataFrame, how: Decoding) -> list[str]:
        """A sentence for each row of user, item, rating, headline, feature; only what the prompt tells is read."""

    def similar(self, items: np.ndarray, k: int) -> Ranking:
        """The k items most like each of `items` [n], itself left out; scores are cosines."""

    def facts(self) -> list[tuple[str, str]]:
        """What a card says of it."""
