"""The vectors that need nothing but a data set: of its photos by `basic`, of its texts by `tfidf`."""

from collections.abc import Callable

from vip5.data import Dataset
from vip5.modalities.basic import BasicEncoder
from vip5.modalities.encode import encode
from vip5.modalities.job import Encoding
from vip5.modalities.store import read_about, store_names
from vip5.modalities.texts import item_texts
from vip5.modalities.tfidf import encode_tfidf


def make_built_in(dataset: Dataset, progress: bool = False) -> dict[str, Encoding]:
    """Make the stores `photo` and `text` of a data set that has photos and texts and no vectors of that kind; by name.

    Vectors of another encoder stay what they are, and none of the same kind is made beside them.

    Raises: UserError as `encode`.
    """
    there = {(read_about(dataset.path / "modalities" / name) or {}).get("kind") for name in store_names(dataset)}
    makers: dict[str, Callable[[], Encoding]] = {}
    if "photo" not in there and any(dataset.photo_path(item) is not None for item in range(dataset.n_items)):
        makers["photo"] = lambda: encode(dataset, BasicEncoder(), progress=progress)
    if "text" not in there and any(item_texts(dataset)):
        makers["text"] = lambda: encode_tfidf(dataset)
    return {name: make() for name, make in makers.items()}
