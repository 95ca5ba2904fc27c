"""From plain files to a dataset folder, and the folder opened.

What is named here is loaded when first asked for: the command line reads the options alone, and starts at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vip5.data.dataset import Dataset
    from vip5.data.ragged import Ragged
    from vip5.data.schema import Manifest
    from vip5.data.write import prepare, prepare_amazon, prepare_movielens

__all__ = ["Dataset", "Manifest", "Ragged", "prepare", "prepare_amazon", "prepare_movielens"]
_MODULES = {
    "Dataset": "dataset",
    "Manifest": "schema",
    "Ragged": "ragged",
    "prepare": "write",
    "prepare_amazon": "write",
    "prepare_movielens": "write",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
