"""The first steps of two small runs: `golden_run.py DATASET OUT SETTING ...` prints their numbers as JSON.

A script of its own, because kernels are chosen by environment variables that a process reads once.
"""

import json
import sys
from pathlib import Path

import torch

from vip5.data import Dataset
from vip5.model.peft import Adapter
from vip5.training import Run, load_config, train

# At higher rates or in more steps, Adam makes more of the last digits, in which kernels differ.
SETTINGS = ["model.dropout=0.1", "optim.batch_size=16", "optim.epochs=1", "optim.lr=1e-4",
            "optim.embedding_lr_factor=1", "seed=7"]  # fmt: skip


def golden_run(dataset: Dataset, out: Path, settings: list[str]) -> dict[str, dict]:
    """From scratch with photos and everything trained; then adapters on that, frozen. On one thread, with dropout."""
    torch.set_num_threads(1)
    settings = [*settings, *SETTINGS]
    full = Run.new(load_config("prompts", None, settings), dataset)
    found = {"full": _numbers(full, out / "full")}
    settings += ["peft.method=adapters", f"model.backbone={out / 'full'}"]
    adapters = Run.new(load_config("prompts", None, settings), dataset)
    _start(adapters.model)
    return found | {"adapters": _numbers(adapters, out / "adapters")}


@torch.no_grad()
def _start(model: torch.nn.Module) -> None:
    """Draw the adapters' weights anew, so that nothing depends on when the model draws them."""
    draw = torch.Generator().manual_seed(7)
    for adapter in (module for module in model.modules() if isinstance(module, Adapter)):
        adapter.down.weight.normal_(std=adapter.down.in_features**-0.5, generator=draw)
        adapter.up.weight.normal_(std=1e-3, generator=draw)
        adapter.down.bias.zero_()
        adapter.up.bias.zero_()


def _numbers(run: Run, out: Path) -> dict:
    summary = train(run, out, quiet=True)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {
        "samples": summary["samples"],
        "losses": [round(line["loss"], 7) for line in lines],
        "gradient_norms": [round(line["gradient_norm"], 7) for line in lines],
        "weights": [round(size, 7) for size in _sizes(run.model)],
    }


def _sizes(model: torch.nn.Module) -> list[float]:
    """Root mean square of what was trained, by the kinds that the optimiser tells apart: tables, matrices, vectors."""
    tables = {module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    kinds: tuple[list[torch.Tensor], ...] = ([], [], [])
    for weight in (p for p in model.parameters() if p.requires_grad):
        kind = 2 if weight.dim() < 2 else 0 if weight in tables else 1
        kinds[kind].append(weight.detach().double().flatten())
    return [torch.cat(kind).pow(2).mean().sqrt().item() for kind in kinds if kind]


if __name__ == "__main__":
    print(json.dumps(golden_run(Dataset(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))
