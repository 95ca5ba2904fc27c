"""A search in a folder: Optuna proposes settings, each is trained, and what it is worth on the validation part counts.

study.log    Optuna's journal, JSON line by line; a search that is killed goes on from it
trial-N/     metrics.jsonl of a trial; while it is not done, also what its training goes on from
tune.json    what was spent, the trials, the best of them
best.toml    the best setting, to be given as --config
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

import vip5
from vip5.data.progress import LongJob
from vip5.errors import Diverged, UserError
from vip5.files import write_json, write_text
from vip5.runs import LOCK_FILE, METRICS_FILE, run_folder
from vip5.search.tuned import Tuned
from vip5.space import Choice, Real, Whole

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import FrozenTrial, Trial, TrialState
except ImportError:
    raise UserError("vip5 tune needs the extra: pip install 'vip5[tune]'") from None

optuna.logging.set_verbosity(optuna.logging.WARNING)

JOURNAL, BEST, TUNE = "study.log", "best.toml", "tune.json"
_RANDOM = 5  # trials drawn at random, the defaults among them, before the others are drawn near the best
_UNPRUNED = 10  # epochs before a trial may be ended
_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}
_ENDED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


class _Spent(Exception):
    """The budget's minutes are over."""


def tune(
    tuned: Tuned,
    out: str | Path,
    trials: int | None = None,
    minutes: float | None = None,
    command: str = "",
    quiet: bool = True,
) -> dict[str, Any]:
    """Search until `trials` are done, pruned or failed, or `minutes` were spent in them, over all calls: `tune.json`.

    The first trial is the defaults. Once five are done, one that is below their median at the same epoch is ended
    (pruned). A trial that the budget ends stays unfinished, and counts by its best epoch; with a larger budget
    the same call goes on with it, as after a kill. What was trained after the last epoch before a kill is not counted.

    Raises: UserError for no budget, for nothing to tune, and for a folder that holds something else.
    """
    if trials is None and minutes is None:
        raise UserError("no budget is given: say how much to try, as in --trials 20 or --minutes 60")
    tuned.space  # noqa: B018 (which may refuse) before a folder is made
    most, seconds = math.inf if trials is None else trials, math.inf if minutes is None else 60 * minutes
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn()
    shown = LongJob(*columns, shown=not quiet)
    with run_folder(Path(out)):
        search = _Search(tuned, Path(out), command)
        found = search.write()
        with shown:
            bar = shown.add_task(f"tuning {tuned.name}", total=1, said="")

            def show(said: str) -> None:
                done = max(search.ended / most, search.seconds / seconds)
                shown.update(bar, completed=min(done, 1), said=f"{said}, {search.seconds / 60:.1f} minutes")

            while search.ended < most and search.seconds < seconds:
                try:
                    search.trial(seconds, show)
                except _Spent:
                    break
                finally:
                    found = search.write()
    return found


class _Search:
    """The study, and its folder, which nobody else holds."""

    def __init__(self, tuned: Tuned, out: Path, command: str) -> None:
        self.tuned, self.out, self.space, self.command = tuned, out, tuned.space, command
        self.study = _open(out)
        about = tuned.about | {"space": {name: str(dimension) for name, dimension in self.space.items()}}
        known = self.study.user_attrs.get("about")
        if known is None:
            self.study.set_user_attr("about", about)
        elif known != about:
            old, new = _flat(known), _flat(about)
            other = next(name for name in {**old, **new} if old.get(name) != new.get(name))
            was = f"{other} ({old.get(other)}, now {new.get(other)})"
            raise UserError(f"{out} holds a search with another {was}: give the same to go on, or choose another --out")
        if not self._trials():
            self.study.enqueue_trial({name: _label(self.space[name], value) for name, value in tuned.defaults.items()})

        for trial in self._trials(*_ENDED):  # killed before it was cleared
            self._clear(self._folder(trial))

    @property
    def ended(self) -> int:
        return len(self._trials(*_ENDED))

    @property
    def seconds(self) -> float:
        return sum(_so_far(trial)["seconds"] for trial in self._trials())

    def trial(self, seconds: float, show: Callable[[str], None]) -> None:
        """Train the unfinished trial, or a new one; _Spent where all trials together have taken so many seconds."""
        trial = self._next()
        choice = {name: _suggest(trial, name, dimension) for name, dimension in self.space.items()}
        before, started = _so_far(trial), time.perf_counter()
        known = len(self._trials()[trial.number].intermediate_values)

        def record(scores: Sequence[float]) -> None:
            """The best score up to each epoch, so that one worse epoch ends no trial."""
            nonlocal known
            for epoch in range(known + 1, len(scores) + 1):
                trial.report(max(scores[:epoch]), epoch)
                known = epoch
            seconds = before["seconds"] + time.perf_counter() - started
            place = {"epochs": len(scores), "best_epoch": int(np.argmax(scores)) + 1} if scores else {}
            trial.set_user_attr("so_far", {**before, **place, "seconds": seconds})

        def report(scores: Sequence[float]) -> None:
            record(scores)
            worth = f": {self.tuned.goal} {max(scores):.4f} after {len(scores)} epochs" if scores else ""
            show(f"trial {trial.number}{worth}")
            if trial.should_prune():
                raise optuna.TrialPruned
            if self.seconds >= seconds:
                raise _Spent

        folder = self._folder(trial)
        folder.mkdir(exist_ok=True)
        show(f"trial {trial.number}")
        try:
            scores = self.tuned.score(choice, folder, report)
            record(scores)
            self.study.tell(trial, max(scores))
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except (Diverged, torch.OutOfMemoryError) as error:
            record([])
            trial.set_user_attr("why", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
        self._clear(folder)

    def write(self) -> dict[str, Any]:
        """`tune.json` and `best.toml`, as it stands."""
        rows = [self._row(trial) for trial in self._trials(*_STATES)]
        counted = {state: sum(row["state"] == state for row in rows) for state in _STATES.values()}
        worth = [row for row in rows if row["state"] in ("done", "unfinished") and row["value"] is not None]
        best = max(worth, key=lambda row: row["value"], default=None)
        found = {
            "vip5": vip5.__version__,
            "optuna": optuna.__version__,
            "command": self.command,
            "dataset": str(self.tuned.dataset.path.resolve()),
            **self.study.user_attrs["about"],
            "goal": self.tuned.goal,
            "minutes": round(self.seconds / 60, 3),
            **counted,
            "best": best,
            "trials": rows,
        }
        write_json(self.out / TUNE, found)
        if best is not None:
            worth_it = f"{self.tuned.goal} {best['value']:.4f} on the validation part of {self.tuned.dataset.path.name}"
            lines = [f"# {self.tuned.name}, trial {best['trial']}: {worth_it}"]
            settings = _flat(self.tuned.settings(best["settings"]))
            lines += [f"{name} = {_toml(value)}" for name, value in settings.items()]
            write_text(self.out / BEST, "\n".join(lines) + "\n")
        return found

    def _next(self) -> Trial:
        unfinished = self._trials(TrialState.RUNNING)
        # Each trial draws from a generator of its own, so that a search that was killed goes on as it would have.
        number = unfinished[0].number if unfinished else self.ended
        seed = int(np.random.SeedSequence([self.tuned.config.seed, number]).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM, seed=seed)
        return Trial(self.study, unfinished[0]._trial_id) if unfinished else self.study.ask()

    @staticmethod
    def _clear(folder: Path) -> None:
        """How an ended trial went stays, what it learned goes."""
        for path in folder.glob("*"):
            if path.name != METRICS_FILE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _folder(self, trial: Trial | FrozenTrial) -> Path:
        return self.out / f"trial-{trial.number}"

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _row(self, trial: FrozenTrial) -> dict[str, Any]:
        so_far = _so_far(trial)
        settings = {
            name: json.loads(value) if isinstance(self.space[name], Choice) else value
            for name, value in trial.params.items()
        }
        return {
            "trial": trial.number,
            "state": _STATES[trial.state],
            "value": max(trial.intermediate_values.values(), default=None),
            "epochs": so_far["epochs"],
            "best_epoch": so_far["best_epoch"],
            "minutes": round(so_far["seconds"] / 60, 3),
            "settings": settings,
            **({"why": trial.user_attrs["why"]} if "why" in trial.user_attrs else {}),
        }


def _open(out: Path) -> optuna.Study:
    journal = out / JOURNAL
    if not journal.is_file() and any(path.name != LOCK_FILE for path in out.iterdir()):
        raise UserError(f"{out} holds something else than a search: choose another --out")
    if journal.is_file():
        # Of a kill: the lock, for which Optuna would wait, and half a line, which it would not read.
        journal.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
        os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="vip5 tune",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_RANDOM, n_warmup_steps=_UNPRUNED),
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{journal} is damaged ({error}): choose another --out, or remove it") from None


def _so_far(trial: Trial | FrozenTrial) -> dict[str, Any]:
    return {"seconds": 0.0, "epochs": 0, "best_epoch": 0} | trial.user_attrs.get("so_far", {})


def _suggest(trial: Trial, name: str, dimension: Real | Whole | Choice) -> Any:
    match dimension:
        case Real(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Whole(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(values):
            return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in values]))


def _label(dimension: Real | Whole | Choice, value: Any) -> Any:
    """A value as Optuna keeps it."""
    return json.dumps(value) if isinstance(dimension, Choice) else value


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found


def _toml(value: Any) -> str:
    return json.dumps("none" if value is None else value, ensure_ascii=False)  # TOML has no null
