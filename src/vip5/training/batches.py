"""Which samples make a step, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vip5.model.input import ModelInput
from vip5.prompts import PromptCompiler, Samples
from vip5.training.config import OptimPart
from vip5.training.distributed import Processes
from vip5.training.run import Run

_SHORTEST = 0.7  # of a group's longest sample: shorter ones go to the next group
_FEWEST = 8  # samples in a group, unless no more are left: tiny groups cost more than their padding saves
_FEATURES = 0.25  # of a GPU's free memory that the photos' features may take


@dataclass(frozen=True)
class Step:
    """The samples of one optimiser step."""

    rows: np.ndarray  # of all processes, longest first
    groups: list[np.ndarray]  # this process's share of them, in its order, in groups of like length

    @property
    def size(self) -> int:
        """Samples of all processes."""
        return len(self.rows)


@dataclass(frozen=True)
class Epoch:
    """The samples of an epoch, and the steps that take each of them once."""

    samples: Samples
    steps: list[Step]


def plan(
    lengths: np.ndarray, settings: OptimPart, rng: np.random.Generator, processes: Processes = Processes()
) -> list[Step]:
    """The steps of an epoch, every sample once: random draws of `batch_size`, each cut into groups of like length.

    A step's gradient is that of the whole draw, padded to its longest sample, at a fraction of the work: prompts of
    different families differ in length by ten times. (Batches of one length each would save more, but they are batches
    of one task each, whose steps undo each other's.) A group holds at most `batch_tokens` with its padding. All
    processes draw the same steps, of which each takes its share.
    """
    order, steps = rng.permutation(len(lengths)), []
    for start in range(0, len(order), settings.batch_size):
        rows = _longest_first(order[start : start + settings.batch_size], lengths)
        steps.append(Step(rows, of_like_length(processes.share(rows), lengths, settings.batch_tokens)))
    return steps


def _longest_first(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-lengths[rows], kind="stable")]


def of_like_length(rows: np.ndarray, lengths: np.ndarray, most_tokens: int) -> list[np.ndarray]:
    """Rows, the longest first, cut into groups that are padded to their longest: at most `most_tokens` in each."""
    rows = _longest_first(rows, lengths)
    sizes: list[int] = lengths[rows].tolist()  # several times as fast to walk over as an array
    groups, start = [], 0
    for place in range(1, len(rows) + 1):
        longest, count = sizes[start], place - start
        if (
            place == len(rows)
            or (sizes[place] < _SHORTEST * longest and count >= _FEWEST)
            or (count + 1) * longest > most_tokens
        ):
            groups.append(rows[start:place])
            start = place
    return groups


class Feed:
    """Batches on a device. Where they fit, the photos' features lie there too, and are gathered there by row."""

    def __init__(self, run: Run, compiler: PromptCompiler, device: str):
        self.run, self.compiler, self.device = run, compiler, device
        self.features: Tensor | None = None
        on_gpu, store = device.startswith("cuda"), run.features
        if on_gpu and store is not None and store.matrix.nbytes < _FEATURES * torch.cuda.mem_get_info(device)[0]:
            self.keep_features()

    def keep_features(self) -> None:
        """Copy the features to the device; batches then carry an item's row in their place until they are there."""
        store = self.run.features
        assert store is not None
        self.features = torch.empty(store.matrix.shape, device=self.device)
        for start in range(0, len(store.matrix), 65_536):  # not through one copy of the whole in the computer's memory
            part = slice(start, start + 65_536)
            self.features[part] = torch.from_numpy(np.array(store.matrix[part])).to(self.device)
        self.run = replace(self.run, features=replace(store, matrix=np.arange(len(store.matrix)), dim=0))

    def batch(self, samples: Samples) -> ModelInput:
        batch = self.run.batch(self.compiler, samples, targets=True)
        if self.device.startswith("cuda"):  # only from pinned memory does a copy not wait for the GPU
            values = {f.name: getattr(batch, f.name) for f in fields(batch)}
            pinned: dict[str, Any] = {name: x.pin_memory() for name, x in values.items() if isinstance(x, Tensor)}
            batch = replace(batch, **pinned)
        batch = batch.to(self.device)
        if self.features is not None:
            batch.features = self.features.index_select(0, batch.features.flatten().long())
        return batch

    def steps(self, epoch: Epoch, start: int) -> Iterator[tuple[Step, list[ModelInput]]]:
        """Every step from the `start`-th on, with a batch for each group; a thread puts the next ones together."""
        steps = epoch.steps[start:]

        def make(step: Step) -> tuple[Step, list[ModelInput]]:
            return step, [self.batch(epoch.samples.take(rows)) for rows in step.groups]

        with ThreadPoolExecutor(1, initializer=use_device, initargs=(self.device,)) as thread:
            waiting = [thread.submit(make, step) for step in steps[:2]]
            for number in range(len(steps)):
                ready = waiting.pop(0).result()
                if number + 2 < len(steps):
                    waiting.append(thread.submit(make, steps[number + 2]))
                yield ready


def use_device(device: str) -> None:
    """Make a GPU that is named by its number the calling thread's own: each thread begins with the first one."""
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
