"""Which samples make a step, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vip5.modalities import ModalityStore
from vip5.model import ModelInput
from vip5.prompts import PromptCompiler, Samples
from vip5.prompts.lengths import longest_first, of_like_length
from vip5.training.config import OptimPart
from vip5.training.distributed import Processes
from vip5.training.run import Run

_VECTORS = 0.25  # of a GPU's free memory that the items' vectors may take


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
        rows = longest_first(order[start : start + settings.batch_size], lengths)
        steps.append(Step(rows, of_like_length(processes.share(rows), lengths, settings.batch_tokens)))
    return steps


class Feed:
    """Batches on a device. Where they fit, the items' vectors lie there too, and are gathered there by row."""

    def __init__(self, run: Run, compiler: PromptCompiler, device: str):
        self.run, self.compiler, self.device = run, compiler, device
        self.kept: dict[str, Tensor] = {}
        if device.startswith("cuda"):
            free = torch.cuda.mem_get_info(device)[0]
            if sum(store.matrix.nbytes for store in run.stores.values()) < _VECTORS * free:
                self.keep_vectors()

    def keep_vectors(self) -> None:
        """Copy the vectors to the device; batches then carry an item's row in their place until they are there."""
        rows: dict[str, ModalityStore] = {}
        for name, store in self.run.stores.items():
            self.kept[name] = kept = torch.empty(store.matrix.shape, device=self.device)
            for start in range(0, len(kept), 65_536):  # not through one copy of the whole in the computer's memory
                part = slice(start, start + 65_536)
                kept[part] = torch.from_numpy(np.array(store.matrix[part])).to(self.device)
            rows[name] = replace(store, matrix=np.arange(len(kept)), dim=0)
        self.run = replace(self.run, stores=rows)

    def batch(self, samples: Samples) -> ModelInput:
        batch = self.run.batch(self.compiler, samples, targets=True)
        if self.device.startswith("cuda"):  # only from pinned memory does a copy not wait for the GPU
            batch = batch.apply(Tensor.pin_memory)
        batch = batch.to(self.device)
        for name, kept in self.kept.items():
            if (content := batch.content.get(name)) is not None:
                batch.content[name] = replace(content, vectors=kept.index_select(0, content.vectors.flatten().long()))
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
