"""A fitted baseline with its catalogue, in a folder of its own: asked and answering as a model is.

run.json               which system, its settings, the data set it was fitted on, the command
baseline.safetensors   what was fitted
catalogue/             items, people, where photos lie
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.baselines.base import Baseline, Ranker, Writer
from vip5.baselines.fitted import fit, load_fitted
from vip5.data import Dataset, Ragged
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError
from vip5.files import write_json
from vip5.predict.folder import CATALOGUE, FORMAT, about_dataset, read_run
from vip5.predict.lists import Ranking
from vip5.predict.system import Decoding
from vip5.prompts import Prompt, load_prompts
from vip5.runs import RUN_FILE

# What of a review a writer may be told, by which field.
TELLS = {"rating": "star_rating", "headline": "review_headline", "feature": "feature"}


@dataclass
class FittedBaseline:
    """A ranker or a writer. It reads no prompt: a task's answer is the same under each of its prompts."""

    system: Baseline
    catalogue: Catalogue
    prompts: dict[str, Prompt] = field(default_factory=load_prompts, repr=False)
    leaky = False

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def seed(self) -> int:
        return self.system.settings.seed

    def why_not(self, prompt: Prompt) -> str | None:
        if prompt.task == "explain":
            if not isinstance(self.system, Writer):
                return f"{self.name} ranks items and writes no sentences"
            if self.system.feature_word and "feature" not in prompt.needs:
                return f"{self.name} has to be told a feature word, and it gives none"
        elif not isinstance(self.system, Ranker):
            return f"{self.name} writes sentences and ranks no items"
        return None

    def reads_history(self, prompt: Prompt) -> bool:
        return prompt.task != "explain"

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
        ranker, k = self._ranker(), min(max(k, how.beams), self.catalogue.n_items)
        if among is None:
            return Ranking(ranker.rank(histories, k, users, exclude=exclude), None)
        every = ranker.rank(histories, self.catalogue.n_items, users, exclude=exclude)
        kept = np.isin(every, among)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        return Ranking(np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(every, order, 1), -1), None)

    def choose(
        self, prompt: Prompt, users: np.ndarray, histories: Ragged, candidates: np.ndarray, how: Decoding
    ) -> Ranking:
        return Ranking(self._ranker().rank_candidates(candidates, histories, users), None)

    def explain(self, prompt: Prompt, asked: pl.DataFrame, how: Decoding) -> list[str]:
        if not isinstance(self.system, Writer):
            raise UserError(f"{self.why_not(prompt)}: ask a model, or a baseline that writes")
        hidden = [pl.lit(None, asked.schema[name]).alias(name) for name in TELLS if TELLS[name] not in prompt.needs]
        return self.system.write(asked.with_columns(hidden))

    def similar(self, items: np.ndarray, k: int) -> Ranking:
        return Ranking(*self.system.similar(items, k))

    def facts(self) -> list[tuple[str, str]]:
        system = self.system
        numbers = f"{sum(tensor.numel() for tensor in system.tensors().values()):,}"
        settings = [(name, str(value)) for name, value in system.settings.model_dump().items()]
        return [("system", f"{system.name}: {system.source}"), ("numbers fitted", numbers), *settings]

    def _ranker(self) -> Ranker:
        if not isinstance(self.system, Ranker):
            raise UserError(f"{self.name} writes sentences and ranks no items: ask a model, or a baseline that ranks")
        return self.system

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write what `load` reads beside what was fitted; `run.json`, with `about`, comes last: then all is there."""
        self.catalogue.save(folder / CATALOGUE)
        own = {"baseline": self.name, "config": self.system.settings.model_dump(mode="json")}
        write_json(folder / RUN_FILE, {"vip5": __version__, "format": FORMAT, "kind": "baseline", **own, **about})

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "FittedBaseline":
        """Open a finished run by its folder alone; UserError for any other folder."""
        folder = Path(folder)
        about, catalogue = read_run(folder, "baseline"), Catalogue.load(folder / CATALOGUE)
        sizes = catalogue.n_users, catalogue.n_items
        return cls(load_fitted(folder, about["baseline"], about["config"], *sizes, device), catalogue)


def fit_run(
    name: str,
    dataset: Dataset,
    out: Path,
    settings: Mapping[str, Any],
    command: str,
    device: str = "cpu",
    quiet: bool = False,
) -> FittedBaseline:
    """Fit a baseline and leave its run folder; stopped or killed, the same call goes on.

    Raises: UserError for an unknown system or setting, and for a folder that holds something else.
    """
    catalogue = Catalogue.of(dataset)

    def finish(system: Baseline) -> None:
        about = {"command": command, "dataset": about_dataset(dataset)}
        FittedBaseline(system, catalogue).save(out, about)

    return FittedBaseline(fit(name, dataset, out, settings, device, quiet, finish), catalogue)
