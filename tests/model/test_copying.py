"""Words of the prompt that a sentence takes over: by hand, in training and in writing alike."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from vip5.decoding import best_of_beam, greedy
from vip5.model import VIP5
from vip5.model.input import TEXT


@pytest.fixture
def model(config) -> VIP5:
    torch.manual_seed(0)
    model = VIP5(config(item_rows=True, copy_words=True, dropout=0.0)).eval()
    with torch.no_grad():
        model.copying.weight.normal_()
    return model


@pytest.fixture
def prompts(batch):
    """With sentences for targets, which are text alone."""
    made = batch()
    made.target_ids = made.target_ids.clamp(max=49)
    return made


@torch.no_grad()
def by_hand(model: VIP5, prompts, h_BTD: torch.Tensor) -> torch.Tensor:
    """Logits of text, each score added in a loop."""
    states = model.encode(prompts).states_BLD
    logits = F.linear(h_BTD * h_BTD.shape[-1] ** -0.5, model.text_tokens.weight)
    for b, ids in enumerate(prompts.input_ids.tolist()):
        for place, token in enumerate(ids):
            if 1 < token < model.config.text_vocab and prompts.category_ids[b, place] == TEXT:
                logits[b, :, token] += h_BTD[b] @ model.copying.weight @ states[b, place] / h_BTD.shape[-1] ** 0.5
    return logits


def test_words_of_the_prompt_score_by_their_states_in_training_and_in_writing(model, prompts):
    inputs = F.pad(prompts.target_ids[:, :-1], (1, 0))
    with torch.no_grad():
        h_BTD = model.decode(inputs, model.encode(prompts))
        logits_BTV = by_hand(model, prompts, h_BTD)
        torch.testing.assert_close(model.head_of_text(h_BTD, model.encode(prompts)), logits_BTV)
    loss_BT = F.cross_entropy(logits_BTV.mT, prompts.target_ids, reduction="none") * (prompts.target_ids != 0)
    torch.testing.assert_close(model(prompts), loss_BT.sum(dim=1) / (prompts.target_ids != 0).sum(dim=1))
    model(prompts).sum().backward()
    assert model.copying.weight.grad.abs().sum() > 0


def test_a_new_model_writes_what_it_would_write_without(model, config, prompts):
    with torch.no_grad():
        before = greedy(model, prompts, 6)
        model.copying.weight.zero_()
    plain = VIP5(config(item_rows=True, dropout=0.0)).eval()
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if "copying" not in name})
    assert greedy(model, prompts, 6).equal(greedy(plain, prompts, 6))
    assert best_of_beam(model, prompts, max_length=6).equal(best_of_beam(plain, prompts, max_length=6))
    assert not before.equal(greedy(plain, prompts, 6))


def test_a_beam_of_one_is_greedy(model, prompts):
    found, beam = greedy(model, prompts, 2), best_of_beam(model, prompts, beams=1, max_length=2)
    assert beam.equal(found)


def test_words_can_be_copied_only_where_text_has_a_head_of_its_own(config):
    with pytest.raises(ValidationError, match="words can be copied only with item_rows"):
        config(copy_words=True)
