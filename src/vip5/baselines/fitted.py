"""What was fitted, in the folder of a run: fitted there, saved and opened again.

baseline.safetensors   what was fitted
metrics.jsonl          a line for each epoch, of systems that are trained in epochs
state.safetensors      to go on from; gone when finished

The rest of the folder, run.json before all, is written by who has a run answer by itself.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vip5.baselines.base import Baseline
from vip5.baselines.registry import baseline
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import write_bytes
from vip5.runs import STATE_FILE, run_folder

FITTED_FILE = "baseline.safetensors"


def fit(
    name: str,
    dataset: Dataset,
    out: Path,
    settings: Mapping[str, Any],
    device: str = "cpu",
    quiet: bool = False,
    finish: Callable[[Baseline], None] | None = None,
) -> Baseline:
    """Fit a system in the folder of its run, and save it there; stopped or killed, the same call goes on.

    `finish` writes what else belongs into the folder, run.json last, while the folder is held and its state is there:
    if it is killed, the same call has nothing to train again.

    Raises: UserError for an unknown system or setting, and for a folder that holds something else.
    """
    system = baseline(name)
    system.check(settings)
    with run_folder(out):
        fitted = system.fit(dataset, out, device, quiet, **settings)
        save_fitted(fitted, out)
        if finish is not None:
            finish(fitted)
        (out / STATE_FILE).unlink(missing_ok=True)
    return fitted


def save_fitted(system: Baseline, folder: Path) -> None:
    """Write what `load_fitted` reads, whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in system.tensors().items()}
    write_bytes(folder / FITTED_FILE, save(tensors))


def load_fitted(
    folder: Path, name: str, config: Mapping[str, Any], n_users: int, n_items: int, device: str = "cpu"
) -> Baseline:
    """The system `name` as `save_fitted` left it in `folder`; `config` holds its settings.

    Raises: UserError for an unknown system or setting, and for a file that is missing, damaged or of other settings.
    """
    system = baseline(name)
    settings = system.check(config)
    try:
        return system.of(settings, n_users, n_items, load_file(folder / FITTED_FILE), device)
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / FITTED_FILE} is damaged or of another version ({reason}): fit it again") from None
