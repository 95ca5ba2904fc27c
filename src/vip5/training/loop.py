"""The training loop: seeded step by step, so that a run that was killed goes on exactly where it was."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vip5.errors import UserError
from vip5.prompts.templates import TASKS
from vip5.training.batches import assemble, plan
from vip5.training.config import OptimPart
from vip5.training.draw import SampleDrawer
from vip5.training.metrics import Metrics
from vip5.training.run import Run, write_json
from vip5.training.state import METRICS_FILE, STATE_FILE, State, run_folder

Validate = Callable[[Run], dict[str, float]]  # the first metric decides; higher is better


def best_device(named: str | None = None) -> str:
    """The device that is named, if this machine has it; the best one at hand when none is."""
    if named is not None:
        try:
            torch.empty(0, device=named)
        except (RuntimeError, AssertionError):
            raise UserError(f"no device {named!r} on this machine: leave --device out, or take cpu") from None
        return named
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def use_bf16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: where asked for, or on a GPU that has it."""
    if precision == "auto":
        return device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def schedule(progress: float, settings: OptimPart) -> float:
    """Factor of the learning rate: linear up over the warm-up, linear down to 0 after it."""
    if progress < settings.warmup:
        return progress / settings.warmup
    return (1 - progress) / (1 - settings.warmup)


def train(
    run: Run, out: str | Path, device: str = "cpu", validate: Validate | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Train `run` into folder `out`, going on from the state found there; gives a summary.

    Everything random is drawn from (seed, epoch) or (seed, step), so the same configuration gives the same run whether
    or not it was interrupted. `validate` scores the run every `run.validate_epochs`, and the best epoch is kept.
    """
    with run_folder(Path(out)):
        return _train(run, Path(out), device, validate, quiet)


def _train(run: Run, out: Path, device: str, validate: Validate | None, quiet: bool) -> dict[str, Any]:
    config, model = run.config, run.model.to(device)
    names = config.prompts.train or [name for name, prompt in run.prompts.items() if not prompt.unseen]
    compiler = run.compiler(names)
    drawer = SampleDrawer(run.dataset, compiler.prompts, config)
    task_of = np.array([TASKS.index(prompt.task) for prompt in compiler.prompts])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(model, config.optim)
    state = State(run, optimizer, out)
    state.resume()
    metrics = Metrics(out, state, config.run.tensorboard)
    every = config.run.validate_epochs
    bf16 = use_bf16(config.optim.precision, device)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(), console=Console(stderr=True), disable=quiet,
    )  # fmt: skip

    started, samples_seen = time.perf_counter(), 0
    with progress, metrics:
        bar = progress.add_task("training", total=None, loss="")
        while state.epoch < config.optim.epochs:
            samples = drawer.draw(state.epoch)
            if not len(samples):
                raise UserError("no training sample fits the chosen prompts: see prompts.train and samples.*")
            rng = np.random.default_rng([config.seed, state.epoch, 1])
            steps = plan(compiler.input_lengths(samples), config.optim, rng)
            progress.update(bar, total=len(steps), completed=state.batch, description=f"epoch {state.epoch + 1}")
            model.train()
            for number, groups in assemble(run, compiler, samples, steps, state.batch, device):
                rate = schedule((state.epoch + number / len(steps)) / config.optim.epochs, config.optim)
                for group in optimizer.param_groups:
                    group["lr"] = config.optim.lr * rate * group["factor"]
                torch.manual_seed(config.seed * 1_000_003 + state.step)  # dropout depends on the step alone
                optimizer.zero_grad(set_to_none=True)
                size, losses, tasks = sum(len(part) for part, _ in groups), [], []
                for part, batch in groups:
                    with torch.autocast(device.split(":")[0], torch.bfloat16) if bf16 else nullcontext():
                        loss_B = model.sample_losses(batch)
                    (loss_B.sum() / size).backward()
                    losses.append(loss_B.detach())
                    tasks.append(task_of[part.prompt])
                norm = torch.nn.utils.clip_grad_norm_(trained, config.optim.clip)
                optimizer.step()
                state.step, state.batch, samples_seen = state.step + 1, number + 1, samples_seen + size
                about = {
                    "progress": (state.epoch + state.batch / len(steps)) / config.optim.epochs,
                    "lr": config.optim.lr * rate,
                }
                line = metrics.write(
                    state, torch.cat(losses), np.concatenate(tasks), about | {"gradient_norm": float(norm)}
                )
                progress.update(bar, advance=1, loss=f"loss {line['loss']:.3f}")
                state.save_if_due(config.run.save_seconds)
            state.epoch, state.batch = state.epoch + 1, 0
            last = state.epoch == config.optim.epochs
            if validate and every and (last or state.epoch % every == 0):
                model.eval()
                scores = validate(run)
                metrics.write_scores(state, scores)
                state.keep_if_best(next(iter(scores.values())))

    state.take_best()
    model.eval()
    run.save(out)
    summary = {
        "steps": state.step,
        "epochs": config.optim.epochs,
        "seconds": round(time.perf_counter() - started, 2),
        "samples": samples_seen,
        "best_epoch": state.best_epoch,
        "precision": "bf16" if bf16 else "fp32",
        "device": device,
    }
    write_json(out / "summary.json", summary)
    for path in (out / STATE_FILE, *out.glob(".*.safetensors*"), out / f".{METRICS_FILE}.tmp"):  # of a kill, the latter
        path.unlink(missing_ok=True)
    return summary


def _optimizer(model: torch.nn.Module, settings: OptimPart) -> torch.optim.AdamW:
    """AdamW over what is trained; no decay on vectors (norms, biases), as in P5's recipe.

    Embedding tables may learn faster than the rest: T5 starts them with unit variance and was trained by Adafactor,
    whose steps grow with a parameter's size; Adam's do not.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    trained = [p for p in model.parameters() if p.requires_grad]
    kinds = (
        ([p for p in trained if id(p) in tables], settings.embedding_lr, settings.weight_decay),
        ([p for p in trained if p.dim() > 1 and id(p) not in tables], 1.0, settings.weight_decay),
        ([p for p in trained if p.dim() <= 1], 1.0, 0.0),
    )
    groups = [{"params": p, "weight_decay": decay, "factor": factor} for p, factor, decay in kinds if p]
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)
