"""Where a run is: saved so that it goes on exactly, whatever stops it."""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from vip5 import __version__
from vip5.errors import UserError
from vip5.files import write_bytes
from vip5.model.averaging import MeanOfWeights
from vip5.model.checkpoint import frozen_mark
from vip5.runs import STATE_FILE, saved_state
from vip5.training.going_on import learnt_before
from vip5.training.run import Run

BEST_FILE = ".best.safetensors"
VERSIONS = f"vip5 {__version__}, torch {torch.__version__}"


class TrainingState:
    """Where a run is: step, epoch, batch, trained weights, the optimiser's moments. One file, replaced whole."""

    def __init__(self, run: Run, optimizer: torch.optim.Optimizer, out: Path):
        self.run, self.optimizer, self.out = run, optimizer, out
        self.trained = {name: p for name, p in run.model.named_parameters() if p.requires_grad}
        self.mean = MeanOfWeights(self.trained, run.config.optim.averaging)
        self.step, self.epoch, self.batch = 0, 0, 0
        self.best, self.best_epoch = float("-inf"), 0
        self.learnt = learnt_before(run.config.model.backbone)  # tasks
        # What decides the result beside the run's description.
        self.beside = {"frozen weights": frozen_mark(run.model), "item codes": _mark(run.codes.targets().tobytes())}
        self.beside["versions"] = VERSIONS
        self._saved = time.monotonic()

    def _about(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {"step": self.step, "epoch": self.epoch, "batch": self.batch}
        numbers["learnt"] = None if self.learnt is None else sorted(self.learnt)
        numbers |= {"best": self.best, "best_epoch": self.best_epoch}
        return {**numbers, "beside": self.beside, "run": self.run.description()}

    def save(self) -> None:
        tensors = {f"model.{name}": p.detach() for name, p in self.trained.items()}
        for name, p in self.trained.items():
            for key, value in self.optimizer.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = value
        tensors |= {f"mean.{name}": mean for name, mean in self.mean.values.items()}
        _write(tensors, self.out / STATE_FILE, {"about": json.dumps(self._about())})
        self._saved = time.monotonic()

    def is_due(self, seconds: float) -> bool:
        """Whether it was last saved so long ago."""
        return time.monotonic() - self._saved >= seconds

    def marks(self) -> dict[str, bytes]:
        """What must be the same in all processes that train the run together, by what to call it."""
        weights = [float(p.detach().sum(dtype=torch.float64)) for p in self.run.model.parameters()]
        about = self._about()
        run = {key: _lasting(part) for key, part in about.pop("run").items()}
        return {
            "settings or data": json.dumps(run).encode(),
            "item codes": self.beside["item codes"].encode(),
            "states to resume from": json.dumps(about).encode(),
            "weights to start from": json.dumps(weights).encode(),
        }

    def resume(self) -> None:
        """Take up the state in the run folder, if there is one."""
        file = self.out / STATE_FILE
        if not file.is_file():
            return
        with saved_state(file) as (stored, about):
            self._check(about)
            for name, p in self.trained.items():
                p.data.copy_(stored.get_tensor(f"model.{name}"))
                if name in self.mean.values:
                    self.mean.values[name].copy_(stored.get_tensor(f"mean.{name}"))
                self.optimizer.state[p] = {
                    key: stored.get_tensor(f"{key}.{name}").to(p.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{key}.{name}" in stored.keys()  # noqa: SIM118 (not a dict)
                }
        self.step, self.epoch, self.batch = about["step"], about["epoch"], about["batch"]
        self.best, self.best_epoch = about["best"], about["best_epoch"]
        learnt = about.get("learnt")  # not in a state of an earlier version
        self.learnt = None if learnt is None else frozenset(learnt)
        self.run.learnt = self.learnt

    def _check(self, about: dict[str, Any]) -> None:
        """UserError where anything is not as it was when the run began."""
        now = json.loads(json.dumps(self.run.description()))
        for key in ("config", "dataset", "modalities", "tokenizer", "extra_prompts"):
            if _lasting(about["run"][key]) != _lasting(now[key]):
                other = _difference(about["run"][key], now[key], key)
                raise UserError(
                    f"{self.out} holds an unfinished run with another {other}: "
                    "give the same settings to go on, or remove the folder"
                )
        for what, was in about.get("beside", {}).items():  # not in a state of an earlier version
            if was != (own := self.beside[what]):
                raise UserError(
                    f"{self.out} holds an unfinished run that began with other {what} ({was}, now {own}): "
                    "go on with those, or remove the folder"
                )

    def learn(self, tasks: Iterable[str]) -> None:
        """An epoch has samples of these tasks."""
        if self.learnt is not None:
            self.learnt = self.run.learnt = self.learnt.union(tasks)

    def keep_if_best(self, score: float) -> None:
        """Put the model's weights aside where they score better than all before."""
        if score > self.best:
            self.best, self.best_epoch = score, self.epoch
            _write({name: p.detach() for name, p in self.trained.items()}, self.out / BEST_FILE, {})

    def take_best(self) -> None:
        """End with the weights that scored best, where any were scored, else with their mean where there is one."""
        if self.best_epoch:
            with saved_state(self.out / BEST_FILE) as (stored, _):
                for name, p in self.trained.items():
                    p.data.copy_(stored.get_tensor(name))
        else:
            self.mean.exchange()


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    # not by save_file, whose own temporary file would stay behind after a kill
    write_bytes(path, save({name: t.contiguous() for name, t in tensors.items()}, metadata))


def _mark(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _lasting(part: Any) -> Any:
    """A description without what may change between two parts of the same run."""
    if isinstance(part, dict):
        return {key: value for key, value in part.items() if key not in ("path", "run")}
    return part


def _difference(old: Any, new: Any, place: str) -> str:
    """The first setting in which two descriptions differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in _lasting(old):
            if _lasting(old[key]) != _lasting(new.get(key)):
                return _difference(old[key], new.get(key), f"{place}.{key}")
    return f"{place} ({old}, now {new})"
