"""The backbone is transformers' T5: same weights, same numbers."""

import json

import pytest
import torch
from transformers import T5ForConditionalGeneration

from vip5.errors import UserError
from vip5.model import VIP5, ModelConfig, load_t5, start_from, t5, to_t5_state
from vip5.model.input import ModelInput


def text_batch(ids, targets=None):
    """Whole words and categories are 0 throughout."""
    zero = torch.zeros_like(ids)
    return ModelInput(ids, zero, zero, target_ids=targets)


def as_ours(folder) -> VIP5:
    fields, state = load_t5(folder)
    model = VIP5(ModelConfig(**fields)).eval()
    start_from(model, state, folder)
    torch.nn.init.zeros_(model.whole_words.weight)
    torch.nn.init.zeros_(model.categories.weight)
    return model


@pytest.fixture
def prompts():
    """Two inputs longer than the relative bias reaches, one shorter and padded; decoder inputs; targets."""
    torch.manual_seed(5)
    ids = torch.randint(2, 60, (3, 31))
    ids[1, 13:] = 0
    ids[2, 30:] = 0
    targets = torch.randint(2, 60, (3, 25))
    targets[0, 24] = targets[1, 4] = targets[2, 10] = 1
    targets[1, 5:] = 0
    targets[2, 11:] = 0
    return ids, targets


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
def test_logits_equal_transformers(form, hugging_face, prompts, tmp_path):
    theirs = hugging_face(form)
    theirs.save_pretrained(tmp_path)
    ids, targets = prompts
    inputs = torch.nn.functional.pad(targets[:, :-1], (1, 0))
    ours = as_ours(tmp_path)
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=(ids != 0).long(), decoder_input_ids=inputs).logits
        encoded = ours.encode(text_batch(ids))
        logits = ours.head(ours.decode(inputs, encoded))
        states = theirs.encoder(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    assert logits.dtype == torch.float32
    torch.testing.assert_close(encoded.states_BLD[ids != 0], states[ids != 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
def test_loss_is_transformers_averaged_within_each_sample(form, hugging_face, prompts, tmp_path):
    theirs = hugging_face(form)
    theirs.save_pretrained(tmp_path)
    ids, targets = prompts
    ours = as_ours(tmp_path)
    alone = []
    for row in range(3):  # transformers' own loss of each sample by itself, without padding
        real, target = ids[row][ids[row] != 0], targets[row][targets[row] != 0]
        alone.append(theirs(input_ids=real[None], labels=target[None]).loss)
    losses = ours(text_batch(ids, targets))
    torch.testing.assert_close(losses, torch.stack(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
def test_gradients_equal_transformers(form, hugging_face, prompts, tmp_path):
    theirs = hugging_face(form)
    theirs.save_pretrained(tmp_path)
    ids, targets = prompts
    ours = as_ours(tmp_path)
    theirs(input_ids=ids[:1], labels=targets[:1]).loss.backward()
    ours(text_batch(ids[:1], targets[:1])).mean().backward()
    gradients = {name: weight.grad for name, weight in ours.named_parameters()}
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, gradient in to_t5_state(gradients, ours.config).items():
        torch.testing.assert_close(gradient, expected[name], atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
@pytest.mark.parametrize("kind", ["shards", "bin"])
def test_every_kind_of_weight_file(form, kind, hugging_face, tmp_path):
    theirs = hugging_face(form)
    if kind == "shards":
        theirs.save_pretrained(tmp_path, max_shard_size="20KB")
        assert len(list(tmp_path.glob("*.safetensors"))) > 1
    else:
        theirs.config.save_pretrained(tmp_path)
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    _, state = load_t5(tmp_path)
    assert torch.equal(state["text_tokens.weight"], theirs.shared.weight)
    wv = theirs.decoder.block[1].layer[1].EncDecAttention.v.weight
    assert torch.equal(state["decoder.blocks.1.cross_attention.body.kv.weight"].chunk(2)[1], wv)


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
def test_out_again_gives_the_same_weights(form, hugging_face, tmp_path):
    theirs = hugging_face(form)
    theirs.save_pretrained(tmp_path)
    ours = as_ours(tmp_path)
    again = to_t5_state(ours.state_dict(), ours.config)
    expected = dict(theirs.named_parameters())
    assert set(again) == set(expected)
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_out_joins_new_tokens_and_refuses_adapters(config):
    model = VIP5(config())
    state = to_t5_state(model.state_dict(), model.config)
    assert state["shared.weight"].shape == (57, 32)
    with pytest.raises(UserError, match="adapters"):
        to_t5_state(VIP5(config(mode="self")).state_dict(), config(mode="self"))


def test_published_v1_1_config_has_a_head_of_its_own(hugging_face, tmp_path):
    """The hub's files say tie_word_embeddings false and nothing of scaled outputs."""
    theirs: T5ForConditionalGeneration = hugging_face("v1.1")
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["scale_decoder_outputs"]
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    fields, state = load_t5(tmp_path)
    assert fields["tied_head"] is False
    assert torch.equal(state["text_head.weight"], theirs.lm_head.weight)


def test_clear_errors(hugging_face, tmp_path, monkeypatch):
    theirs = hugging_face("v1.0")
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def refused(**changes):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(UserError) as error:
            load_t5(tmp_path)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "model_type is 'bart'" in refused(model_type="bart")
    assert "feed_forward_proj" in refused(feed_forward_proj="gated-tanh")
    assert "no decoder.block.2" in refused(num_decoder_layers=3)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="no JSON object"):
        load_t5(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        load_t5(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        load_t5(tmp_path)

    def offline(*args, **kwargs):
        raise ConnectionError("cannot reach the hub\nlong story")

    monkeypatch.setattr(t5, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"google/t5-none \(cannot reach the hub\)"):
        load_t5("google/t5-none")


def test_no_pickled_code_runs(hugging_face, tmp_path):
    hugging_face("v1.0").config.save_pretrained(tmp_path)
    torch.save({"shared.weight": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="more than tensors"):
        load_t5(tmp_path)
