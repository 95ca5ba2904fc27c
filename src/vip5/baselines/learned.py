"""Systems that are trained in epochs by Adam, until the validation items are found no better."""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

from vip5.baselines.base import Baseline, BaselineSettings, SimilarityRanker, users_or_nobody
from vip5.baselines.state import FitState
from vip5.baselines.validation import VALIDATE_USERS, Validation
from vip5.data import Dataset, Ragged
from vip5.data.progress import LongJob
from vip5.errors import Diverged
from vip5.model.memory import keep_memory
from vip5.space import Choice, Real, Space

Watch = Callable[[list[dict[str, float]]], None]  # told the lines of `metrics.jsonl` so far


class LearnedSettings(BaselineSettings):
    """Settings of every system that is trained in epochs."""

    dim: int = Field(64, ge=1)  # of the vectors of users and items
    epochs: int = Field(300, ge=1)  # at most, without those of pre-training
    patience: int = Field(15, ge=1)  # epochs without a better validation, until it stops
    validate_users: int = Field(VALIDATE_USERS, ge=1)  # at most so many are validated on, spread evenly
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)  # factor of the squared weights in the loss (Adam's L2)
    beta2: float = Field(0.98, gt=0, lt=1)  # of Adam
    averaging: float = Field(0.0, ge=0, lt=1)  # share of it that a step leaves in the mean of weights; 0: no mean

    def space(self) -> Space:
        return {
            "dim": Choice((32, 64, 128)),
            "batch_size": Choice((64, 128, 256)),
            "lr": Real(1e-4, 1e-2, log=True),
        }


class Learned(Baseline):
    """A system whose weights are those of `module`.

    It defines `build` (a module of fresh weights), `batches` (an epoch's losses) and `validation`; with pre-training
    also `pretraining` and `pretraining_batches`.
    """

    goal: ClassVar[str]  # of what `validation` finds: the best epoch has most of it

    settings_type = LearnedSettings

    def __init__(
        self, settings: Any, n_users: int, n_items: int, device: str = "cpu", features: Tensor | None = None
    ) -> None:
        super().__init__(settings, n_users, n_items)
        self.features = features  # of `read_features`, which the module keeps as its own, by this name
        self.device = torch.device(device)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.module = self.build().to(self.device)
        self._summary: dict[str, Any] = {}

    @abstractmethod
    def build(self) -> nn.Module:
        """The module, with weights to start from drawn by torch's generator."""

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor | None:
        """What a system reads of the data set before it is built: photos, a graph, a vocabulary; None for others."""
        return None

    @abstractmethod
    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        """The mean loss of each batch of one epoch; everything random is drawn by torch's generator."""

    @property
    def pretraining(self) -> int:
        """Epochs of `pretraining_batches`, which come before all others and are not validated."""
        return 0

    def pretraining_batches(self, dataset: Dataset) -> Iterator[Tensor]:
        """As `batches`, of one epoch of pre-training; none, where there is none."""
        return iter(())

    @abstractmethod
    def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]] | None:
        """What measures the validation part, `goal` among it; None where there is none."""

    @property
    def summary(self) -> dict[str, Any]:
        return self._summary

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        folder: Path | None = None,
        device: str = "cpu",
        quiet: bool = True,
        watch: Watch | None = None,
        **settings: Any,
    ) -> Self:
        """`Baseline.fit`, with somebody who is told how far it is before each epoch but the first.

        What `watch` raises ends the training, which the same call goes on with.
        """
        return cls._fit(dataset, cls.check(settings), folder, device, quiet, watch)

    @classmethod
    def _fit(
        cls,
        dataset: Dataset,
        settings: Any,
        folder: Path | None,
        device: str,
        quiet: bool,
        watch: Watch | None = None,
    ) -> Self:
        features = cls.read_features(dataset, settings)
        system = cls(settings, dataset.n_users, dataset.n_items, device, features)
        system._summary = _train(system, dataset, folder, quiet, watch)
        return system

    @classmethod
    def of(cls, settings: Any, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        system = cls(settings, n_users, n_items, device, tensors.get("features"))
        system.module.load_state_dict(tensors)
        return system

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}


class LearnedRanker(Learned, SimilarityRanker):
    """A ranker that is trained in epochs. It defines `build`, `batches`, `score` and `item_vectors`.

    Items are as similar as the cosine of their vectors.
    """

    goal = "NDCG@10"

    @abstractmethod
    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        """[n, n_items], of users int64 [n], -1 where one is not known; without gradients, without dropout."""

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """[n_items, D]: what is multiplied with a user's vector, or read beside it."""

    def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]] | None:
        held = Validation.of(dataset, self.settings.validate_users)
        return None if held is None else lambda: held.scores(self)

    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        self.module.eval()
        with torch.inference_mode():
            known = torch.from_numpy(users_or_nobody(users, len(histories))).to(self.device)
            return self.score(histories, known).float().cpu().numpy()

    def similarities(self, items: np.ndarray) -> np.ndarray:
        self.module.eval()
        with torch.inference_mode():
            unit_ID = F.normalize(self.item_vectors().float(), dim=1)
            return (unit_ID[torch.from_numpy(items).long().to(self.device)] @ unit_ID.T).cpu().numpy()


class Bought:
    """What each user bought in training, to draw items outside it: of the catalogue, or of what anybody bought."""

    def __init__(self, history: Ragged, n_items: int, by_anybody: bool = False) -> None:
        self.n_items = n_items
        self.keys = torch.from_numpy(np.unique(history.rows * n_items + history.values))
        self.among = torch.from_numpy(np.unique(history.values).astype(np.int64)) if by_anybody else None

    def outside(self, user_N: Tensor) -> Tensor:
        """An item for each of N users, uniform outside their own; after 100 tries whatever was drawn."""
        drawn_N = self._draw(len(user_N))
        for _ in range(100):
            keys_N = user_N * self.n_items + drawn_N
            near_N = torch.searchsorted(self.keys, keys_N).clamp(max=len(self.keys) - 1)
            again = (self.keys[near_N] == keys_N).nonzero().flatten()
            if not len(again):
                break
            drawn_N[again] = self._draw(len(again))
        return drawn_N

    def _draw(self, n: int) -> Tensor:
        if self.among is None:
            return torch.randint(self.n_items, (n,))
        return self.among[torch.randint(len(self.among), (n,))]


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Numbers so small are 0 inside: moments of rows that are seldom touched fall there, where a CPU is slow."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _train(system: Learned, dataset: Dataset, folder: Path | None, quiet: bool, watch: Watch | None) -> dict[str, Any]:
    """Train until `patience` epochs were no better, and end with the best epoch's weights.

    Each epoch draws from a generator of its own, so that a training that was stopped goes on exactly.
    """
    keep_memory()
    state, validate, goal = FitState(system, dataset, folder), system.validation(dataset), system.goal
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}")
    shown = LongJob(*columns, TimeElapsedColumn(), shown=not quiet)
    with shown, torch.random.fork_rng(), _without_denormals():
        epochs = system.pretraining + system.settings.epochs
        bar = shown.add_task(system.name, total=epochs, completed=len(state.lines), said="")
        while not state.ended:
            if watch is not None and state.lines:
                watch(state.lines)
            started, pretrains = time.perf_counter(), state.pretrains
            torch.manual_seed(
                int(np.random.SeedSequence([system.settings.seed, len(state.lines)]).generate_state(1)[0])
            )
            system.module.train()
            losses = []
            for loss in system.pretraining_batches(dataset) if pretrains else system.batches(dataset):
                state.step(loss)
                losses.append(loss.detach())
            mean = float(torch.stack(losses).mean()) if losses else 0.0
            if not np.isfinite(mean):
                raise Diverged(f"the loss of {system.name} is no number any more: give a lower lr")
            with state.mean.inside():
                scores = validate() if validate is not None and not pretrains else {}
                state.add(mean, scores, time.perf_counter() - started)
            state.save()
            said = f"loss {mean:.4f}, {goal} {scores.get(goal, 0):.4f}, best {state.best_score:.4f}"
            shown.update(bar, advance=1, said=f"{said} in epoch {state.best_epoch}")
    system.module.load_state_dict(state.best)
    seconds = [line["seconds"] for line in state.lines]
    return {
        "epochs_trained": len(state.lines),
        "best_epoch": state.best_epoch,
        f"best_validation_{goal}": state.best_score,
        "seconds_to_best": round(sum(seconds[: state.best_epoch]), 1),
        "seconds": round(sum(seconds), 1),
    }
