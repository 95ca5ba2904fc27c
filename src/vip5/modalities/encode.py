"""The job that runs an encoder over a dataset's photos: batched, prefetching, and going on after a kill."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from vip5.data import Dataset
from vip5.data.photos import FORMATS
from vip5.errors import UserError
from vip5.modalities.encoders import Encoder
from vip5.modalities.store import ABOUT, MASK, MATRIX, ModalityStore, open_modality, read_about, store_name

THREADS = 4  # that decode photos while the encoder works
AHEAD = 2  # batches decoded ahead

Photos = list[tuple[int, Path]]  # item and the file of its photo


@dataclass(frozen=True)
class Encoding:
    """What an encode job did."""

    store: ModalityStore
    photos: int  # items whose photo is there
    broken: list[Path]  # those photos that cannot be decoded; their items count as without photo
    resumed_from: int  # photos that an earlier, killed run had done
    reused: bool  # the features were there already


def encode(
    dataset: Dataset,
    encoder: Encoder,
    name: str | None = None,
    batch_size: int = 32,
    progress: bool = False,
) -> Encoding:
    """Write the features of all photos of `dataset` into its folder, as modalities/`name`. Whole or not at all.

    A killed job goes on where it stood, and ends with the same bytes as an undisturbed one of the same batch size.
    Features of that name by another encoder, or for other tables or photos, are replaced. `progress` shows a bar on
    standard error.

    Raises: UserError for a dataset without photos, a bad name, a full disk, or when another job is at the same work.
    """
    name = name or store_name(encoder.name)
    if name != store_name(name):
        raise UserError(f"{name!r} cannot be the name of features: take letters, digits, '.', '_' and '-'")
    if batch_size < 1:
        raise UserError(f"a batch size of {batch_size} is too small: take 1 or more")
    photos = [(item, path) for item in range(dataset.n_items) if (path := dataset.photo_path(item)) is not None]
    if not photos:
        raise UserError(f"{dataset.path} has no photos: prepare it with --images and an image column in the items")
    target = dataset.path / "modalities" / name
    identity = {
        "encoder": Path(encoder.name).name,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "dataset_hash": dataset.hash,
        "items": dataset.n_items,
        "photos": len(photos),
        "photos_hash": _photos_hash(photos),
    }
    try:
        with _locked(target):
            reused = _is_done(read_about(target), identity)
            resumed_from = 0 if reused else _fill(target, identity, photos, encoder, batch_size, progress)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error}): mend that, then run it again") from error
    about, store = read_about(target), open_modality(dataset, name)
    assert about is not None and store is not None
    path_of = dict(photos)
    return Encoding(store, len(photos), [path_of[item] for item in about["broken"]], resumed_from, reused)


def _is_done(about: dict | None, identity: dict[str, Any]) -> bool:
    return about is not None and identity.items() <= about.items() and about["done"] == about["photos"]


def _fill(
    target: Path, identity: dict[str, Any], photos: Photos, encoder: Encoder, batch_size: int, progress: bool
) -> int:
    """Encode what is left to do in a hidden folder beside `target`, then put it there. Returns what had been done."""
    work = target.with_name(f".{target.name}.partial")
    matrix, mask, about = _open_work(work, identity)
    resumed_from = about["done"]
    with _bar(progress) as bar:
        task = bar.add_task(f"encoding photos ({target.name})", total=len(photos), completed=resumed_from)
        for batch, pixels in _decoded(photos[resumed_from:], encoder, batch_size):
            rows = [item for (item, _), array in zip(batch, pixels, strict=True) if array is not None]
            if rows:
                vectors = encoder.encode(np.stack([array for array in pixels if array is not None]))
                if not np.isfinite(vectors).all():
                    raise UserError(f"the encoder {encoder.name!r} gives numbers that are not finite: take another one")
                matrix[rows], mask[rows] = vectors, True
            about["broken"] += [item for (item, _), array in zip(batch, pixels, strict=True) if array is None]
            about["done"] += len(batch)
            # The record last: what it says is done is in the files. A batch that it does not tell of is done again.
            matrix.flush()
            mask.flush()
            _write_about(work, about)
            bar.update(task, completed=about["done"])
    old = target.with_name(f".{target.name}.old")
    if target.exists():
        os.replace(target, old)
    os.replace(work, target)
    shutil.rmtree(old, ignore_errors=True)
    return resumed_from


def _bar(shown: bool) -> Progress:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return Progress(*columns, console=console, disable=not shown, transient=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One job at a time for each name; what a kill left between the renames is put right."""
    target.parent.mkdir(exist_ok=True)
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:  # the kernel frees it when we die
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing {target}: wait for it to end") from None
        old = target.with_name(f".{target.name}.old")
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(old, ignore_errors=True)
        yield


def _open_work(work: Path, identity: dict[str, Any]) -> tuple[np.memmap, np.memmap, dict[str, Any]]:
    """The matrix, mask and record of a job: those that a killed job left where they are of the same work, else new."""
    about = read_about(work)
    if about is not None and identity.items() <= about.items():
        with contextlib.suppress(OSError, ValueError):
            return open_memmap(work / MATRIX, mode="r+"), open_memmap(work / MASK, mode="r+"), about
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    shape = (identity["items"], identity["dim"])
    matrix = open_memmap(work / MATRIX, mode="w+", dtype=np.float32, shape=shape)
    with open(work / MATRIX, "r+b") as file:  # a full disk is an error now, not a bus error later
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    mask = open_memmap(work / MASK, mode="w+", dtype=bool, shape=shape[:1])
    about = {**identity, "done": 0, "broken": []}
    _write_about(work, about)
    return matrix, mask, about


def _write_about(folder: Path, about: dict[str, Any]) -> None:
    aside = folder / f".{ABOUT}"
    aside.write_text(json.dumps(about, indent=2) + "\n")
    os.replace(aside, folder / ABOUT)


def _photos_hash(photos: Photos) -> str:
    """Hash of which items have a photo and how large the files are: a photo that was mended is encoded anew."""
    return hashlib.sha256("".join(f"{item}:{path.stat().st_size};" for item, path in photos).encode()).hexdigest()


def _decoded(photos: Photos, encoder: Encoder, batch_size: int) -> Iterator[tuple[Photos, list[np.ndarray | None]]]:
    """Batches of photos, prepared for the encoder by threads that work ahead; None for a broken one."""

    def prepared(photo: tuple[int, Path]) -> np.ndarray | None:
        image = _read(photo[1])
        return None if image is None else encoder.prepare(image)

    ahead: deque[tuple[Photos, Iterator[np.ndarray | None]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for start in range(0, len(photos), batch_size):
            batch = photos[start : start + batch_size]
            ahead.append((batch, pool.map(prepared, batch)))
            if len(ahead) > AHEAD:
                batch, arrays = ahead.popleft()
                yield batch, list(arrays)
        for batch, arrays in ahead:
            yield batch, list(arrays)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> Image.Image | None:
    """A photo as RGB, upright, transparent parts white; None for one that cannot be decoded."""
    try:
        with Image.open(path, formats=FORMATS) as file:
            image = ImageOps.exif_transpose(file)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Exception:  # Pillow's readers raise nearly anything on a damaged file
        return None
