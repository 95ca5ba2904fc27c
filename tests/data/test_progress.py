"""Bars for a terminal, lines for a log."""

from vip5.data import progress
from vip5.data.progress import LongJob


def test_a_log_has_a_line_a_minute(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with LongJob() as job:
        task = job.add_task("epoch 1", total=40, loss="")
        for _ in range(4):
            now[0] += 31
            job.update(task, advance=10, loss="loss 2.5")
    lines = [line for line in capsys.readouterr().err.splitlines() if "loss" in line]
    assert lines[:2] == ["epoch 1 20/40 loss 2.5", "epoch 1 40/40 loss 2.5"]


def test_a_job_that_is_not_shown_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0)
    with LongJob(shown=False) as job:
        job.advance(job.add_task("x", total=2))
    assert capsys.readouterr().err == ""
