"""Several processes that train one run, as `torchrun` starts them: who they are, how they end, the sum of gradients."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vip5.errors import UserError

PATIENCE = timedelta(days=30)  # for the others, however long process 0 validates; a process that died ends them anyway


@dataclass(frozen=True)
class Processes:
    """The processes that train a run, seen from one of them; `together` says which. By default it is alone."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes, validates and speaks for all."""
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Which of a step's samples, sorted by length, this process takes: dealt out, so that the work is even."""
        return rows[self.rank :: self.count]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def agreed(self, value: bool) -> bool:
        """What the first process says."""
        if self.count == 1:
            return value
        said = torch.tensor([value])
        dist.broadcast(said, 0)
        return bool(said)

    def check_same(self, about: dict[str, bytes]) -> None:
        """UserError with the first name under which the processes (more than one) hold different things."""
        digests = [hashlib.blake2b(value, digest_size=7).digest() for value in about.values()]
        numbers = torch.tensor([int.from_bytes(digest, "big") for digest in digests])
        extremes = torch.stack([numbers, -numbers])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        for name, highest, lowest in zip(about, extremes[0], -extremes[1], strict=True):
            if highest != lowest:
                raise UserError(
                    f"the processes of torchrun have different {name}: start all of them with the same command, on the "
                    "same data, and with an --out that all of them see"
                )


@contextmanager
def together() -> Iterator[Processes]:
    """Join the other processes that torchrun started; alone, where it started none.

    Whatever ends one of them inside the context ends all, and only one of them says why: the others end without a word.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    # What is small, and waiting, goes over the CPU; `GradientSum` has a group of its own on GPUs.
    dist.init_process_group("gloo", timeout=PATIENCE)
    processes = Processes(dist.get_rank(), dist.get_world_size())
    board = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    # ctrl-C is said to process 0 alone; the others would be deaf to it anyway while they wait for each other.
    before = signal.getsignal(signal.SIGINT) if processes.first else signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield processes
        processes.wait()
    except BaseException:
        if _another_ended(board):
            time.sleep(1)  # torchrun ends all when one has ended: that must not be before the first one has spoken
            raise SystemExit(2) from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    dist.destroy_process_group()


def _another_ended(board: dist.Store) -> bool:
    """Whether another process ended before this one, which then only lost its connection."""
    try:
        return board.add(f"ended/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", 1) > 1
    except RuntimeError:  # the board itself went, with the process that held it
        return True


def best_device(named: str | None = None) -> str:
    """The device that is named, if this machine has it; the best one at hand when none is.

    Under torchrun each process takes its own GPU, or all the CPU.
    """
    if named is not None:
        try:
            torch.empty(0, device=named)
        except (RuntimeError, AssertionError):
            raise UserError(f"no device {named!r} on this machine: leave --device out, or take cpu") from None
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if beside == 1:
        return named or _best()
    device = named or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cuda", "cpu"):
        raise UserError(f"--device {device} is one for all processes: leave it out (each takes its own), or take cpu")
    if device == "cpu":
        return device
    if beside > torch.cuda.device_count():
        raise UserError(f"{beside} processes and {torch.cuda.device_count()} GPUs: give as many as --nproc-per-node")
    return f"cuda:{os.environ['LOCAL_RANK']}"


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class GradientSum:
    """Adds up, over all processes, the gradients of a step and the losses of its samples: one all-reduce.

    A process may have no sample in a step, and a parameter no gradient in some processes, or in any. (So a flat buffer,
    and not DistributedDataParallel, which counts on the same parameters being met everywhere.)
    """

    def __init__(self, processes: Processes, trained: list[torch.nn.Parameter], batch_size: int):
        self.processes, self.trained = processes, trained
        sizes = [p.numel() for p in trained]
        self._buffer = trained[0].new_empty(sum(sizes) + batch_size)
        *gradients, self._losses = self._buffer.split([*sizes, batch_size])
        self._gradients = [g.view_as(p) for g, p in zip(gradients, trained, strict=True)]
        self._group = dist.new_group(backend="nccl", timeout=PATIENCE) if self._buffer.is_cuda else None

    def __call__(self, losses: list[Tensor], size: int) -> Tensor:
        """Give each parameter the summed gradient, or none where no process has one; and the losses [size] of all.

        `losses` are those of this process's share, in its order. The losses are valid until the next call.
        """
        used = torch.tensor([p.grad is not None for p in self.trained], dtype=torch.uint8)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in self.trained]
        placed = torch.zeros_like(self._losses)
        if losses:
            placed[self.processes.rank : size : self.processes.count] = torch.cat(losses)
        torch.cat([*parts, placed], out=self._buffer)
        dist.all_reduce(self._buffer, group=self._group)
        for p, gradient, anywhere in zip(self.trained, self._gradients, used.tolist(), strict=True):
            p.grad = gradient if anywhere else None
        return self._losses[:size]
