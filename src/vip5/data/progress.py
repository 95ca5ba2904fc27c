"""Where a long job is, for those who wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def stage(name: str, shown: bool, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, gone when the block ends; only where that is a terminal, and `shown`.

    Gives a function to be told how much more of `total` is done; without a total the bar only says that it goes on.
    """
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))
