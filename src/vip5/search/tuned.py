"""What a search sees of a system: what it may choose, and what a choice is worth on the validation part."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from vip5.baselines.base import Baseline, Ranker
from vip5.baselines.learned import Learned
from vip5.baselines.state import digest
from vip5.baselines.validation import Validation
from vip5.data import Dataset
from vip5.errors import Diverged, UserError
from vip5.modalities import open_modality, store_names
from vip5.runs import METRICS_FILE, RUN_FILE
from vip5.space import Space
from vip5.training import Run, train
from vip5.training.config import configure, merge, nested
from vip5.training.validation import validation_score

Report = Callable[[Sequence[float]], None]  # told all scores so far, where more will come; may raise, to end that


class Tuned(ABC):
    """A system with what its user has fixed: `given`, nested settings that no trial changes."""

    name: str
    goal: str  # what `score` measures; higher is better
    config: Any  # the settings where all that is not given stands at its default
    vectors: str  # a name for what is seen of the items' content

    def __init__(self, dataset: Dataset, given: Mapping[str, Any], device: str) -> None:
        self.dataset, self.given, self.device = dataset, given, device

    @property
    def about(self) -> dict[str, Any]:
        """All that decides, with the choice, what a trial gives."""
        config = json.loads(self.config.model_dump_json())
        return {"tuned": self.name, "data": self.dataset.hash, "vectors": self.vectors, "config": config}

    @property
    def space(self) -> Space:
        """What is left to choose, by the setting's dotted name; UserError where nothing is."""
        space = self.config.space()
        if not space:
            raise UserError(f"{self.name} has nothing to tune: fit it with vip5 baseline {self.name}")
        left = {name: dimension for name, dimension in space.items() if not _stands(name, self.given)}
        if not left:
            raise UserError(f"nothing is left to tune of {self.name}: leave one of {', '.join(space)} open")
        return left

    @property
    def defaults(self) -> dict[str, Any]:
        """The choice that leaves everything as it is."""
        return {name: _value(name, self.config) for name in self.space}

    def settings(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Nested: what is given, and a choice by dotted names."""
        settings = dict(self.given)
        for name, value in choice.items():
            settings = merge(settings, nested(name, value))
        return settings

    @abstractmethod
    def score(self, choice: Mapping[str, Any], folder: Path, report: Report) -> list[float]:
        """Train in `folder`, going on from what is there; the score of each validation. Test items decide nothing.

        Raises: Diverged where the training gave no numbers.
        """


class TunedBaseline(Tuned):
    """A baseline: one that is trained in epochs by its own `goal`, any other by what it ranks."""

    def __init__(self, system: type[Baseline], dataset: Dataset, given: Mapping[str, Any], device: str) -> None:
        super().__init__(dataset, given, device)
        self.system, self.name, self.config = system, system.name, system.check(given)
        self.goal = system.goal if issubclass(system, Learned) else "NDCG@10"
        self.vectors = digest(system.read_features(dataset, self.config) if issubclass(system, Learned) else None)
        if not len(dataset.tested("validation")):
            self._nothing_held_out()

    def score(self, choice: Mapping[str, Any], folder: Path, report: Report) -> list[float]:
        settings = self.settings(choice)
        if issubclass(self.system, Learned):
            self.system.fit(
                self.dataset, folder, self.device, watch=lambda lines: report(self._scores(lines)), **settings
            )
            scores = self._scores(_lines(folder))
            return scores if scores else self._nothing_held_out()
        system, validation = self.system.fit(self.dataset, folder, self.device, **settings), Validation.of(self.dataset)
        assert isinstance(system, Ranker) and validation is not None  # a writer with settings is trained in epochs
        return [validation.scores(system)[self.goal]]

    def _scores(self, lines: Sequence[Mapping[str, float]]) -> list[float]:
        """None of pre-training, which is not validated."""
        return [line[f"validation/{self.goal}"] for line in lines if f"validation/{self.goal}" in line]

    def _nothing_held_out(self) -> NoReturn:
        where = f"{self.dataset.path} has no validation part to tune {self.name} on"
        raise UserError(f"{where}: prepare the data with another split")


class TunedModel(Tuned):
    """VIP5, by the next items of `run.validate_users` users, after each epoch where `run.validate_epochs` is 0."""

    def __init__(self, recipe: str, dataset: Dataset, given: Mapping[str, Any], device: str) -> None:
        if not configure(recipe, given, "fixed settings").run.validate_epochs:
            given = merge(given, {"run": {"validate_epochs": 1}})
        super().__init__(dataset, given, device)
        self.name, self.goal = "vip5", "NDCG@10"
        self.recipe, self.config = recipe, configure(recipe, given, "fixed settings").on(store_names(dataset))
        self.vectors = " ".join(open_modality(dataset, name).fingerprint for name in self.config.modalities)

    def score(self, choice: Mapping[str, Any], folder: Path, report: Report) -> list[float]:
        if not (folder / RUN_FILE).is_file():  # killed when it had just finished
            run = Run.new(configure(self.recipe, self.settings(choice), "a trial"), self.dataset)

            def validate(run: Run) -> dict[str, float]:
                if not all(torch.isfinite(weight).all() for weight in run.model.parameters()):
                    raise Diverged("the weights of vip5 are no numbers any more: give a lower optim.lr")
                scores = validation_score(run, self.dataset, self.config.run.validate_users)
                so_far = [*_validated(folder), _first(scores)]
                if len(so_far) < math.ceil(run.config.optim.epochs / run.config.run.validate_epochs):
                    report(so_far)
                return scores

            train(run, folder, self.device, validate, quiet=True)
        return _validated(folder)


def _validated(folder: Path) -> list[float]:
    """The first score of each validation of a run."""
    lines = [{key: line[key] for key in line if key.startswith("validation/")} for line in _lines(folder)]
    return [_first(scores) for scores in lines if scores]


def _first(scores: Mapping[str, float]) -> float:
    return next(iter(scores.values()))


def _lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text("utf-8").splitlines()]


def _stands(name: str, settings: Any) -> bool:
    """Whether nested settings say what a dotted name is."""
    for part in name.split("."):
        if not isinstance(settings, Mapping) or part not in settings:
            return False
        settings = settings[part]
    return True


def _value(name: str, config: Any) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config
