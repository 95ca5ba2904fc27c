"""Which samples make a step, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

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

    rows: np.ndarray  # of all processes: those of whole histories first, and the longest first among alike
    groups: list[np.ndarray]  # this process's share of them, in its order, in groups of like length
    targets: int  # of all processes: items of histories, and other samples

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
    lengths: np.ndarray,
    settings: OptimPart,
    rng: np.random.Generator,
    processes: Processes = Processes(),
    items: np.ndarray | None = None,
) -> list[Step]:
    """The steps of an epoch, every sample once: random draws of `batch_size`, each cut into groups of like length.

    A step's gradient is that of the whole draw, padded to its longest sample, at a fraction of the work: prompts of
    different families differ in length by ten times. (Batches of one length each would save more, but they are batches
    of one task each, whose steps undo each other's.) A group holds at most `batch_tokens` with its padding. All
    processes draw the same steps, of which each takes its share. `items` int [n] says how many items the decoder is to
    write for samples of whole histories, 0 for others; a group holds samples of one kind.
    """
    items = np.zeros_like(lengths) if items is None else items
    order, steps = rng.permutation(len(lengths)), []
    for start in range(0, len(order), settings.batch_size):
        drawn = order[start : start + settings.batch_size]
        rows = longest_first(drawn, np.where(items > 0, items + int(lengths.max()), lengths))
        share, groups = processes.share(rows), list[np.ndarray]()
        # The decoder works on packed tokens, so histories of any length stand together.
        for kind, size, shortest in ((items[share] > 0, items, 0.0), (items[share] == 0, lengths, SHORTEST)):
            groups += of_like_length(share[kind], size, settings.batch_tokens, shortest) if kind.any() else []
        steps.append(Step(rows, groups, int(np.maximum(items[rows], 1).sum())))
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
        if samples.then.lengths.all():
            return self._histories(samples)
        return self._on_device(self.run.batch(self.compiler, samples, targets=True))

    def _histories(self, samples: Samples) -> ItemTargets:
        """Prompts that are alike are read once; the decoder is to write the items of `samples.then`."""
        keys = samples.prompt.astype(np.int64) << 32 | (samples.user + 1)
        _, first, row_B = np.unique(keys, return_index=True, return_inverse=True)
        then, prompts = samples.then, samples.take(first)
        batch = collate(self.compiler.inputs(prompts), None, self.run.tokens, self.run.stores)
        items_BS = np.full((len(then), int(then.lengths.max())), -1)
        items_BS[np.arange(items_BS.shape[1]) < then.lengths[:, None]] = then.values
        ids_BT, n = self.run.written(then)
        batch = replace(batch, target_ids=ids_BT, n_target_tokens=n, prompt_rows=torch.from_numpy(row_B))
        return ItemTargets(self._on_device(batch), torch.from_numpy(items_BS).to(self.device))

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


def use_device(device: str) -> None:
    """Make a GPU that is named by its number the calling thread's own: each thread begins with the first one."""
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
