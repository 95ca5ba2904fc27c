"""The peer is our model: same weights, same numbers, same parts trained."""

import pytest
import torch

from vip5.bench.peers import hugging_face
from vip5.model import VIP5, AdapterConfig, ModelConfig
from vip5.model.input import PAD, ModelInput

FORMS = {
    "v1.0": {"gated": False, "activation": "relu", "tied_head": True},
    "v1.1": {"gated": True, "activation": "gelu_new", "tied_head": False},
}


def a_model(form: str, mode: str) -> VIP5:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 12, "d_ff": 40, "heads": 4, "encoder_layers": 3, "decoder_layers": 2}
    model = VIP5(ModelConfig(text_vocab=50, new_tokens=7, feature_dim=6, adapter=AdapterConfig(mode=mode), **sizes,
                             **FORMS[form])).eval()  # fmt: skip
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
    categories[:, 3:5] = 1
    words = torch.arange(31) * (ids != PAD)
    return ModelInput(ids, words, categories, torch.arange(6), torch.randn(3, 6), torch.tensor([True, False, True]))


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
