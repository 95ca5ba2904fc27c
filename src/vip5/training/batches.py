"""Which samples make a step, and putting them together beside the training step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vip5.prompts import Batch, PromptCompiler, Samples
from vip5.training.config import OptimPart
from vip5.training.run import Run

_SHORTEST = 0.7  # of a group's longest sample: shorter ones go to the next group
_FEWEST = 8  # samples in a group, unless no more are left: tiny groups cost more than their padding saves

Step = list[np.ndarray]  # the samples of one optimiser step, in groups of like length


def plan(lengths: np.ndarray, settings: OptimPart, rng: np.random.Generator) -> list[Step]:
    """The steps of an epoch, every sample once: random draws of `batch_size`, each cut into groups of like length.

    A step's gradient is that of the whole draw, padded to its longest sample, at a fraction of the work: prompts of
    different families differ in length by ten times. (Batches of one length each would save more, but they are batches
    of one task each, whose steps undo each other's.) A group holds at most `batch_tokens` with its padding.
    """
    order = rng.permutation(len(lengths))
    return [
        of_like_length(order[start : start + settings.batch_size], lengths, settings.batch_tokens)
        for start in range(0, len(order), settings.batch_size)
    ]


def of_like_length(rows: np.ndarray, lengths: np.ndarray, most_tokens: int) -> Step:
    """Rows, the longest first, cut into groups that are padded to their longest: at most `most_tokens` in each."""
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    groups, start = [], 0
    for place in range(1, len(rows) + 1):
        longest, count = lengths[rows[start]], place - start
        if (
            place == len(rows)
            or (lengths[rows[place]] < _SHORTEST * longest and count >= _FEWEST)
            or (count + 1) * longest > most_tokens
        ):
            groups.append(rows[start:place])
            start = place
    return groups


def assemble(
    run: Run, compiler: PromptCompiler, samples: Samples, steps: list[Step], start: int, device: str
) -> Iterator[tuple[int, list[tuple[Samples, Batch]]]]:
    """(number, groups) for every step from `start` on; the next ones are put together in a thread meanwhile."""

    def make(number: int) -> tuple[int, list[tuple[Samples, Batch]]]:
        groups = []
        for rows in steps[number]:
            part = samples.take(rows)
            groups.append((part, run.batch(compiler, part, targets=True).to(device)))
        return number, groups

    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(make, n) for n in range(start, min(start + 2, len(steps)))]
        for number in range(start, len(steps)):
            ready = waiting.pop(0).result()
            if number + 2 < len(steps):
                waiting.append(thread.submit(make, number + 2))
            yield ready
