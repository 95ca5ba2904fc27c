"""Stores of one vector an item: a folder with a memory-mapped matrix, a mask and a record of how they were made."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.format import open_memmap

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import write_json, written_aside

Kind = Literal["photo", "text", "copurchase", "vectors"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MATRIX, MASK, ABOUT = "matrix.npy", "mask.npy", "store.json"
_BLOCK = 2**16  # rows copied at once


@dataclass(frozen=True)
class ModalityStore:
    """One vector an item, as the encoder gave it."""

    name: str
    kind: Kind  # what the vectors are made of
    dim: int
    fingerprint: str  # hash of all that decides the numbers: weights, preparation, what was fitted on what, versions
    matrix: (
        np.ndarray
    )  # float32 [n_items, dim], memory-mapped and read-only where opened; zeros where the mask is False
    mask: np.ndarray  # bool [n_items]; False: nothing is known of the item

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [n, dim] and mask bool [n] of the items `rows` [n]."""
        return np.asarray(self.matrix[rows]), self.mask[rows]


def store_names(dataset: Dataset) -> list[str]:
    """The names of the stores of a dataset, in order."""
    found = (dataset.path / "modalities").glob(f"*/{ABOUT}")
    return sorted(file.parent.name for file in found if not file.parent.name.startswith("."))


def open_modality(dataset: Dataset, name: str) -> ModalityStore:
    """The store `name` of a dataset.

    Raises: UserError where there is none of that name, where it was made for other tables than the dataset now holds,
    and where it is damaged; each with the command that makes it.
    """
    folder = dataset.path / "modalities" / name
    if name not in (names := store_names(dataset)):
        there = f"there are {', '.join(names)}" if names else "there are none yet"
        raise UserError(f"no vectors {name!r} in {dataset.path} ({there}): run `{_command(dataset.path, name, {})}`")
    about = read_about(folder)
    again = f"run `{_command(dataset.path, name, about or {})}`"
    if about is None:
        raise UserError(f"{folder / ABOUT} is damaged, or of an older version: {again}")
    if about.get("dataset_hash") != dataset.hash:
        raise UserError(f"the vectors {folder} were made for other tables than {dataset.path} now holds: {again}")
    return _opened(folder, about, dataset.n_items, again)


def open_store(folder: Path, n_items: int) -> ModalityStore:
    """The store in a folder of its own, for `n_items` items; it is called as its folder is.

    Raises: UserError where there is no store, or one that is damaged or of another number of items.
    """
    about = read_about(folder)
    if about is None:
        raise UserError(f"no vectors in {folder} (its {ABOUT} is missing or damaged): copy the whole folder again")
    return _opened(folder, about, n_items, "copy the whole folder again")


def copy_store(store: ModalityStore, folder: Path) -> None:
    """Write a store into a folder of its own, for `open_store`. The folder counts as a store once it is whole.

    Raises: UserError where the disk refuses.
    """
    (folder / ABOUT).unlink(missing_ok=True)
    with written_aside(folder / MATRIX) as aside:
        copy = open_memmap(aside, mode="w+", dtype=np.float32, shape=store.matrix.shape)
        for start in range(0, len(copy), _BLOCK):
            copy[start : start + _BLOCK] = store.matrix[start : start + _BLOCK]
        copy.flush()
    with written_aside(folder / MASK) as aside, aside.open("wb") as file:
        np.save(file, store.mask, allow_pickle=False)
    write_json(folder / ABOUT, {"kind": store.kind, "fingerprint": store.fingerprint, "dim": store.dim})


def read_about(folder: Path) -> dict[str, Any] | None:
    """store.json of a store; None where it is missing or damaged."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        return about if about["kind"] in KINDS and {"dim", "fingerprint"} <= about.keys() else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def _opened(folder: Path, about: dict[str, Any], n_items: int, again: str) -> ModalityStore:
    try:
        matrix, mask = load_array(folder / MATRIX), np.array(load_array(folder / MASK))
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the vectors {folder} ({what}): {again}") from None
    if matrix.shape != (n_items, about["dim"]) or mask.shape != (n_items,):
        raise UserError(f"the vectors {folder} are not {n_items} x {about['dim']}, one row an item: {again}")
    if matrix.dtype != np.float32 or mask.dtype != bool:
        raise UserError(f"the vectors {folder} are of another type than float32: {again}")
    return ModalityStore(folder.name, about["kind"], about["dim"], about["fingerprint"], matrix, mask)


def load_array(file: Path) -> np.ndarray:
    """A .npy of numbers, memory-mapped and read-only.

    Raises: OSError where it cannot be read, ValueError for a damaged one, or one of Python objects: none is loaded.
    """
    try:
        return open_memmap(file, mode="r")
    except OSError:
        raise
    except Exception:  # NumPy reads the header as Python, and passes on whatever its parser raises
        raise ValueError("damaged, or with Python objects") from None


def _command(dataset: Path, name: str, about: dict[str, Any]) -> str:
    """The command that makes a store, with the options it was made with where they are known."""
    kind = about.get("kind") or (name if name in KINDS else "|".join(KINDS))
    options = about.get("options") or ({"file": "FILE"} if kind == "vectors" else {})
    named = {} if name == kind else {"name": name}
    words = [f"--{option} {shlex.quote(str(value))}" for option, value in {**named, **options}.items()]
    return " ".join([f"vip5 data encode {shlex.quote(str(dataset))} --modality {kind}", *words])
