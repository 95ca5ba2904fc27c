"""Systems that are trained in epochs by Adam, until the validation items are found no better."""

import hashlib
import json
import math
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vip5.baselines.base import Baseline, Ranker, Settings, users_or_nobody
from vip5.baselines.validation import VALIDATE_USERS, Validation
from vip5.data import Dataset, Ragged
from vip5.errors import Diverged, UserError
from vip5.training.memory import keep_memory
from vip5.training.space import Choice, Real, Space
from vip5.training.state import METRICS_FILE, STATE_FILE

Watch = Callable[[list[dict[str, float]]], None]  # told the lines of `metrics.jsonl` so far

_SAVE_SECONDS = 10.0  # between two savings of the state


class LearnedSettings(Settings):
    """Settings of every system that is trained in epochs."""

    dim: int = Field(64, ge=1)  # of the vectors of users and items
    epochs: int = Field(300, ge=1)  # at most, without those of pre-training
    patience: int = Field(15, ge=1)  # epochs without a better validation, until it stops
    validate_users: int = Field(VALIDATE_USERS, ge=1)  # at most so many are validated on, spread evenly
    batch_size: int = Field(128, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)  # factor of the squared weights in the loss (Adam's L2)
    beta2: float = Field(0.98, gt=0, lt=1)  # of Adam

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
        """As `batches`, of one epoch of pre-training."""
        raise NotImplementedError

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


class LearnedRanker(Learned, Ranker):
    """A ranker that is trained in epochs. It defines `build`, `batches` and `score`."""

    goal = "NDCG@10"

    @abstractmethod
    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        """[n, n_items], of users int64 [n], -1 where one is not known; without gradients, without dropout."""

    def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]] | None:
        held = Validation.of(dataset, self.settings.validate_users)
        return None if held is None else lambda: held.scores(self)

    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        self.module.eval()
        with torch.inference_mode():
            known = torch.from_numpy(users_or_nobody(users, len(histories))).to(self.device)
            return self.score(histories, known).float().cpu().numpy()


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


class _State:
    """Where a training is: weights, the best weights, the optimiser's moments, a line an epoch. One file."""

    def __init__(self, system: Learned, dataset: Dataset, folder: Path | None) -> None:
        settings = system.settings
        self.system, self.folder = system, folder
        self.about = {
            "baseline": system.name,
            "hash": dataset.hash,
            "features": digest(system.features),
            "config": json.loads(settings.model_dump_json()),
        }
        self.lines: list[dict[str, float]] = []  # one an epoch
        self.best = {name: tensor.clone() for name, tensor in system.module.state_dict().items()}
        self.best_epoch, self.best_score = 0, -math.inf
        self.parameters = dict(system.module.named_parameters())
        self.optimizer = torch.optim.Adam(
            self.parameters.values(), settings.lr, (0.9, settings.beta2), weight_decay=settings.weight_decay, fused=True
        )
        self._saved = time.monotonic()
        if folder is not None and (folder / STATE_FILE).is_file():
            self._resume(folder / STATE_FILE)

    @property
    def ended(self) -> bool:
        epochs, settings, before = len(self.lines), self.system.settings, self.system.pretraining
        return epochs >= before + settings.epochs or epochs - max(before, self.best_epoch) >= settings.patience

    @property
    def pretrains(self) -> bool:
        """Whether the epoch that comes next is of pre-training."""
        return len(self.lines) < self.system.pretraining

    def add(self, loss: float, scores: dict[str, float], seconds: float) -> None:
        """An epoch is done."""
        pretrained = self.pretrains
        validated = {f"validation/{name}": score for name, score in scores.items()}
        self.lines.append({"epoch": len(self.lines) + 1, "loss": loss, **validated, "seconds": round(seconds, 3)})
        score = scores.get(self.system.goal, 0.0)
        if not pretrained and (score > self.best_score or not scores):
            self.best_epoch, self.best_score = len(self.lines), score
            for name, tensor in self.system.module.state_dict().items():
                self.best[name].copy_(tensor)
        if self.folder is not None and (self.ended or time.monotonic() - self._saved > _SAVE_SECONDS):
            self._save(self.folder)

    def _save(self, folder: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.system.module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"{key}.{name}": value for key, value in self.optimizer.state[parameter].items()}
        about = {"about": self.about, "lines": self.lines, "best": [self.best_epoch, self.best_score]}
        _write(folder / STATE_FILE, save({n: t.contiguous() for n, t in tensors.items()}, {"about": json.dumps(about)}))
        _write(folder / METRICS_FILE, "".join(f"{json.dumps(line)}\n" for line in self.lines).encode())
        self._saved = time.monotonic()

    def _resume(self, file: Path) -> None:
        with safe_open(file, "pt") as stored:
            about = json.loads(stored.metadata()["about"])
            if about.get("about") != self.about:
                raise UserError(
                    f"{file.parent} holds an unfinished run of other settings or data: give the same to go on, or "
                    "remove the folder"
                )
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        self.lines, (self.best_epoch, self.best_score) = about["lines"], about["best"]
        self.system.module.load_state_dict(_of("model", tensors))
        self.best = {name: tensor.to(self.system.device) for name, tensor in _of("best", tensors).items()}
        for name, parameter in self.parameters.items():
            if f"step.{name}" in tensors:  # what had no gradient yet has no moments
                self.optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to(parameter.device if key != "step" else "cpu")
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }


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
    state, validate, goal = _State(system, dataset, folder), system.validation(dataset), system.goal
    columns = TextColumn(system.name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}")
    shown = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet)
    with shown, torch.random.fork_rng(), _without_denormals():
        bar = shown.add_task("", total=system.pretraining + system.settings.epochs, completed=len(state.lines), said="")
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
                state.optimizer.zero_grad()
                loss.backward()
                state.optimizer.step()
                losses.append(loss.detach())
            mean = float(torch.stack(losses).mean()) if losses else 0.0
            if not np.isfinite(mean):
                raise Diverged(f"the loss of {system.name} is no number any more: give a lower lr")
            scores = validate() if validate is not None and not pretrains else {}
            state.add(mean, scores, time.perf_counter() - started)
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


def digest(features: Tensor | None) -> str:
    """A name for what a system sees of the items."""
    seen = b"" if features is None else features.numpy().tobytes()
    return hashlib.blake2b(seen, digest_size=16).hexdigest()


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _write(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_bytes(content)
    os.replace(aside, path)
