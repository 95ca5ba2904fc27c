"""What an item scores beside the network: content like the history's, what others took next, what many take.

A network that is trained on the training part comes to remember it, and these plain facts fade in it. So they stay
outside, and are added to what it says: √p + Σ λ · term, all from 0 up, with weights λ chosen on validation.

Shape suffixes: B rows, I items, J recent items of a row, V numbers of a vector.
"""

import json
from collections.abc import Mapping
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

TRANSITIONS, POPULARITY, AGAIN = "transitions", "popularity", "again"
_CHOSEN = ("weights", "choice_weights", "power", "choice_power")  # on validation
_NEIGHBOURS = 200  # of an item that the transitions keep, the most likely ones
_SPARSE_ROWS = 4096  # of the transitions, squared at once


class TermSettings(BaseModel):
    """Which terms there are, beside those of modalities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transitions: bool = False  # what was taken after the items of the history, in the training part
    popularity: bool = False  # how often each item was taken in the training part
    again: bool = False  # the items of the history themselves
    recent: int = Field(10, ge=1)  # items of a history that count, the last ones
    recency: float = Field(0.4, gt=0, le=1)  # weight of each over that of the next one


@dataclass
class ScoreTerms:
    """Terms by name, and their weights."""

    settings: TermSettings
    n_items: int
    vectors: dict[str, Tensor] = field(default_factory=dict)  # float32 [I, V] of unit length, or 0, by modality
    transitions: tuple[Tensor, Tensor, Tensor] | None = None  # CSR [I, I]: rows, columns, values
    popularity: Tensor | None = None  # float32 [I], the most popular item 1
    weights: dict[str, float] = field(default_factory=dict)  # of next items, by term
    choice_weights: dict[str, float] = field(default_factory=dict)  # of one among candidates
    power: float = 1.0  # a score to this power, over the sum of all, is how probable an item is
    choice_power: float = 1.0

    @classmethod
    def of(
        cls,
        settings: TermSettings,
        history: Ragged,
        n_items: int,
        vectors: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> "ScoreTerms":
        """Terms of a training part: histories, and by modality vectors [I, V] with which of them are there [I]."""
        terms = cls(settings, n_items, {name: unit(*pair) for name, pair in vectors.items()})
        if settings.transitions:
            matrix = transitions(history, n_items)
            terms.transitions = tuple(  # type: ignore[assignment]
                torch.from_numpy(x)
                for x in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
            )
        if settings.popularity:
            counts = np.bincount(history.values, minlength=n_items).astype(np.float32)
            terms.popularity = torch.from_numpy(counts / max(1.0, counts.max()))
        return terms

    def save(self, file: Path) -> None:
        """Write all but the vectors, which have stores of their own."""
        csr = self.transitions or ()
        tensors = {f"transitions.{n}": part.cpu() for n, part in enumerate(csr)}
        if self.popularity is not None:
            tensors["popularity"] = self.popularity.cpu()
        about = {name: getattr(self, name) for name in _CHOSEN} | {"settings": self.settings.model_dump()}
        write_bytes(file, save(tensors, {"about": json.dumps(about)}))

    @classmethod
    def load(cls, file: Path, vectors: Mapping[str, tuple[np.ndarray, np.ndarray]], n_items: int) -> "ScoreTerms":
        """Read what `save` wrote; UserError where it is damaged."""
        try:
            with safe_open(file, "pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
                about = json.loads(stored.metadata()["about"])
            settings, chosen = TermSettings.model_validate(about["settings"]), {name: about[name] for name in _CHOSEN}
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{file} is damaged or of another version ({reason}): train again") from None
        csr = tuple(tensors[f"transitions.{n}"] for n in range(3)) if settings.transitions else None
        used = {name: unit(*vectors[name]) for name in vectors}
        return cls(settings, n_items, used, csr, tensors.get("popularity"), **chosen)

    @property
    def names(self) -> list[str]:
        """All terms, in a fixed order."""
        own = self.settings
        flags = ((TRANSITIONS, own.transitions), (POPULARITY, own.popularity), (AGAIN, own.again))
        return [*(name for name, there in flags if there), *self.vectors]

    def to(self, device: str | torch.device) -> "ScoreTerms":
        self.vectors = {name: x.to(device) for name, x in self.vectors.items()}
        if self.transitions is not None:
            self.transitions = tuple(x.to(device) for x in self.transitions)  # type: ignore[assignment]
        self.popularity = None if self.popularity is None else self.popularity.to(device)
        return self

    def scores(self, name: str, histories: Ragged) -> Tensor:
        """One term for every item, float32 [B, I], from 0 up; 1 at most, or about that."""
        device = self._device
        if name == POPULARITY:
            assert self.popularity is not None
            return self.popularity.sqrt().expand(len(histories), -1)
        item_N, row_N, weight_N = (x.to(device) for x in self._recent(histories))
        if name == AGAIN:
            return self._placed(len(histories), row_N, item_N, weight_N)
        if name == TRANSITIONS:
            return self._followers(len(histories), row_N, item_N, weight_N)
        vectors_IV = self.vectors[name]
        taste_BV = vectors_IV.new_zeros(len(histories), vectors_IV.shape[1])
        taste_BV.index_add_(0, row_N, vectors_IV[item_N] * weight_N[:, None])
        return (F.normalize(taste_BV, dim=1) @ vectors_IV.T).clamp_(min=0).square_()

    def total(self, log_p_BI: Tensor | None, histories: Ragged, weights: Mapping[str, float]) -> Tensor:
        """√p + Σ λ · term, float32 [B, I]; without p where it is not known."""
        total_BI = torch.zeros(len(histories), self.n_items, device=self._device)
        if log_p_BI is not None:
            total_BI = (log_p_BI / 2).exp_()
        for name, weight in weights.items():
            if weight:
                total_BI = total_BI + weight * self.scores(name, histories)
        return total_BI

    @property
    def _device(self) -> torch.device:
        parts = [*self.vectors.values(), *(self.transitions or ()), self.popularity]
        return next((part.device for part in parts if part is not None), torch.device("cpu"))

    def _recent(self, histories: Ragged) -> tuple[Tensor, Tensor, Tensor]:
        """The recent items of all rows, the rows they stand in, and their weights by recency."""
        recent = histories.last(self.settings.recent)
        before_last = np.repeat(recent.offsets[1:], recent.lengths) - np.arange(len(recent.values)) - 1
        weights = np.float32(self.settings.recency) ** before_last.astype(np.float32)
        return tuple(torch.from_numpy(x) for x in (recent.values.astype(np.int64), recent.rows, weights))  # type: ignore

    def _placed(self, n: int, row_N: Tensor, item_N: Tensor, value_N: Tensor) -> Tensor:
        flat = torch.zeros(n * self.n_items, device=value_N.device)
        return flat.index_add_(0, row_N * self.n_items + item_N, value_N).view(n, -1)

    def _followers(self, n: int, row_N: Tensor, item_N: Tensor, weight_N: Tensor) -> Tensor:
        assert self.transitions is not None
        start_I, column, value = self.transitions
        length_N = start_I[item_N + 1] - start_I[item_N]
        first_N = length_N.cumsum(0) - length_N
        place = torch.arange(int(length_N.sum()), device=row_N.device)
        place += (start_I[item_N] - first_N).repeat_interleave(length_N)
        row, weight = row_N.repeat_interleave(length_N), weight_N.repeat_interleave(length_N)
        return self._placed(n, row, column[place], value[place] * weight)


def unit(vectors: np.ndarray, present: np.ndarray) -> Tensor:
    """Vectors [I, V], centred, of unit length; 0 where there is none."""
    x = torch.from_numpy(np.array(vectors, np.float32))
    there = torch.from_numpy(np.array(present))
    x -= x[there].mean(dim=0) if bool(there.any()) else 0.0
    return F.normalize(x, dim=1) * there[:, None]


def transitions(history: Ragged, n_items: int) -> sp.csr_array:
    """What follows what: float32 [I, I], rows summing to about 1.

    Bought next counts 1, next but one a half, and backwards half of that; columns are damped by popularity^-.3; three
    tenths of two steps are added to one.
    """
    counts = sp.csr_array((n_items, n_items), dtype=np.float32)
    for gap, weight in ((1, 1.0), (2, 0.5)):
        same = history.rows[gap:] == history.rows[:-gap]
        first, second = history.values[:-gap][same], history.values[gap:][same]
        other = first != second
        pair = (first[other], second[other])
        ones = np.full(len(pair[0]), weight, np.float32)
        step = sp.coo_array((ones, pair), shape=(n_items, n_items)).tocsr()
        counts = counts + step + 0.5 * step.T
    damped = sp.csr_array(counts * (counts.sum(axis=0) + 1.0) ** -0.3)
    once = _shares(damped)
    rows = [
        _largest(once[at : at + _SPARSE_ROWS] + 0.3 * (once[at : at + _SPARSE_ROWS] @ once))
        for at in range(0, n_items, _SPARSE_ROWS)
    ]
    return sp.csr_array(sp.vstack(rows), dtype=np.float32)


def _shares(matrix: sp.csr_array) -> sp.csr_array:
    """Rows that sum to 1, or hold nothing."""
    total = matrix.sum(axis=1)
    return sp.csr_array(sp.diags_array(1 / np.where(total > 0, total, 1)) @ matrix)


def _largest(matrix: sp.csr_array) -> sp.csr_array:
    """The largest values of each row."""
    matrix = sp.csr_array(matrix)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))
    kept = np.sort(order[np.arange(len(order)) - matrix.indptr[row] < _NEIGHBOURS])
    lengths = np.bincount(row[kept], minlength=matrix.shape[0])
    return sp.csr_array((matrix.data[kept], matrix.indices[kept], np.append(0, lengths.cumsum())), shape=matrix.shape)
