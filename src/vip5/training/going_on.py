"""Training that goes on from a run, on the same data or on newer ones: codes and rows follow the raw ids."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from vip5.data import Dataset
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError
from vip5.items import ItemCodes, Vocabulary, extend_codes
from vip5.modalities import ModalityStore
from vip5.model import VIP5, local_folder
from vip5.predict.config import AnswerConfig
from vip5.predict.folder import is_finished, learnt_tasks, read_run


def codes_of_run(
    folder: Path,
    known: Catalogue,
    config: AnswerConfig,
    dataset: Dataset,
    vocabulary: Vocabulary,
    stores: Mapping[str, ModalityStore],
) -> ItemCodes:
    """The run's own codes for the items that it knows, those of its catalogue, and new ones for what came since.

    Raises: UserError where the run writes items or people in another way, or its scheme cannot code new items.
    """
    theirs = AnswerConfig.model_validate(read_run(folder, "model")["config"]).codes
    if theirs != config.codes:
        wanted = " ".join(f"codes.{key}={value}" for key, value in _differing(theirs, config.codes))
        raise UserError(f"the backbone {folder} writes items or users in another way: give {wanted}")
    codes = ItemCodes.load(folder, vocabulary)
    words = dict(zip(known.items["item"], codes.words, strict=True))
    return extend_codes(codes, words, dataset.items, stores)


def learnt_before(backbone: str | None) -> frozenset[str] | None:
    """The tasks that a model has learnt before its training; None where the run that it goes on from does not say."""
    folder = None if backbone is None else local_folder(backbone)
    return frozenset() if folder is None or not is_finished(folder) else learnt_tasks(read_run(folder, "model"))


def weights_of_run(
    folder: Path, known: Catalogue, weights: dict[str, Tensor], model: VIP5, dataset: Dataset
) -> dict[str, Tensor]:
    """The run's weights as they fit a model on this data set: rows of tokens and people stand where they are now.

    Rows of people who are new, and mapping networks of another shape, are left to their random start; so are those of
    new tokens, but where rows hold items' content, to which they then add nothing.
    """
    own, found = model.state_dict(), dict(weights)
    for name in [name for name in weights if name.startswith("modalities.")]:
        if name not in own or own[name].shape != weights[name].shape:
            network = ".".join(name.split(".")[:2])
            found = {key: value for key, value in found.items() if not key.startswith(f"{network}.")}
    if any(name not in own for name in weights if not name.startswith("modalities.")):
        remedy = "go on with its own peft.* settings, or take the run below it as the backbone"
        raise UserError(f"the backbone {folder} has weights that tuning added: {remedy}")
    for name in ("new_tokens.weight", "new_head.weight"):
        if name in found and len(own[name]) != len(found[name]):
            # What an item is like is in its vectors, where rows hold these: nothing has been learnt of it alone.
            found[name] = _grown(found[name], own[name], empty=bool(model.row_content))
    if "user_tokens.weight" in found:
        rows = known.user_rows
        place = np.array([rows.get(user, -1) for user in dataset.users["user"]])
        if len(place) != len(rows) or (place != np.arange(len(place))).any():
            there, table = torch.from_numpy(place), found["user_tokens.weight"]
            drawn = _like(table, len(place))
            found["user_tokens.weight"] = torch.where(there[:, None] >= 0, table[there.clamp(min=0)], drawn)
    return found


def _grown(table: Tensor, wanted: Tensor, empty: bool) -> Tensor:
    """A table with rows more at its end: zeros where they are `empty`, or drawn as the others lie."""
    more = len(wanted) - len(table)
    return torch.cat([table, table.new_zeros(more, table.shape[1]) if empty else _like(table, more)])


def _like(table: Tensor, n: int) -> Tensor:
    """n rows drawn as the table's lie, width by width."""
    std, mean = torch.std_mean(table, dim=0, correction=0)
    return torch.randn(n, table.shape[1]) * std + mean


def _differing(wanted: BaseModel, given: BaseModel, above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of one that the other has otherwise, by their dotted names."""
    for name in type(wanted).model_fields:
        ours, theirs = getattr(wanted, name), getattr(given, name)
        if isinstance(ours, BaseModel):
            yield from _differing(ours, theirs, f"{above}{name}.")
        elif ours != theirs:
            yield f"{above}{name}", ours
