"""What a model answers: ranked items and sentences, in batches of people with prompts of like length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding import beam_search, best_items, best_of_beam, greedy, score_items, top_items
from vip5.errors import UserError
from vip5.items import Trie
from vip5.model.input import ModelInput
from vip5.model.terms import LEAST, closed
from vip5.predict.model import TrainedModel
from vip5.prompts import PromptCompiler, Samples
from vip5.prompts.lengths import of_like_length
from vip5.prompts.reviews import stars_in_tenths

BATCH_TOKENS = 32_768  # input tokens with padding, at most, in a batch
SCORES = 2**23  # of people times items, at most, in a batch where all items are scored


@dataclass(frozen=True)
class Ranking:
    """The best items for each of n users, best first."""

    items: np.ndarray  # int [n, K]; -1 where there are fewer
    scores: np.ndarray | None  # float32 [n, K]: of a model log-probability, -inf where there is no item; or unknown


def next_items(
    run: TrainedModel,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    beams: int = 20,
    exclude: Ragged | None = None,
    trie: Trie | None = None,
    progress: bool = False,
) -> Ranking:
    """The `beams` most probable next items for people with the given histories; users int [n], -1 for the unknown.

    exclude: items that must not come out, for each person. trie: of a part of the catalogue; the whole by default.
    """
    compiler, samples = _asked_next(run, prompt, users, histories)
    trie = trie or run.trie
    width = min(beams, trie.n_items)

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        left_out = None if exclude is None else exclude.take(rows)
        found = beam_search(run.model, batch, trie=trie, beams=width, exclude=left_out)
        return found.items_BK, found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def exact_next(
    run: TrainedModel,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    k: int = 20,
    exclude: Ragged | None = None,
    trie: Trie | None = None,
    progress: bool = False,
) -> Ranking:
    """As `next_items`, but exactly the k most probable items: beams can drop some."""
    compiler, samples = _asked_next(run, prompt, users, histories)
    trie = trie or run.trie
    width = min(k, trie.n_items)

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        left_out = None if exclude is None else exclude.take(rows)
        return best_items(run.model, batch, trie, width, left_out)

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def item_scores(
    run: TrainedModel, prompt: str, users: np.ndarray, histories: Ragged, progress: bool = False
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Log-probabilities (nats) of all items by the network alone: rows of the n people, and float32 [rows, n_items]."""
    compiler, samples = _asked_next(run, prompt, users, histories)
    most = max(1, SCORES // run.trie.n_items)
    for rows, batch in _batches(run, compiler, samples, progress, most):
        yield rows, score_items(run.model, batch, run.trie)


def scored_next(
    run: TrainedModel,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    k: int = 20,
    exclude: Ragged | None = None,
    among: np.ndarray | None = None,
    progress: bool = False,
) -> Ranking:
    """The k best next items by the network and all other terms of the score, exactly; of the items `among` alone,
    where they are given. Scores are log-probabilities among all that may come out, as validation calibrated them."""
    terms, parts = run.terms, []
    assert terms is not None
    width, outside = min(k, run.trie.n_items), None
    if among is not None:
        outside = torch.ones(run.trie.n_items, dtype=torch.bool)
        outside[torch.from_numpy(np.asarray(among, np.int64))] = False
    with torch.inference_mode():
        for rows, log_p_BI in item_scores(run, prompt, users, histories, progress):
            score_BI = terms.total((log_p_BI / 2).exp_(), histories.take(rows), terms.weights).clamp_(min=LEAST).log_()
            if outside is not None:
                score_BI.masked_fill_(outside.to(score_BI.device), -torch.inf)
            score_BI = closed(score_BI, None if exclude is None else exclude.take(rows))
            score_BI = terms.place_new(score_BI, histories.take(rows)).mul_(terms.power)
            found = top_items(score_BI.log_softmax(dim=1).nan_to_num_(nan=-torch.inf, neginf=-torch.inf), width)
            parts.append((rows, *(x.cpu().numpy() for x in found)))
    return Ranking(*_in_order(parts))


def scored_choice(
    run: TrainedModel, prompt: str, users: np.ndarray, histories: Ragged, candidates: np.ndarray, progress: bool = False
) -> Ranking:
    """All of each user's own candidates int [n, C], the likeliest to be next first, by all terms of the score."""
    terms, parts = run.terms, []
    assert terms is not None
    with torch.inference_mode():
        for rows, log_p_BI in item_scores(run, prompt, users, histories, progress):
            own_BC = torch.from_numpy(candidates[rows].astype(np.int64)).to(log_p_BI.device)
            total_BI = terms.total((log_p_BI / 2).exp_(), histories.take(rows), terms.choice_weights)
            total_BI = terms.place_new(total_BI, histories.take(rows))
            log_BC = total_BI.gather(1, own_BC).clamp_(min=LEAST).log_() * terms.choice_power
            score_BC, order_BC = log_BC.log_softmax(dim=1).sort(dim=1, descending=True)
            parts.append((rows, own_BC.gather(1, order_BC).cpu().numpy(), score_BC.cpu().numpy()))
    return Ranking(*_in_order(parts))


def write_next(
    run: TrainedModel, prompt: str, users: np.ndarray, histories: Ragged, beams: int = 20, progress: bool = False
) -> Ranking:
    """What the model writes where nothing holds it to items that exist: as the paper's own code decodes.

    -1 stands where a beam spells no item, and an item may stand twice. Nothing is excluded.
    """
    compiler, samples = _asked_next(run, prompt, users, histories)
    return _written(run, compiler, samples, beams, progress)


def choose(
    run: TrainedModel,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    candidates: np.ndarray,
    beams: int = 20,
    progress: bool = False,
) -> Ranking:
    """The best of each user's own candidates, int [n, C].

    A prompt of task choice shows them, in their order; after one of task next, which shows the history, nothing else
    may be written. With as many beams as candidates none can be dropped: the scores of all of them are exact.
    """
    if run.prompts[prompt].task == "next":
        compiler, samples = _asked_next(run, prompt, users, histories)
    else:
        compiler, samples = _asked_choice(run, prompt, users, histories, candidates)
    codes, width = run.codes.targets(), candidates.shape[1]

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        items = candidates[rows].ravel().astype(np.int64)
        groups = np.repeat(np.arange(len(rows)), width)
        trie = Trie.build(codes[items], items, groups).to(run.device)
        found = beam_search(run.model, batch, trie=trie, roots=trie.roots, beams=min(beams, width))
        return found.items_BK, found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def write_choice(
    run: TrainedModel,
    prompt: str,
    users: np.ndarray,
    histories: Ragged,
    candidates: np.ndarray,
    beams: int = 20,
    progress: bool = False,
) -> Ranking:
    """As `write_next`, for one of each user's candidates: what is no candidate counts as no item (-1) too."""
    compiler, samples = _asked_choice(run, prompt, users, histories, candidates)
    found = _written(run, compiler, samples, beams, progress)
    inside = (found.items[:, :, None] == candidates[:, None, :]).any(axis=2)
    return Ranking(np.where(inside, found.items, -1), found.scores)


def _asked_next(run: TrainedModel, prompt: str, users: np.ndarray, histories: Ragged) -> tuple[PromptCompiler, Samples]:
    compiler, recent = _compiler(run, prompt, "next"), histories.last(run.config.prompts.max_history)
    first = np.zeros(len(users), int)
    if run.config.prompts.history == "decoder":
        if run.config.samples.forget_user == 1:  # names were never taught, so they would only disturb
            users = np.full(len(users), -1)
        return compiler, Samples.of(first, users, then=recent)
    return compiler, Samples.of(first, users, recent)


def _asked_choice(
    run: TrainedModel, prompt: str, users: np.ndarray, histories: Ragged, candidates: np.ndarray
) -> tuple[PromptCompiler, Samples]:
    compiler, recent = _compiler(run, prompt, "choice"), histories.last(run.config.prompts.max_history)
    n, width = candidates.shape
    lists = Ragged.from_lengths(candidates.astype(np.int32).ravel(), np.full(n, width))
    samples = Samples.of(np.zeros(n, int), users, recent, lists)
    return compiler, samples


def _written(run: TrainedModel, compiler: PromptCompiler, samples: Samples, beams: int, progress: bool) -> Ranking:
    """Beam search over all tokens, read as items."""
    spelled = {run.codes.spelled(row): item for item, row in enumerate(run.codes.targets())}
    limit = run.codes.targets().shape[1]

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor, Tensor]:
        found = beam_search(run.model, batch, beams=beams, max_length=limit)
        read = [[spelled.get(run.codes.spelled(beam), -1) for beam in row] for row in found.tokens_BKT.cpu().numpy()]
        return torch.tensor(read), found.scores_BK

    return Ranking(*_answers(run, compiler, samples, answer, progress))


def explain(run: TrainedModel, prompt: str, asked: pl.DataFrame, beams: int = 1, progress: bool = False) -> list[str]:
    """A sentence for each row of `asked`: greedily, or the best of `beams`.

    asked: user and item (rows of the catalogue, -1 for people who are not known), and what the prompt tells of the
    review: rating, headline, feature.
    """
    compiler = _compiler(run, prompt, "explain").with_reviews(asked)
    samples = Samples.of(
        np.zeros(len(asked), int),
        asked["user"].to_numpy(),
        item=asked["item"].to_numpy(),
        review=np.arange(len(asked)),
        stars=stars_in_tenths(asked),
    )
    limit, bytes_of_characters = run.config.prompts.max_target, run.codes.vocabulary.bytes
    spelling = torch.tensor(bytes_of_characters, device=run.device) if bytes_of_characters else None

    def answer(rows: np.ndarray, batch: ModelInput) -> tuple[Tensor]:
        if beams == 1:
            return (greedy(run.model, batch, limit, spelling),)
        return (best_of_beam(run.model, batch, beams, max_length=limit),)

    (tokens,) = _answers(run, compiler, samples, answer, progress)
    return [run.codes.vocabulary.decode(row) for row in tokens]


def _compiler(run: TrainedModel, prompt: str, task: str) -> PromptCompiler:
    compiler = run.compiler([prompt])
    if compiler.prompts[0].task != task:
        raise UserError(f"prompt {prompt} is of task {compiler.prompts[0].task}: choose one of task {task}")
    return compiler


def _answers(
    run: TrainedModel,
    compiler: PromptCompiler,
    samples: Samples,
    answer: Callable[[np.ndarray, ModelInput], Sequence[Tensor]],
    progress: bool = False,
) -> list[np.ndarray]:
    """Run `answer(rows, batch)` over all samples; results in the samples' order, 0-padded."""
    parts: list[tuple[np.ndarray, ...]] = []
    with torch.inference_mode():
        for rows, batch in _batches(run, compiler, samples, progress):
            parts.append((rows, *(part.cpu().numpy() for part in answer(rows, batch))))
    return _in_order(parts)


def _batches(
    run: TrainedModel, compiler: PromptCompiler, samples: Samples, progress: bool, most: int | None = None
) -> Iterator[tuple[np.ndarray, ModelInput]]:
    """Rows of the samples and their batch, longest prompts first, `most` rows in each.

    What stands in the decoder before the answer is of one length in a batch.
    """
    if not len(samples):
        raise UserError("nobody is asked about: give one person at least")
    lengths, n_before = compiler.input_lengths(samples), run.n_written(samples.then)
    alike = (np.flatnonzero(n_before == n) for n in np.unique(n_before))
    groups = [group for rows in alike for group in of_like_length(rows, lengths + n_before, BATCH_TOKENS)]
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
    with bar:
        task = bar.add_task(compiler.prompts[0].id, total=len(samples))
        for group in groups:
            for rows in np.array_split(group, -(-len(group) // (most or len(group)))):
                yield rows, run.batch(compiler, samples.take(rows)).to(run.device)
                bar.advance(task, len(rows))


def _in_order(parts: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """Results of parts of the rows, the rows first, one after the other as the rows are numbered; 0-padded."""
    back = np.argsort(np.concatenate([rows for rows, *_ in parts]))
    return [_stack([part[n] for part in parts])[back] for n in range(1, len(parts[0]))]


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
