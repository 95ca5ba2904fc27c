"""The training loop: seeded step by step, so that a run that was killed goes on exactly where it was."""

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import save

from vip5.errors import UserError
from vip5.prompts.templates import TASKS
from vip5.training.batches import assemble, plan
from vip5.training.config import OptimPart
from vip5.training.draw import SampleDrawer
from vip5.training.run import Run, write_json
from vip5.training.start import RUN_FILE

STATE_FILE, METRICS_FILE, BEST_FILE = "state.safetensors", "metrics.jsonl", ".best.safetensors"
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
    out, config, model = Path(out), run.config, run.model.to(device)
    names = config.prompts.train or [name for name, prompt in run.prompts.items() if not prompt.unseen]
    compiler = run.compiler(names)
    drawer = SampleDrawer(run.dataset, compiler.prompts, config)
    task_of = np.array([TASKS.index(prompt.task) for prompt in compiler.prompts])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(model, config.optim)
    state = _State(run, optimizer, out)
    state.resume()
    metrics = _Metrics(out, state, config.run.tensorboard)
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


class _State:
    """Where a run is: step, epoch, batch, trained weights, the optimiser's moments. One file, replaced whole."""

    def __init__(self, run: Run, optimizer: torch.optim.Optimizer, out: Path):
        self.run, self.optimizer, self.out = run, optimizer, out
        self.trained = {name: p for name, p in run.model.named_parameters() if p.requires_grad}
        self.step, self.epoch, self.batch = 0, 0, 0
        self.best, self.best_epoch = float("-inf"), 0
        self._saved = time.monotonic()

    def _about(self) -> dict[str, Any]:
        numbers = {"step": self.step, "epoch": self.epoch, "batch": self.batch}
        return {**numbers, "best": self.best, "best_epoch": self.best_epoch, "run": self.run.description()}

    def save(self) -> None:
        tensors = {f"model.{name}": p.detach() for name, p in self.trained.items()}
        for name, p in self.trained.items():
            for key, value in self.optimizer.state.get(p, {}).items():
                tensors[f"{key}.{name}"] = value
        _write(tensors, self.out / STATE_FILE, {"about": json.dumps(self._about())})
        self._saved = time.monotonic()

    def save_if_due(self, seconds: float) -> None:
        if time.monotonic() - self._saved >= seconds:
            self.save()

    def resume(self) -> None:
        """Take up the state in the run folder, if there is one."""
        file = self.out / STATE_FILE
        if (self.out / "manifest.json").is_file():
            raise UserError(f"{self.out} is a dataset folder: choose another --out")
        if (self.out / RUN_FILE).is_file():
            raise UserError(f"{self.out} holds a finished run: choose another --out, or remove it")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {self.out} ({error.strerror}): choose another --out") from None
        if not file.is_file():
            (self.out / METRICS_FILE).unlink(missing_ok=True)
            return
        with safe_open(file, "pt") as stored:
            about = json.loads(stored.metadata()["about"])
            now = json.loads(json.dumps(self.run.description()))
            for key in ("config", "dataset", "features"):
                if _lasting(about["run"][key]) != _lasting(now[key]):
                    other = _difference(about["run"][key], now[key], key)
                    raise UserError(
                        f"{self.out} holds an unfinished run with another {other}: "
                        "give the same settings to go on, or remove the folder"
                    )
            for name, p in self.trained.items():
                p.data.copy_(stored.get_tensor(f"model.{name}"))
                self.optimizer.state[p] = {
                    key: stored.get_tensor(f"{key}.{name}").to(p.device)
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"{key}.{name}" in stored.keys()  # noqa: SIM118 (not a dict)
                }
        self.step, self.epoch, self.batch = about["step"], about["epoch"], about["batch"]
        self.best, self.best_epoch = about["best"], about["best_epoch"]

    def keep_if_best(self, score: float) -> None:
        if score > self.best:
            self.best, self.best_epoch = score, self.epoch
            _write({name: p.detach() for name, p in self.trained.items()}, self.out / BEST_FILE, {})
        self.save()

    def take_best(self) -> None:
        """End with the weights that scored best, where any were scored."""
        if self.best_epoch:
            with safe_open(self.out / BEST_FILE, "pt") as stored:
                for name, p in self.trained.items():
                    p.data.copy_(stored.get_tensor(name))


def _write(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    # not by save_file, whose own temporary file would stay behind after a kill
    aside.write_bytes(save({name: t.contiguous() for name, t in tensors.items()}, metadata))
    os.replace(aside, path)


def _lasting(part: Any) -> Any:
    """A description without what may change between two parts of the same run."""
    if isinstance(part, dict):
        return {key: value for key, value in part.items() if key not in ("path", "run")}
    return part


def _difference(old: Any, new: Any, place: str) -> str:
    """The first setting in which two descriptions differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in _lasting(old):
            if _lasting(old[key]) != _lasting(new.get(key)):
                return _difference(old[key], new.get(key), f"{place}.{key}")
    return f"{place} ({old}, now {new})"


class _Metrics:
    """metrics.jsonl, a line a step, and TensorBoard if wanted."""

    def __init__(self, out: Path, state: _State, tensorboard: bool):
        self.path = out / METRICS_FILE
        if self.path.is_file():  # lines past the saved state will be written again
            lines = [line for line in self.path.read_text("utf-8").splitlines() if _is_past(line, state)]
            aside = self.path.with_name(f".{self.path.name}.tmp")
            aside.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            os.replace(aside, self.path)
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.board = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("run.tensorboard needs the extra: pip install 'vip5[tensorboard]'") from None
            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=state.step + 1)

    def __enter__(self) -> "_Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board:
            self.board.close()

    def write(
        self, state: _State, losses: torch.Tensor, tasks: np.ndarray, about: dict[str, float]
    ) -> dict[str, float]:
        values = losses.cpu().numpy()
        line = {"step": state.step, "epoch": state.epoch + 1, "loss": float(values.mean())}
        line |= {f"loss/{TASKS[t]}": float(values[tasks == t].mean()) for t in np.unique(tasks)}
        return self._put(line | about)

    def write_scores(self, state: _State, scores: dict[str, float]) -> None:
        self._put({"step": state.step, "epoch": state.epoch} | {f"validation/{k}": v for k, v in scores.items()})

    def _put(self, line: dict[str, float]) -> dict[str, float]:
        self.file.write(json.dumps(line) + "\n")
        if self.board:
            for key, value in line.items():
                if key not in ("step", "epoch"):
                    self.board.add_scalar(key, value, line["step"])
        return line


def _is_past(line: str, state: _State) -> bool:
    """Whether a line of the metrics came before the state was saved; validation comes after an epoch's last step."""
    try:
        about = json.loads(line)
    except ValueError:  # cut short by a kill
        return False
    validated = "loss" not in about
    return about["step"] < state.step or (about["step"] == state.step and not (validated and state.batch))
