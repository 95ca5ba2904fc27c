"""Small models and batches made by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from vip5.model import VIP5, Adapters, Full, ModalityConfig, ModelConfig
from vip5.model.input import Content, ModelInput

FORMS = {"v1.0": ("relu", True), "v1.1": ("gated-gelu", False)}
# The paper's names of what is trained.
MODES = {"full": Full(), "self": Adapters(places=("self_attention", "feed_forward")), "self+cross": Adapters()}


@pytest.fixture
def config() -> Callable[..., ModelConfig]:
    """A tiny ModelConfig, of photos of two tokens; any field may be given, or the paper's name of the way of tuning."""

    def make(mode: str = "full", **fields) -> ModelConfig:
        tiny = {
            "text_vocab": 50,
            "new_tokens": 7,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "heads": 4,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "gated": False,
            "activation": "relu",
            "tied_head": True,
            "modalities": (ModalityConfig(name="photo", dim=6, tokens=2),),
            "peft": MODES[mode],
        }
        return ModelConfig(**(tiny | fields))

    return make


@pytest.fixture
def batch() -> Callable[..., ModelInput]:
    """Three prompts: with two items of two photo tokens each, with one item, of text alone; one item has no photo."""

    def make(vocab: int = 57, photos: bool = True) -> ModelInput:
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(2, vocab, (3, 9), generator=generator)
        ids[1, 6:] = 0
        ids[2, 8:] = 0
        words = torch.arange(9).expand(3, 9) * (ids != 0)
        categories = torch.zeros_like(ids)
        content = {}
        if photos:
            categories[0, 1:3] = categories[0, 5:7] = categories[1, 3:5] = 1
            vectors = torch.randn(3, 6, generator=generator)
            content["photo"] = Content(torch.tensor([2, 3, 0, 1, 4, 5]), vectors, torch.tensor([True, False, True]))
        return ModelInput(
            ids,
            words,
            categories,
            content,
            torch.tensor([[vocab - 1, 9, 8, 1], [7, 1, 0, 0], [vocab - 3, 4, 1, 0]]),
        )

    return make


@pytest.fixture
def hugging_face(tmp_path: Path) -> Callable[[str], T5ForConditionalGeneration]:
    """A random T5 of transformers in one of the two forms; all its weights are away from their simple start."""

    def make(form: str) -> T5ForConditionalGeneration:
        projection, tied = FORMS[form]
        torch.manual_seed(3)
        theirs = T5ForConditionalGeneration(
            T5Config(
                vocab_size=60,
                d_model=32,
                d_kv=12,
                d_ff=40,
                num_layers=3,
                num_decoder_layers=2,
                num_heads=4,
                relative_attention_num_buckets=8,
                relative_attention_max_distance=20,
                feed_forward_proj=projection,
                tie_word_embeddings=tied,
                decoder_start_token_id=0,
            )
        ).eval()
        if not tied:  # transformers 5 ties the head whatever the config says
            theirs.lm_head.weight = torch.nn.Parameter(torch.randn(60, 32))
        with torch.no_grad():
            for name, weight in theirs.named_parameters():
                if "layer_norm" in name:
                    weight.uniform_(0.5, 1.5)
                if "relative_attention_bias" in name:
                    weight.normal_()
        return theirs

    return make


@pytest.fixture
def trained() -> Callable[[VIP5], set[str]]:
    return lambda model: {name for name, weight in model.named_parameters() if weight.requires_grad}
