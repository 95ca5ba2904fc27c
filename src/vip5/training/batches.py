"""Which samples make a step, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from vip5.data import Ragged
from vip5.modalities import ModalityStore
from vip5.model import ModelInput
from vip5.prompts import PromptCompiler, Samples, collate
from vip5.prompts.lengths import SHORTEST, longest_first, of_like_length
from vip5.training.config import OptimPart
from vip5.training.distributed import Processes
from vip5.training.loss import ItemTargets
from vip5.training.run import Run

_VECTORS = 0.25  # of a GPU's free memory that the items' vectors may take


@dataclass(frozen=True)
class Step:
    """The samples of one optimiser step."""

    rows: np.ndarray  # of all processes, by kind, the longest first
    groups: list[np.ndarray]  # this process's share of them, in its order, in groups of like length
    targets: int  # of all processes: every item of histories is one, and every other sample
    weight: float  # of all targets together

    @property
    def size(self) -> int:
        """Samples of all processes."""
        return len(self.rows)


@dataclass(frozen=True)
class Epoch:
    """The samples of an epoch, and the steps that take each of them once."""

    samples: Samples
    steps: list[Step]


class Kind(IntEnum):
    """What a sample's target is; samples of one kind go through the model together."""

    TEXT = 0
    CHOICE = 1  # one item, of those that the prompt shows
    HISTORY = 2  # items one after the other


def kinds_of(samples: Samples) -> np.ndarray:
    """The kind of each sample, int [n]."""
    writes_items = samples.then.lengths > 0
    return np.where(writes_items, np.where(samples.candidates.lengths > 0, Kind.CHOICE, Kind.HISTORY), Kind.TEXT)


def plan(
    lengths: np.ndarray,
    settings: OptimPart,
    rng: np.random.Generator,
    processes: Processes = Processes(),
    samples: Samples | None = None,
) -> list[Step]:
    """The steps of an epoch, every sample once: random draws of `batch_size`, each cut into groups of like length.

    Where that makes fewer than `least_steps`, the draws are smaller. A step's gradient is that of the whole draw,
    padded to its longest sample, at a fraction of the work: prompts of different families differ in length by ten
    times. (Batches of one length each would save more, but they are batches of one task each, whose steps undo each
    other's.) A group holds at most `batch_tokens` with its padding, and samples of one kind. All processes draw the
    same steps, of which each takes its share. lengths: of the inputs of `samples`, which are text where none are given.
    """
    kinds = np.zeros_like(lengths) if samples is None else kinds_of(samples)
    targets = np.ones_like(lengths) if samples is None else np.maximum(samples.then.lengths, 1)
    weights = np.where(kinds == Kind.TEXT, settings.text_weight, targets)
    # Prompts before histories are as short as each other: there the decoder's rows count.
    sizes = np.where(kinds == Kind.HISTORY, targets, lengths)
    order, steps = rng.permutation(len(lengths)), []
    size = max(1, min(settings.batch_size, len(order) // settings.least_steps))
    for start in range(0, len(order), size):
        drawn = order[start : start + size]
        rows = longest_first(drawn, kinds * (int(sizes.max()) + 1) + sizes)
        share, groups = processes.share(rows), list[np.ndarray]()
        for kind in reversed(Kind):
            mine = share[kinds[share] == kind]
            # The decoder works on packed tokens, so histories of any length stand together.
            shortest = 0.0 if kind == Kind.HISTORY else SHORTEST
            groups += of_like_length(mine, sizes, settings.batch_tokens, shortest) if len(mine) else []
        steps.append(Step(rows, groups, int(targets[rows].sum()), float(weights[rows].sum())))
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

    def batch(self, samples: Samples) -> ModelInput | ItemTargets:
        """A batch of samples of one kind."""
        kind = Kind(int(kinds_of(samples)[0]))
        if kind == Kind.TEXT:
            return self._on_device(self.run.batch(self.compiler, samples, targets=True))
        prompts, row_B = samples, None
        if kind == Kind.HISTORY:  # prompts that are alike are read once
            keys = samples.prompt.astype(np.int64) << 32 | (samples.user + 1)
            _, first, row_B = np.unique(keys, return_index=True, return_inverse=True)
            prompts = samples.take(first)
        batch = collate(self.compiler.inputs(prompts), None, self.run.tokens, self.run.stores)
        batch.target_ids, batch.n_target_tokens = self.run.written(samples.then)
        batch.prompt_rows = None if row_B is None else torch.from_numpy(row_B)
        among = self._on(_padded(samples.candidates)) if kind == Kind.CHOICE else None
        return ItemTargets(self._on_device(batch), self._on(_padded(samples.then)), among)

    def _on(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).to(self.device)

    def _on_device(self, batch: ModelInput) -> ModelInput:
        if self.device.startswith("cuda"):  # only from pinned memory does a copy not wait for the GPU
            batch = batch.apply(Tensor.pin_memory)
        batch = batch.to(self.device)
        for name, kept in self.kept.items():
            if (content := batch.content.get(name)) is not None:
                batch.content[name] = replace(content, vectors=kept.index_select(0, content.vectors.flatten().long()))
        return batch

    def steps(self, epoch: Epoch, start: int) -> Iterator[tuple[Step, list[ModelInput | ItemTargets]]]:
        """Every step from the `start`-th on, with a batch for each group; a thread puts the next ones together."""
        steps = epoch.steps[start:]

        def make(step: Step) -> tuple[Step, list[ModelInput | ItemTargets]]:
            return step, [self.batch(epoch.samples.take(rows)) for rows in step.groups]

        with ThreadPoolExecutor(1, initializer=use_device, initargs=(self.device,)) as thread:
            waiting = [thread.submit(make, step) for step in steps[:2]]
            for number in range(len(steps)):
                ready = waiting.pop(0).result()
                if number + 2 < len(steps):
                    waiting.append(thread.submit(make, steps[number + 2]))
                yield ready


def _padded(rows: Ragged) -> np.ndarray:
    """int64 [n, longest], -1 after a row's last one."""
    table = np.full((len(rows), int(rows.lengths.max(initial=0))), -1)
    table[np.arange(table.shape[1]) < rows.lengths[:, None]] = rows.values
    return table


def use_device(device: str) -> None:
    """Make a GPU that is named by its number the calling thread's own: each thread begins with the first one."""
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
