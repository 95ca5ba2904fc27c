"""What a run answers: ranked items and sentences, in batches of users with prompts of like length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding import beam_search, best_items, best_of_beam, greedy
from vip5.errors import UserError
from vip5.items import Trie
from vip5.model.input import ModelInput
from vip5.prompts import PromptCompiler, Samples
from vip5.prompts.samples import slices
from vip5.training import Run
from vip5.training.batches import of_like_length

BATCH_TOKENS = 32_768  # input tokens with padding, at most, in a batch


@dataclass(frozen=True)
class Ranking:
    """The best items for each of n users, best first."""

    items: np.ndarray  # int64 [n, K]; -1 where there are fewer
    scores: np.ndarray  # float32 [n, K]; log-probability, -inf where there is no item


def next_items(
    run: Run,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    beams: int = 20,
    exclude_history: bool = True,
    progress: bool = False,
) -> Ranking:
    """The `beams` most probable next items of the whole catalogue, for users with the given histories.

    By default no item of a user's own history comes out.
    """
    compiler, samples = _asked_next(run, prompt, users, histories)

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        known = [histories[row] for row in rows] if exclude_history else None
        found = beam_search(run.model, batch, trie=run.trie, beams=min(beams, len(run.codes)), exclude=known)
        return found.items_BK, found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def exact_next(
    run: Run, prompt: str, users: np.ndarray, histories: Ragged, k: int = 20, progress: bool = False
) -> Ranking:
    """As `next_items`, but exactly the k most probable items outside the user's history: beams can drop some."""
    compiler, samples = _asked_next(run, prompt, users, histories)

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        return best_items(run.model, batch, run.trie, min(k, len(run.codes)), histories.take(rows))

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def write_next(
    run: Run, prompt: str, users: np.ndarray, histories: Ragged, beams: int = 20, progress: bool = False
) -> Ranking:
    """What the model writes where nothing holds it to items that exist: as the paper's own code decodes.

    -1 stands where a beam spells no item, and an item may stand twice. Nothing is excluded.
    """
    compiler, samples = _asked_next(run, prompt, users, histories)
    return _written(run, compiler, samples, beams, progress)


def choose(
    run: Run, prompt: str, users: np.ndarray, candidates: np.ndarray, beams: int = 20, progress: bool = False
) -> Ranking:
    """The best of each user's own candidates, int [n, C], in the order in which the prompt shows them.

    With as many beams as candidates none can be dropped: the scores of all of them are exact.
    """
    compiler, samples = _asked_choice(run, prompt, users, candidates)
    codes, width = run.codes.targets(), candidates.shape[1]

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        items = candidates[rows].ravel().astype(np.int64)
        groups = np.repeat(np.arange(len(rows)), width)
        trie = Trie.build(codes[items], items, groups).to(run.device)
        found = beam_search(run.model, batch, trie=trie, roots=trie.roots, beams=min(beams, width))
        return found.items_BK, found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def write_choice(
    run: Run, prompt: str, users: np.ndarray, candidates: np.ndarray, beams: int = 20, progress: bool = False
) -> Ranking:
    """As `write_next`, for one of each user's candidates: what is no candidate counts as no item (-1) too."""
    compiler, samples = _asked_choice(run, prompt, users, candidates)
    found = _written(run, compiler, samples, beams, progress)
    inside = (found.items[:, :, None] == candidates[:, None, :]).any(axis=2)
    return Ranking(np.where(inside, found.items, -1), found.scores)


def _asked_next(run: Run, prompt: str, users: np.ndarray, histories: Ragged) -> tuple[PromptCompiler, Samples]:
    compiler = _compiler(run, prompt, "next")
    recent = _most_recent(histories, run.config.prompts.max_history)
    return compiler, Samples.of(np.zeros(len(users), int), users, recent)


def _asked_choice(run: Run, prompt: str, users: np.ndarray, candidates: np.ndarray) -> tuple[PromptCompiler, Samples]:
    compiler = _compiler(run, prompt, "choice")
    n, width = candidates.shape
    lists = Ragged.from_lengths(candidates.astype(np.int32).ravel(), np.full(n, width))
    samples = Samples.of(np.zeros(n, int), users, lists)
    if (compiler.input_lengths(samples) >= compiler.max_input).any():
        raise UserError(
            f"{width} candidates make a prompt longer than prompts.max_input ({compiler.max_input} tokens), which "
            "would cut some of them off: give fewer"
        )
    return compiler, samples


def _written(run: Run, compiler: PromptCompiler, samples: Samples, beams: int, progress: bool) -> Ranking:
    """Beam search over all tokens, read as items."""
    spelled = {run.codes.spelled(row): item for item, row in enumerate(run.codes.targets())}
    limit = run.codes.targets().shape[1]

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        found = beam_search(run.model, batch, beams=beams, max_length=limit)
        read = [[spelled.get(run.codes.spelled(beam), -1) for beam in row] for row in found.tokens_BKT.cpu().numpy()]
        return torch.tensor(read), found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def explain(
    run: Run,
    prompt: str,
    samples: Samples,
    reviews: pl.DataFrame | None = None,
    beams: int = 1,
    progress: bool = False,
) -> list[str]:
    """A sentence for each sample: greedily, or the best of `beams`. `reviews` replaces the data set's."""
    compiler = _compiler(run, prompt, "explain")
    if reviews is not None:
        compiler = compiler.with_reviews(reviews)
    limit = run.config.prompts.max_target

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor]:
        if beams == 1:
            return (greedy(run.model, batch, limit),)
        return (best_of_beam(run.model, batch, beams, max_length=limit),)

    (tokens,) = _answers(run, compiler, samples, answer, progress)
    return [run.codes.vocabulary.decode(row) for row in tokens]


def _compiler(run: Run, prompt: str, task: str) -> PromptCompiler:
    compiler = run.compiler([prompt])
    if compiler.prompts[0].task != task:
        raise UserError(f"prompt {prompt} is of task {compiler.prompts[0].task}: choose one of task {task}")
    return compiler


def _answers(
    run: Run,
    compiler: PromptCompiler,
    samples: Samples,
    answer: Callable[[np.ndarray, ModelInput], Sequence[Tensor]],
    progress: bool = False,
) -> list[np.ndarray]:
    """Run `answer(rows, batch)` over all samples, longest prompts first; results in the samples' order, 0-padded."""
    groups = of_like_length(np.arange(len(samples)), compiler.input_lengths(samples), BATCH_TOKENS)
    parts: list[list[np.ndarray]] = []
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
    with bar, torch.inference_mode():
        task = bar.add_task(compiler.prompts[0].id, total=len(samples))
        for rows in groups:
            batch = run.batch(compiler, samples.take(rows)).to(run.device)
            parts.append([part.cpu().numpy() for part in answer(rows, batch)])
            bar.advance(task, len(rows))
    back = np.argsort(np.concatenate(groups))
    return [_stack([part[n] for part in parts])[back] for n in range(len(parts[0]))]


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _most_recent(histories: Ragged, limit: int) -> Ragged:
    kept = np.minimum(histories.lengths, limit)
    return Ragged.from_lengths(histories.values[slices(histories.offsets[1:] - kept, kept)], kept)
