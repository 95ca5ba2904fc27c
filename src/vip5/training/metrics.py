"""What a run says of each step: metrics.jsonl, a progress bar, TensorBoard if wanted, how fast it is."""

import json
import math
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from vip5.data.progress import LongJob
from vip5.errors import Diverged, UserError
from vip5.files import to_json, write_text
from vip5.prompts.templates import TASKS
from vip5.runs import METRICS_FILE
from vip5.training.state import TrainingState


class Metrics:
    """metrics.jsonl, a line a step; a progress bar, unless `quiet`; and TensorBoard if wanted.

    A step's line is written when the next step has begun, so that a GPU never waits for somebody to read a number.
    Where its numbers are not finite, Diverged is raised then, and the line is not written.
    """

    def __init__(self, out: Path, state: TrainingState, tensorboard: bool, quiet: bool):
        self.path, self.full_lr = out / METRICS_FILE, state.run.config.optim.lr
        if self.path.is_file():  # lines past the saved state will be written again
            lines = [line for line in self.path.read_text("utf-8").splitlines() if _is_past(line, state)]
            write_text(self.path, "".join(f"{line}\n" for line in lines))
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.loss, self.speed = float("nan"), Speed()  # of the last line
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}")
        self.bar = LongJob(*columns, TimeRemainingColumn(), shown=not quiet)
        self._task = self.bar.add_task("training", total=None, loss="")
        self._begun: tuple[dict[str, float], np.ndarray, dict[str, float], _Coming] | None = None
        self.board = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("run.tensorboard needs the extra: pip install 'vip5[tensorboard]'") from None
            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=state.step + 1)

    def __enter__(self) -> "Metrics":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        self.file.close()
        if self.board:
            self.board.close()

    def begin_epoch(self, state: TrainingState, steps: int) -> None:
        """Show an epoch of so many steps, of which the state tells how many are done."""
        self.bar.update(self._task, total=steps, completed=state.batch, description=f"epoch {state.epoch + 1}")

    def write(
        self, state: TrainingState, losses: Tensor, norm: Tensor, tasks: np.ndarray, about: dict[str, float]
    ) -> None:
        """The line of the step just begun: losses [n] of samples of the given tasks [n], and the gradient's norm."""
        coming = _Coming(torch.cat([losses, norm[None]]))
        self._finish()
        self._begun = {"step": state.step, "epoch": state.epoch + 1}, tasks, about, coming
        self.bar.update(self._task, advance=1, loss=f"loss {self.loss:.3f}")

    def flush(self) -> None:
        """Write the line that is still open. The time until the next step is no training."""
        self._finish()
        self.speed.pause()

    def write_scores(self, state: TrainingState, scores: dict[str, float]) -> None:
        self._put({"step": state.step, "epoch": state.epoch} | {f"validation/{k}": v for k, v in scores.items()})

    def _finish(self) -> None:
        if self._begun is None:
            return
        place, tasks, about, coming = self._begun
        self._begun = None
        values = coming.numpy()
        losses, norm = values[:-1], float(values[-1])
        self.speed.count(len(losses))
        self.loss = float(losses.mean())
        self._check("loss", self.loss, place["step"])
        self._check("gradient norm", norm, place["step"])
        by_task = {f"loss/{TASKS[t]}": float(losses[tasks == t].mean()) for t in np.unique(tasks)}
        self._put(place | {"loss": self.loss} | by_task | about | {"gradient_norm": norm})

    def _check(self, what: str, value: float, step: float) -> None:
        if not math.isfinite(value):
            raise Diverged(
                f"training diverged: the {what} of step {step} is {value} (where: {self.path.parent}): train with a "
                f"lower optim.lr than {self.full_lr:g}, in another --out"
            )

    def _put(self, line: dict[str, float]) -> None:
        self.file.write(to_json(line) + "\n")
        if self.board:
            for key, value in line.items():
                if key not in ("step", "epoch"):
                    self.board.add_scalar(key, value, line["step"])


class _Coming:
    """Numbers on their way from the device; who reads them waits for the step that made them, and no later one."""

    def __init__(self, values: Tensor):
        self._values = values.to("cpu", non_blocking=values.is_cuda)  # into pinned memory
        self._there = None
        if values.is_cuda:
            self._there = torch.cuda.Event()
            self._there.record(torch.cuda.current_stream(values.device))

    def numpy(self) -> np.ndarray:
        if self._there:
            self._there.synchronize()
        return self._values.numpy()


class Speed:
    """Samples a second, from one finished step to the next: without the first steps, saving, and validation."""

    def __init__(self, warm_up: int = 5):
        self._samples, self._seconds, self._left_out = 0, 0.0, warm_up
        self._last: float | None = None  # when a step was done

    def count(self, samples: int) -> None:
        """A step is done."""
        now = perf_counter()
        if self._last is not None and self._left_out == 0:
            self._samples, self._seconds = self._samples + samples, self._seconds + now - self._last
        self._left_out, self._last = max(0, self._left_out - 1), now

    def pause(self) -> None:
        self._last = None

    @property
    def rate(self) -> float | None:
        return round(self._samples / self._seconds, 1) if self._samples else None


def _is_past(line: str, state: TrainingState) -> bool:
    """Whether a line of the metrics came before the state was saved; validation comes after an epoch's last step."""
    try:
        about = json.loads(line)
    except ValueError:  # cut short by a kill
        return False
    validated = "loss" not in about
    return about["step"] < state.step or (about["step"] == state.step and not (validated and state.batch))
