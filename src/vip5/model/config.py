"""Size and shape of a VIP5: the backbone, what the id scheme adds, the modalities, the way of tuning."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vip5.model.peft import Full, Tuning

MODALITY_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"  # a name of a module too, where a dot would separate
MOST_TOKENS = 5  # of an item in one modality; the paper tries 1, 2, 3, 5

# Backbones to start from scratch with. `small` and `base` are T5's own sizes (Raffel et al. 2020).
SIZES: dict[str, dict[str, Any]] = {
    "nano": {"text_vocab": 4096, "d_model": 64, "d_kv": 16, "d_ff": 256, "heads": 4, "layers": 2},
    "small": {"text_vocab": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "heads": 8, "layers": 6},
    "base": {"text_vocab": 32128, "d_model": 768, "d_kv": 64, "d_ff": 3072, "heads": 12, "layers": 12},
}


def backbone_size(name: str) -> dict[str, Any]:
    """Fields of `ModelConfig` for a size of `SIZES`: T5 v1.0 (relu, tied head), as many decoder as encoder layers."""
    size = dict(SIZES[name])
    layers = size.pop("layers")
    return size | {
        "encoder_layers": layers,
        "decoder_layers": layers,
        "gated": False,
        "activation": "relu",
        "tied_head": True,
    }


class ModalityConfig(BaseModel):
    """One modality of an item: a vector that becomes k tokens beside the item, a share of the item's row, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=MODALITY_NAME)
    dim: int = Field(gt=0)  # d_v, of its vectors
    tokens: int = Field(ge=0, le=MOST_TOKENS)  # k
    in_row: bool = False  # of the item's own token


class ModelConfig(BaseModel):
    """Everything that fixes the shapes of the model's weights, and its dropout. Widths are numbers of features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text_vocab: int = Field(gt=1)  # rows of the backbone's own vocabulary
    new_tokens: int = Field(default=0, ge=0)  # tokens an id scheme adds: ids text_vocab … text_vocab + new_tokens - 1
    user_tokens: int = Field(default=0, ge=0)  # tokens of users, ids from `vocab` on: read, never written
    d_model: int = Field(gt=0, multiple_of=2)
    d_kv: int = Field(gt=0)
    d_ff: int = Field(gt=0)
    heads: int = Field(gt=0)
    encoder_layers: int = Field(gt=0)
    decoder_layers: int = Field(gt=0)
    gated: bool
    activation: Literal["relu", "gelu_new", "silu"]
    tied_head: bool
    dropout: float = Field(default=0.1, ge=0, lt=1)
    buckets: int = Field(default=32, ge=4, multiple_of=4)  # of the relative position bias
    max_distance: int = Field(default=128, gt=0)
    eps: float = Field(default=1e-6, gt=0)
    whole_words: int = Field(default=1024, gt=0)
    categories: int = Field(default=16, gt=1)
    modalities: tuple[ModalityConfig, ...] = ()  # none: a model of text alone (P5)
    # Added tokens are read and written by the same rows, with scales of their own. A modality may be part of the rows
    # where the n-th added token is the n-th item.
    item_rows: bool = False
    copy_words: bool = False  # sentences may take over words of their prompt, with item_rows
    peft: Tuning = Full()
    train_word_category: bool = True

    @model_validator(mode="after")
    def _possible(self) -> "ModelConfig":
        if fault := self.peft.fault(self.d_model):
            raise ValueError(fault)
        names = [modality.name for modality in self.modalities]
        if len(set(names)) < len(names) or len(names) >= self.categories:
            raise ValueError(f"modalities {', '.join(names)}: give each name once, {self.categories - 1} at most")
        if idle := [m.name for m in self.modalities if not (m.tokens or m.in_row)]:
            raise ValueError(f"modality {idle[0]} has tokens 0 and is in no row: nothing would read it")
        if any(modality.in_row for modality in self.modalities) and not (self.item_rows and self.new_tokens):
            raise ValueError(
                "a modality can be part of items' rows only with item_rows, and where there are new tokens"
            )
        if self.copy_words and not self.item_rows:
            raise ValueError("words can be copied only with item_rows, where text has a head of its own")
        if self.max_distance <= self.buckets // 2:
            raise ValueError(f"max_distance {self.max_distance} must be above half of buckets {self.buckets}")
        return self

    @property
    def vocab(self) -> int:
        """V: all token ids the model writes."""
        return self.text_vocab + self.new_tokens
