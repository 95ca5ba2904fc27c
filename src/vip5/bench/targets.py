"""Targets that a training learns from in a second: whole histories, one item a prompt, and SASRec beside them."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from statistics import mean
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vip5.baselines.sasrec import SASRec
from vip5.bench.measure import Rate, Times, take_turns
from vip5.data import Dataset
from vip5.training import Run, load_config
from vip5.training.batches import Feed, plan
from vip5.training.draw import SampleDrawer
from vip5.training.loss import ItemLoss, ItemTargets
from vip5.training.optimizer import adamw

WHOLE, ONE, PEER = "whole histories", "one item a prompt", "SASRec"
_SETTINGS = (
    "model.size=nano",
    "model.tokenizer_size=512",
    "model.dropout=0.3",
    "codes.scheme=atomic",
    "codes.users=text",
    "modalities.photo=none",
    "samples.next=1",
    "samples.next_yes_no=0",
    "samples.yes_no=0",
    "samples.choice=0",
    "samples.explain=0",
    "optim.batch_size=128",  # as many as SASRec's
)
_HISTORIES = ("prompts.history=decoder", "samples.forget_user=1.0", "optim.negatives=2048")


def targets_a_second(dataset: Dataset, device: str, rounds: int, quick: bool) -> tuple[list[Rate], dict[str, float]]:
    """Rates of nano models from scratch, putting batches together included, and the ratios of whole histories to the
    others. `quick`: fewer steps in a round."""
    steps = 3 if quick else 20
    learners: dict[str, _Learner] = {
        WHOLE: _Own(dataset, [*_SETTINGS, *_HISTORIES], device, steps),
        ONE: _Own(dataset, list(_SETTINGS), device, steps),
        PEER: _Peer(dataset, device, steps),
    }
    seen: dict[str, list[int]] = {name: [] for name in learners}
    methods: dict[str, Callable[[], object]] = {
        name: partial(_counted, one, seen[name]) for name, one in learners.items()
    }
    times: Times = take_turns(methods, rounds)
    rows = [Rate.of(name, "targets", mean(seen[name]), times[name]) for name in learners]
    rates = {row.method: row.median for row in rows}
    return rows, {f"{WHOLE} over {name}": rates[WHOLE] / rates[name] for name in (ONE, PEER)}


class _Learner(Protocol):
    def steps(self) -> int:
        """Take a round's training steps; how many targets they had."""


def _counted(learner: _Learner, seen: list[int]) -> None:
    seen.append(learner.steps())


class _Own:
    def __init__(self, dataset: Dataset, settings: list[str], device: str, steps: int) -> None:
        run = Run.new(load_config("prompts", overrides=settings), dataset)
        self.model = run.model.to(device).train()
        compiler = run.compiler([name for name, prompt in run.prompts.items() if not prompt.unseen])
        self.samples = SampleDrawer(dataset, compiler.prompts, run.config).draw(0)
        lengths, rng = compiler.input_lengths(self.samples), np.random.default_rng(0)
        self.plan = plan(lengths, run.config.optim, rng, samples=self.samples)[:steps]
        self.feed, self.optimizer = Feed(run, compiler, device), adamw(run.model, run.config.optim)
        codes = torch.from_numpy(run.codes.targets()).to(device)
        self.item_loss = ItemLoss(run.trie, codes, run.config.optim.negatives)

    def steps(self) -> int:
        for step in self.plan:
            for rows in step.groups:
                batch = self.feed.batch(self.samples.take(rows))
                loss_B = self.item_loss(self.model, batch) if isinstance(batch, ItemTargets) else self.model(batch)
                (loss_B.sum() / step.targets).backward()
            _update(self.model.parameters, self.optimizer)
        return sum(step.targets for step in self.plan)


class _Peer:
    def __init__(self, dataset: Dataset, device: str, steps: int) -> None:
        self.dataset, self.n_steps = dataset, steps
        self.system = _Counting(SASRec.check({}), dataset.n_users, dataset.n_items, device)
        self.optimizer = torch.optim.Adam(self.system.module.parameters(), lr=1e-3, fused=True)
        self.system.module.train()

    def steps(self) -> int:
        before = self.system.seen
        for loss in islice(self.system.batches(self.dataset), self.n_steps):
            loss.backward()
            _update(self.system.module.parameters, self.optimizer)
        return self.system.seen - before


class _Counting(SASRec):
    """SASRec with its defaults, which counts its targets."""

    seen = 0

    def _loss(self, h_ND: Tensor, *others: Any) -> Tensor:
        self.seen += len(h_ND)
        return super()._loss(h_ND, *others)


def _update(parameters: Callable[[], Any], optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_(parameters(), 5.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
