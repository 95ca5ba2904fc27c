"""Encoders by name, of photos and of texts: built in, on the hub, or in a local folder."""

from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from vip5.errors import UserError
from vip5.modalities.basic import BasicEncoder

# The five CLIP image branches of the paper (its section 4.1), and where their weights are published. transformers has
# no class for the two ResNets; it runs them through timm.
SHORT_NAMES = {
    "clip-rn50": "timm/resnet50_clip.openai",
    "clip-rn101": "timm/resnet101_clip.openai",
    "clip-vit-b-32": "openai/clip-vit-base-patch32",
    "clip-vit-b-16": "openai/clip-vit-base-patch16",
    "clip-vit-l-14": "openai/clip-vit-large-patch14",
}


class PhotoEncoder(Protocol):
    """Photos in, one vector each out; frozen. `prepare` is called from several threads, `encode` from one."""

    name: str
    dim: int
    fingerprint: str  # hash of all that decides the numbers: weights, preprocessing, library versions

    def prepare(self, photo: Image.Image) -> np.ndarray:
        """One RGB photo as the array that `encode` takes, of the same shape for every photo."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Prepared photos [B, …] to features float32 [B, dim]."""


class TextEncoder(Protocol):
    """Texts in, one vector each out; frozen."""

    name: str
    dim: int
    fingerprint: str  # hash of all that decides the numbers: weights, tokenizer, pooling, library versions
    length: int  # tokens that it reads of a text

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Texts to vectors float32 [B, dim], and how many of them are longer than it reads."""


def load_encoder(name: str, device: str | None = None) -> PhotoEncoder:
    """The encoder of photos called `name`; `device` is where a pretrained network runs, the best one at hand when None.

    Raises: UserError where the name is neither a folder nor to be had from the hub, or holds no image encoder.
    """
    if name == BasicEncoder.name:
        return BasicEncoder()
    if name not in SHORT_NAMES and "/" not in name and not Path(name).is_dir():
        short = ", ".join([BasicEncoder.name, *SHORT_NAMES])
        raise UserError(f"no encoder {name!r}: take {short}, a local folder, or OWNER/NAME of the hub")
    from vip5.modalities.pretrained import PretrainedEncoder  # transformers takes seconds to import; `basic` needs none

    return PretrainedEncoder(name, SHORT_NAMES.get(name, name), device)


def load_text_encoder(name: str, device: str | None = None) -> TextEncoder:
    """The text encoder in a local folder or on the hub; `device` as in `load_encoder`.

    Raises: UserError where the name is neither a folder nor to be had from the hub, or holds no text encoder.
    """
    from vip5.modalities.sentences import SentenceEncoder

    return SentenceEncoder(name, device)
