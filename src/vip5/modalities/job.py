"""The job that fills a store: one at a time for each name, whole or not at all, and going on after a kill."""

import contextlib
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from rich.progress import MofNCompleteColumn, Progress

from vip5.data import Dataset
from vip5.data.progress import LongJob
from vip5.errors import UserError
from vip5.files import write_json
from vip5.lock import held, lock_of
from vip5.modalities.store import ABOUT, KINDS, MASK, MATRIX, Kind, ModalityStore, open_modality, read_about

THREADS = 4  # that prepare inputs while the encoder works
AHEAD = 2  # batches prepared ahead

T = TypeVar("T")  # an input: a photo's file, a text
P = TypeVar("P")  # an input, prepared for the encoder


@dataclass(frozen=True)
class Encoding:
    """What an encode job did."""

    store: ModalityStore
    inputs: int  # there is something to encode of so many items (of vectors from a file: rows in the file)
    broken: list[int]  # those items whose input cannot be read; they count as unknown
    cut: int  # inputs that were longer than the encoder reads
    resumed_from: int  # inputs that an earlier, killed job had done
    reused: bool  # the store was there already


@dataclass(frozen=True)
class EncodeJob:
    """A store to be made: all that tells it from another one, and the options of the command that makes it again."""

    dataset: Dataset
    kind: Kind
    name: str
    encoder: str
    fingerprint: str
    dim: int
    inputs: int
    inputs_hash: str
    facts: dict[str, Any] = field(default_factory=dict)  # more that tells it from another one
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, fill: Callable[["Draft"], None]) -> Encoding:
        """Make the store with `fill`, which adds the inputs from `draft.done` on; or find that it is there already.

        Raises: UserError for a bad name, a full disk, or when another job is at the same work.
        """
        if not re.fullmatch(r"[\w-]+", self.name):
            raise UserError(f"{self.name!r} cannot be the name of vectors: take letters, digits, '_' and '-'")
        if self.name in KINDS and self.name != self.kind:
            raise UserError(f"{self.name!r} is what vectors of that kind are called: give --name another one")
        target = self.dataset.path / "modalities" / self.name
        try:
            with _locked(target):
                reused = self._is_there(target)
                resumed_from = 0 if reused else self._make(target, fill)
        except OSError as error:
            raise UserError(
                f"cannot write {target} ({error.strerror or error}): mend that, then run it again"
            ) from error
        about = read_about(target)
        assert about is not None
        store = open_modality(self.dataset, self.name)
        return Encoding(store, self.inputs, about["broken"], about["cut"], resumed_from, reused)

    def _is_there(self, target: Path) -> bool:
        about = read_about(target)
        if about is None or not self._is_of(about) or about["done"] < self.inputs:
            return False
        try:
            open_modality(self.dataset, self.name)
            return True
        except UserError:  # damaged: it is made again
            return False

    def _make(self, target: Path, fill: Callable[["Draft"], None]) -> int:
        """Fill a hidden folder beside `target`, then put it there. Returns how many inputs had been done before."""
        work = target.with_name(f".{target.name}.partial")
        draft = self._draft(work)
        resumed_from = draft.done
        if resumed_from < self.inputs:
            fill(draft)
        assert draft.done == self.inputs
        old = target.with_name(f".{target.name}.old")
        if target.exists():
            os.replace(target, old)
        os.replace(work, target)
        shutil.rmtree(old, ignore_errors=True)
        return resumed_from

    def _draft(self, work: Path) -> "Draft":
        """What a killed job of the same work left, or a new one."""
        about = read_about(work)
        if about is not None and self._is_of(about):
            with contextlib.suppress(OSError, ValueError):
                return Draft(open_memmap(work / MATRIX, mode="r+"), open_memmap(work / MASK, mode="r+"), about, work)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        shape = (self.dataset.n_items, self.dim)
        matrix = open_memmap(work / MATRIX, mode="w+", dtype=np.float32, shape=shape)
        with open(work / MATRIX, "r+b") as file:  # a full disk is an error now, not a bus error later
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        mask = open_memmap(work / MASK, mode="w+", dtype=bool, shape=shape[:1])
        about = {**self._identity, "options": self.options, "done": 0, "broken": [], "cut": 0}
        write_json(work / ABOUT, about)
        return Draft(matrix, mask, about, work)

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "dataset_hash": self.dataset.hash,
            "items": self.dataset.n_items,
            "inputs": self.inputs,
            "inputs_hash": self.inputs_hash,
            **self.facts,
        }

    def _is_of(self, about: dict[str, Any]) -> bool:
        return self._identity.items() <= about.items() and {"done", "broken", "cut"} <= about.keys()


@dataclass(frozen=True)
class Draft:
    """A store that is being filled."""

    matrix: np.memmap
    mask: np.memmap
    about: dict[str, Any]
    folder: Path

    @property
    def done(self) -> int:
        """How many inputs are in it."""
        return self.about["done"]

    def add(
        self,
        items: Sequence[int] | np.ndarray,
        vectors: np.ndarray,
        inputs: int,
        broken: Sequence[int] = (),
        cut: int = 0,
    ) -> None:
        """Put `vectors` [n, dim] into the rows `items` [n]; with them, `inputs` more of the inputs are done.

        Raises: UserError for vectors that are not finite.
        """
        if len(items):
            if not np.isfinite(vectors).all():
                encoder = self.about["encoder"]
                raise UserError(f"the encoder {encoder!r} gives numbers that are not finite: take another one")
            self.matrix[items], self.mask[items] = vectors, True
        self.about["broken"] += broken
        self.about["cut"] += cut
        self.about["done"] += inputs
        # The record last: what it says is done is in the files. A batch that it does not tell of is done again.
        self.matrix.flush()
        self.mask.flush()
        write_json(self.folder / ABOUT, self.about)


def fill_in_batches(
    draft: Draft,
    inputs: Sequence[tuple[int, T]],
    prepare: Callable[[T], P | None],
    encode: Callable[[list[P]], tuple[np.ndarray, int]],
    batch_size: int,
    shown: str | None,
) -> None:
    """Fill a store from inputs, each with its item, in batches.

    `prepare` works ahead in threads and gives None for a broken input; `encode` gives the vectors of a batch and how
    many of its inputs it had to cut. `shown` names the bar on standard error; no bar without.
    """
    with progress_bar(shown is not None) as bar:
        task = bar.add_task(shown or "", total=len(inputs), completed=draft.done)
        for batch, prepared in _prepared(inputs[draft.done :], prepare, batch_size):
            items = [item for (item, _), one in zip(batch, prepared, strict=True) if one is not None]
            broken = [item for (item, _), one in zip(batch, prepared, strict=True) if one is None]
            good = [one for one in prepared if one is not None]
            vectors, cut = encode(good) if good else (np.empty(0), 0)
            draft.add(items, vectors, len(batch), broken, cut)
            bar.update(task, completed=draft.done)


def progress_bar(shown: bool) -> Progress:
    """A bar on standard error that counts."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return LongJob(*columns, shown=shown, transient=True)


def _prepared(
    inputs: Sequence[tuple[int, T]], prepare: Callable[[T], P | None], batch_size: int
) -> Iterator[tuple[Sequence[tuple[int, T]], list[P | None]]]:
    """Batches of inputs, prepared by threads that work ahead, but not far."""
    ahead: deque[tuple[Sequence[tuple[int, T]], Iterator[P | None]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for start in range(0, len(inputs), batch_size):
            batch = inputs[start : start + batch_size]
            ahead.append((batch, pool.map(prepare, [one for _, one in batch])))
            if len(ahead) > AHEAD:
                first, results = ahead.popleft()
                yield first, list(results)
        for first, results in ahead:
            yield first, list(results)
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One job at a time for each name; what a kill left between the renames is put right."""
    target.parent.mkdir(exist_ok=True)
    with held(lock_of(target), f"another run is writing {target}: wait for it to end"):
        old = target.with_name(f".{target.name}.old")
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(old, ignore_errors=True)
        yield
