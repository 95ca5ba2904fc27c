"""What a finished run's folder says of itself."""

import json
from pathlib import Path
from typing import Any, Literal

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.runs import RUN_FILE, STATE_FILE

FORMAT = 2  # of run folders; 1 had no catalogue
CATALOGUE, STORES = "catalogue", "modalities"
Kind = Literal["model", "baseline"]


def read_run(folder: str | Path, kind: Kind | None = None) -> dict[str, Any]:
    """`run.json` of a finished run; with `kind`, of this kind.

    Raises: UserError where there is none, it is not whole, or it is another kind's or an earlier version's.
    """
    folder = Path(folder)
    file = folder / RUN_FILE
    if not file.is_file():
        state = "its training is not finished" if (folder / STATE_FILE).is_file() else f"it has no {RUN_FILE}"
        raise UserError(f"{folder} is not a finished run ({state}): train it with vip5 train DATASET --out {folder}")
    try:
        about = json.loads(file.read_text("utf-8"))
        found, version = about.get("kind"), about.get("format", 1)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({str(error).splitlines()[0]}): train again") from None
    if version != FORMAT:
        raise UserError(
            f"{folder} is a run of format {version}, without a catalogue, and this version reads format {FORMAT}: "
            "train it again"
        )
    if found not in ("model", "baseline") or not all(isinstance(about.get(k), dict) for k in ("config", "dataset")):
        raise UserError(f"{file} is damaged (kind, config or dataset is missing): train again")
    if kind is not None and found != kind:
        raise UserError(f"{folder} is the run of a {found}, not of a {kind}: give that of a {kind}")
    return about


def learnt_tasks(about: dict[str, Any]) -> frozenset[str] | None:
    """The tasks that a run has learnt, by its `run.json`; None where an earlier version wrote it."""
    return frozenset(about["learnt"]) if "learnt" in about else None


def about_dataset(dataset: Dataset) -> dict[str, Any]:
    """What a run's folder says of the data set that it was trained or fitted on."""
    manifest = dataset.manifest
    place = {"path": str(dataset.path.resolve()), "name": manifest.name}
    return {**place, "hash": dataset.hash, "protocol": manifest.protocol}


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / RUN_FILE).is_file()
