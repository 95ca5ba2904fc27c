"""How speed is measured: methods take turns, medians with their spread, the floor beside them."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict

from vip5.errors import UserError
from vip5.evaluation.results import Machine
from vip5.files import write_text

OURS = "vip5"
Times = dict[str, list[float]]  # seconds of each round
_PROC = Path("/proc/self/status")


class Rate(BaseModel):
    """One method: its rate (units of work in a second), and what is known beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    unit: str  # what is counted: samples, users, items
    median: float  # units a second
    low: float  # in the slowest round
    high: float  # in the fastest round
    rounds: int
    seconds: float  # of a round, median
    floor: float | None = None  # seconds that the machine's own rate allows for a round's operations or bytes
    reached: float | None = None  # floor / seconds
    peak_mib: float | None = None  # of a process that does this alone, interpreter and weights included
    beyond_mib: float | None = None  # of that, what came on top of the loaded model and data

    @classmethod
    def of(cls, method: str, unit: str, work: float, seconds: Sequence[float], **about: Any) -> Self:
        """From the seconds of each round, in which `work` units were done."""
        rates = [work / s for s in seconds]
        if (floor := about.get("floor")) is not None:
            about["reached"] = floor / median(seconds)
        return cls(
            method=method, unit=unit, median=median(rates), low=min(rates), high=max(rates), rounds=len(rates),
            seconds=median(seconds), **about,
        )  # fmt: skip


class Bench(BaseModel):
    """What one call of `vip5 bench` found, with all that is needed to measure it again."""

    model_config = ConfigDict(extra="forbid")

    bench: str
    command: str
    created: str
    machine: Machine
    threads: int
    versions: dict[str, str]
    quick: bool
    sizes: dict[str, int | float | str]
    rows: list[Rate]
    ratio: float  # the one that counts most: ours over the peer
    ratios: dict[str, float]  # all of them, by name
    checks: dict[str, float | bool] = {}  # that speed did not change the answer
    notes: list[str] = []  # peers that were left out, and why

    @classmethod
    def of(cls, bench: str, device: str = "cpu", packages: Sequence[str] = (), **about: Any) -> Self:
        """With the command, the time and the machine filled in; `packages` are those whose version matters."""
        return cls(
            bench=bench,
            command=" ".join(["vip5", *sys.argv[1:]]) if sys.argv else "",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=Machine.here(device),
            threads=torch.get_num_threads(),
            versions=_versions("vip5", "torch", "numpy", *packages),
            **about,
        )

    def save(self, file: Path) -> None:
        """Write JSON; whole or not at all."""
        write_text(file, self.model_dump_json(indent=2) + "\n")


def take_turns(methods: dict[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> Times:
    """Seconds of every round of each method. They take turns, so what disturbs the machine disturbs them alike."""
    for _ in range(warm_up):
        for method in methods.values():
            method()
    times: Times = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            gc.collect()
            start = perf_counter()
            method()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(perf_counter() - start)
    return times


def ratio(times: Times, fast: str, slow: str) -> float:
    """How many times as fast: the median over rounds of the ratio within a round."""
    return median(s / f for f, s in zip(times[fast], times[slow], strict=True))


def matmul_rate(device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of a large square matrix product, the best of several: what this machine can do."""
    size = 1024 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = take_turns({"mm": lambda: a @ b}, rounds=8, warm_up=2)["mm"]
    return 2 * size**3 / min(seconds)


def copy_rate(device: str = "cpu", mib: int = 256) -> float:
    """Bytes read and written in a second by a large copy, the best of several."""
    a = torch.ones(mib * 2**18, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / min(take_turns({"copy": lambda: b.copy_(a)}, rounds=8)["copy"])


def peak_memory(load: Callable[..., Callable[[], object]], *args: Any) -> dict[str, float]:
    """`peak_mib` and `beyond_mib` (see `Rate`) of a process that does only `load(*args)()`; {} where not Linux."""
    return alone(load, *args)[1] if _PROC.is_file() else {}


def alone(load: Callable[..., Callable[[], object]], *args: Any) -> tuple[float, dict[str, float]]:
    """Seconds of `load(*args)()` in a process of its own, the loading not counted, and its memory as `peak_memory`.

    Raises: UserError where the process is killed, as the kernel does when memory runs out.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(_alone, torch.get_num_threads(), load, args).result()
    except BrokenProcessPool:
        remedy = "give smaller sizes, or --quick"
        raise UserError(f"a measuring process was killed, most likely for want of memory: {remedy}") from None


def _alone(
    threads: int, load: Callable[..., Callable[[], object]], args: tuple[Any, ...]
) -> tuple[float, dict[str, float]]:
    torch.set_num_threads(threads)
    work = load(*args)
    gc.collect()
    linux = _PROC.is_file()
    before = _status("VmRSS") if linux else 0.0
    if linux:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here (proc(5))
    start = perf_counter()
    work()
    seconds = perf_counter() - start
    if not linux:
        return seconds, {}
    peak = _status("VmHWM")
    return seconds, {"peak_mib": peak, "beyond_mib": peak - before}


def _status(key: str) -> float:
    line = next(line for line in _PROC.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def in_threads(threads: int | None) -> int:
    """Use this many threads from now on; as many as there are cores when not given."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    return torch.get_num_threads()
