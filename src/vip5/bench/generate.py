"""The peers of decoding: `generate` of transformers under a prefix function, and CTranslate2 without constraint."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from vip5.bench.peers import hugging_face
from vip5.decoding import Beams
from vip5.model import VIP5
from vip5.model.input import EOS, PAD, ModelInput

Prefix = tuple[int, ...]


class PrefixTrie:
    """What may follow each beginning of a code, as P5-style code keeps it: a dictionary of Python lists."""

    def __init__(self, codes: np.ndarray, items: np.ndarray | None = None) -> None:
        """`codes` [n, T] with </s> last, padded with 0; `items` [n] are the ids to report, 0 … n-1 when not given."""
        children: dict[Prefix, dict[int, None]] = {}
        self.items: dict[Prefix, int] = {}
        self.length = codes.shape[1]
        for number, row in enumerate(codes.tolist()):
            prefix: Prefix = (PAD,)
            for token in row[: row.index(EOS) + 1]:
                children.setdefault(prefix, {})[token] = None
                prefix = (*prefix, token)
            self.items[prefix[1:]] = number if items is None else int(items[number])
        self.children = {prefix: list(tokens) for prefix, tokens in children.items()}

    def allowed(self, prefix: Tensor) -> list[int]:
        return self.children.get(tuple(prefix.tolist()), [PAD])


class Generate:
    """Beam search of transformers with our weights; scores renormalised over what the prefix function allows."""

    def __init__(self, model: VIP5) -> None:
        self.model: Any = hugging_face(model)

    @torch.no_grad()
    def __call__(self, embeds_BLD: Tensor, mask_BL: Tensor, tries: Sequence[PrefixTrie], beams: int, k: int) -> Beams:
        """The k best of `beams` for each row, whose prefixes are those of `tries[row]`, or of `tries[0]` for all."""
        out = self.model.generate(
            inputs_embeds=embeds_BLD,
            attention_mask=mask_BL,
            num_beams=beams,
            num_return_sequences=k,
            do_sample=False,
            max_new_tokens=tries[0].length,
            prefix_allowed_tokens_fn=lambda row, prefix: tries[row % len(tries)].allowed(prefix),
            renormalize_logits=True,
            length_penalty=0.0,
            early_stopping=False,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens = out.sequences[:, 1:].unflatten(0, (-1, k))
        found = [
            [tries[row % len(tries)].items[tuple(beam[: beam.index(EOS) + 1])] for beam in beams_of]
            for row, beams_of in enumerate(tokens.tolist())
        ]
        return Beams(tokens, out.sequences_scores.unflatten(0, (-1, k)), torch.tensor(found))


def ctranslate2() -> ModuleType | None:
    """The library, where it is installed."""
    try:
        import ctranslate2
        import ctranslate2.converters
    except ImportError:
        return None
    return ctranslate2


def ctranslate2_beams(
    theirs: T5ForConditionalGeneration, threads: int, beams: int, length: int
) -> Callable[[ModelInput], list[list[list[int]]]]:
    """A function from prompts of text to the tokens of each row's beams, best first, by CTranslate2 in float32."""
    library = ctranslate2()
    assert library is not None
    loader = library.converters.transformers.T5Loader()
    spec = loader.get_model_spec(theirs)
    names = [str(n) for n in range(theirs.config.vocab_size)]  # a token's name is its id
    loader.set_vocabulary(spec, names)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = names[PAD], names[EOS], names[2]
    spec.config.decoder_start_token = names[PAD]
    with tempfile.TemporaryDirectory() as folder:
        spec.validate()
        spec.optimize(quantization="float32")
        spec.save(str(Path(folder)))
        translator = library.Translator(folder, device="cpu", compute_type="float32", intra_threads=threads)

    def search(batch: ModelInput) -> list[list[list[int]]]:
        source = [[str(t) for t in row if t != PAD] for row in batch.input_ids.tolist()]
        found = translator.translate_batch(
            source, beam_size=beams, num_hypotheses=beams, max_decoding_length=length, length_penalty=0.0,
            max_batch_size=0,
        )  # fmt: skip
        return [[[int(t) for t in tokens] for tokens in row.hypotheses] for row in found]

    return search
