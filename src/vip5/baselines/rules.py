"""What is known without any training: what follows what, what goes with what, and items that look or read alike.

The terms that count beside VIP5's network (`vip5.model.terms`), without the network. Their weights are chosen on the
validation part.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vip5.baselines.base import BaselineSettings, Ranker
from vip5.baselines.validation import VALIDATE_USERS, Validation
from vip5.data import Dataset, Ragged
from vip5.modalities import open_modality
from vip5.modalities.texts import item_texts
from vip5.model.chosen import Judged, affordable, choose
from vip5.model.terms import POPULARITY, TOGETHER, TRANSITIONS, WORDS, ScoreTerms, TermSettings

_PEOPLE, _SCORES = 512, 2**23  # people, and people times items, at once


class RulesSettings(BaselineSettings):
    """Settings of `Rules`."""

    words: bool = True  # of title, brand and categories
    vectors: tuple[str, ...] = ()  # names of stores, such as photo and text: items like those of the history
    validate_users: int = Field(VALIDATE_USERS, ge=1)  # at most so many the weights are chosen by, spread evenly

    @property
    def terms(self) -> TermSettings:
        return TermSettings(transitions=True, together=True, words=self.words, popularity=True, again=True)


class Rules(Ranker):
    """Transitions, and other terms with weights: co-purchase, words, vectors, popularity, the history itself.

    A newcomer without any history gets what is popular.
    """

    name = "rules"
    source = "counts of the training part, and items' own texts and vectors"
    settings_type = RulesSettings
    cold_users = True

    def __init__(self, terms: ScoreTerms, settings: RulesSettings, n_users: int) -> None:
        super().__init__(settings, n_users, terms.n_items)
        self.terms = terms

    @classmethod
    def _fit(cls, dataset: Dataset, settings: RulesSettings, folder: Path | None, device: str, quiet: bool) -> Self:
        stores = {name: open_modality(dataset, name) for name in settings.vectors}
        vectors = {name: (store.matrix, store.mask) for name, store in stores.items()}
        texts = item_texts(dataset)
        terms = ScoreTerms.of(settings.terms, dataset.history("train"), dataset.n_items, vectors, texts)
        system = cls(terms, settings, dataset.n_users)
        held = Validation.of(dataset, affordable(settings.validate_users, dataset.n_items))
        if held is None:
            terms.weights = terms.choice_weights = dict.fromkeys(terms.names, 0.0) | {POPULARITY: 0.01}
            return system

        def roots(rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
            at_once = max(1, min(_PEOPLE, _SCORES // dataset.n_items))
            for at in range(0, len(rows), at_once):
                part = np.arange(at, min(at + at_once, len(rows)))
                yield part, system.root(held.histories.take(rows[part]))

        choose(terms, Judged(held.histories, held.targets, held.again, roots))
        return system

    @classmethod
    def of(
        cls, settings: RulesSettings, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu"
    ) -> Self:
        terms = ScoreTerms(settings.terms, n_items, popularity=tensors[POPULARITY])
        terms.vectors = {name: tensors[f"vectors.{name}"] for name in settings.vectors}
        for name in (TRANSITIONS, TOGETHER, *([WORDS] if settings.words else [])):
            terms.matrices[name] = tensors[f"{name}.0"], tensors[f"{name}.1"], tensors[f"{name}.2"]
        for chosen in ("weights", "choice_weights", "recency"):
            setattr(terms, chosen, dict(zip(terms.names, tensors[chosen].tolist(), strict=True)))
        return cls(terms, settings, n_users)

    def tensors(self) -> dict[str, Tensor]:
        terms = self.terms
        parts = {f"{name}.{n}": part for name, csr in terms.matrices.items() for n, part in enumerate(csr)}
        parts |= {f"vectors.{name}": vectors for name, vectors in terms.vectors.items()}
        assert terms.popularity is not None
        parts[POPULARITY] = terms.popularity
        for chosen in ("weights", "choice_weights", "recency"):
            values: dict[str, float] = getattr(terms, chosen)
            parts[chosen] = torch.tensor([values.get(name, 1.0) for name in terms.names], dtype=torch.float64)
        return parts

    def root(self, histories: Ragged) -> Tensor:
        """What the other terms are added to: transitions, and a trace of popularity, so that few items are equal."""
        trace = self.terms.scores(POPULARITY, histories)
        return self.terms.scores(TRANSITIONS, histories) + 1e-6 * trace

    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        return self._total(histories, self.terms.weights)

    def scores_of(self, candidates: np.ndarray, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """As `Ranker.scores_of`, with weights of their own."""
        found = np.empty(candidates.shape, dtype=np.float32)
        for rows in self._blocks(histories):
            scores = self._total(histories.take(rows), self.terms.choice_weights)
            found[rows] = np.take_along_axis(scores, candidates[rows], axis=1)
        return found

    def _total(self, histories: Ragged, weights: Mapping[str, float]) -> np.ndarray:
        return self.terms.total(self.root(histories), histories, weights).numpy()
