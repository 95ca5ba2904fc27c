"""Where a long job is, for those who wait."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn

_SECONDS = 60  # between two lines


class LongJob(Progress):
    """A bar on standard error. Where that is no terminal, a line a minute, so that a log shows how far the work is."""

    def __init__(self, *columns: ProgressColumn, shown: bool = True, transient: bool = False) -> None:
        super().__init__(*columns, console=Console(stderr=True), disable=not shown, transient=transient)
        self._said = time.monotonic()

    def update(self, task_id: TaskID, **what: Any) -> None:
        """As of `Progress`."""
        super().update(task_id, **what)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As of `Progress`."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        if self.disable or self.console.is_terminal or time.monotonic() - self._said < _SECONDS:
            return
        self._said = time.monotonic()
        task = self.tasks[self.task_ids.index(task_id)]
        total = "" if task.total is None or task.total <= 1 else f" {task.completed:.0f}/{task.total:.0f}"
        self.console.print(" ".join([f"{task.description}{total}", *map(str, task.fields.values())]), soft_wrap=True)


@contextmanager
def stage(name: str, shown: bool, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, gone when the block ends; only where that is a terminal, and `shown`.

    Gives a function to be told how much more of `total` is done; without a total the bar only says that it goes on.
    """
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))
