"""What a search may try for a setting. Each system says it beside its settings; `tuning` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Real:
    """A number from `low` to `high`, uniform, or with `log` its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, uniform, or with `log` its logarithm."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values, each as JSON writes it."""

    values: tuple[Any, ...]


Space = Mapping[str, Real | Whole | Choice]  # by the setting's name, dotted where it stands in a part
