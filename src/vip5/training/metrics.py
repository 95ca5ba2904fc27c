"""What a run says of each step: metrics.jsonl, and TensorBoard if wanted."""

import json
import os
from pathlib import Path

import numpy as np
import torch

from vip5.errors import UserError
from vip5.prompts.templates import TASKS
from vip5.training.state import METRICS_FILE, State


class Metrics:
    """metrics.jsonl, a line a step, and TensorBoard if wanted."""

    def __init__(self, out: Path, state: State, tensorboard: bool):
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

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board:
            self.board.close()

    def write(self, state: State, losses: torch.Tensor, tasks: np.ndarray, about: dict[str, float]) -> dict[str, float]:
        values = losses.cpu().numpy()
        line = {"step": state.step, "epoch": state.epoch + 1, "loss": float(values.mean())}
        line |= {f"loss/{TASKS[t]}": float(values[tasks == t].mean()) for t in np.unique(tasks)}
        return self._put(line | about)

    def write_scores(self, state: State, scores: dict[str, float]) -> None:
        self._put({"step": state.step, "epoch": state.epoch} | {f"validation/{k}": v for k, v in scores.items()})

    def _put(self, line: dict[str, float]) -> dict[str, float]:
        self.file.write(json.dumps(line) + "\n")
        if self.board:
            for key, value in line.items():
                if key not in ("step", "epoch"):
                    self.board.add_scalar(key, value, line["step"])
        return line


def _is_past(line: str, state: State) -> bool:
    """Whether a line of the metrics came before the state was saved; validation comes after an epoch's last step."""
    try:
        about = json.loads(line)
    except ValueError:  # cut short by a kill
        return False
    validated = "loss" not in about
    return about["step"] < state.step or (about["step"] == state.step and not (validated and state.batch))
