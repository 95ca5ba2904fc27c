"""The peer is our model: same weights, same numbers, same parts trained."""

import pytest
import torch

from vip5.bench.peers import PaddedVIP5, hugging_face
from vip5.bench.train import TUNINGS
from vip5.model import VIP5, ModelConfig
from vip5.model.input import PAD, Content, ModelInput

FORMS = {
    "v1.0": {"gated": False, "activation": "relu", "tied_head": True},
    "v1.1": {"gated": True, "activation": "gelu_new", "tied_head": False},
}


def a_model(form: str, mode: str) -> VIP5:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 12, "d_ff": 40, "heads": 4, "encoder_layers": 3, "decoder_layers": 2}
    modalities = [{"name": "photo", "dim": 6, "tokens": 2}, {"name": "text", "dim": 5, "tokens": 1}]
    own = {"text_vocab": 50, "new_tokens": 7, "modalities": modalities, "peft": TUNINGS[mode]}
    model = VIP5(ModelConfig.model_validate(own | sizes | FORMS[form])).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            if "adapter.up" in name:  # loud enough to be seen
                weight.normal_(std=0.3)
    return model


@pytest.fixture
def batch() -> ModelInput:
    torch.manual_seed(1)
    ids = torch.randint(2, 57, (3, 31))
    ids[1, 13:] = PAD
    categories = torch.zeros_like(ids)
    categories[:, 3:5], categories[:, 5] = 1, 2
    words = torch.arange(31) * (ids != PAD)
    content = {
        "photo": Content(torch.arange(6), torch.randn(3, 6), torch.tensor([True, False, True])),
        "text": Content(torch.tensor([1, 0, 1]), torch.randn(2, 5), torch.tensor([False, True])),
    }
    targets = torch.tensor([[9, 8, 56, 1], [7, 1, 0, 0], [50, 4, 1, 0]])
    return ModelInput(ids, words, categories, content, targets)


@pytest.mark.parametrize("mode", ["full", "self", "self+cross"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_are_ours(form, mode, attention, batch):
    model = a_model(form, mode)
    theirs = hugging_face(model)
    theirs.set_attn_implementation(attention)
    targets = torch.randint(2, 57, (3, 9))
    with torch.no_grad():
        ours = model.head(model.decode(targets, model.encode(batch)))
        mask = (batch.input_ids != PAD).long()
        logits = theirs(inputs_embeds=model.embed(batch), attention_mask=mask, decoder_input_ids=targets).logits
    torch.testing.assert_close(logits, ours, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_of_each_sample_is_ours(form, batch):
    model = a_model(form, "self+cross")
    torch.testing.assert_close(PaddedVIP5(model)(batch), model(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["full", "self+cross"])
def test_the_same_is_trained(mode):
    """Theirs are copies. One table stands for ours of text and of new tokens, so it is trained where these are."""
    model = a_model("v1.0", mode)
    theirs = hugging_face(model)
    trained = {name for name, weight in theirs.named_parameters() if weight.requires_grad}
    backbone = {name for name, _ in theirs.named_parameters() if "adapter" not in name}
    if mode == "full":
        assert trained == backbone
    else:
        assert trained - backbone and {name for name in trained & backbone if "norm" not in name} == {"shared.weight"}
    count = {  # of ours, what T5 has a place for
        name: weight.numel()
        for name, weight in model.named_parameters()
        if weight.requires_grad and name.split(".")[0] in ("encoder", "decoder")
    }
    assert sum(theirs.get_parameter(n).numel() for n in trained if n != "shared.weight") == sum(count.values())
    before = model.encoder.norm.weight.clone()
    with torch.no_grad():
        theirs.encoder.final_layer_norm.weight.zero_()
    assert torch.equal(model.encoder.norm.weight, before)
