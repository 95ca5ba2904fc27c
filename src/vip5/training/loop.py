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
from vip5.files import write_json
from vip5.model.memory import keep_memory
from vip5.prompts.templates import TASKS
from vip5.runs import METRICS_FILE, STATE_FILE, run_folder
from vip5.training.batches import Feed, plan, use_device
from vip5.training.config import OptimPart
from vip5.training.distributed import GradientSum, Processes
from vip5.training.draw import SampleDrawer
from vip5.training.metrics import Metrics
from vip5.training.run import Run
from vip5.training.state import State

Validate = Callable[[Run], dict[str, float]]  # the first metric decides; higher is better


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
    run: Run,
    out: str | Path,
    device: str = "cpu",
    validate: Validate | None = None,
    quiet: bool = False,
    processes: Processes = Processes(),
) -> dict[str, Any]:
    """Train `run` into folder `out`, going on from the state found there; gives a summary.

    Everything random is drawn from (seed, epoch) or (seed, step, process), so the same configuration gives the same run
    whether or not it was interrupted. `validate` scores the run every `run.validate_epochs`, and the best epoch is
    kept. Several `processes` (see `together`) call this with the same run and make the same steps. The first one
    writes the folder, validates, and has the summary and the best epoch's weights; the others wait for it.
    """
    use_device(device)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with run_folder(Path(out)) if processes.first else nullcontext():
        processes.wait()  # nothing is read before the folder is found to be good
        summary = _train(run, Path(out), device, validate, quiet, processes)
    processes.wait()
    return summary


def _train(
    run: Run, out: Path, device: str, validate: Validate | None, quiet: bool, processes: Processes
) -> dict[str, Any]:
    keep_memory()
    config, model = run.config, run.model.to(device)
    model.recompute_blocks(config.optim.recompute)
    names = config.prompts.train or [name for name, prompt in run.prompts.items() if not prompt.unseen]
    compiler = run.compiler(names)
    drawer = SampleDrawer(run.dataset, compiler.prompts, config)
    task_of = np.array([TASKS.index(prompt.task) for prompt in compiler.prompts])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(model, config.optim)
    state = State(run, optimizer, out)
    state.resume()
    joined = None
    if processes.count > 1:
        processes.check_same(state.marks())
        joined = GradientSum(processes, trained, config.optim.batch_size)
    metrics = Metrics(out, state, config.run.tensorboard) if processes.first else None
    feed = Feed(run, compiler, device)
    every = config.run.validate_epochs
    bf16 = use_bf16(config.optim.precision, device)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(), console=Console(stderr=True), disable=quiet or metrics is None,
    )  # fmt: skip

    started, samples_seen = time.perf_counter(), 0
    with progress, metrics or nullcontext():
        bar = progress.add_task("training", total=None, loss="")
        while state.epoch < config.optim.epochs:
            samples = drawer.draw(state.epoch)
            if not len(samples):
                raise UserError("no training sample fits the chosen prompts: see prompts.train and samples.*")
            rng = np.random.default_rng([config.seed, state.epoch, 1])
            steps = plan(compiler.input_lengths(samples), config.optim, rng, processes)
            progress.update(bar, total=len(steps), completed=state.batch, description=f"epoch {state.epoch + 1}")
            model.train()
            for number, groups in feed.steps(samples, steps, state.batch):
                rate = schedule((state.epoch + number / len(steps)) / config.optim.epochs, config.optim)
                for group in optimizer.param_groups:
                    group["lr"] = config.optim.lr * rate * group["factor"]
                seed = config.seed * 1_000_003 + state.step  # dropout depends on the step and the process alone
                torch.manual_seed(seed + processes.rank * 1_000_000_007)
                optimizer.zero_grad(set_to_none=True)
                rows, losses = steps[number].rows, []
                for batch in groups:
                    with torch.autocast(device.split(":")[0], torch.bfloat16) if bf16 else nullcontext():
                        loss_B = model.sample_losses(batch)
                    (loss_B.sum() / len(rows)).backward()
                    losses.append(loss_B.detach())
                loss_N = joined(losses, len(rows)) if joined else torch.cat(losses)
                norm = torch.nn.utils.clip_grad_norm_(trained, config.optim.clip)
                optimizer.step()
                state.step, state.batch, samples_seen = state.step + 1, number + 1, samples_seen + len(rows)
                if metrics:
                    about = {
                        "progress": (state.epoch + state.batch / len(steps)) / config.optim.epochs,
                        "lr": config.optim.lr * rate,
                    }
                    metrics.write(state, loss_N, norm, task_of[samples.prompt[rows]], about)
                    progress.update(bar, advance=1, loss=f"loss {metrics.loss:.3f}")
                    if state.is_due(config.run.save_seconds):
                        metrics.flush()
                        state.save()
            state.epoch, state.batch = state.epoch + 1, 0
            last = state.epoch == config.optim.epochs
            if metrics:
                metrics.flush()
                if validate and every and (last or state.epoch % every == 0):
                    model.eval()
                    scores = validate(run)
                    metrics.write_scores(state, scores)
                    state.keep_if_best(next(iter(scores.values())))
            processes.wait()

    model.eval()
    if metrics is None:
        return {}
    state.take_best()
    summary = {
        "steps": state.step,
        "epochs": config.optim.epochs,
        "seconds": round(time.perf_counter() - started, 2),
        "samples": samples_seen,
        "samples_per_second": metrics.speed.rate,
        "best_epoch": state.best_epoch,
        "precision": "bf16" if bf16 else "fp32",
        "device": device,
        "processes": processes.count,
    }
    if device.startswith("cuda"):
        summary["peak_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    _finish(run, out, summary)
    return summary


def _finish(run: Run, out: Path, summary: dict[str, Any]) -> None:
    """Write what stays, remove what was there to go on with."""
    run.save(out)
    write_json(out / "summary.json", summary)
    for path in (out / STATE_FILE, *out.glob(".*.safetensors*"), out / f".{METRICS_FILE}.tmp"):  # of a kill, the latter
        path.unlink(missing_ok=True)


def _optimizer(model: torch.nn.Module, settings: OptimPart) -> torch.optim.AdamW:
    """AdamW over what is trained; no decay on vectors (norms, biases), as in P5's recipe.

    Embedding tables may learn faster than the rest: T5 starts them with unit variance and was trained by Adafactor,
    whose steps grow with a parameter's size; Adam's do not.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    trained = [p for p in model.parameters() if p.requires_grad]
    kinds = (
        ([p for p in trained if id(p) in tables], settings.embedding_lr_factor, settings.weight_decay),
        ([p for p in trained if p.dim() > 1 and id(p) not in tables], 1.0, settings.weight_decay),
        ([p for p in trained if p.dim() <= 1], 1.0, 0.0),
    )
    groups = [{"params": p, "weight_decay": decay, "factor": factor} for p, factor, decay in kinds if p]
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)
