"""Several processes train the run that one process would have trained, and end as one."""

import json
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vip5.errors import UserError
from vip5.prompts.templates import TASKS
from vip5.training import Run, best_device, load_config, train

# Each new process would need seconds to import torch; these are forked from one that has it, and has done nothing yet.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["vip5.training", "vip5.evaluation.evaluate"])
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def start(tiny_data, tmp_path):
    """Start `count` processes that do what tests/training/process.py says; whatever is left of them is killed."""
    started = []

    def start(count: int, out: Path, settings: list[str], task="train", own=(), scores=(0.5,) * 9) -> list:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        order = {
            "task": task, "out": str(out), "data": str(tiny_data.path), "settings": settings, "own": dict(own),
            "scores": scores and list(scores),
        }  # fmt: skip
        processes = []
        for rank in range(count):
            numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = LOOPBACK | {key: str(value) for key, value in (numbers | place).items()}
            given = {"order": order | {"environment": environment}}
            worker = str(Path(__file__).with_name("process.py"))
            processes.append(FORKS.Process(target=runpy.run_path, args=(worker, given, "__main__")))
            processes[-1].start()
        started.extend(processes)
        return processes

    yield start
    for process in started:
        process.kill()
        process.join()


def ends(processes: list) -> list[int]:
    """Their exit codes."""
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def lines(folder: Path) -> list[dict]:
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def wait_for_lines(folder: Path, count: int, alive) -> None:
    until = time.monotonic() + 120
    while len(lines(folder)) < count:
        assert alive() and time.monotonic() < until
        time.sleep(0.01)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_close(one: Path, other: Path) -> None:
    """The same run, but for rounding."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        # Five times what kernels and numbers of processes differ by (8e-6); less than one step moves a weight.
        assert (a[name] - b[name]).abs().max() < 4e-5, name
    assert len(lines(one)) == len(lines(other))
    for x, y in zip(lines(one), lines(other), strict=True):
        norm = x.pop("gradient_norm", 0)  # which jumps where a ReLU flips
        assert y.pop("gradient_norm", 0) == pytest.approx(norm, rel=2e-3)
        assert y == pytest.approx(x, rel=1e-5, abs=1e-6)


def assert_same(one: Path, other: Path) -> None:
    """The same run to the last bit."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert lines(one) == lines(other)


def messages(out: Path) -> list[str]:
    return [path.read_text() for path in sorted(out.parent.glob(f"{out.name}.said.*"))]


@pytest.fixture(scope="module")
def settings(tiny_settings) -> list[str]:
    """31 steps of 13 samples, in several groups, and a last step of one sample; at rates that keep rounding small."""
    plain = ["optim.batch_size=13", "optim.batch_tokens=400", "optim.epochs=1"]
    return [*tiny_settings, *plain, "optim.lr=1e-4", "optim.embedding_lr_factor=1", "run.validate_epochs=1"]


@pytest.fixture(scope="module")
def alone(settings, tiny_data, tmp_path_factory) -> Path:
    """The run by one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    torch.set_num_threads(1)
    train(Run.new(load_config("prompts", None, settings), tiny_data), out, validate=lambda run: {"x": 0.5}, quiet=True)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_several_are_as_one(count, start, settings, alone, tmp_path):
    assert ends(start(count, tmp_path / "run", settings)) == [0] * count
    steps = [line for line in lines(alone) if "loss" in line]
    assert len(steps) == 32 and len(steps[-1].keys() & {f"loss/{task}" for task in TASKS}) == 1  # one sample
    assert_close(alone, tmp_path / "run")
    one, several = (json.loads((out / "summary.json").read_text()) for out in (alone, tmp_path / "run"))
    assert [several["processes"], several["samples"], several["steps"]] == [count, one["samples"], one["steps"]]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in alone.iterdir()}


def test_sums(start, tmp_path):
    """Gradients that some processes, or all, lack; steps with fewer samples than processes."""
    assert ends(start(3, tmp_path / "run", [], task="sum")) == [0, 0, 0]


@pytest.mark.slow
def test_dropout(start, settings, tmp_path):
    """Other masks in each process and step, the same whenever the run is made."""
    settings = [*settings, "model.dropout=0.1"]
    for name in ("run", "again"):
        assert ends(start(2, tmp_path / name, settings)) == [0, 0]
    assert_same(tmp_path / "run", tmp_path / "again")
    first, second = (json.loads((tmp_path / f"run.seeds.{rank}").read_text()) for rank in (0, 1))
    assert (
        len(first) == 32 and len(second) == 31 and len({*first, *second}) == 63
    )  # process 1 has none in the last step


@pytest.mark.slow
def test_killed_and_gone_on_with(start, settings, alone, tmp_path):
    """kill -9; two go on as if nothing had been, to the last bit, and so does one, but for rounding."""
    settings = [*settings, "run.save_seconds=0"]
    out = tmp_path / "run"
    assert ends(start(2, tmp_path / "whole", settings)) == [0, 0]
    processes = start(2, out, settings)
    wait_for_lines(out, 5, lambda: processes[0].is_alive())
    for process in processes:
        process.kill()
    assert ends(processes) == [-signal.SIGKILL] * 2
    assert (out / "state.safetensors").is_file() and len(lines(out)) < 32
    shutil.copytree(out, tmp_path / "by_one")
    assert ends(start(2, out, settings)) == [0, 0]
    assert_same(out, tmp_path / "whole")
    assert ends(start(1, tmp_path / "by_one", settings)) == [0]
    assert_close(tmp_path / "by_one", alone)


@pytest.mark.slow
def test_best_epoch(start, settings, tmp_path):
    """Only the first process validates (the others assert it), and the weights that it found best are those kept."""
    assert ends(start(2, tmp_path / "long", [*settings, "optim.epochs=2"], scores=[0.9, 0.1])) == [0, 0]
    assert json.loads((tmp_path / "long/summary.json").read_text())["best_epoch"] == 1
    assert [line["validation/x"] for line in lines(tmp_path / "long") if "validation/x" in line] == [0.9, 0.1]


@pytest.mark.slow
def test_one_error_ends_all_and_is_told_once(start, settings, alone, tmp_path):
    """Of process 0 at the start, in the middle and after an epoch; of all alike; of what they do not share."""
    shutil.copytree(alone, tmp_path / "finished")
    cases = {
        "finished": ({}, "holds a finished run"),
        "validation": ({"scores": None}, "nobody to score"),
        "diverged": ({"settings": [*settings, "optim.lr=1e6"]}, "training diverged"),
        "all": ({"settings": [*settings, "samples.nope=1"]}, "no such setting"),
        "other": ({"own": {"1": ["optim.lr=0.1"]}}, "the processes of torchrun have different settings or data"),
    }
    for name, (given, said) in cases.items():
        processes = start(2, tmp_path / name, **{"settings": settings, **given})
        assert ends(processes) == [2, 2], name
        assert len(messages(tmp_path / name)) == 1 and said in messages(tmp_path / name)[0], name


@pytest.mark.slow
def test_as_a_user_types_it(settings, start, tiny_data, tmp_path):
    """torchrun: ctrl-C ends all with one word, the same command goes on exactly, and says that it is done."""
    out, settings = tmp_path / "run", [*settings, "run.save_seconds=0", "model.dropout=0.1", "run.validate_epochs=0"]

    def torchrun() -> subprocess.Popen:
        launch = ["torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
        launch += ["--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
        words = [
            "-m",
            "vip5",
            "train",
            str(tiny_data.path),
            "--recipe",
            "prompts",
            *settings,
            "--out",
            str(out),
            "--device",
            "cpu",
        ]
        return subprocess.Popen(
            [sys.executable, "-m", *launch, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | LOOPBACK,
        )  # fmt: skip

    process = torchrun()
    wait_for_lines(out, 4, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and said.count("stopped: the same command goes on from here\n") == 1, said
    assert "error:" not in said and (out / "state.safetensors").is_file()

    process = torchrun()
    told, said = process.communicate(timeout=120)
    assert process.returncode == 0 and told.count("Trained") == 1, said
    assert ends(start(2, tmp_path / "whole", settings)) == [0, 0]
    assert_same(out, tmp_path / "whole")

    process = torchrun()
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and said.count("holds a finished run") == said.count("error: ") == 1, said


def test_each_process_takes_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert best_device("cpu") == "cpu"
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert best_device() == best_device("cuda") == "cuda:1"
    with pytest.raises(UserError, match="leave it out"):
        best_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes and 1 GPUs"):
        best_device()
