"""Free beam search, search over a complete trie and greedy decoding give what transformers' own `generate` gives."""

from itertools import product

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from vip5.decoding import beam_search, best_of_beam, greedy
from vip5.items.trie import Trie
from vip5.model import VIP5, ModelConfig
from vip5.model.input import ModelInput
from vip5.model.t5 import load_t5

VOCAB, ROWS, LENGTH = 60, 5, 12


@pytest.fixture(scope="module", params=[0, 1, 2, "gated"])
def models(request, tmp_path_factory) -> tuple[T5ForConditionalGeneration, VIP5]:
    """The same random weights, theirs and ours; </s> is likely, so that lengths differ and searches stop early."""
    gated = request.param == "gated"
    torch.manual_seed(3 if gated else request.param)
    kind = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if gated else {}
    size = {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config(**size, **kind, decoder_start_token_id=0)
    theirs = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        theirs.get_input_embeddings().weight[1] *= 1.6
        if gated:
            theirs.lm_head.weight.normal_(std=0.7)
    folder = tmp_path_factory.mktemp("t5")
    theirs.save_pretrained(folder)
    fields, weights = load_t5(folder)
    ours = VIP5(ModelConfig(**fields)).eval()
    left_out = ours.load_state_dict(weights, strict=False)
    assert not left_out.unexpected_keys
    with torch.no_grad():
        ours.whole_words.weight.zero_()
        ours.categories.weight.zero_()
    return theirs, ours


@pytest.fixture(scope="module")
def batch() -> ModelInput:
    ids = torch.randint(2, VOCAB, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    ids *= torch.arange(LENGTH) < torch.tensor([12, 3, 7, 12, 5])[:, None]  # rows are padded
    return ModelInput(ids, torch.zeros_like(ids), torch.zeros_like(ids))


def generate(theirs: T5ForConditionalGeneration, batch: ModelInput, K: int, max_length: int, **options):
    """Tokens [B, K, T] with 0 after </s>, and scores [B, K]."""
    out = theirs.generate(
        batch.input_ids,
        attention_mask=batch.input_ids != 0,
        num_beams=K,
        num_return_sequences=K,
        do_sample=False,
        max_new_tokens=max_length,
        early_stopping=False,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    tokens = out.sequences[:, 1:].unflatten(0, (ROWS, K))
    after_end = (tokens == 1).cumsum(-1) - (tokens == 1).long() > 0
    scores = None if K == 1 else out.sequences_scores.unflatten(0, (ROWS, K))
    return tokens.masked_fill(after_end, 0), scores


def assert_same_tokens(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    T = max(ours.shape[-1], theirs.shape[-1])
    a, b = (torch.nn.functional.pad(t, (0, T - t.shape[-1])) for t in (ours, theirs))
    assert torch.equal(a, b)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("K", [4, 20])
@pytest.mark.parametrize("max_length", [3, 24])
def test_free_beam_search(models, batch, K, length_penalty, max_length):
    theirs, ours = models
    tokens, scores = generate(theirs, batch, K, max_length, length_penalty=length_penalty)
    found = beam_search(ours, batch, beams=K, length_penalty=length_penalty, max_length=max_length)
    assert_same_tokens(found.tokens_BKT, tokens)
    torch.testing.assert_close(found.scores_BK, scores, atol=1e-4, rtol=1e-5)
    assert (found.items_BK == -1).all()
    assert_same_tokens(best_of_beam(ours, batch, K, length_penalty, max_length), tokens[:, 0])


def test_greedy(models, batch):
    theirs, ours = models
    tokens, _ = generate(theirs, batch, 1, 24, no_repeat_ngram_size=3)
    assert_same_tokens(greedy(ours, batch, max_length=24), tokens[:, 0])
    assert greedy(ours, batch, max_length=2).shape == (ROWS, 2)


def test_one_beam(models, batch):
    """One beam takes the greedy path (transformers calls it greedy search as well)."""
    found = beam_search(models[1], batch, beams=1, max_length=24)
    assert_same_tokens(found.tokens_BKT[:, 0], generate(models[0], batch, 1, 24)[0][:, 0])


@pytest.mark.parametrize("K", [4, 20])
def test_complete_trie(models, batch, K):
    """All sequences of up to 3 of 5 tokens: what transformers gives with its own constraint and renormalisation."""
    theirs, ours = models
    words = [word for n in range(4) for word in product([7, 11, 30, 31, 59], repeat=n)]
    codes = np.array([(*word, 1, *[0] * (3 - len(word))) for word in words])
    item = {tuple(code): i for i, code in enumerate(codes.tolist())}

    def allowed(_, prefix):
        return [1] if len(prefix) == 4 else [1, 7, 11, 30, 31, 59]

    options = {"prefix_allowed_tokens_fn": allowed, "renormalize_logits": True, "length_penalty": 0.0}
    tokens, scores = generate(theirs, batch, K, 4, **options)
    found = beam_search(ours, batch, trie=Trie.build(codes), beams=K)
    torch.testing.assert_close(found.scores_BK, scores, atol=1e-4, rtol=1e-5)
    padded = torch.nn.functional.pad(tokens, (0, 4 - tokens.shape[-1]))
    assert found.items_BK.tolist() == [[item[tuple(code)] for code in row] for row in padded.tolist()]
