"""Training that is killed, stopped, watched, moved, and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vip5.errors import Diverged, UserError
from vip5.predict import TrainedModel
from vip5.runs import run_folder
from vip5.training import Run, best_device, load_config, metrics, state, train
from vip5.training.config import OptimPart
from vip5.training.optimizer import schedule

pytestmark = pytest.mark.usefixtures("one_thread")


def lines(folder: Path) -> list[dict]:
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def start(data: Path, out: Path, settings: list[str]) -> subprocess.Popen:
    """`vip5 train` in a process of its own, as a user types it."""
    words = ["train", data, "--recipe", "prompts", *settings, "run.save_seconds=0", "--out", out, "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "vip5.cli.main", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def send(process: subprocess.Popen, out: Path, number: int, after: int = 4) -> tuple[int, str]:
    """A signal after some steps; exit code and what was said."""
    until = time.monotonic() + 120
    file = out / "metrics.jsonl"
    while not (file.is_file() and file.read_text().count("\n") >= after):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(60), process.communicate()[1]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.slow
def test_killed_and_gone_on_with(tiny_data, tiny_settings, tiny_run, tmp_path):
    """kill -9 in the middle of `vip5 train`, then the same command: the same bytes, and each step once."""
    out = tmp_path / "run"
    assert send(start(tiny_data.path, out, tiny_settings), out, signal.SIGKILL)[0] == -signal.SIGKILL
    assert (out / "state.safetensors").is_file() and not (out / "run.json").exists()
    assert "its training is not finished" in refusal(TrainedModel.load, out)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # as a kill in the middle of a line leaves it
    again = start(tiny_data.path, out, tiny_settings)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert same_weights(out, tiny_run)
    assert lines(out) == lines(tiny_run)
    steps = [line["step"] for line in lines(out)]
    assert steps == list(range(1, len(steps) + 1))
    assert {path.name for path in out.iterdir()} == {path.name for path in tiny_run.iterdir()}  # no state left over


@pytest.mark.slow
def test_ctrl_c(tiny_data, tiny_settings, tiny_run, tmp_path):
    """One line, exit code 130, no traceback; and it goes on."""
    out = tmp_path / "run"
    code, said = send(start(tiny_data.path, out, tiny_settings), out, signal.SIGINT)
    assert code == 130, said
    assert "Traceback" not in said and "Error" not in said
    assert [line for line in said.splitlines() if line.strip()][
        -1
    ].strip() == "stopped: the same command goes on from here"
    train(Run.new(load_config("prompts", None, [*tiny_settings, "run.save_seconds=5"]), tiny_data), out, quiet=True)
    assert same_weights(out, tiny_run) and lines(out) == lines(tiny_run)


QUICK = ["samples.next=1", "samples.next_yes_no=0", "samples.yes_no=0", "samples.choice=0", "samples.explain=0",
         "optim.epochs=3", "optim.batch_size=8", "run.validate_epochs=1", "run.save_seconds=0"]  # fmt: skip


WHOLE = ["prompts.history=decoder", "modalities.photo.row=true", "optim.averaging=0.9", "run.patience=1"]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [[], WHOLE], ids=["one item a prompt", "whole histories and a mean of weights"])
def test_stopped_at_any_writing(settings, tiny_data, tiny_settings, tmp_path, monkeypatch):
    """Stopped between any two files that are written, in an epoch or around a validation: the same end."""
    config = load_config("prompts", None, [*tiny_settings, *QUICK, *settings])
    score_of = {1: 0.1, 2: 0.3, 3: 0.2}  # the second epoch is best
    write = state._write

    def run_it(out: Path, writing=write) -> None:
        def validate(run: Run) -> dict[str, float]:
            return {"x": score_of[lines(out)[-1]["epoch"]]}

        with monkeypatch.context() as patch:
            patch.setattr(state, "_write", writing)
            train(Run.new(config, tiny_data), out, validate=validate, quiet=True)

    written: list[str] = []
    run_it(tmp_path / "whole", lambda *args: written.append(args[1].name) or write(*args))
    best = [n for n, name in enumerate(written) if name == state.BEST_FILE]
    assert len(best) == 2
    for stop in {1, *best, *(n + 1 for n in best)}:
        out, count = tmp_path / str(stop), iter(range(1000))

        def writing(*args, count=count, stop=stop) -> None:
            if next(count) == stop:
                raise KeyboardInterrupt
            write(*args)

        with pytest.raises(KeyboardInterrupt):
            run_it(out, writing)
        run_it(out)
        assert same_weights(out, tmp_path / "whole"), stop
        assert lines(out) == lines(tmp_path / "whole"), stop


def test_validation_keeps_the_best(tiny_data, tiny_settings, tmp_path):
    config = load_config("prompts", None, [*tiny_settings, *QUICK])
    kept = {}

    def validate(run: Run) -> dict[str, float]:
        assert not run.model.training
        kept[len(kept) + 1] = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        return {"x": [0.1, 0.4, 0.2][len(kept) - 1], "y": 1.0}

    summary = train(Run.new(config, tiny_data), tmp_path / "run", validate=validate, quiet=True)
    assert summary["best_epoch"] == 2 and len(kept) == 3
    stored = load_file(tmp_path / "run/model.safetensors")
    assert all(torch.equal(stored[name], weight) for name, weight in kept[2].items())
    assert any(not torch.equal(stored[name], weight) for name, weight in kept[3].items())
    scored = [line for line in lines(tmp_path / "run") if "validation/x" in line]
    assert [(line["epoch"], line["validation/x"]) for line in scored] == [(1, 0.1), (2, 0.4), (3, 0.2)]


def test_what_is_left_of_a_run(tiny_run, tiny_data):
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "codes.parquet", "run.json", "metrics.jsonl"}
    assert {path.name for path in tiny_run.iterdir()} == {*wanted, "summary.json", "catalogue", "modalities"}
    about = json.loads((tiny_run / "run.json").read_text())
    assert about["dataset"]["hash"] == tiny_data.hash and about["dataset"]["protocol"] == "clean"
    every = lines(tiny_run)
    assert all({"step", "epoch", "loss", "lr", "gradient_norm", "progress"} <= line.keys() for line in every)
    assert every[-1]["loss"] < every[0]["loss"]
    assert json.loads((tiny_run / "summary.json").read_text())["steps"] == len(every)


def test_a_finished_run_is_not_trained_over(tiny_run, tiny_data, tiny_settings):
    before = {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()}
    run = Run.new(load_config("prompts", None, tiny_settings), tiny_data)
    assert "holds a finished run" in refusal(train, run, tiny_run, quiet=True)
    assert before == {path.name: path.stat().st_mtime_ns for path in tiny_run.iterdir()}


def test_an_output_that_cannot_be(tiny_data, tiny_settings, tmp_path):
    (tmp_path / "file").write_text("")
    run = Run.new(load_config("prompts", None, tiny_settings), tiny_data)
    for out in (tmp_path / "file", tmp_path / "file/run"):
        assert "choose another --out" in refusal(train, run, out, quiet=True)


def test_no_sample_to_train_on(tiny_data, tiny_settings, tmp_path):
    run = Run.new(load_config("prompts", None, [*tiny_settings, *QUICK, "samples.next=0"]), tiny_data)
    assert "no training sample" in refusal(train, run, tmp_path / "run", quiet=True)
    run = Run.new(load_config("prompts", None, [*tiny_settings, "prompts.train=['A-99']"]), tiny_data)
    assert "unknown prompt A-99" in refusal(train, run, tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_recomputing_trains_the_same(tiny_data, tiny_settings, tmp_path):
    """Dropout included, and with every step in groups."""
    settings = [*tiny_settings, "model.dropout=0.1", "optim.epochs=1"]
    for on in ("false", "true"):
        config = load_config("prompts", None, [*settings, f"optim.recompute={on}"])
        train(Run.new(config, tiny_data), tmp_path / on, quiet=True)
    assert same_weights(tmp_path / "false", tmp_path / "true")
    assert lines(tmp_path / "false") == lines(tmp_path / "true")


@pytest.mark.parametrize("seconds", [0, 60])  # the state is saved after each step, and after each epoch
@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_diverged(what, seconds, tiny_data, tiny_settings, tmp_path):
    """Numbers that are none end the training at their step; the best epoch and the state before are kept.

    Once the numbers are mended, the same command goes on from there to the end of the undisturbed run.
    """
    config = load_config("prompts", None, [*tiny_settings, *QUICK, f"run.save_seconds={seconds}"])

    def run_it(out: Path, broken: int | None = None) -> None:
        run = Run.new(config, tiny_data)
        weight = run.model.decoder.norm.weight

        def now() -> bool:
            return torch.initial_seed() + 1 == broken  # the seed of a step's dropout counts the steps before it

        def spoil(*_: object) -> None:
            if now():
                weight.data.fill_(torch.nan)

        if what == "loss":
            run.model.encoder.register_forward_pre_hook(spoil)
        else:
            weight.register_hook(lambda gradient: gradient * torch.inf if now() else gradient)
        train(run, out, validate=lambda run: {"x": 0.5}, quiet=True)

    run_it(tmp_path / "whole")
    steps, out = [line["step"] for line in lines(tmp_path / "whole") if "loss" in line], tmp_path / "run"
    broken = len(steps) // 3 + 3  # in the second epoch
    with pytest.raises(Diverged) as error:
        run_it(out, broken)
    assert f"the {what} of step {broken} is " in str(error.value) and "lower optim.lr than 0.003" in str(error.value)
    assert [line["step"] for line in lines(out) if "loss" in line] == steps[: broken - 1]
    for file in (state.BEST_FILE, "state.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(out / file).values())
    assert not (out / "run.json").exists()
    run_it(out)
    assert same_weights(out, tmp_path / "whole") and lines(out) == lines(tmp_path / "whole")


def test_a_rate_far_too_high_is_told_in_one_line(tiny_data, tiny_settings, tmp_path):
    config = load_config("prompts", None, [*tiny_settings, "optim.lr=1e6"])
    said = refusal(train, Run.new(config, tiny_data), tmp_path / "run", quiet=True)
    assert "training diverged" in said and "lower optim.lr than 1e+06" in said and "another --out" in said
    assert not (tmp_path / "run/run.json").exists()


def test_tensorboard(tiny_data, tiny_settings, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = load_config("prompts", None, [*tiny_settings, *QUICK, "optim.epochs=1", "run.tensorboard=true"])
    train(Run.new(config, tiny_data), tmp_path, validate=lambda run: {"x": 0.5}, quiet=True)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    stepped = [line for line in lines(tmp_path) if "loss" in line]
    shown = board.Scalars("loss")
    assert [point.step for point in shown] == [line["step"] for line in stepped]
    assert [point.value for point in shown] == pytest.approx([line["loss"] for line in stepped])
    assert "validation/x" in board.Tags()["scalars"]


def test_schedule():
    """Linear up over the warm-up, linear down to 0."""
    half = [schedule(p, OptimPart(warmup=0.2)) for p in (0, 0.1, 0.2, 0.6, 1.0)]
    assert half == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert schedule(0, OptimPart(warmup=0)) == 1


def test_a_device_that_is_not_there():
    assert best_device("cpu") == "cpu"
    for name in ("cuda:99", "abacus", "cpu:x"):
        assert "--device" in refusal(best_device, name)


def test_lines_come_one_step_late_and_none_is_lost(tiny_data, tiny_settings, tmp_path):
    """A step's numbers are read when the next one has begun; before anything is saved or scored, all are there."""
    out, seen = tmp_path / "run", []
    run = Run.new(load_config("prompts", None, [*tiny_settings, *QUICK, "run.save_seconds=60"]), tiny_data)
    run.model.encoder.register_forward_pre_hook(lambda *_: seen.append(len(lines(out))))
    train(run, out, validate=lambda run: seen.append(("scored", len(lines(out)))) or {"x": 0.5}, quiet=True)
    steps = len([line for line in lines(out) if "loss" in line]) // 3
    first = [number for number in seen[: seen.index(("scored", steps))] if number < steps]
    assert sorted(set(first)) == list(range(steps - 1))  # the last one of them is one behind
    assert [line["step"] for line in lines(out) if "loss" in line] == list(range(1, 3 * steps + 1))


def test_speed(monkeypatch):
    """Samples over seconds between finished steps; neither warm-up nor pauses count."""
    times = iter([0.0, 9.0, 10.0, 12.0, 50.0, 51.0])
    monkeypatch.setattr(metrics, "perf_counter", lambda: next(times))
    speed = metrics.Speed(warm_up=2)
    assert speed.rate is None
    for samples in (8, 8, 8, 10):
        speed.count(samples)
    speed.pause()
    for samples in (8, 6):
        speed.count(samples)
    assert speed.rate == 6.0  # 8 in a second, 10 in two, 6 in one


def test_two_cannot_train_in_one_folder(tmp_path):
    with run_folder(tmp_path), pytest.raises(UserError, match="another process trains"), run_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []  # the lock leaves nothing behind
    with run_folder(tmp_path):
        pass
