"""What the model eats: prompts as arrays of token ids, with the photos' features beside them."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

PAD, EOS = 0, 1  # T5's ids; the decoder starts with PAD
TEXT, VISUAL = 0, 1  # category ids


@dataclass
class ModelInput:
    """B prompts of at most L tokens, with I image tokens in all, of U distinct items; targets of at most T tokens.

    Padding is 0 everywhere. The image tokens stand where `category_ids` is VISUAL; read row by row, the p-th of them is
    row `image_index[p]` of the mapping network's output, seen as [U * k, D].
    """

    input_ids: Tensor  # int64 [B, L]
    whole_word_ids: Tensor  # int64 [B, L]; 0 for padding and </s>
    category_ids: Tensor  # int64 [B, L]
    image_index: Tensor  # int64 [I], values 0 … U * k - 1
    features: Tensor  # float32 [U, d_v]; one row for each distinct item with an image token in the batch
    has_photo: Tensor  # bool [U]; False: the learned "no photo" vector stands in
    target_ids: Tensor | None = None  # int64 [B, T], ending in </s>
    n_tokens: int = -1  # real tokens of the inputs and of the targets, known here so that no GPU need be asked;
    n_target_tokens: int = -1  # counted when not given

    def __post_init__(self) -> None:
        if self.n_tokens < 0:
            self.n_tokens = int((self.input_ids != PAD).sum())
        if self.n_target_tokens < 0:
            self.n_target_tokens = 0 if self.target_ids is None else int((self.target_ids != PAD).sum())

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    def to(self, device: str | torch.device, non_blocking: bool = True) -> "ModelInput":
        """The same batch on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            k: v.to(device, non_blocking=non_blocking) if isinstance(v, Tensor) else v for k, v in values.items()
        }
        return ModelInput(**moved)
