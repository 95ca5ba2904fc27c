"""The features of a dataset's photos: one memory-mapped matrix an encoder, under modalities/ of the dataset folder."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vip5.data import Dataset
from vip5.errors import UserError

MATRIX, MASK, ABOUT = "matrix.npy", "mask.npy", "store.json"


@dataclass(frozen=True)
class ModalityStore:
    """One vector an item, as the encoder gave it: float32, not normalised."""

    name: str
    dim: int
    fingerprint: str  # of the encoder: its weights, its preprocessing, its library
    matrix: np.ndarray  # memory-mapped, read-only, float32 [n_items, dim]; zeros where there is no photo
    mask: np.ndarray  # bool [n_items]; False: the item has no photo, or a broken one

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [n, dim] and mask bool [n] of the items `rows` [n]."""
        return np.asarray(self.matrix[rows]), self.mask[rows]


def open_modality(dataset: Dataset, name: str | None = None) -> ModalityStore | None:
    """The features called `name`, or the only ones there are; None where there are none.

    Raises: UserError for an unknown name, for several stores and no name, and for features that were made for other
    tables than the dataset now holds, or that are damaged.
    """
    folder = dataset.path / "modalities"
    names = sorted(path.parent.name for path in folder.glob(f"*/{ABOUT}") if not path.parent.name.startswith("."))
    if name is None:
        if not names:
            return None
        if len(names) > 1:
            raise UserError(
                f"{dataset.path} has features of several encoders ({', '.join(names)}): name one, as in features=NAME"
            )
        name = names[0]
    elif name not in names:
        there = f"there are {', '.join(names)}" if names else "there are none yet"
        raise UserError(f"no features {name!r} in {dataset.path} ({there}): make them with `vip5 data encode`")
    about = read_about(folder / name)
    if about is None:
        raise UserError(
            f"{folder / name / ABOUT} is damaged: run `vip5 data encode {dataset.path} --name {name}` again"
        )
    if about["dataset_hash"] != dataset.hash:
        raise UserError(
            f"the features {folder / name} were made for other tables than {dataset.path} now holds: "
            "run `vip5 data encode` again"
        )
    try:
        matrix = np.load(folder / name / MATRIX, mmap_mode="r", allow_pickle=False)
        mask = np.load(folder / name / MASK, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read the features {folder / name} ({error}): run `vip5 data encode` again") from None
    if matrix.shape != (dataset.n_items, about["dim"]) or mask.shape != (dataset.n_items,):
        raise UserError(
            f"the features {folder / name} are of another size than the dataset: run `vip5 data encode` again"
        )
    return ModalityStore(name, about["dim"], about["fingerprint"], matrix, mask)


def read_about(folder: Path) -> dict | None:
    """store.json of a folder of features; None where it is missing or damaged."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        return about if {"dim", "fingerprint", "dataset_hash", "done", "broken"} <= about.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def store_name(encoder: str) -> str:
    """What the features of an encoder are called where no name is given: the last part of the encoder's name."""
    return re.sub(r"[^\w.-]+", "-", Path(encoder).name).strip(".-") or "features"
