"""The training loop: seeded step by step, so that a run that was killed goes on exactly where it was."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vip5.errors import UserError
from vip5.files import write_json
from vip5.model.input import ModelInput
from vip5.model.memory import keep_memory
from vip5.prompts.templates import TASKS
from vip5.prompts.tokenizer import unknown_share
from vip5.runs import METRICS_FILE, STATE_FILE, run_folder
from vip5.training.batches import Epoch, Feed, Step, plan, use_device
from vip5.training.distributed import GradientSum, Processes
from vip5.training.draw import SampleDrawer
from vip5.training.loss import ItemLoss, ItemTargets
from vip5.training.metrics import Metrics
from vip5.training.optimizer import adamw, schedule, use_bf16
from vip5.training.run import Run
from vip5.training.state import TrainingState
from vip5.training.validation import validation_score
from vip5.training.weigh import forget_untaught, weigh

Validate = Callable[[Run], dict[str, float]]  # the first metric decides; higher is better


def _silent(line: str) -> None:
    pass


def train(
    run: Run,
    out: str | Path,
    device: str = "cpu",
    validate: Validate | None = None,
    quiet: bool = False,
    processes: Processes = Processes(),
    report: Callable[[str], object] = _silent,
) -> dict[str, Any]:
    """Train `run` into folder `out`, going on from the state found there; gives a summary.

    Everything random is drawn from (seed, epoch) or (seed, step, process), so the same configuration gives the same run
    whether or not it was interrupted. Every `run.validate_epochs` the run is scored by `validate` (next items of the
    validation part where it is not given), and the best epoch is kept. Several `processes` (see `together`) call this
    with the same run and make the same steps. The first one writes the folder, validates, and has the summary and the
    best epoch's weights; the others wait for it. `report` is called with a line for each task that the data set cannot
    teach.

    Raises: UserError where `out` cannot be trained in, or no sample fits the prompts; Diverged where a loss or a
    gradient is no number any more. What was saved before stays in `out`.
    """
    use_device(device)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with run_folder(Path(out)) if processes.first else nullcontext():
        processes.wait()  # nothing is read before the folder is found to be good
        summary = Trainer(run, Path(out), device, validate, quiet, processes, report).fit()
    processes.wait()
    return summary


class Trainer:
    """Trains a run in a folder that is held for it, from where the state found there stands: see `train`."""

    def __init__(
        self,
        run: Run,
        out: Path,
        device: str,
        validate: Validate | None,
        quiet: bool,
        processes: Processes,
        report: Callable[[str], object] = _silent,
    ) -> None:
        keep_memory()
        self.report = report
        self.run, self.out, self.device, self.processes = run, out, device, processes
        self.config, self.optim, self.model = run.config, run.config.optim, run.model.to(device)
        people = self.config.run.validate_users
        self.score = validate or (lambda run: validation_score(run, run.dataset, people))
        self.model.recompute_blocks(self.optim.recompute)
        self.bf16 = use_bf16(self.optim.precision, device)
        names = self.config.prompts.train or [name for name, prompt in run.prompts.items() if not prompt.unseen]
        self.compiler = run.compiler(names)
        fields = {field for prompt in self.compiler.prompts for field in prompt.needs}
        fields -= {"user_desc"} if self.config.codes.users == "atomic" else set()  # a token of their own
        self.unknown = unknown_share(run.codes.vocabulary, run.dataset, fields)
        self.drawer = SampleDrawer(run.dataset, self.compiler.prompts, self.config)
        self.next_prompts = [prompt.id for prompt in self.compiler.prompts if prompt.task == "next"]
        if self.config.has_terms and not self.next_prompts:
            raise UserError(
                "scores.* and modalities.*.score weigh next items, and no prompt of that task is trained: "
                "turn them off, or add one to prompts.train"
            )
        self.task_of = np.array([TASKS.index(prompt.task) for prompt in self.compiler.prompts])
        self.item_loss: ItemLoss | None = None
        if self.config.prompts.history == "decoder":
            codes = torch.from_numpy(run.codes.targets()).to(device)
            self.item_loss = ItemLoss(run.trie, codes, self.optim.negatives)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = adamw(self.model, self.optim)
        self.state = TrainingState(run, self.optimizer, out)
        self.state.resume()
        self.first_epoch = self.state.epoch  # of this part of the training
        self.sum: GradientSum | None = None
        if processes.count > 1:
            processes.check_same(self.state.marks())
            self.sum = GradientSum(processes, self.trained, self.optim.batch_size)
        self.metrics = Metrics(out, self.state, self.config.run.tensorboard, quiet) if processes.first else None
        self.feed = Feed(run, self.compiler, device)
        self.lr, self.samples_seen, self.targets_seen = 0.0, 0, 0  # of the last step; of this process

    def fit(self) -> dict[str, Any]:
        """Train to the end of the last epoch; the summary, which the first process has."""
        started = time.perf_counter()
        with self.metrics or nullcontext():
            while self.state.epoch < self.optim.epochs and not self.ended():
                epoch = self.draw()
                self.model.train()
                for step, batches in self.feed.steps(epoch, self.state.batch):
                    self.begin_step(epoch)
                    losses = [self.backward(self.forward(batch), batch, step) for batch in batches]
                    loss_N, norm = self.step(losses, step)
                    self.log(epoch, step, loss_N, norm)
                    self.save()
                self.state.epoch, self.state.batch = self.state.epoch + 1, 0
                self.validate()
        return self.finish(started)

    def draw(self) -> Epoch:
        """The next epoch: its samples, and the steps that take them, in random order."""
        samples = self.drawer.draw(self.state.epoch)
        if not len(samples):
            why = "; ".join(self.drawer.untaught(samples)) or "none is asked for"
            raise UserError(f"no training sample fits the chosen prompts ({why}): see prompts.train and samples.*")
        if self.metrics and self.state.epoch == self.first_epoch:
            for line in self.drawer.untaught(samples):
                self.report(f"not taught: {line}")
        self.state.learn(self.drawer.tasks(samples))
        rng = np.random.default_rng([self.config.seed, self.state.epoch, 1])
        lengths = self.compiler.input_lengths(samples)
        epoch = Epoch(samples, plan(lengths, self.optim, rng, self.processes, samples))
        if self.metrics:
            self.metrics.begin_epoch(self.state, len(epoch.steps))
        return epoch

    def progress(self, epoch: Epoch) -> float:
        """The share of the training that is done."""
        return (self.state.epoch + self.state.batch / len(epoch.steps)) / self.optim.epochs

    def begin_step(self, epoch: Epoch) -> None:
        """Set the learning rate and the seed of dropout, which depends on the step and the process alone."""
        self.optimizer.zero_grad(set_to_none=True)
        self.lr = self.optim.lr * schedule(self.progress(epoch), self.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["factor"]
        torch.manual_seed(self.config.seed * 1_000_003 + self.state.step + self.processes.rank * 1_000_000_007)

    def forward(self, batch: ModelInput | ItemTargets) -> Tensor:
        """The loss of each sample [B]: of its text, averaged over tokens, or of its items, summed."""
        with torch.autocast(self.device.split(":")[0], torch.bfloat16) if self.bf16 else nullcontext():
            if isinstance(batch, ItemTargets):
                assert self.item_loss is not None
                return self.item_loss(self.model, batch)
            return self.model(batch)

    def backward(self, loss_B: Tensor, batch: ModelInput | ItemTargets, step: Step) -> Tensor:
        """Add a batch's part to the gradient of the step's weighted mean over targets; the batch's mean losses [B]."""
        weight, items = self.optim.text_weight, torch.ones(1, device=loss_B.device)
        if isinstance(batch, ItemTargets):
            weight, items = 1.0, (batch.items_BS >= 0).sum(dim=1)
        (loss_B.sum() * (weight / step.weight)).backward()
        return loss_B.detach() / items

    def step(self, losses: list[Tensor], step: Step) -> tuple[Tensor, Tensor]:
        """Change the weights; the losses [N] of the step's samples, and the gradient's norm."""
        loss_N = self.sum(losses, step.size) if self.sum else torch.cat(losses)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.optim.clip)
        self.optimizer.step()
        self.state.step, self.state.batch = self.state.step + 1, self.state.batch + 1
        self.state.mean.follow(self.state.step)
        self.samples_seen, self.targets_seen = self.samples_seen + step.size, self.targets_seen + step.targets
        return loss_N, norm

    def log(self, epoch: Epoch, step: Step, loss_N: Tensor, norm: Tensor) -> None:
        if self.metrics:
            about = {"progress": self.progress(epoch), "lr": self.lr}
            self.metrics.write(self.state, loss_N, norm, self.task_of[epoch.samples.prompt[step.rows]], about)

    def save(self) -> None:
        """Save where the training is, if that was not done for a while; never after a step that gave no numbers."""
        if self.metrics and self.state.is_due(self.config.run.save_seconds):
            self.metrics.flush()
            self.state.save()

    def validate(self) -> None:
        """Score the epochs that are due, and keep the best; the other processes wait for it."""
        epoch, every = self.state.epoch, self.config.run.validate_epochs
        if self.metrics:
            self.metrics.flush()
            if every and (epoch == self.optim.epochs or epoch % every == 0):
                with self.state.mean.inside():
                    self.model.eval()
                    scores = self.score(self.run)
                    self.metrics.write_scores(self.state, scores)
                    self.state.keep_if_best(next(iter(scores.values())))
                self.state.save()
        self.processes.wait()

    def ended(self) -> bool:
        """Whether the last validations were no better than an earlier one, as the first process sees it."""
        patience, every = self.config.run.patience, self.config.run.validate_epochs
        if patience is None or not every:
            return False
        since = self.state.epoch // every - -(-self.state.best_epoch // every)
        return self.processes.agreed(since >= patience)

    def finish(self, started: float) -> dict[str, Any]:
        """End with the best epoch's weights; write what stays, remove what was there to go on with."""
        if self.metrics is None:
            return {}
        self.state.take_best()
        self.model.eval()
        summary = {
            "steps": self.state.step,
            "epochs": self.state.epoch,
            "seconds": round(time.perf_counter() - started, 2),
            "samples": self.samples_seen,
            "samples_per_second": self.metrics.speed.rate,
            "targets": self.targets_seen,
            "best_epoch": self.state.best_epoch,
            "unknown_tokens": round(self.unknown, 4),
            "precision": "bf16" if self.bf16 else "fp32",
            "device": self.device,
            "processes": self.processes.count,
        }
        if self.device.startswith("cuda"):
            summary["peak_memory_mib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**20)
        forget_untaught(self.run, self.run.dataset)
        if self.config.has_terms:
            weigh(self.run, self.run.dataset, self.next_prompts[0], self.config.run.validate_users)
        self.run.finish(self.out)
        write_json(self.out / "summary.json", summary)
        left_over = self.out / STATE_FILE, *self.out.glob(".*.safetensors*"), self.out / f".{METRICS_FILE}.tmp"
        for path in left_over:  # the last one of a kill
            path.unlink(missing_ok=True)
        return summary
