"""What the model reads: prompts as arrays of token ids, with the vectors of the items that they show beside them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

PAD, EOS = 0, 1  # T5's ids; the decoder starts with PAD
TEXT = 0  # the category of a word; modality m of the model's config, counted from 0, has category m + 1


@dataclass(frozen=True)
class Content:
    """What the I tokens of one modality in a batch stand for: vectors of the U distinct items that it shows.

    Read row by row, the p-th token of the modality's category is row `index[p]` of the mapping network's output, seen
    as [U * k, D].
    """

    index: Tensor  # int64 [I], values 0 … U * k - 1
    vectors: Tensor  # float32 [U, d_v]
    present: Tensor  # bool [U]; False: the learned "missing" vector stands in

    def apply(self, move: Callable[[Tensor], Tensor]) -> "Content":
        return Content(move(self.index), move(self.vectors), move(self.present))


@dataclass
class ModelInput:
    """B prompts of at most L tokens, targets of at most T tokens, and by modality what its tokens show.

    Padding is 0 everywhere.
    """

    input_ids: Tensor  # int64 [B, L]
    whole_word_ids: Tensor  # int64 [B, L]; 0 for padding and </s>
    category_ids: Tensor  # int64 [B, L]
    content: dict[str, Content] = field(default_factory=dict)  # by modality; those without a token may be left out
    target_ids: Tensor | None = None  # int64 [B, T], ending in </s>, or items' codes one after the other
    n_tokens: int = -1  # real tokens of the inputs and of the targets, known here so that no GPU need be asked;
    n_target_tokens: int = -1  # counted when not given
    prompt_rows: Tensor | None = None  # int64 [B]: which row of the prompts each target reads; none: each its own
    past_ids: Tensor | None = None  # int64 [B, P]: what the decoder has written before anything is asked of it

    def __post_init__(self) -> None:
        if self.n_tokens < 0:
            self.n_tokens = int((self.input_ids != PAD).sum())
        if self.n_target_tokens < 0:
            self.n_target_tokens = 0 if self.target_ids is None else int((self.target_ids != PAD).sum())

    def __len__(self) -> int:
        return self.input_ids.shape[0]

    def apply(self, move: Callable[[Tensor], Tensor]) -> "ModelInput":
        """The same with every tensor replaced by what `move` makes of it."""
        return replace(
            self,
            input_ids=move(self.input_ids),
            whole_word_ids=move(self.whole_word_ids),
            category_ids=move(self.category_ids),
            content={name: content.apply(move) for name, content in self.content.items()},
            target_ids=None if self.target_ids is None else move(self.target_ids),
            prompt_rows=None if self.prompt_rows is None else move(self.prompt_rows),
            past_ids=None if self.past_ids is None else move(self.past_ids),
        )

    def to(self, device: str | torch.device, non_blocking: bool = True) -> "ModelInput":
        """The same on another device."""
        return self.apply(lambda x: x.to(device, non_blocking=non_blocking))
