"""What systems share that learn to write: words as numbers, batches of reviews, the loss of words, greedy writing.

Shapes: B reviews, T places of a sentence, V words, D dimensions, N words of a batch.
"""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import regex
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.base import Writer
from vip5.baselines.learned import Learned, LearnedSettings
from vip5.data import Dataset
from vip5.data.scripts import UNSPACED, UNSPACED_WORD
from vip5.errors import UserError
from vip5.model.ops import cross_entropy
from vip5.prompts.reviews import explainable
from vip5.space import Real, Space

PAD, END, BEGIN, UNKNOWN = range(4)  # the first numbers of every vocabulary; words come after them
_SPECIAL = 4
_REVIEWS_AT_ONCE = 512
_RUN = rf"(?:(?![{UNSPACED}])[\w\p{{N}}])+"
_WORD = regex.compile(rf"{UNSPACED_WORD}|{_RUN}(?:['’.-]{_RUN})*|[^\w\s]")
_CLOSING, _OPENING = regex.compile(r" ([.,;:!?%)\]،؛؟۔।॥])"), regex.compile(r"([(\[$#¿¡]) ")
_WIDE = "。、！，．：；？（）《》「」『』【】"  # marks that need no space beside them
_NO_SPACE = regex.compile(rf"(?<=[{UNSPACED}\p{{M}}ー]) (?=[{UNSPACED}])|(?<=[{_WIDE}]) | (?=[{_WIDE}])")


class Words:
    """The vocabulary: words and punctuation marks as they are written, in upper and lower case.

    Whole words, as in the systems' papers; letters in scripts that put no spaces between words.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.number = {word: n for n, word in enumerate(words, _SPECIAL)}

    def __len__(self) -> int:
        return _SPECIAL + len(self.words)

    @classmethod
    def of_sentences(cls, sentences: Iterable[str], most: int) -> "Words":
        """The most frequent words, `most` at most, of those that are written twice: what stands once is unknown, so
        that the system meets unknown words in training. Equals in the order of the alphabet."""
        counts = Counter(word for sentence in sentences for word in _WORD.findall(sentence))
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
        return cls([word for word, count in ranked if count > 1])

    def encode(self, sentences: Iterable[str], length: int) -> Tensor:
        """int64 [n, length + 1]: the first `length` words, then END where the sentence ends there; PAD behind."""
        found = [[self.number.get(word, UNKNOWN) for word in _WORD.findall(said)] + [END] for said in sentences]
        rows = np.full((len(found), length + 1), PAD, dtype=np.int64)
        for row, numbers in zip(rows, found, strict=True):
            kept = numbers if len(numbers) <= length + 1 else numbers[:length]
            row[: len(kept)] = kept
        return torch.from_numpy(rows)

    def encode_features(self, features: Iterable[str | None]) -> Tensor:
        """int64 [n]: of several words the last, which is what the others tell more of; UNKNOWN where there is none."""
        last = ((_WORD.findall(feature or "") or [""])[-1] for feature in features)
        return torch.tensor([self.number.get(word, UNKNOWN) for word in last], dtype=torch.int64)

    def sentence(self, numbers: Sequence[int]) -> str:
        """What is written, up to END, with spaces where they belong."""
        kept = numbers[: numbers.index(END)] if END in numbers else numbers
        joined = " ".join(self.words[n - _SPECIAL] for n in kept if n >= _SPECIAL)
        return _OPENING.sub(r"\1", _CLOSING.sub(r"\1", _NO_SPACE.sub("", joined)))


@dataclass(frozen=True)
class Asked:
    """B reviews as columns: all that is known of them before their sentences."""

    user: Tensor  # int64 [B], -1 for people who are not known
    item: Tensor  # int64 [B], -1 for items that are not known
    rating: Tensor  # float32 [B], NaN where there is none
    feature: Tensor  # int64 [B], a word, UNKNOWN where there is none

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Tensor) -> "Asked":
        return Asked(*(getattr(self, field.name)[rows] for field in fields(self)))


class WriterSettings(LearnedSettings):
    """Settings of every system that learns to write."""

    epochs: int = Field(50, ge=1)
    patience: int = Field(1, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(3e-3, gt=0)
    words: int = Field(3000, ge=1)  # of the vocabulary, at most
    length: int = Field(15, ge=1)  # words of a sentence that are learned and written, at most
    dropout: float = Field(0.2, ge=0, lt=1)
    forget: float = Field(0.1, ge=0, lt=1)  # how often a user or item is shown in training as one that is not known

    def space(self) -> Space:
        # Not words and length: with fewer of them any system finds a word more probable.
        return {**super().space(), "dropout": Real(0.0, 0.5), "forget": Real(0.0, 0.5)}


class LearnedWriter(Learned, Writer):
    """A writer that is trained in epochs on the training part's sentences, and validated by how probable it finds a
    word of the validation part's.

    It defines `build`, `teach`, `begin` and `step`; its module has `out`, from a hidden vector to words, without bias.
    Sentences are written greedily; an unknown word is never written. Of the validation part `validate_users` bounds the
    reviews.
    """

    goal = "log-probability"
    settings_type = WriterSettings
    module: Any

    @abstractmethod
    def teach(self, asked: Asked, before_BT: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, D], from which each word of `target` is to be told by those of `before`, the same sentences from BEGIN
        on; and the sum of all losses but that of the words."""

    @abstractmethod
    def begin(self, asked: Asked) -> Any:
        """The state before the first word."""

    @abstractmethod
    def step(self, state: Any, word_B: Tensor) -> tuple[Tensor, Any]:
        """[B, D] after one more word, BEGIN at first, and the state then."""

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor | None:
        sentences = explainable(dataset, "train")["explanation"]
        if not len(sentences):
            raise UserError(f"{cls.name} learns from explanations, and the training part of {dataset.path} has none")
        return as_bytes(Words.of_sentences(sentences, settings.words).words)

    @cached_property
    def words(self) -> Words:
        assert self.features is not None
        return Words(of_bytes(self.features))

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        reviews = explainable(dataset, "train")
        asked, target = self._asked(reviews), self._targets(reviews)
        for rows in torch.randperm(len(reviews)).to(self.device).split(self.settings.batch_size):
            loss_N, others = self._losses(asked.take(rows), target[rows])
            yield loss_N.mean() + others

    def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]] | None:
        reviews, most = explainable(dataset, "validation"), self.settings.validate_users
        if len(reviews) > most:
            reviews = reviews[np.unique(np.linspace(0, len(reviews) - 1, most).astype(int))]
        if not len(reviews):
            return None
        asked, target = self._asked(reviews), self._targets(reviews)

        def measure() -> dict[str, float]:
            self.module.eval()
            with torch.inference_mode():
                parts = torch.arange(len(reviews), device=self.device).split(_REVIEWS_AT_ONCE)
                losses = [self._losses(asked.take(rows), target[rows])[0] for rows in parts]
            return {self.goal: -float(torch.cat(losses).mean())}

        return measure

    def write(self, reviews: pl.DataFrame) -> list[str]:
        self.module.eval()
        asked, written = self._asked(reviews), list[str]()
        with torch.inference_mode():
            for rows in torch.arange(len(reviews), device=self.device).split(_REVIEWS_AT_ONCE):
                written += [self.words.sentence(row) for row in self._greedy(asked.take(rows)).tolist()]
        return written

    def _greedy(self, asked: Asked) -> Tensor:
        """int64 [B, T], END behind the end."""
        state, word_B = self.begin(asked), torch.full_like(asked.user, BEGIN)
        written_BT = torch.full((len(asked), self.settings.length), END, device=self.device)
        ended_B = torch.zeros_like(word_B, dtype=torch.bool)
        for place in range(self.settings.length):
            if ended_B.all():
                break
            h_BD, state = self.step(state, word_B)
            scores_BV = self.module.out(h_BD)
            scores_BV[:, [PAD, BEGIN, UNKNOWN]] = -torch.inf
            word_B = scores_BV.argmax(dim=1)
            ended_B |= word_B == END
            written_BT[~ended_B, place] = word_B[~ended_B]
        return written_BT

    def _losses(self, asked: Asked, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Of each word, [N], and the sum of the others."""
        target_BT = target_BT[:, : int((target_BT != PAD).sum(dim=1).max())]
        before_BT = F.pad(target_BT[:, :-1], (1, 0), value=BEGIN)
        h_BTD, others = self.teach(asked, before_BT, target_BT)
        real_BT = target_BT != PAD
        return cross_entropy(h_BTD[real_BT], [self.module.out.weight], target_BT[real_BT]), others

    def _asked(self, reviews: pl.DataFrame) -> Asked:
        user, item = (torch.from_numpy(reviews[name].to_numpy().astype(np.int64)) for name in ("user", "item"))
        rating = torch.from_numpy(reviews["rating"].cast(pl.Float32).fill_null(float("nan")).to_numpy().copy())
        columns = user, item, rating, self.words.encode_features(reviews["feature"])
        return Asked(*(column.to(self.device) for column in columns))

    def _targets(self, reviews: pl.DataFrame) -> Tensor:
        return self.words.encode(reviews["explanation"], self.settings.length).to(self.device)


class Ids(nn.Module):
    """A vector for each of n people or items: one that all share, and one of its own, 0 until it is trained.

    So whoever was not met in training is the shared vector, and -1 is. With probability `forget` an own vector is left
    out in training, for the shared one to be of use alone. (The papers say nothing of people and items not met.)
    """

    def __init__(self, n: int, dim: int, forget: float) -> None:
        super().__init__()
        self.shared, self.own = nn.Parameter(0.1 * torch.randn(dim)), nn.Embedding(n, dim)
        nn.init.zeros_(self.own.weight)
        self.forget = forget

    def forward(self, id_B: Tensor) -> Tensor:
        """[B, D]."""
        kept_B = id_B >= 0
        if self.training:
            kept_B &= (torch.rand(len(id_B)) >= self.forget).to(id_B.device)
        return self.shared + self.own(id_B.clamp(min=0)) * kept_B[:, None]


def as_bytes(texts: Sequence[str]) -> Tensor:
    """uint8: texts as a tensor, to be saved among those of a system."""
    return torch.frombuffer(bytearray(json.dumps(list(texts)).encode("utf-8")), dtype=torch.uint8)


def of_bytes(stored: Tensor) -> list[str]:
    """The texts that `as_bytes` made a tensor of."""
    return json.loads(stored.cpu().numpy().tobytes())


def rating_loss(predicted_B: Tensor, rating_B: Tensor) -> Tensor:
    """Mean squared error over the reviews that are rated; 0 where none is."""
    rated_B = ~rating_B.isnan()
    return (predicted_B - rating_B)[rated_B].square().sum() / rated_B.sum().clamp(min=1)


def content_loss(scores_BV: Tensor, target_BT: Tensor) -> Tensor:
    """-log p of the words of a sentence, in whatever order, in the mean over its words, then over sentences.

    p = softmax(scores) is one distribution for the whole sentence.
    """
    word_BT = target_BT >= UNKNOWN
    found_BT = -scores_BV.log_softmax(dim=1).gather(1, target_BT) * word_BT
    return (found_BT.sum(dim=1) / word_BT.sum(dim=1).clamp(min=1)).mean()
