"""Batches ready for the model: compiled prompts beside rendering and tokenising every sample.

Both give the same batches of the same samples, drawn as training draws them: tokens, whole-word and category ids,
padded, the targets, and the features of the items shown. The peer's texts go to the tokenizer one after the other, as
in the paper's code, or a batch at once; what counts is the faster.
"""

import os
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor

from vip5.bench.measure import OURS, Bench, Rate, copy_rate, ratio, take_turns
from vip5.bench.workload import dataset_or_demo, random_run
from vip5.items import IMAGE
from vip5.model.input import EOS, TEXT, Content, ModelInput
from vip5.model.memory import keep_memory
from vip5.prompts import PromptCompiler, Samples, render
from vip5.prompts.templates import LIST_FIELDS, cut
from vip5.training import Run
from vip5.training.draw import SampleDrawer

ONE_BY_ONE, AT_ONCE = "rendered, tokenised one by one", "rendered, tokenised in batches"
PHOTO = "photo"
SEEN = [f"{family}-{n}" for family, count in (("A", 8), ("B", 7), ("C", 11)) for n in range(1, count + 1)]
KINDS = {"next item": SEEN[:6], "one of 100": SEEN[12:15], "explanation": SEEN[15:], "the paper's mix": SEEN}


def bench(
    folder: Path | None, *, tokenizer: str | None = None, batch: int = 144, rounds: int = 3, quick: bool = False
) -> Bench:
    """Samples a second, in batches of `batch`; see the module. On one thread, the tokenizer has only one as well."""
    if torch.get_num_threads() == 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    keep_memory()  # as where batches are made for training
    batches, rounds = (2, min(rounds, 3)) if quick else (32, rounds)
    with dataset_or_demo(folder) as dataset:
        run = random_run(dataset, "nano", tokenizer)
        cases = {kind: _Case(run, ids, batch, batches) for kind, ids in KINDS.items()}
        drawn = {kind: case for kind, case in cases.items() if case.parts}
        times = take_turns({f"{m}: {kind}": work for kind, case in drawn.items() for m, work in case.methods()}, rounds)
        checks: dict[str, float | bool] = {f"the same batches: {kind}": case.same() for kind, case in drawn.items()}
    rate, rows, ratios = copy_rate(), [], {}
    sizes: dict[str, int | float | str] = {"dataset": dataset.manifest.name, "data hash": dataset.hash[:12]}
    sizes |= {"users": dataset.n_users, "items": dataset.n_items}
    sizes |= {"tokenizer": run.codes.vocabulary.size, "batch": batch}
    for kind, case in drawn.items():
        ours, *peers = (f"{method}: {kind}" for method, _ in case.methods())
        rows.append(Rate.of(ours, "samples", case.n, times[ours], floor=case.bytes / rate))
        rows += [Rate.of(peer, "samples", case.n, times[peer]) for peer in peers]
        ratios[kind] = ratio(times, ours, min(peers, key=lambda peer: median(times[peer])))
        sizes[f"tokens a sample, {kind}"] = round(case.tokens / case.n, 1)
    return Bench.of(
        "data",
        packages=["tokenizers"],
        quick=quick,
        sizes=sizes,
        rows=rows,
        ratio=min(ratios.values()),
        ratios=ratios,
        checks=checks,
        notes=[f"{kind}: this data set has nothing to draw" for kind in cases if kind not in drawn],
    )


class _Case:
    """Some prompts, samples for them in batches, and what makes the batches."""

    def __init__(self, run: Run, prompts: list[str], batch: int, batches: int) -> None:
        self.run, self.compiler = run, run.compiler(prompts)
        samples = SampleDrawer(run.dataset, self.compiler.prompts, run.config).draw(0)
        order = np.random.default_rng(0).permutation(len(samples))[: batch * batches]
        self.parts = [samples.take(order[start : start + batch]) for start in range(0, len(order), batch)]
        self.peer = Rendered(run, self.compiler)
        self.n = len(order)
        made = [self.ours(part) for part in self.parts]
        self.tokens = sum(one.n_tokens for one in made)
        # Written: all that is in a batch. Read: vectors, and of every token its id, word and content (int32).
        written = sum(x.nbytes for one in made for x in _tensors(one).values())
        vectors = sum(content.vectors.nbytes for one in made for content in one.content.values())
        read = vectors + sum(12 * (one.n_tokens + one.n_target_tokens) for one in made)
        self.bytes = written + read

    def ours(self, samples: Samples) -> ModelInput:
        return self.run.batch(self.compiler, samples, targets=True)

    def methods(self) -> list[tuple[str, Callable[[], object]]]:
        """Ours, then the peers: each makes all batches, and keeps none."""
        makers = {OURS: self.ours, ONE_BY_ONE: self.peer.one_by_one, AT_ONCE: self.peer.at_once}
        return [(name, partial(self._make, make)) for name, make in makers.items()]

    def _make(self, make: Callable[[Samples], ModelInput]) -> None:
        for part in self.parts:
            make(part)

    def same(self) -> bool:
        """Whether all methods make the same batches."""
        for part in self.parts:
            ours = _tensors(self.ours(part))
            for theirs in (_tensors(self.peer.one_by_one(part)), _tensors(self.peer.at_once(part))):
                if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in ours):
                    return False
        return True


class Rendered:
    """The peer: samples as text, which the tokenizer reads whole, and words counted piece by piece."""

    def __init__(self, run: Run, compiler: PromptCompiler) -> None:
        self.run, self.compiler, self.texts = run, compiler, run.texts
        self.tokenizer = run.codes.vocabulary.knowing(run.codes.new_tokens).tokenizer
        self.slots = [cut(prompt.input) for prompt in compiler.prompts]

    def one_by_one(self, samples: Samples) -> ModelInput:
        return self._batch(samples, lambda texts: [self.tokenizer.encode(t, add_special_tokens=False) for t in texts])

    def at_once(self, samples: Samples) -> ModelInput:
        return self._batch(samples, partial(self.tokenizer.encode_batch, add_special_tokens=False))

    def _batch(self, samples: Samples, encode: Callable[[list[str]], list[Encoding]]) -> ModelInput:
        prompts = [self.compiler.prompts[number] for number in samples.prompt]
        inputs, targets = zip(
            *(render(prompt, samples, row, self.texts) for row, prompt in enumerate(prompts)), strict=True
        )
        read, k = encode(list(inputs)), self.run.tokens[PHOTO]
        input_ids = _padded([one.ids for one in read], EOS, self.compiler.max_input)
        whole_words = _padded([_words(one.tokens) for one in read], 0, self.compiler.max_input)
        target_ids = _padded([one.ids for one in encode(list(targets))], EOS, self.compiler.max_target)
        is_image = input_ids == self.run.codes.vocabulary.image_id
        shown, within = [], []
        for row, count in enumerate(is_image.sum(axis=1)):
            shown += np.repeat(self._items(samples, row), k)[:count].tolist()
            within += (np.arange(count) % k).tolist()
        items, places = np.unique(np.array(shown, int), return_inverse=True)
        vectors, present = self.run.stores[PHOTO].gather(items)
        shows = (places * k + np.array(within, int), vectors, present)
        return ModelInput(
            torch.from_numpy(input_ids),
            torch.from_numpy(whole_words),
            torch.from_numpy(np.where(is_image, 1, TEXT)),
            {PHOTO: Content(*map(torch.from_numpy, shows))} if len(items) else {},
            torch.from_numpy(target_ids),
        )

    def _items(self, samples: Samples, row: int) -> np.ndarray:
        """The items whose photos a sample shows."""
        shown = [samples.history.values[:0]]
        for slot in self.slots[samples.prompt[row]]:
            if slot.field in LIST_FIELDS:
                shown.append(getattr(samples, LIST_FIELDS[slot.field])[row])
            elif slot.field == "item_content":
                shown.append(samples.item[row : row + 1])
        return np.concatenate(shown)


def _words(pieces: list[str]) -> list[int]:
    """The whole-word index of each piece, as the paper's code counts: "▁" begins a word, an image token is one."""
    words, word = [], 0
    for piece in pieces:
        if piece.startswith("▁") or piece == IMAGE:
            word += 1
        words.append(word)
    return words


def _padded(rows: list[list[int]], last: int, limit: int) -> np.ndarray:
    """int64 [n, longest + 1]: `last` at the end of each row, which is cut where it is longer than `limit` with it."""
    rows = [[*row[: limit - 1], last] for row in rows]
    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


def _tensors(batch: ModelInput) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    for name, content in batch.content.items():
        tensors |= {f"{name}.{part}": getattr(content, part) for part in ("index", "vectors", "present")}
    return tensors
