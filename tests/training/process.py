"""What one of several processes does in test_distributed.py: `order` says what, and which one it is."""

import json
import os
import sys
from pathlib import Path

import torch

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.training import Run, load_config, together, train
from vip5.training.distributed import GradientSum


def work(order: dict) -> None:
    os.environ |= order["environment"]
    torch.set_num_threads(1)
    rank, out = os.environ["RANK"], Path(order["out"])
    try:
        with together() as processes:
            {"train": training, "sum": summing}[order["task"]](order, processes, out)
    except UserError as error:
        out.with_name(f"{out.name}.said.{rank}").write_text(str(error))
        sys.exit(2)


def training(order: dict, processes, out: Path) -> None:
    settings = [*order["settings"], *order["own"].get(str(processes.rank), [])]
    run = Run.new(load_config("prompts", None, settings), Dataset(order["data"]))
    seeds = []
    run.model.encoder.register_forward_pre_hook(lambda *_: seeds.append(torch.initial_seed()))

    def validate(run: Run) -> dict[str, float]:
        assert processes.first and not run.model.training
        if order["scores"] is None:
            raise UserError("nobody to score")
        return {"x": order["scores"].pop(0)}

    summary = train(run, out, validate=validate, quiet=True, processes=processes)
    assert bool(summary) == processes.first
    assert (out / "run.json").is_file()  # the others go on when all is written
    out.with_name(f"{out.name}.seeds.{processes.rank}").write_text(json.dumps(list(dict.fromkeys(seeds))))


def summing(order: dict, processes, out: Path) -> None:
    """Three parameters, of which one meets a gradient everywhere, one in the last process alone, one nowhere."""
    rank, last = processes.rank, processes.rank == processes.count - 1
    everywhere, somewhere, nowhere = trained = [torch.nn.Parameter(torch.zeros(n, 2)) for n in (3, 2, 1)]
    add = GradientSum(processes, trained, batch_size=7)
    for size in (7, 1):  # one sample: the others have none
        for p in trained:
            p.grad = None
        own = processes.share(torch.arange(float(size)).numpy())
        if len(own):
            everywhere.grad = torch.full((3, 2), 1.0 + rank)
        if last:
            somewhere.grad = torch.full((2, 2), 5.0)
        losses = add([torch.tensor([loss]) for loss in own], size)
        assert losses.tolist() == list(range(size))
        ranks = min(size, processes.count)
        assert (everywhere.grad == ranks * (ranks + 1) / 2).all() and everywhere.grad.shape == (3, 2)
        assert (somewhere.grad == 5).all() and nowhere.grad is None


if __name__ == "__main__":
    work(globals()["order"])
