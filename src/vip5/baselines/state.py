"""Where the training of a baseline is: to go on from, and to end with the best of."""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import Tensor, nn

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import to_json, write_bytes
from vip5.model.averaging import MeanOfWeights
from vip5.runs import METRICS_FILE, STATE_FILE, saved_state

_SAVE_SECONDS = 10.0  # between two savings of the state


class Trained(Protocol):
    """What is asked of a system that is trained in epochs: see `Learned`."""

    settings: Any
    features: Tensor | None
    module: nn.Module
    device: torch.device

    @property
    def name(self) -> str: ...

    @property
    def goal(self) -> str: ...

    @property
    def pretraining(self) -> int: ...


class FitState:
    """Where a training is: weights, the best weights, the optimiser's moments, a line an epoch. One file."""

    def __init__(self, system: Trained, dataset: Dataset, folder: Path | None) -> None:
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
        self.steps = 0
        self.mean = MeanOfWeights(self.parameters, settings.averaging)
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

    def step(self, loss: Tensor) -> None:
        """Learn from a batch."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self.mean.follow(self.steps)

    def add(self, loss: float, scores: dict[str, float], seconds: float) -> None:
        """An epoch is done; the module has the weights that `scores` are of."""
        pretrained = self.pretrains
        validated = {f"validation/{name}": score for name, score in scores.items()}
        self.lines.append({"epoch": len(self.lines) + 1, "loss": loss, **validated, "seconds": round(seconds, 3)})
        score = scores.get(self.system.goal, 0.0)
        if not pretrained and (score > self.best_score or not scores):
            self.best_epoch, self.best_score = len(self.lines), score
            for name, tensor in self.system.module.state_dict().items():
                self.best[name].copy_(tensor)

    def save(self) -> None:
        """Write where the training is, if it ended or was not written for a while."""
        if self.folder is not None and (self.ended or time.monotonic() - self._saved > _SAVE_SECONDS):
            self._save(self.folder)

    def _save(self, folder: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.system.module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"mean.{name}": tensor for name, tensor in self.mean.values.items()}
        for name, parameter in self.parameters.items():
            tensors |= {f"{key}.{name}": value for key, value in self.optimizer.state[parameter].items()}
        about = {
            "about": self.about,
            "lines": self.lines,
            "best": [self.best_epoch, self.best_score],
            "steps": self.steps,
        }
        write_bytes(
            folder / STATE_FILE, save({n: t.contiguous() for n, t in tensors.items()}, {"about": json.dumps(about)})
        )
        write_bytes(folder / METRICS_FILE, "".join(f"{to_json(line)}\n" for line in self.lines).encode())
        self._saved = time.monotonic()

    def _resume(self, file: Path) -> None:
        with saved_state(file) as (stored, about):
            if about.get("about") != self.about:
                raise UserError(
                    f"{file.parent} holds an unfinished run of other settings or data: give the same to go on, or "
                    "remove the folder"
                )
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
        self.lines, self.steps, (self.best_epoch, self.best_score) = about["lines"], about["steps"], about["best"]
        self.system.module.load_state_dict(_of("model", tensors))
        self.best = {name: tensor.to(self.system.device) for name, tensor in _of("best", tensors).items()}
        self.mean.values = {name: tensor.to(self.system.device) for name, tensor in _of("mean", tensors).items()}
        for name, parameter in self.parameters.items():
            if f"step.{name}" in tensors:  # what had no gradient yet has no moments
                self.optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to(parameter.device if key != "step" else "cpu")
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }


def digest(features: Tensor | None) -> str:
    """A name for what a system sees of the items."""
    seen = b"" if features is None else features.numpy().tobytes()
    return hashlib.blake2b(seen, digest_size=16).hexdigest()


def _of(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
