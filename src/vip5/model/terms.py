"""What an item scores beside the network: content like the history's, what others took next, what many take.

A network overfits the training part, and then gives these plain facts too little weight. So they stay outside of it and
are added to what it says: √p + Σ λ · term. All of them are 0 or more, and the weights λ are chosen on validation.

Shape suffixes: B rows, I items, N recent items of all rows, V numbers of a vector, W words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.files import write_bytes
from vip5.model.sparse import Csr, sum_of_rows, taken_together, transitions, word_vectors

TRANSITIONS, TOGETHER, WORDS = "transitions", "together", "words"
POPULARITY, AGAIN, NEW = "popularity", "again", "new"
Vectors = Mapping[str, tuple[np.ndarray, np.ndarray]]  # by modality: vectors [I, V], and which are there [I]
_CHOSEN = ("weights", "choice_weights", "recency", "power", "choice_power")  # on validation
RECENCY = 0.5  # where none is chosen
LEAST = 1e-30  # of a score, before its logarithm
_LOWEST = -1e4  # in place of the logarithm of what must not come out


class TermSettings(BaseModel):
    """Which terms there are, beside those of modalities, and what of a history they look at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transitions: bool = False  # what was taken after the items of the history, in the training part
    together: bool = False  # what the people who took items of the history took too, whatever the order
    words: bool = False  # words of an item's title, brand and categories that items of the history have too
    popularity: bool = False  # how often each item was taken in the training part
    again: bool = False  # the items of the history themselves
    recent: int = Field(20, ge=1)  # items of a history that count, the last ones

    @property
    def names(self) -> list[str]:
        """The terms there are, in a fixed order."""
        return [name for name in (TRANSITIONS, TOGETHER, WORDS, POPULARITY, AGAIN) if getattr(self, name)]


@dataclass
class ScoreTerms:
    """Terms by name, and their weights."""

    settings: TermSettings
    n_items: int
    vectors: dict[str, Tensor] = field(default_factory=dict)  # float32 [I, V] of unit length, or 0, by modality
    matrices: dict[str, Csr] = field(default_factory=dict)  # transitions and together [I, I], words [I, W]
    popularity: Tensor | None = None  # float32 [I], the most popular item 1
    weights: dict[str, float] = field(default_factory=dict)  # of next items, by term
    choice_weights: dict[str, float] = field(default_factory=dict)  # of one among candidates
    recency: dict[str, float] = field(default_factory=dict)  # by term, weight of an item over that of the next one
    new: Tensor | None = None  # bool [I]: items that came when the network and the counts were there already
    power: float = 1.0  # a score to this power, over the sum of all, is how probable an item is
    choice_power: float = 1.0

    @classmethod
    def of(
        cls, settings: TermSettings, history: Ragged, n_items: int, vectors: Vectors, texts: Sequence[str]
    ) -> "ScoreTerms":
        """Terms of a training part: its histories, items' vectors, and what is written of each item."""
        terms = cls(settings, n_items, {name: unit(*pair) for name, pair in vectors.items()})
        if settings.transitions:
            terms.matrices[TRANSITIONS] = transitions(history, n_items)
        if settings.together:
            terms.matrices[TOGETHER] = taken_together(history, n_items)
        if settings.words:
            terms.matrices[WORDS] = word_vectors(texts)
        if settings.popularity:
            counts = np.bincount(history.values, minlength=n_items).astype(np.float32)
            terms.popularity = torch.from_numpy(counts / max(1.0, counts.max()))
        return terms

    def save(self, file: Path) -> None:
        """Write all but the vectors, which have stores of their own."""
        tensors = {f"{name}.{n}": x for name, csr in self.matrices.items() for n, x in enumerate(csr)}
        if self.popularity is not None:
            tensors[POPULARITY] = self.popularity
        if self.new is not None:
            tensors[NEW] = self.new
        about = {name: getattr(self, name) for name in _CHOSEN} | {"settings": self.settings.model_dump()}
        write_bytes(file, save(tensors, {"about": json.dumps(about)}))

    def renewed(
        self, history: Ragged, n_items: int, vectors: Vectors, texts: Sequence[str], new: np.ndarray
    ) -> "ScoreTerms":
        """The same terms of a newer shop, with what was chosen for this one; new: items that came since, bool [I]."""
        newer = ScoreTerms.of(self.settings, history, n_items, vectors, texts)
        newer.new = torch.from_numpy(new) if new.any() else None
        for name in _CHOSEN:
            setattr(newer, name, getattr(self, name))
        return newer

    @classmethod
    def load(cls, file: Path, vectors: Vectors, n_items: int) -> "ScoreTerms":
        """Read what `save` wrote; UserError where it is damaged."""
        try:
            with safe_open(file, "pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
                about = json.loads(stored.metadata()["about"])
            terms = cls(TermSettings.model_validate(about["settings"]), n_items, **{n: about[n] for n in _CHOSEN})
            for name in terms.settings.names:
                if name in (TRANSITIONS, TOGETHER, WORDS):
                    terms.matrices[name] = tensors[f"{name}.0"], tensors[f"{name}.1"], tensors[f"{name}.2"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{file} is damaged or of another version ({reason}): train again") from None
        terms.popularity, terms.new = tensors.get(POPULARITY), tensors.get(NEW)
        terms.vectors = {name: unit(*pair) for name, pair in vectors.items()}
        return terms

    @property
    def names(self) -> list[str]:
        """All terms, in a fixed order."""
        return [*self.settings.names, *self.vectors]

    def facts(self) -> list[tuple[str, str]]:
        """What a card says: the score of a next item and of one among candidates, written out."""
        named = (("score of a next item", self.weights), ("score among candidates", self.choice_weights))
        return [(name, self._written(weights)) for name, weights in named]

    def _written(self, weights: Mapping[str, float]) -> str:
        parts = ["√p"]
        for name, weight in weights.items():
            fades = "" if name == POPULARITY else f" ({self.recency.get(name, RECENCY):g} per item back)"
            parts += [f"{weight:.3g} · {name}{fades}"] if weight else []
        return " + ".join(parts)

    def to(self, device: str | torch.device) -> "ScoreTerms":
        """The vectors on another device; the other terms are worked out on the CPU."""
        self.vectors = {name: x.to(device) for name, x in self.vectors.items()}
        return self

    def total(self, root_BI: Tensor, histories: Ragged, weights: Mapping[str, float]) -> Tensor:
        """√p + Σ λ · term, float32 [B, I], added in place to √p."""
        total_BI = root_BI
        for name, weight in weights.items():
            if weight:
                total_BI.add_(self.scores(name, histories).to(total_BI.device), alpha=weight)
        return total_BI

    def place_new(self, score_BI: Tensor, histories: Ragged) -> Tensor:
        """Give each new item, in place, the score of the place that its content alone has among the items known.

        Neither the network nor the counts know it, so its own sum would put it last. An item that must not come out has
        -inf, and no place.
        """
        content = [*self.vectors, *({WORDS} & self.matrices.keys())]
        if self.new is None or not content:
            return score_BI
        new_I = self.new.to(score_BI.device)
        like_BI = sum((self.scores(name, histories).to(score_BI) for name in content), torch.zeros_like(score_BI))
        like_BI.masked_fill_(score_BI == -torch.inf, -1.0)
        known_BK, own_BN = like_BI[:, ~new_I].sort(dim=1).values, like_BI[:, new_I].contiguous()
        by_score_BK = score_BI[:, ~new_I].nan_to_num_(neginf=_LOWEST).sort(dim=1).values
        # Below all that are as like: what is like nothing, as after no history at all, comes last.
        above_BN = torch.searchsorted(known_BK, own_BN).clamp_(1, known_BK.shape[1] - 1)
        low_BN, high_BN = known_BK.gather(1, above_BN - 1), known_BK.gather(1, above_BN)
        # Above 1 for what is liker than all known, but not by much, though the two likest be twins.
        share_BN = ((own_BN - low_BN) / (high_BN - low_BN).clamp(min=1e-6)).clamp_(-1, 2)
        from_BN, to_BN = by_score_BK.gather(1, above_BN - 1), by_score_BK.gather(1, above_BN)
        placed_BN = torch.lerp(from_BN, to_BN, share_BN)
        score_BI[:, new_I] = torch.where(score_BI[:, new_I] == -torch.inf, -torch.inf, placed_BN)
        return score_BI

    def scores(self, name: str, histories: Ragged) -> Tensor:
        """One term for every item, float32 [B, I], from 0 up, about 1 at most; of vectors on their device."""
        B = len(histories)
        if name == POPULARITY:
            assert self.popularity is not None
            return self.popularity.sqrt().expand(B, -1)
        device = self.vectors[name].device if name in self.vectors else torch.device("cpu")
        row_N, item_N, weight_N = self._recent(histories, self.recency.get(name, RECENCY), device)
        if name in (TRANSITIONS, TOGETHER):
            return sum_of_rows(self.matrices[name], (B, self.n_items), row_N, item_N, weight_N)
        if name == WORDS:
            return self._of_words(B, row_N, item_N, weight_N)
        if name == AGAIN:
            flat = torch.zeros(B * self.n_items)
            return flat.index_add_(0, row_N * self.n_items + item_N, weight_N).view(B, -1)
        vectors_IV = self.vectors[name]
        taste_BV = vectors_IV.new_zeros(B, vectors_IV.shape[1])
        taste_BV.index_add_(0, row_N, vectors_IV[item_N] * weight_N[:, None])
        return (F.normalize(taste_BV, dim=1) @ vectors_IV.T).clamp_(min=0)

    def _recent(self, histories: Ragged, recency: float, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The recent items of all rows: the rows they stand in, the items, and their weights by recency."""
        recent = histories.last(self.settings.recent)
        before_last = np.repeat(recent.offsets[1:], recent.lengths) - np.arange(len(recent.values)) - 1
        weights = np.float32(recency) ** before_last.astype(np.float32)
        row_N, item_N = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (recent.rows, recent.values))
        return row_N, item_N, torch.from_numpy(weights).to(device)

    def _of_words(self, B: int, row_N: Tensor, item_N: Tensor, weight_N: Tensor) -> Tensor:
        """The cosines of words with each item of the history, added up [B, I]."""
        start, column, value = self.matrices[WORDS]
        W = int(column.max()) + 1 if len(column) else 1
        taste_BW = sum_of_rows((start, column, value), (B, W), row_N, item_N, weight_N)
        parts = value.numpy(), column.numpy(), start.numpy()
        return torch.from_numpy(sp.csr_array(parts, shape=(self.n_items, W)) @ taste_BW.numpy().T).T.contiguous()


def closed(score_BI: Tensor, exclude: Ragged | None, value: float = -torch.inf) -> Tensor:
    """The scores with `value`, in place, for what must not come out of each row."""
    if exclude is not None:
        at = (torch.from_numpy(x.astype(np.int64)).to(score_BI.device) for x in (exclude.rows, exclude.values))
        score_BI[tuple(at)] = value
    return score_BI


def unit(vectors: np.ndarray, present: np.ndarray) -> Tensor:
    """Vectors [I, V], centred, of unit length; 0 where there is none."""
    x, there = torch.from_numpy(np.array(vectors, np.float32)), torch.from_numpy(np.array(present))
    if bool(there.any()):
        x -= x[there].mean(dim=0)
    return F.normalize(x, dim=1) * there[:, None]
