"""The trie of item codes: how long it takes to build, what it takes to keep, and what a step of a beam search costs.

Every method is given the same beams of the same decodes: nodes of the trie (or the tokens that led there), and logits.
The model's own work is left out; "with the head" adds the product of 512 wide states with the tokens' rows. A decode is
used once, so the trie's arrays are read from memory where they are large, not from what a round before left in caches.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, zip_longest
from statistics import mean, median
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.bench.measure import OURS, Bench, Rate, copy_rate, peak_memory, ratio, take_turns
from vip5.decoding import CodeSpace
from vip5.items import Trie
from vip5.model import VIP5
from vip5.model.input import EOS

TEXT, WIDTH, CODEBOOK, LEVELS, NARROW = 32_100, 512, 256, 4, 8  # T5's tokens and small width; 4 codebooks of 256
DICTIONARIES = 100_000  # items, at most, that are also put into a trie of Python dictionaries
KINDS = {
    "random": "every code alike, in 4 codebooks of 256",
    "skewed": "as residual quantisers make them: clusters of uneven size, the last token tells equals apart",
    "even": f"{NARROW} children below every node but the root, whatever the catalogue",
}


def codes_of(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """int64 [n, 5]: distinct codes of four tokens and </s>, in random order; each level has tokens of its own."""
    rng = np.random.default_rng(seed)
    columns = {"random": _random, "skewed": _skewed, "even": _even}[kind](n, rng)
    codes = np.full((n, LEVELS + 1), EOS)
    first, order = TEXT, rng.permutation(n)
    for level, column in enumerate(columns):
        codes[:, level] = column[order] + first
        first += max(int(column.max()) + 1, CODEBOOK)
    return codes


def _random(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    bits = CODEBOOK.bit_length() - 1
    keys = np.empty(0, np.int64)
    while len(keys) < n:
        keys = np.unique(np.concatenate([keys, rng.integers(0, CODEBOOK**LEVELS, n - len(keys) + n // 100 + 1)]))
    keys = rng.permutation(keys)[:n]
    return [keys >> bits * (LEVELS - 1 - level) & CODEBOOK - 1 for level in range(LEVELS)]


def _even(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    number = np.arange(n)
    return [number // NARROW**3, *(number // NARROW**level % NARROW for level in (2, 1, 0))]


def _skewed(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Three levels, of shares drawn below each cluster anew (Dirichlet); a cell keeps at most a codebook of items."""
    drawn, cell, size = n, np.zeros(0, np.int64), np.zeros(0, np.int64)
    while size.sum() < n:
        cell, size = np.zeros(1, np.int64), np.array([drawn])
        for evenness in (0.5, 0.1, 0.1):
            parts = [
                rng.multinomial(some, rng.dirichlet(np.full(CODEBOOK, evenness), len(some)))
                for some in np.array_split(size, len(size) // 4096 + 1)
            ]
            below = np.concatenate(parts)
            parent, child = below.nonzero()
            cell, size = cell[parent] * CODEBOOK + child, below[parent, child]
        size, drawn = np.minimum(size, CODEBOOK), 2 * drawn
    last = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    chosen = np.sort(rng.permutation(size.sum())[:n])
    cell, last = np.repeat(cell, size)[chosen], last[chosen]
    return [cell // CODEBOOK**2, cell // CODEBOOK % CODEBOOK, cell % CODEBOOK, last]


@dataclass(frozen=True)
class BeamStep:
    """Where the beams of all rows stand before a step."""

    node_BK: Tensor
    score_BK: Tensor
    tokens_BKT: Tensor


class _Logits:
    """In place of a model: logits that cost nothing."""

    def __init__(self, device: str) -> None:
        self.drawn = torch.randn(2**22, device=device)
        self.at = 0

    def head(self, h_BKD: Tensor, tokens: Tensor) -> Tensor:
        shape = (*h_BKD.shape[:2], len(tokens))
        n = shape[0] * shape[1] * shape[2]
        if self.at + n > len(self.drawn):
            self.at = 0
        self.at += n
        return self.drawn[self.at - n : self.at].view(shape)


class _Head:
    """The head alone, over the tokens given."""

    def __init__(self, device: str) -> None:
        self.weight = torch.randn(TEXT + LEVELS * CODEBOOK, WIDTH, device=device)

    def head(self, h_BKD: Tensor, tokens: Tensor) -> Tensor:
        return F.linear(h_BKD, F.embedding(tokens, self.weight))


def decode(trie: Trie, rows: int, beams: int, logits: _Logits) -> list[BeamStep]:
    """The steps of a beam search over random logits, as `beam_search` takes them."""
    space, device = CodeSpace(trie, rows), trie.roots.device
    node_BK, score_BK, steps = space.start(), torch.zeros(rows, 1, device=device), []
    tokens_BKT = node_BK.new_zeros(rows, 1, 0)
    while bool((score_BK > -torch.inf).any()):
        steps.append(BeamStep(node_BK, score_BK, tokens_BKT))
        h_BKD = score_BK[..., None]  # not looked at
        score_BKM = space.extend(cast(VIP5, logits), h_BKD, node_BK, score_BK)
        score_BC, choice_BC = score_BKM.flatten(1).topk(min(2 * beams, score_BKM[0].numel()))
        parent_BC, choice_BC = choice_BC // score_BKM.shape[-1], choice_BC % score_BKM.shape[-1]
        node_BC, token_BC, _, ends_BC = space.follow(node_BK.gather(1, parent_BC), choice_BC, len(steps))
        score_BK, order_BK = score_BC.masked_fill(ends_BC, -torch.inf).topk(min(beams, score_BC.shape[1]))
        node_BK, parent_BK = node_BC.gather(1, order_BK), parent_BC.gather(1, order_BK)
        index_BKT = parent_BK[..., None].expand(-1, -1, tokens_BKT.shape[-1])
        tokens_BKT = torch.cat([tokens_BKT.gather(1, index_BKT), token_BC.gather(1, order_BK)[..., None]], dim=-1)
    return steps


class _Ours:
    """Scores of what may follow, by the trie: look-ups, mask and log-softmax over what is allowed."""

    def __init__(self, trie: Trie, rows: int, model: Any) -> None:
        self.space, self.model = CodeSpace(trie, rows), model
        self.h_BKD: dict[int, Tensor] = {}

    def __call__(self, step: BeamStep) -> Tensor:
        beams = step.node_BK.shape[1]
        if beams not in self.h_BKD:
            self.h_BKD[beams] = torch.randn(*step.node_BK.shape, WIDTH, device=step.node_BK.device)
        return self.space.extend(self.model, self.h_BKD[beams], step.node_BK, step.score_BK)


class Dictionaries:
    """P5-style code: nested dictionaries, asked beam by beam for the tokens that may follow a prefix
    (`prefix_allowed_tokens_fn`), and a mask over the vocabulary, as transformers' PrefixConstrainedLogitsProcessor
    makes it. Its log-softmax over the vocabulary is left out."""

    def __init__(self, codes: np.ndarray, scores_NV: Tensor) -> None:
        self.root: dict[int, Any] = {}
        for code in codes.tolist():
            node = self.root
            for token in code:
                node = node.setdefault(token, {})
        self.scores_NV = scores_NV

    def allowed(self, prefix: list[int]) -> list[int]:
        node = self.root
        for token in prefix:
            node = node.get(token, {})
        return list(node)

    def __call__(self, step: BeamStep) -> Tensor:
        prefixes = step.tokens_BKT.flatten(0, 1).tolist()
        scores_NV = self.scores_NV[: len(prefixes)]
        mask_NV = torch.full_like(scores_NV, -torch.inf)
        for beam, prefix in enumerate(prefixes):
            mask_NV[beam, self.allowed(prefix)] = 0
        return scores_NV + mask_NV


class DenseMask:
    """The trie's children without loops, but as a mask over the vocabulary; log-softmax left out as well."""

    def __init__(self, trie: Trie, scores_NV: Tensor) -> None:
        self.trie, self.scores_NV = trie, scores_NV

    def __call__(self, step: BeamStep) -> Tensor:
        node_N = step.node_BK.flatten()
        first_N, end_N = self.trie.child_start[node_N], self.trie.child_start[node_N + 1]
        count_N = (end_N - first_N).long()
        beam_P = torch.arange(len(node_N), device=node_N.device).repeat_interleave(count_N)
        within_P = torch.arange(len(beam_P), device=node_N.device) - (count_N.cumsum(0) - count_N)[beam_P]
        scores_NV = self.scores_NV[: len(node_N)]
        mask_NV = torch.full_like(scores_NV, -torch.inf)
        mask_NV[beam_P, self.trie.token[first_N[beam_P] + within_P].long()] = 0
        return scores_NV + mask_NV


class _Turn:
    """A decode each time: the next one of those given, step by step. Keeps the seconds that each step took."""

    def __init__(
        self, mask: Callable[[BeamStep], Tensor], decodes: list[list[BeamStep]], floor: float | None = None
    ) -> None:
        self.mask, self.decodes, self.next = mask, decodes, 0
        self.floor = floor  # seconds of a step
        self.seconds: list[list[float]] = []

    def __call__(self) -> None:
        times = [perf_counter()]
        for step in self.decodes[self.next]:
            self.mask(step)
            if step.node_BK.is_cuda:
                torch.cuda.synchronize()
            times.append(perf_counter())
        self.seconds.append([after - before for before, after in pairwise(times)])
        self.next += 1

    def row(self, name: str, **memory: float) -> Rate:
        """Its row, in steps a second; what it took to warm up is left out."""
        return Rate.of(name, "steps", 1, [mean(steps) for steps in self.seconds[1:]], floor=self.floor, **memory)

    def by_step(self) -> list[float]:
        """Median microseconds of each step."""
        steps = zip_longest(*self.seconds[1:])
        return [1e6 * median(s for s in step if s is not None) for step in steps]


def bench(
    items: Sequence[int], *, rows: int = 16, beams: int = 20, rounds: int = 10, device: str = "cpu", quick: bool = False
) -> Bench:
    """Catalogues of so many items each; a decode is of `rows` users with `beams` beams. `quick` leaves out what memory
    a step takes."""
    rounds = min(rounds, 5) if quick else rounds
    sizes, memory_rate, rate = sorted(items), copy_rate(), copy_rate(device)
    codes = {n: codes_of("random", n) for n in sizes}
    builds = take_turns({f"{n}": partial(Trie.build, own) for n, own in codes.items()}, min(rounds, 3))
    tries = {(kind, n): Trie.build(codes_of(kind, n)) for kind in KINDS for n in sizes}
    built = [_build_row(tries["random", n], codes[n], builds[f"{n}"], memory_rate) for n in sizes]

    logits, head = _Logits(device), _Head(device)
    heads, masks, peers, checks, made = _turns(tries, codes, rows, beams, rounds, logits, head, rate)
    built += made
    gc.freeze()  # or each turn's collection would visit all dictionaries
    # Peers come last: what they leave in the caches is nothing, and then only one of the heads meets it.
    times = take_turns({**heads, **masks, **peers}, rounds)
    gc.unfreeze()

    memory = (
        {} if quick else {f"{OURS}: mask, {_at('random', n)}": peak_memory(_load_mask, n, rows, beams) for n in sizes}
    )
    ratios = {
        f"{name.replace(': mask', f' over {OURS}')}": ratio(times, f"{OURS}: {name.partition(': ')[2]}", name)
        for name in peers
    }
    headline = [value for name, value in ratios.items() if name.startswith("dictionaries")] or [*ratios.values()]
    by_step = {(kind, n): masks[f"{OURS}: mask, {_at(kind, n)}"].by_step() for kind in KINDS for n in sizes}
    notes = [f"{kind}: {about}" for kind, about in KINDS.items()]
    notes += [f"{_at(*key)}: {', '.join(f'{s:.0f}' for s in own)} µs by step" for key, own in by_step.items()]
    ratios |= _evenness(by_step)
    return Bench.of(
        "trie",
        device,
        quick=quick,
        sizes={"rows": rows, "beams": beams, "vocabulary": len(head.weight), "width": WIDTH}
        | {f"trie bytes an item, {_at(*key)}": round(_size(trie) / key[1], 1) for key, trie in tries.items()},
        rows=[*built, *(turn.row(name, **memory.get(name, {})) for name, turn in (masks | heads | peers).items())],
        ratio=headline[-1],
        ratios=ratios,
        checks=checks,
        notes=notes,
    )


def _turns(
    tries: dict[tuple[str, int], Trie],
    codes: dict[int, np.ndarray],
    rows: int,
    beams: int,
    rounds: int,
    logits: "_Logits",
    head: "_Head",
    rate: float,
) -> tuple[dict[str, "_Turn"], dict[str, "_Turn"], dict[str, "_Turn"], dict[str, float | bool], list[Rate]]:
    """What is timed in turns: ours with the head, ours alone, the peers; whether they agree; what the peers' building
    took."""
    scores_NV = torch.randn(rows * beams, len(head.weight), device=head.weight.device)
    heads: dict[str, _Turn] = {}
    masks: dict[str, _Turn] = {}
    peers: dict[str, _Turn] = {}
    checks: dict[str, float | bool] = {}
    built: list[Rate] = []
    for (kind, n), trie in tries.items():
        trie, at = trie.to(head.weight.device), _at(kind, n)
        decodes = [decode(trie, rows, beams, logits) for _ in range(rounds + 1)]  # one of them to warm up
        floor = median(mean(_bytes(trie, step) for step in steps) for steps in decodes) / rate
        masks[f"{OURS}: mask, {at}"] = _Turn(_Ours(trie, rows, logits), decodes, floor)
        if kind != "random":
            continue
        others = [decode(trie, rows, beams, logits) for _ in decodes]
        heads[f"{OURS}: mask and head, {at}"] = _Turn(_Ours(trie, rows, head), others)
        methods: dict[str, Callable[[BeamStep], Tensor]] = {"dense mask": DenseMask(trie, scores_NV)}
        if n <= DICTIONARIES:
            start = perf_counter()
            methods["dictionaries"] = Dictionaries(codes[n], scores_NV)
            built.append(Rate.of(f"dictionaries: build, {at}", "items", n, [perf_counter() - start]))
        for name, mask in methods.items():
            peers[f"{name}: mask, {at}"] = _Turn(mask, decodes)
            checks[f"{name}: the same tokens, {at}"] = all(_agree(trie, step, mask(step)) for step in decodes[0])
    return heads, masks, peers, checks, built


def _evenness(by_step: dict[tuple[str, int], list[float]]) -> dict[str, float]:
    """The slowest catalogue over the fastest, by kind of codes."""
    found: dict[str, float] = {}
    for kind in KINDS:
        own = [steps for (of_kind, _), steps in by_step.items() if of_kind == kind]
        found[f"slowest over fastest catalogue, {kind} codes"] = _range(map(mean, own))
        if kind == "even":
            found["the same below the root"] = _range(mean(steps[1:] or steps) for steps in own)
    return found


def _at(kind: str, n: int) -> str:
    return f"{kind} codes, {n:,} items"


def _range(values: Iterable[float]) -> float:
    seconds = list(values)
    return max(seconds) / min(seconds)


def _size(trie: Trie) -> int:
    return sum(x.nbytes for x in (trie.child_start, trie.token, trie.parent, trie.size, trie.item))


def _build_row(trie: Trie, codes: np.ndarray, seconds: list[float], rate: float) -> Rate:
    """The floor: read the codes, write a key of 64 bits an item, read and write it once to sort, write the trie."""
    n = len(codes)
    floor = (codes.nbytes + 3 * 8 * n + _size(trie)) / rate
    memory = peak_memory(_load_build, n)
    return Rate.of(f"{OURS}: build, {_at('random', n)}", "items", n, seconds, floor=floor, **memory)


def _load_build(n: int) -> Callable[[], object]:
    return partial(Trie.build, codes_of("random", n))


def _load_mask(n: int, rows: int, beams: int) -> Callable[[], object]:
    trie, logits = Trie.build(codes_of("random", n)), _Logits("cpu")
    first, second = (decode(trie, rows, beams, logits) for _ in range(2))
    turn = _Turn(_Ours(trie, rows, logits), [first, second])
    turn()  # so that what is made once is there
    return turn


def _bytes(trie: Trie, step: BeamStep) -> float:
    """What a step must read and write: for every beam where its children begin and end, for every child its token
    (int32), its logit and its score (float32)."""
    count_BK = trie.child_start[step.node_BK + 1] - trie.child_start[step.node_BK]
    return 8 * count_BK.numel() + 12 * float(count_BK.sum())


def _agree(trie: Trie, step: BeamStep, masked_NV: Tensor) -> bool:
    """Whether a mask lets live beams go on with the children of their nodes and nothing else."""
    for beam, (node, live) in enumerate(zip(step.node_BK.flatten(), step.score_BK.flatten() > -torch.inf, strict=True)):
        tokens = trie.token[trie.child_start[node] : trie.child_start[node + 1]]
        if live and not torch.equal(masked_NV[beam].isfinite().nonzero()[:, 0], tokens.long()):
            return False
    return True
