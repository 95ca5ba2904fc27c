"""A search: the defaults first, the same trials whatever happens, on the validation part alone, within its budget."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from vip5.baselines import state
from vip5.baselines.base import BaselineSettings
from vip5.baselines.hgn import HGN
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.sasrec import SASRec
from vip5.errors import Diverged, UserError
from vip5.predict.baseline import fit_run
from vip5.search.search import tune
from vip5.search.tuned import Tuned, TunedBaseline, TunedModel
from vip5.space import Choice, Real
from vip5.training.config import read_settings

SHORT = {"epochs": 5, "batch_size": 32, "dim": 8, "lr": 1e-2}


def what(found, *left_out):
    """The trials, without how long they took."""
    return [{key: value for key, value in row.items() if key not in ("minutes", *left_out)} for row in found["trials"]]


def sasrec(shop, **given):
    return TunedBaseline(SASRec, shop, SHORT | given, "cpu")


class Pretrained(SASRec):
    """Two epochs that are not validated come first."""

    def validation(self, dataset):
        measure, before = super().validation(dataset), iter([None, None])
        return lambda: {} if measure is None or next(before, measure) is None else measure()


class Curve(Tuned):
    """Trials that go as they are told: their scores, or what they raise."""

    class Config(BaselineSettings):
        x: float = 0.5
        kind: str = "a"

        def space(self):
            return {"x": Real(0.0, 1.0), "kind": Choice(("a", "b"))}

    name, goal, vectors, config = "curve", "worth", "", Config()

    def __init__(self, dataset, *curves):
        super().__init__(dataset, {}, "cpu")
        self.curves, self.chosen = iter(curves), []

    def score(self, choice, folder, report):
        self.chosen.append(choice)
        curve = next(self.curves)
        if isinstance(curve, Exception):
            raise curve
        for epoch in range(1, len(curve)):
            report(curve[:epoch])
        return curve


def test_the_defaults_come_first_and_the_best_is_what_training_with_it_gives(shop, tmp_path):
    slow: dict[str, Any] = {"epochs": 5, "batch_size": 32, "dim": 8}  # with the default lr
    found = tune(TunedBaseline(SASRec, shop, slow, "cpu"), tmp_path / "search", trials=6)
    rows = found["trials"]
    assert len(rows) == 6 and [row["trial"] for row in rows] == list(range(6))
    default = SASRec.fit(shop, **slow)
    assert rows[0]["settings"].items() <= default.settings.model_dump().items()
    assert rows[0]["value"] == default.summary["best_validation_NDCG@10"]
    assert rows[0]["epochs"] == default.summary["epochs_trained"]
    assert rows[0]["best_epoch"] == default.summary["best_epoch"]
    assert found["best"] == max(rows, key=lambda row: row["value"]) and found["best"]["value"] > rows[0]["value"]
    best = read_settings(tmp_path / "search/best.toml", [])
    again = fit_run("sasrec", shop, tmp_path / "run", best, "", quiet=True).system
    assert again.summary["best_validation_NDCG@10"] == found["best"]["value"]
    assert again.settings == SASRec.check(slow | found["best"]["settings"])
    assert json.loads((tmp_path / "search/tune.json").read_text()) == json.loads(json.dumps(found))
    assert {path.name for path in (tmp_path / "search").glob("trial-*/*")} == {"metrics.jsonl"}  # no weights stay


def test_what_is_not_trained_in_epochs_is_measured_alike(shop, tmp_path):
    """By a loop over users: how many outside the history are as good as the right one."""
    row = tune(TunedBaseline(ItemKNN, shop, {}, "cpu"), tmp_path / "search", trials=1)["trials"][0]
    system, histories = ItemKNN.fit(shop), shop.history("validation")
    worth = []
    for scores, history, target in zip(system.scores(histories), histories, shop.targets("validation"), strict=True):
        others = set(range(shop.n_items)) - set(history.tolist()) - {int(target)}
        rank = sum(scores[item] >= scores[target] for item in others)
        worth.append(1 / np.log2(rank + 2) if rank < 10 and scores[target] > 0 else 0.0)
    assert row["value"] == pytest.approx(np.mean(worth)) and 0 < row["value"] < 1


@pytest.mark.slow
def test_the_seed_decides_and_the_test_part_does_not(shop, make_shop, tmp_path):
    one = tune(sasrec(shop, epochs=2), tmp_path / "one", trials=7)
    changed = make_shop(last=5)
    assert (changed.targets("test") != shop.targets("test")).all() and changed.hash != shop.hash
    assert what(tune(sasrec(changed, epochs=2), tmp_path / "two", trials=7)) == what(one)
    other = tune(sasrec(shop, epochs=2, seed=1), tmp_path / "three", trials=7)
    assert other["trials"][0]["settings"] == one["trials"][0]["settings"]
    for mine, theirs in zip(other["trials"][1:], one["trials"][1:], strict=True):
        assert mine["settings"] != theirs["settings"]


@pytest.fixture(scope="module")
def whole(shop, tmp_path_factory):
    """A search that nobody disturbed."""
    return tune(sasrec(shop), tmp_path_factory.mktemp("searches") / "whole", trials=4)


# among them, of a trial of five epochs: when it is asked for, in its first epoch, when it is told
@pytest.mark.parametrize("lines", [1, 3, 8, 19, 20, 21, 50])
def test_killed_at_any_time_it_goes_on_as_it_would_have(lines, whole, shop, tmp_path, monkeypatch):
    """Killed while the journal is written: half a line and the lock stay."""
    monkeypatch.setattr(state, "_SAVE_SECONDS", -1.0)
    append, left = JournalFileBackend.append_logs, iter(range(lines))

    def killed(self, logs):
        if next(left, None) is None:
            with open(self._file_path, "ab") as file:
                file.write(b'{"op_code":')
            os.symlink(self._file_path, f"{self._file_path}.lock")
            raise KeyboardInterrupt
        append(self, logs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(JournalFileBackend, "append_logs", killed)
        tune(sasrec(shop), tmp_path / "search", trials=4)
    monkeypatch.setattr(
        JournalFileSymlinkLock, "acquire", lambda lock: os.symlink("held", lock._lock_file)
    )  # no waiting
    assert what(tune(sasrec(shop), tmp_path / "search", trials=4)) == what(whole)


@pytest.mark.slow
def test_a_killed_process(shop, tmp_path):
    words = ["hgn", shop.path, "-o", tmp_path / "search", "--trials", 3, "--device", "cpu", "epochs=20", "patience=20"]
    process = subprocess.Popen([sys.executable, "-m", "vip5", "tune", *map(str, words)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "search/trial-1").is_dir():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    tuned = TunedBaseline(HGN, shop, {"epochs": 20, "patience": 20}, "cpu")
    again = tune(tuned, tmp_path / "search", trials=3)
    assert what(again) == what(tune(tuned, tmp_path / "whole", trials=3))


@pytest.mark.slow
def test_a_trial_that_the_budget_ends_goes_on_with_a_larger_one(whole, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "_SAVE_SECONDS", -1.0)
    out = tmp_path / "search"
    short = tune(sasrec(shop), out, minutes=1e-9)
    assert (short["unfinished"], short["done"]) == (1, 0) and short["minutes"] >= 0
    assert short["trials"][0]["epochs"] == 1 and short["best"]["trial"] == 0 and (out / "best.toml").is_file()
    nothing = tune(sasrec(shop), out, minutes=1e-9)
    assert what(nothing) == what(short) and nothing["minutes"] == short["minutes"]
    longer = tune(sasrec(shop), out, trials=3)
    assert longer["done"] == 3 and longer["unfinished"] == 0
    more = tune(sasrec(shop), out, trials=4)
    assert (
        what(more) == what(whole)
        and what(more)[:3] == what(longer)
        and more["done"] == 4
        and more["minutes"] > longer["minutes"]
    )


def test_epochs_that_are_not_validated_cost_minutes_and_score_nothing(shop, tmp_path):
    tuned = TunedBaseline(Pretrained, shop, SHORT, "cpu")
    short = tune(tuned, tmp_path / "short", minutes=1e-9)
    assert short["unfinished"] == 1 and short["minutes"] >= 0 and short["best"] is None
    assert (short["trials"][0]["value"], short["trials"][0]["epochs"]) == (None, 0)
    assert not (tmp_path / "short/best.toml").exists()
    row = tune(tuned, tmp_path / "search", trials=1)["trials"][0]
    lines = (tmp_path / "search/trial-0/metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line).get("validation/NDCG@10") for line in lines]
    assert scores[:2] == [None, None] and row["value"] == max(scores[2:]) and row["epochs"] == 3


def test_minutes_are_those_of_all_calls(shop, tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 30))  # each look at it is half a minute
    monkeypatch.setattr("vip5.search.search.time.perf_counter", lambda: float(next(clock)))
    found = tune(Curve(shop, *[[0.1]] * 9), tmp_path / "search", trials=2, minutes=2)
    assert found["done"] == 2 and found["minutes"] == 1  # started and ended: half a minute each
    found = tune(Curve(shop, *[[0.1]] * 9), tmp_path / "search", minutes=2)
    assert found["done"] == 4 and found["minutes"] == 2


def test_trials_below_the_median_are_pruned(shop, tmp_path):
    good, bad = list(np.linspace(0.1, 0.5, 30)), list(np.linspace(0.05, 0.3, 30))
    found = tune(Curve(shop, *[good] * 5, bad, good), tmp_path / "search", trials=7)
    states = [row["state"] for row in found["trials"]]
    assert states == ["done"] * 5 + ["pruned", "done"] and (found["done"], found["pruned"]) == (6, 1)
    assert found["trials"][5]["epochs"] == 10 and found["trials"][5]["value"] == bad[9]
    falling = [0.6] + [0.0] * 29  # its best so far counts, not each epoch
    row = tune(Curve(shop, falling), tmp_path / "search", trials=8)["trials"][7]
    assert (row["state"], row["value"], row["best_epoch"], row["epochs"]) == ("done", 0.6, 1, 30)


def test_a_training_that_gives_no_numbers_is_a_failed_trial(shop, tmp_path):
    curves = Diverged("no number"), [0.3], torch.OutOfMemoryError("no room"), [0.2]
    found = tune(Curve(shop, *curves), tmp_path / "search", trials=4)
    assert [row["state"] for row in found["trials"]] == ["failed", "done", "failed", "done"] and found["failed"] == 2
    assert [row.get("why") for row in found["trials"]] == ["no number", None, "no room", None]
    assert found["best"]["trial"] == 1
    real = tune(sasrec(shop, lr=1e38), tmp_path / "real", trials=2)
    assert real["failed"] == 2 and real["best"] is None and "give a lower lr" in real["trials"][0]["why"]
    with pytest.raises(UserError, match="another fault"):
        tune(Curve(shop, UserError("another fault")), tmp_path / "other", trials=3)


def test_what_is_refused(shop, make_shop, tmp_path, monkeypatch):
    tune(sasrec(shop), tmp_path / "search", trials=1)
    for tuned, message in (
        (sasrec(make_shop(last=3)), "holds a search with another data"),
        (sasrec(shop, beta2=0.9), r"another config\.beta2 \(0\.98, now 0\.9\)"),
        (sasrec(shop, dropout=SASRec.check({}).dropout), r"another space\.dropout"),
        (TunedBaseline(HGN, shop, SHORT, "cpu"), r"another tuned \(sasrec, now hgn\)"),
    ):
        with pytest.raises(UserError, match=message):
            tune(tuned, tmp_path / "search", trials=2)
    with pytest.raises(UserError, match="no budget is given"):
        tune(sasrec(shop), tmp_path / "new")
    with pytest.raises(UserError, match="nothing is left to tune of item-knn: leave one of recent, neigh"):
        tune(TunedBaseline(ItemKNN, shop, ItemKNN.check({}).model_dump(), "cpu"), tmp_path / "new", trials=1)
    assert not (tmp_path / "new").exists()
    with monkeypatch.context() as patch:
        patch.setattr(SASRec, "validation", lambda *_: None)
        with pytest.raises(UserError, match="has no validation part to tune sasrec"):
            tune(sasrec(shop, epochs=1), tmp_path / "blind", trials=1)
        patch.setattr(type(shop), "tested", lambda *_: np.array([], dtype=int))
        with pytest.raises(UserError, match="has no validation part to tune item-knn"):
            TunedBaseline(ItemKNN, shop, {}, "cpu")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else"):
        tune(sasrec(shop), tmp_path / "full", trials=1)
    (tmp_path / "search/study.log").write_text("{}\nnothing\nat all\n")
    with pytest.raises(UserError, match=r"study\.log is damaged"):
        tune(sasrec(shop), tmp_path / "search", trials=2)


def model(data, **optim):
    given = {
        "model": {"tokenizer_size": 400},
        "modalities": {"photo": None},
        "codes": {"scheme": "atomic"},
        "samples": {"next": 2, "next_yes_no": 0, "yes_no": 0, "choice": 0},
        "optim": {"epochs": 2, "batch_size": 32, "precision": "fp32"} | optim,
    }
    return TunedModel("prompts", data, given, "cpu")


@pytest.mark.slow
def test_vip5_is_tuned_by_the_validation_it_is_trained_with(shop, tmp_path, monkeypatch):
    from vip5.search import tuned as module

    whole = tune(model(shop), tmp_path / "whole", trials=2)
    assert whole["config"]["run"]["validate_epochs"] == 1 and whole["trials"][0]["epochs"] == 2
    assert whole["trials"][0]["settings"] == {
        "optim.lr": 3e-3, "optim.embedding_lr_factor": 10, "optim.weight_decay": 0.01, "model.dropout": 0.0
    }  # fmt: skip
    score, left = module.validation_score, iter([1, 1, 1])

    def killed(run, dataset, users):
        if next(left, None) is None:  # in the second epoch of the second trial
            raise KeyboardInterrupt
        return score(run, dataset, users)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "validation_score", killed)
        tune(model(shop), tmp_path / "search", trials=2)
    found = tune(model(shop), tmp_path / "search", trials=2)
    assert what(found) == what(whole)

    from vip5.training import Run, load_config, train

    run = Run.new(load_config("prompts", tmp_path / "search/best.toml"), shop)
    train(run, tmp_path / "run", validate=lambda run: score(run, shop, 2000), quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(line.get("validation/A-3 NDCG@10", 0) for line in lines) == found["best"]["value"]


def test_a_model_whose_weights_are_no_numbers_is_a_failed_trial(shop, tmp_path):
    found = tune(model(shop, lr=1e38, epochs=1), tmp_path / "search", trials=1)
    assert found["failed"] == 1 and "train with a lower optim.lr than 1e+38" in found["trials"][0]["why"]
