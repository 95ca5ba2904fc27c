"""A run folder of a baseline: opened by path alone, evaluated and compared as that of a model.

run.json               which system, its settings, the data set and its hash, the command
baseline.safetensors   what was fitted
metrics.jsonl          a line for each epoch, of systems that are trained in epochs
state.safetensors      to go on from; gone when finished
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

import vip5
from vip5.baselines.base import Baseline
from vip5.baselines.registry import baseline
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import write_bytes, write_json
from vip5.runs import RUN_FILE, STATE_FILE, run_folder
from vip5.training.run import open_dataset
from vip5.training.start import read_run

FITTED_FILE = "baseline.safetensors"


@dataclass
class BaselineRun:
    """A fitted system and the data set that it was fitted on."""

    system: Baseline
    dataset: Dataset

    def save(self, folder: Path, command: str) -> None:
        """Write what `load` reads; `run.json` comes last, so a folder that has it is whole."""
        tensors = {name: tensor.contiguous() for name, tensor in self.system.tensors().items()}
        write_bytes(folder / FITTED_FILE, save(tensors))
        manifest = self.dataset.manifest
        about = {
            "vip5": vip5.__version__,
            "baseline": self.system.name,
            "command": command,
            "dataset": {
                "path": str(self.dataset.path.resolve()),
                "name": manifest.name,
                "hash": self.dataset.hash,
                "protocol": manifest.protocol,
            },
            "config": self.system.settings.model_dump(),
        }
        write_json(folder / RUN_FILE, about)

    @classmethod
    def load(cls, folder: str | Path, dataset: str | Path | None = None, device: str = "cpu") -> "BaselineRun":
        """Open a finished run; `dataset` names the dataset folder where it has moved."""
        folder = Path(folder)
        about = read_about(folder)
        if "baseline" not in about:
            raise UserError(f"{folder} is no run of a baseline, but of a model: open it as one")
        place = dataset or about["dataset"]["path"]
        if not Path(place).is_dir():
            raise UserError(f"the data set of {folder} is not at {place}: name it with --dataset")
        data = open_dataset(place, about["dataset"]["hash"])
        system = baseline(about["baseline"])
        try:
            tensors = load_file(folder / FITTED_FILE)
            fitted = system.of(system.check(about["config"]), data.n_users, data.n_items, tensors, device)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{folder / FITTED_FILE} is damaged or of another version ({reason}): fit it again"
            ) from None
        return cls(fitted, data)


def fit_run(
    name: str,
    dataset: Dataset,
    out: Path,
    settings: Mapping[str, Any],
    command: str,
    device: str = "cpu",
    quiet: bool = False,
) -> BaselineRun:
    """Fit a system and leave its run folder; stopped or killed, the same call goes on.

    Raises: UserError for an unknown system or setting, and for a folder that holds something else.
    """
    system = baseline(name)
    system.check(settings)
    with run_folder(out):
        run = BaselineRun(system.fit(dataset, out, device, quiet, **settings), dataset)
        run.save(out, command)
        (out / STATE_FILE).unlink(missing_ok=True)
    return run


def is_baseline(folder: Path) -> bool:
    """Whether a folder holds a finished run of a baseline."""
    try:
        return "baseline" in json.loads((folder / RUN_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def read_about(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run of a baseline or a model; UserError where it is not whole."""
    if not is_baseline(folder):
        return read_run(folder)
    about = json.loads((folder / RUN_FILE).read_text("utf-8"))
    if not isinstance(about.get("config"), dict) or not isinstance(about.get("dataset"), dict):
        raise UserError(f"{folder / RUN_FILE} is damaged (config or dataset is missing): fit it again")
    baseline(about["baseline"]).check(about["config"])
    return about
