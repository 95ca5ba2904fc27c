"""A trained model as a system: which way each question is decoded, and what a card says of it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from vip5.data import Ragged
from vip5.data.catalogue import Catalogue
from vip5.model import count_parameters
from vip5.predict.lists import (
    Ranking,
    choose,
    exact_next,
    explain,
    next_items,
    scored_choice,
    scored_next,
    write_choice,
    write_next,
)
from vip5.predict.model import TrainedModel
from vip5.predict.similar import nearest_items
from vip5.predict.system import Decoding
from vip5.prompts import Prompt


@dataclass(frozen=True)
class ModelSystem:
    """Answers of a `TrainedModel`."""

    model: TrainedModel
    name: str = "VIP5"

    @property
    def catalogue(self) -> Catalogue:
        return self.model.catalogue

    @property
    def seed(self) -> int:
        return self.model.config.seed

    @property
    def leaky(self) -> bool:
        return "paper" in self.model.config.codes.scheme.split("+")

    @property
    def prompts(self) -> dict[str, Prompt]:
        return self.model.prompts

    def why_not(self, prompt: Prompt) -> str | None:
        if prompt.task == "explain" and not self.catalogue.explains:
            return "it has learnt no explanations: no review gave one when it was trained"
        if not getattr(self.model.config.samples, prompt.task):
            return f"it has learnt no answers of this kind: samples.{prompt.task} was 0 when it was trained"
        if self.model.learnt is not None and prompt.task not in self.model.learnt:
            return f"it has learnt no answers of this kind: its training had no sample of task {prompt.task}"
        return None

    def reads_history(self, prompt: Prompt) -> bool:
        return prompt.task == "next" or "purchase_history" in prompt.needs

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
        width = max(k, how.beams)
        if how.decode == "free":
            return write_next(self.model, prompt.id, users, histories, width, how.progress)
        if self.model.terms is not None:
            return scored_next(self.model, prompt.id, users, histories, width, exclude, among, how.progress)
        search = next_items if how.decode == "beam" else exact_next
        trie = self.model.trie if among is None else self.model.trie_of(among)
        return search(self.model, prompt.id, users, histories, width, exclude, trie, how.progress)

    def choose(
        self, prompt: Prompt, users: np.ndarray, histories: Ragged, candidates: np.ndarray, how: Decoding
    ) -> Ranking:
        if prompt.task == "next" and self.model.terms is not None:
            return scored_choice(self.model, prompt.id, users, histories, candidates, how.progress)
        if how.decode == "free" and prompt.task == "choice":
            return write_choice(self.model, prompt.id, users, histories, candidates, how.beams, how.progress)
        beams = candidates.shape[1] if how.decode == "exact" else how.beams
        return choose(self.model, prompt.id, users, histories, candidates, beams, how.progress)

    def explain(self, prompt: Prompt, asked: pl.DataFrame, how: Decoding) -> list[str]:
        return explain(self.model, prompt.id, asked, how.text_beams, how.progress)

    def similar(self, items: np.ndarray, k: int) -> Ranking:
        return nearest_items(self.model, items, k)

    def facts(self) -> list[tuple[str, str]]:
        model, config, codes = self.model.model, self.model.config, self.model.codes.facts()
        parts = count_parameters(model)
        trained, total = sum(part.trained for part in parts), sum(part.total for part in parts)
        lengths = f"{codes['tokens_shortest']} to {codes['tokens_longest']} tokens, {codes['new_tokens']:,} new ones"
        apart = f"{codes['collisions']:,} items told apart by a last token alone"
        grow = "items that come later can be coded" if codes["codes_new_items"] else "later items need a new run"
        if model.row_content:
            grow = "items that come later are taken in by their vectors (vip5 extend)"
        content = [
            f"{m.name}: {m.tokens} tokens of {m.dim} numbers{', in the rows of items' if m.in_row else ''}"
            for m in model.config.modalities
        ]
        terms = [] if self.model.terms is None else self.model.terms.facts()
        return [
            ("parameters", f"{total:,}, {100 * trained / total:.1f} % of them trained by {model.config.peft.method}"),
            ("item codes", f"{codes['scheme']}: {lengths}, {apart}; {grow}"),
            ("modalities", "; ".join(content) or "none, text alone"),
            *terms,
            ("seed", str(config.seed)),
        ]
