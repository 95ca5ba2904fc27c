"""Batches of one length each: which samples go together, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vip5.prompts import Batch, PromptCompiler, Samples
from vip5.training.config import OptimPart
from vip5.training.run import Run

_WINDOW = 50  # batches' worth of samples that are sorted by length together


def plan(lengths: np.ndarray, settings: OptimPart, rng: np.random.Generator) -> list[np.ndarray]:
    """Which samples form each batch: all of an epoch, every sample once, in random order.

    Samples are shuffled, then sorted by length within windows, so that a batch pads little and is still random.
    """
    order = rng.permutation(len(lengths))
    batches = []
    window = _WINDOW * settings.batch_size
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        place = 0
        while place < len(rows):
            size = min(settings.batch_size, max(1, settings.batch_tokens // int(lengths[rows[place]])))
            batches.append(rows[place : place + size])
            place += size
    return [batches[n] for n in rng.permutation(len(batches))]


def assemble(
    run: Run, compiler: PromptCompiler, samples: Samples, batches: list[np.ndarray], start: int, device: str
) -> Iterator[tuple[int, Samples, Batch]]:
    """(number, samples, batch) for every batch from `start` on; the next one is put together in a thread meanwhile."""

    def make(number: int) -> tuple[int, Samples, Batch]:
        part = samples.take(batches[number])
        batch = run.batch(compiler, part, targets=True)
        if device.startswith("cuda"):
            batch = batch.to(device)
        return number, part, batch

    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(make, n) for n in range(start, min(start + 2, len(batches)))]
        for number in range(start, len(batches)):
            ready = waiting.pop(0).result()
            if number + 2 < len(batches):
                waiting.append(thread.submit(make, number + 2))
            yield ready
