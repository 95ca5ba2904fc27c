"""Items like an item: by what a model has learnt of their codes, and by their vectors of each modality."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.predict.lists import Ranking
from vip5.predict.model import TrainedModel

_ROWS = 256  # asked about at once


def nearest_items(run: TrainedModel, items: np.ndarray, k: int) -> Ranking:
    """The k items most like each of `items` int [n], itself left out; scores are the mean of cosines over all views.

    A view is the mean of the learnt rows of a code's own tokens, or the vectors of a modality, centred. Of an item that
    has no vector of a modality that view says nothing: 0.
    """
    views = _views(run)
    asked = torch.from_numpy(np.asarray(items, np.int64))
    n_items = run.catalogue.n_items
    found, scores = [], []
    for rows in asked.split(_ROWS):
        total = torch.stack([view[rows] @ view.T for view in views]).mean(dim=0)
        total[torch.arange(len(rows)), rows] = -torch.inf
        best = total.topk(min(k, n_items - 1))
        found.append(best.indices)
        scores.append(best.values)
    return Ranking(torch.cat(found).numpy(), torch.cat(scores).numpy())


def _views(run: TrainedModel) -> list[Tensor]:
    """Rows of length 1, or 0 where there is nothing, float32 [n_items, d] each."""
    views = []
    if run.codes.new_tokens and run.model.new_tokens is not None:
        views.append(_unit(_of_codes(run)))
    for store in run.stores.values():
        vectors, there = (torch.from_numpy(part) for part in store.gather(np.arange(run.catalogue.n_items)))
        centred = vectors - vectors[there].mean(dim=0)
        views.append(_unit(centred * there[:, None]))
    return views or [_unit(_spelled(run))]


@torch.no_grad()
def _of_codes(run: TrainedModel) -> Tensor:
    """The mean of the rows of each item's own tokens."""
    assert run.model.new_tokens is not None
    codes = torch.from_numpy(run.codes.targets()) - run.codes.vocabulary.size
    own = codes >= 0
    rows = run.model.all_rows().detach().float().cpu()[codes.clamp(min=0)]
    return (rows * own[..., None]).sum(dim=1) / own.sum(dim=1, keepdim=True).clamp(min=1)


@torch.no_grad()
def _spelled(run: TrainedModel) -> Tensor:
    """For codes that are spelled in the tokenizer's own pieces: the mean of these."""
    codes = torch.from_numpy(run.codes.targets())
    own = codes > 1  # neither padding nor </s>
    rows = run.model.text_tokens.weight.detach().float().cpu()[codes]
    return (rows * own[..., None]).sum(dim=1) / own.sum(dim=1, keepdim=True).clamp(min=1)


def _unit(x_ID: Tensor) -> Tensor:
    return F.normalize(x_ID.float(), dim=1)
