"""Decoding beside its peers: items by beam search under the trie, one of a user's candidates, free text.

Everything from samples to lists counts, on both sides; prompts are sorted by length for the peers as for us. Weights
are random: how fast a search is does not depend on what it finds.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vip5.bench.generate import Generate, PrefixTrie, ctranslate2, ctranslate2_beams
from vip5.bench.measure import Bench, Rate, Times, matmul_rate, peak_memory, ratio, take_turns
from vip5.bench.peers import hugging_face
from vip5.bench.workload import dataset_or_demo, random_run
from vip5.data import Dataset
from vip5.decoding import Beams, beam_search
from vip5.model import to_int8
from vip5.model.input import EOS, PAD, ModelInput
from vip5.predict.lists import Ranking, choose, next_items
from vip5.prompts import FieldTexts, PromptCompiler, Samples, collate
from vip5.training import Run

NEXT, CHOICE, BEAMS, TOP = "A-3", "B-5", 20, 10
FREE_LENGTH = 6  # tokens of a free search, about as many as an item's code has
FREE_ROWS = 16  # prompts at once in a free search
PEER_ROWS, PEER_ROWS_GPU = 8, 64  # prompts at once for transformers' generate: on a CPU it is slower with more


def bench(
    folder: Path | None,
    *,
    size: str = "small",
    tokenizer: str | None = None,
    scheme: str = "semantic",
    users: int = 64,
    rounds: int = 3,
    device: str = "cpu",
    quick: bool = False,
) -> Bench:
    """Users a second; see the module."""
    if quick:
        users, rounds = min(users, 8), min(rounds, 2)
    with dataset_or_demo(folder) as dataset:
        run = random_run(dataset, size, tokenizer, scheme)
        run.model.to(device)
        asked = _Asked(run, _spread(dataset, users))
        few = _Asked(run, _spread(dataset, max(2, users // 8)))
        generate, whole = Generate(run.model), [PrefixTrie(run.codes.targets())]
        methods = _methods(asked, few, generate, whole, quick)
        checks = _agreement(asked.next_items(), asked.generate(generate, whole))
        times = take_turns(methods, rounds)
        floors = {name: _flops(methods[name]) for name in methods if "," not in name}
        memory = _memory((dataset.path, size, tokenizer, scheme, users)) if device == "cpu" else {}
        notes = ["quick: one of 100 and free text are left out"] if quick else []
        if not quick:
            free = _Free(run, asked)
            times |= take_turns(free.methods, rounds)
            checks |= free.checks
            notes += free.notes
        rate = matmul_rate(device)
        counts = {name: len(few.users) if name.startswith("one of") else users for name in times}
        rows = [
            Rate.of(
                name, "users", counts[name], seconds,
                floor=floors[name] / rate if name in floors else None, **memory.get(name, {}),
            )
            for name, seconds in times.items()
        ]  # fmt: skip
        ratios = _ratios(times, memory)
        return Bench.of(
            "decode",
            device,
            ("transformers", "ctranslate2"),
            quick=quick,
            sizes=_sizes(run, asked, few, size, scheme) | {"matmul GFLOP/s": round(rate / 1e9, 1)},
            rows=rows,
            ratio=ratios["next item over transformers"],
            ratios=ratios,
            checks=checks,
            notes=notes,
        )


def _methods(
    asked: "_Asked", few: "_Asked", generate: Generate, whole: list[PrefixTrie], quick: bool
) -> dict[str, Callable[[], object]]:
    """What is timed in turns; a peer's name stands behind a comma."""
    methods: dict[str, Callable[[], object]] = {
        "next item": asked.next_items,
        "next item, transformers": lambda: asked.generate(generate, whole),
    }
    if quick:
        return methods
    methods["one of 100"] = few.choose
    methods["one of 100, transformers"] = lambda: few.generate_choice(generate)
    if asked.run.device.type == "cpu":
        rounded = replace(asked.run, model=to_int8(deepcopy(asked.run.model)))
        methods["next item, int8"] = _Asked(rounded, asked.users).next_items
        methods["one of 100, int8"] = _Asked(rounded, few.users).choose
    return methods


def _memory(given: tuple[Path, str, str | None, str, int]) -> dict[str, dict[str, float]]:
    """The peak of a process that does nothing else, ours and the peer's."""
    return {
        "next item": peak_memory(_load_ours, *given),
        "next item, transformers": peak_memory(_load_peer, *given),
    }


def _ratios(times: Times, memory: dict[str, dict[str, float]]) -> dict[str, float]:
    """Ours over each peer's, in users a second, and the peer's over ours in memory."""
    beside = [(name, *name.split(", ")) for name in times if ", " in name]
    ratios = {f"{task} over {peer}": ratio(times, task, name) for name, task, peer in beside}
    if memory:
        mine, theirs = memory.values()
        ratios |= {f"transformers' {name} over ours": theirs[name] / mine[name] for name in mine}
    return ratios


def _spread(dataset: Dataset, users: int) -> np.ndarray:
    """Test users, as many as asked for, spread evenly over all."""
    tested = dataset.tested("test")
    return tested[np.linspace(0, len(tested) - 1, min(users, len(tested))).astype(int)]


def _peer_rows(run: Run) -> int:
    return PEER_ROWS if run.device.type == "cpu" else PEER_ROWS_GPU


class _Asked:
    """Some users, and the questions about them put to us and to transformers."""

    def __init__(self, run: Run, users: np.ndarray) -> None:
        self.run, self.users = run, users
        limit = run.config.prompts.max_history
        self.histories = run.dataset.history("test").take(users)
        recent = [history[-limit:] for history in self.histories]
        self.samples = Samples.of(np.zeros(len(users), int), users, type(self.histories).from_lists(recent))
        targets = run.dataset.targets("test")[users]
        lists = np.column_stack([targets, run.dataset.candidates[0][users]])
        self.candidates = np.random.default_rng(0).permuted(lists, axis=1)

    def next_items(self) -> Ranking:
        return next_items(self.run, NEXT, self.users, self.histories, BEAMS)

    def choose(self) -> Ranking:
        return choose(self.run, CHOICE, self.users, self.histories, self.candidates, BEAMS)

    def batches(self, samples: Samples, prompt: str) -> list[tuple[np.ndarray, ModelInput]]:
        """Prompts as the peers read them: a few at once, of like length."""
        compiler = self.run.compiler([prompt])
        order = np.argsort(-compiler.input_lengths(samples), kind="stable")
        at_once = _peer_rows(self.run)
        parts = [order[start : start + at_once] for start in range(0, len(order), at_once)]
        return [(rows, self.run.batch(compiler, samples.take(rows)).to(self.run.device)) for rows in parts]

    def embedded(self, samples: Samples, prompt: str) -> list[tuple[np.ndarray, Tensor, Tensor]]:
        with torch.inference_mode():
            return [
                (rows, self.run.model.embed(batch), batch.input_ids != PAD)
                for rows, batch in self.batches(samples, prompt)
            ]

    def generate(self, theirs: Generate, tries: list[PrefixTrie]) -> Beams:
        return self._in_order(
            [(rows, theirs(x, mask, tries, BEAMS, TOP)) for rows, x, mask in self.embedded(self.samples, NEXT)]
        )

    def generate_choice(self, theirs: Generate) -> Beams:
        lists = type(self.histories).from_lists(list(self.candidates))
        samples = Samples.of(np.zeros(len(self.users), int), self.users, candidates=lists)
        codes, found = self.run.codes.targets(), []
        for rows, x, mask in self.embedded(samples, CHOICE):
            tries = [PrefixTrie(codes[items], items) for items in self.candidates[rows]]
            found.append((rows, theirs(x, mask, tries, BEAMS, TOP)))
        return self._in_order(found)

    def _in_order(self, found: list[tuple[np.ndarray, Beams]]) -> Beams:
        back = torch.from_numpy(np.argsort(np.concatenate([rows for rows, _ in found])))
        items = torch.cat([beams.items_BK for _, beams in found])[back]
        return Beams(items[..., None], torch.cat([beams.scores_BK for _, beams in found]).cpu()[back], items)


def _agreement(ours: Ranking, theirs: Beams) -> dict[str, float | bool]:
    """Whether the first TOP items of all users are the same, in the same order but for ties, with the same scores.

    A beam search of transformers holds a place for an item until its </s>; ours is done with it as soon as no other is
    left, and so may find better items where codes are long: never worse ones.
    """
    assert ours.scores is not None  # a model's are known
    items, scores = ours.items[:, :TOP], ours.scores[:, :TOP]
    off = np.abs(scores - theirs.scores_BK.numpy())
    tied = np.zeros_like(off, dtype=bool)
    near = np.diff(scores, axis=1) > -1e-4
    tied[:, 1:] |= near
    tied[:, :-1] |= near
    same = ((items == theirs.items_BK.numpy()) | tied).all(axis=1) & (off < 1e-4).all(axis=1)
    return {
        "users with the same list as transformers": float(same.mean()),
        "largest difference of scores": float(off.max()),
        "no score below transformers'": bool((scores > theirs.scores_BK.numpy() - 1e-4).all()),
    }


class _Free:
    """Beam search over all tokens, of prompts in text alone, beside CTranslate2, as methods and whether they agree."""

    def __init__(self, run: Run, asked: _Asked) -> None:
        self.methods: dict[str, Callable[[], object]] = {}
        self.checks: dict[str, float | bool] = {}
        self.notes: list[str] = []
        if ctranslate2() is None or run.device.type != "cpu":
            self.notes = ["free text is left out: it takes a CPU and CTranslate2 (pip install 'vip5[bench]')"]
            return
        model = run.model
        with torch.no_grad():  # which CTranslate2 does not have; nothing else is measured after this
            model.whole_words.weight.zero_()
            model.categories.weight.zero_()
        compiler = PromptCompiler([run.prompts[NEXT]], FieldTexts(run.catalogue, run.codes, {}))
        order = np.argsort(-compiler.input_lengths(asked.samples), kind="stable")
        parts = [asked.samples.take(order[n : n + FREE_ROWS]) for n in range(0, len(order), FREE_ROWS)]
        batches = [collate(compiler.inputs(part), None, {}, {}) for part in parts]
        search = ctranslate2_beams(hugging_face(model), torch.get_num_threads(), BEAMS, FREE_LENGTH)

        def ours() -> list[list[int]]:
            found = [beam_search(model, batch, beams=BEAMS, max_length=FREE_LENGTH).tokens_BKT for batch in batches]
            return [[t for t in row if t not in (PAD, EOS)] for tokens in found for row in tokens[:, 0].tolist()]

        def theirs() -> list[list[int]]:
            return [row[0] for batch in batches for row in search(batch)]

        self.methods = {"free text": ours, "free text, CTranslate2": theirs}
        same = [a == b for a, b in zip(ours(), theirs(), strict=True)]
        self.checks = {"free text: users with the same best text": sum(same) / len(same)}


def _flops(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products that are done, padding in attention included."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _load_ours(folder: Path, size: str, tokenizer: str | None, scheme: str, users: int) -> Callable[[], object]:
    run = random_run(Dataset(folder), size, tokenizer, scheme)
    asked = _Asked(run, _spread(run.dataset, users))
    run.trie  # noqa: B018 (built when first asked for)
    return asked.next_items


def _load_peer(folder: Path, size: str, tokenizer: str | None, scheme: str, users: int) -> Callable[[], object]:
    run = random_run(Dataset(folder), size, tokenizer, scheme)
    asked = _Asked(run, _spread(run.dataset, users))
    theirs, whole = Generate(run.model), [PrefixTrie(run.codes.targets())]
    embedded = asked.embedded(asked.samples, NEXT)
    run.model = None  # type: ignore[assignment]  # one model in memory, as in the other process
    return lambda: [theirs(x, mask, whole, BEAMS, TOP) for _, x, mask in embedded]


def _sizes(run: Run, asked: _Asked, few: _Asked, size: str, scheme: str) -> dict[str, int | float | str]:
    dataset = run.dataset
    lengths = run.compiler([NEXT]).input_lengths(asked.samples)
    return {
        "dataset": dataset.manifest.name,
        "data hash": dataset.hash[:12],
        "model": size,
        "vocabulary": run.model.config.vocab,
        "codes": scheme,
        "items": dataset.n_items,
        "beams": BEAMS,
        "list": TOP,
        "users": len(asked.users),
        "users, one of 100": len(few.users),
        "prompt tokens, median": int(median(lengths)),
        "prompt tokens, most": int(lengths.max()),
        "prompts at once, transformers": _peer_rows(run),
    }
