"""Text encoders that `transformers` loads, from the hub or a local folder, sentence-transformers' among them.

No code of a checkpoint is ever run.
"""

import dataclasses
import inspect
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from vip5.errors import UserError
from vip5.modalities.loading import Checkpoint, find_device, first_line, hash_of_model
from vip5.modalities.pooling import Recipe

_NO_LIMIT = 512  # tokens read where a checkpoint sets no limit


class SentenceEncoder:
    """A pretrained text encoder in eval mode and float32.

    A sentence-transformers checkpoint: its own pooling, layers after it, length, and prompt. CLIP: the projected text
    embedding. Others: the mean of the last hidden state over the tokens; of an encoder-decoder, the encoder's.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        """Raises: UserError where the name is neither a folder nor to be had from the hub, or holds no text encoder."""
        self.name = name
        self.device = find_device(device)
        checkpoint = Checkpoint(name, name)
        self.recipe = Recipe.read(checkpoint)
        place = {"subfolder": self.recipe.folder} if self.recipe.folder else {}
        config = checkpoint.load(AutoConfig.from_pretrained, "config.json", **place)
        self.tokenizer = checkpoint.load(AutoTokenizer.from_pretrained, "the tokenizer", **place)
        if self.tokenizer.get_vocab().keys() <= set(self.tokenizer.all_special_tokens):
            raise UserError(f"the tokenizer of {name!r} has no words (its files are missing): give a whole checkpoint")
        self.tokenizer.padding_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        encodes_text = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING  # of T5 the encoder alone is loaded
        loader: Any = AutoModelForTextEncoding if encodes_text else AutoModel
        model, missing = checkpoint.load_model(loader.from_pretrained, self.device, **place)
        self.projected = hasattr(model, "get_text_features")
        self.model = model.get_encoder() if config.is_encoder_decoder and not encodes_text else model
        self.length = self._length(config)
        self.fingerprint = self._fingerprint(missing)
        self.dim = self._probe()

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Texts to float32 [B, dim], and how many of them are longer than is read."""
        texts = [self.recipe.prompt + (text.lower() if self.recipe.lower else text) for text in texts]
        whole = self.tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
        read = self.tokenizer(texts, truncation=True, max_length=self.length, padding=True, return_tensors="pt")
        try:
            vectors = self._vectors(read.to(self.device))
        except torch.OutOfMemoryError:
            raise UserError(f"{len(texts)} texts at once are too many for {self.device}: lower --batch-size") from None
        return vectors.float().cpu().numpy(), sum(len(tokens) > self.length for tokens in whole)

    def _vectors(self, read: Any) -> Tensor:
        taken = inspect.signature(self.model.forward).parameters
        inputs = {key: read[key] for key in ("input_ids", "attention_mask", "token_type_ids") if key in read}
        if self.projected:
            inputs.pop("token_type_ids", None)
            output = self.model.get_text_features(**inputs)
            return getattr(output, "pooler_output", output)
        output = self.model(**{key: value for key, value in inputs.items() if key in taken})
        return self.recipe.pool(output.last_hidden_state, read["attention_mask"])

    def _probe(self) -> int:
        try:
            return self.encode(["a", "a word more"])[0].shape[1]
        except (ValueError, TypeError, AttributeError, KeyError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{self.name!r} does not give vectors of texts ({first_line(error)}): take another one"
            ) from None

    def _length(self, config: Any) -> int:
        """How many tokens of a text are read: the least of what the checkpoint's files say."""
        text = config.get_text_config()
        said = (self.recipe.length, self.tokenizer.model_max_length, getattr(text, "max_position_embeddings", None))
        return min((length for length in said if length and length < 10**9), default=_NO_LIMIT)

    def _fingerprint(self, missing: list[str]) -> str:
        recipe = dataclasses.asdict(dataclasses.replace(self.recipe, after=()))
        dense = {f"after.{n}.{key}": value for n, step in enumerate(self.recipe.after) for key, value in _parts(step)}
        about = {
            "model": type(self.model).__name__,
            "recipe": recipe | {"after": [step and step.activation for step in self.recipe.after]},
            "length": self.length,
            "tokenizer": self._tokens(),
            "transformers": transformers.__version__,
        }
        weights = {key: tensor for key, tensor in self.model.state_dict().items() if key not in missing}
        return hash_of_model(about, weights | dense)

    def _tokens(self) -> Any:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return [type(self.tokenizer).__name__, self.tokenizer.get_vocab(), self.tokenizer.special_tokens_map]
        backend.no_truncation()
        backend.no_padding()
        return backend.to_str()


def _parts(step: Any) -> list[tuple[str, Tensor]]:
    return (
        [] if step is None else [(key, part) for key in ("weight", "bias") if (part := getattr(step, key)) is not None]
    )
