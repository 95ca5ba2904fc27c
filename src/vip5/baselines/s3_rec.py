"""S³-Rec: SASRec's Transformer, taught first what items, attributes and stretches of a sequence say of one another.

K. Zhou, H. Wang, W. X. Zhao, Y. Zhu, S. Wang, F. Zhang, Z. Wang, J.-R. Wen: S3-Rec: Self-supervised learning for
sequential recommendation with mutual information maximization, CIKM 2020.

Shapes: B sequences, L positions, N masked ones, C ways to hide some, D dimensions, I items, A attributes, M of them an
item has at most.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.learned import Bought
from vip5.baselines.sasrec import SASRec, SASRecSettings
from vip5.baselines.transformer import MASKED, SequenceTransformer, like_lengths, padded
from vip5.data import Dataset, Ragged
from vip5.space import Choice, Real, Space


class S3RecSettings(SASRecSettings):
    """Settings of `S3Rec`: those of SASRec and of its pre-training. Proportion and weights are the authors'."""

    pretraining: int = Field(10, ge=0)  # epochs
    mask: float = Field(0.2, ge=0, le=1)  # share of the items of a sequence, beside the last one
    aap: float = Field(0.2, ge=0)  # weights of the four objectives
    mip: float = Field(1.0, ge=0)
    map: float = Field(1.0, ge=0)
    sp: float = Field(0.5, ge=0)

    def space(self) -> Space:
        return {**super().space(), "pretraining": Choice((0, 5, 10, 20, 50)), "mask": Real(0.1, 0.6)}


class S3Rec(SASRec):
    """Four objectives in which every position sees all others, then SASRec's own training from left to right.

    Each of the four (section 4.2, "Modeling …") tells what belongs together from what does not, by a bilinear form
    f(x, y) = x W y with a W of its own:

    aap  item and attribute          an item's vector, and each of its attributes among those that it lacks
    mip  sequence and item           the output at a masked item, and the item among others
    map  sequence and attribute      the output at a masked item, and each of the item's attributes likewise
    sp   sequence and segment        the last output where a stretch is masked, and that where all else is, among the
                                     stretches of the other sequences of the batch

    Attributes are brands and categories that two items have at least. A data set without any is taught by mip and sp.

    What we chose, beside what SASRec says: f stands in the logarithm of a softmax as it is, without the sigmoid of the
    paper, which bounds it; mip is told from negatives by the `loss` of fine-tuning; every W starts at the identity, so
    that mip starts from the product that fine-tuning learns; aap is of the items that are masked, as map. The last item
    is masked always, and a stretch is as long as half the sequence at most, as in the authors' code; an epoch masks
    each whole sequence once, where they cut it at all lengths. Adam goes on from pre-training to fine-tuning with its
    moments.
    """

    name = "s3-rec"
    source = "Zhou et al., CIKM 2020"
    settings_type = S3RecSettings
    module: "_S3Transformer"

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor:
        return attributes_of(dataset)

    def build(self) -> nn.Module:
        assert self.features is not None
        return _S3Transformer(self.n_items, self.features, self.settings)

    @property
    def pretraining(self) -> int:
        return int(self.settings.pretraining) if self.objectives else 0

    @property
    def objectives(self) -> dict[str, float]:
        """The weights of those that are learned from."""
        there = ("aap", "mip", "map", "sp") if len(self.module.attributes.weight) else ("mip", "sp")
        return {name: getattr(self.settings, name) for name in there if getattr(self.settings, name)}

    @property
    def summary(self) -> dict[str, Any]:
        said = ", ".join(self.objectives) if self.pretraining else "none"
        lacks = "" if len(self.module.attributes.weight) else " (items have no attributes)"
        return super().summary | {"objectives": said + lacks}

    def pretraining_batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history = self.settings, dataset.history("train")
        rows = np.flatnonzero(history.lengths > 1)
        own = Bought(history, self.n_items) if settings.loss == "bce" else None
        for part in like_lengths(rows, history.lengths, settings.batch_size):
            items_BL, real_BL = padded(history.take(part), settings.length)
            masked_BL, segment_BL = masked_items(real_BL, settings.mask), segments(real_BL)
            losses = self._losses(items_BL, real_BL, masked_BL, segment_BL, torch.from_numpy(part), own)
            yield sum((self.objectives[name] * loss for name, loss in losses.items()), start=torch.zeros(()))

    def _losses(
        self,
        items_BL: Tensor,
        real_BL: Tensor,
        masked_BL: Tensor,
        segment_BL: Tensor,
        user_B: Tensor,
        own: Bought | None,
    ) -> dict[str, Tensor]:
        """The loss of each objective."""
        module, wanted, losses = self.module, self.objectives, {}
        real_BL, masked_on, segment_BL = (each.to(self.device) for each in (real_BL, masked_BL, segment_BL))
        x_BLD, item_N = module.items(items_BL.to(self.device)), items_BL[masked_BL]
        hidden_3BL = torch.stack([masked_on, segment_BL, real_BL & ~segment_BL])
        h_3BLD = module.encode_hidden(x_BLD, hidden_3BL, real_BL)
        h_ND = h_3BLD[0][masked_on]
        if "aap" in wanted:
            losses["aap"] = self._attributes_loss(x_BLD[masked_on] @ module.forms["aap"], item_N)
        if "mip" in wanted:
            user_N = user_B[:, None].expand_as(masked_BL)[masked_BL]
            losses["mip"] = self._loss(h_ND @ module.forms["mip"], item_N, user_N, own)
        if "map" in wanted:
            losses["map"] = self._attributes_loss(h_ND @ module.forms["map"], item_N)
        if "sp" in wanted:
            row_B = torch.arange(len(real_BL), device=self.device)
            context_BD, inside_BD = h_3BLD[1:, row_B, real_BL.sum(dim=1) - 1]
            logits_BB = context_BD @ module.forms["sp"] @ inside_BD.T / self.settings.dim**0.5
            losses["sp"] = F.cross_entropy(logits_BB, row_B)
        return losses

    def _attributes_loss(self, query_ND: Tensor, item_N: Tensor) -> Tensor:
        """Each attribute of an item in a softmax with those that the item lacks, the mean over all."""
        own_NM = self.module.features[item_N.to(self.device)]
        there_NM = own_NM >= 0
        own_NM = own_NM.where(there_NM, own_NM[:, :1].clamp(min=0))  # the first one again, where there is no other
        logits_NA = query_ND @ self.module.attributes.weight.T
        lacked_N = logits_NA.scatter(1, own_NM, MASKED).logsumexp(dim=1)
        losses_NM = F.softplus(lacked_N[:, None] - logits_NA.gather(1, own_NM))
        return (losses_NM * there_NM).sum() / there_NM.sum().clamp(min=1)


class _S3Transformer(SequenceTransformer):
    """With a vector for what is masked, those of attributes, and the four forms."""

    def __init__(self, n_items: int, attributes_IM: Tensor, settings: Any) -> None:
        super().__init__(n_items, settings)
        self.features: Tensor
        self.register_buffer("features", attributes_IM)
        self.mask = nn.Parameter(0.02 * torch.randn(settings.dim))
        n_attributes = int(attributes_IM.max()) + 1
        self.attributes = nn.Embedding(
            n_attributes, settings.dim, _weight=0.02 * torch.randn(n_attributes, settings.dim)
        )
        self.forms = nn.ParameterDict({name: torch.eye(settings.dim) for name in ("aap", "mip", "map", "sp")})

    def encode_hidden(self, x_BLD: Tensor, hidden_CBL: Tensor, real_BL: Tensor) -> Tensor:
        """[C, B, L, D]: what each position says when all see all; C times, each with other ones hidden."""
        C = len(hidden_CBL)
        x_CBLD = torch.where(hidden_CBL[..., None], self.mask, x_BLD)
        return self.encode(x_CBLD.flatten(0, 1), real_BL.repeat(C, 1), both_ways=True).unflatten(0, (C, -1))


def attributes_of(dataset: Dataset) -> Tensor:
    """int64 [n_items, M]: the brands and categories of each item that another item has too, by number; then -1."""
    items = dataset.items.with_row_index("row")
    named = pl.concat(
        [
            items.select("row", name=pl.format("brand {}", "brand")),
            items.explode("categories").select("row", name=pl.format("category {}", "categories")),
        ]
    )
    named = named.drop_nulls().unique().filter(pl.len().over("name") > 1).sort("row", "name")
    number = np.unique(named["name"].to_numpy(), return_inverse=True)[1]
    rows = Ragged.from_lengths(number, np.bincount(named["row"].to_numpy(), minlength=dataset.n_items))
    numbers_IM, there_IM = padded(rows, int(rows.lengths.max(initial=0)))
    return numbers_IM.masked_fill(~there_IM, -1)


def masked_items(real_BL: Tensor, share: float) -> Tensor:
    """bool [B, L]: the last item of each sequence, and each other by chance."""
    last_BL = torch.arange(real_BL.shape[1]) == real_BL.sum(dim=1, keepdim=True) - 1
    return real_BL & ((torch.rand(real_BL.shape) < share) | last_BL)


def segments(real_BL: Tensor) -> Tensor:
    """bool [B, L]: a stretch of each sequence, of one item to half of all, anywhere."""
    n_B1 = real_BL.sum(dim=1, keepdim=True)
    size_B1 = 1 + (torch.rand(n_B1.shape) * (n_B1 // 2).clamp(min=1)).long()
    start_B1 = (torch.rand(n_B1.shape) * (n_B1 - size_B1 + 1)).long()
    place_L = torch.arange(real_BL.shape[1])
    return (place_L >= start_B1) & (place_L < start_B1 + size_B1)
