"""All systems by name."""

from vip5.baselines.base import Baseline
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.popularity import Popularity
from vip5.errors import UserError

BASELINES: dict[str, type[Baseline]] = {system.name: system for system in (Popularity, ItemKNN)}


def baseline(name: str) -> type[Baseline]:
    """The system of this name; UserError where there is none."""
    if name not in BASELINES:
        raise UserError(f"unknown baseline '{name}': there are {', '.join(BASELINES)}")
    return BASELINES[name]
