"""Models on disk, whole and the trained part alone."""

import json

import pytest
import torch
from safetensors.torch import load_file

from vip5.errors import UserError
from vip5.model import (
    VIP5,
    ModalityConfig,
    checkpoint,
    load_backbone,
    load_model,
    load_trained,
    save_model,
    save_trained,
    start_from,
)


def refusal(call, *args) -> str:
    with pytest.raises(UserError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mode", ["self", "self+cross", "full"])
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(mode, tied, config, batch, trained, tmp_path):
    model = VIP5(config(mode=mode, tied_head=tied)).eval()
    save_model(model, tmp_path / "run")
    again = load_model(tmp_path / "run")
    assert again.config == model.config and not again.training
    assert trained(again) == trained(model)
    assert torch.equal(again(batch()), model(batch()))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "model.safetensors"}
    again.train()(batch()).mean().backward()  # nothing was left on the meta device


def test_a_failed_save_leaves_the_old_model(config, batch, tmp_path, monkeypatch):
    model = VIP5(config()).eval()
    save_model(model, tmp_path)
    losses = model(batch())

    def full_disk(*args, **kwargs):
        (tmp_path / "half").write_bytes(b"x")
        args[1].write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_model(VIP5(config()), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "half"}
    assert torch.equal(load_model(tmp_path)(batch()), losses)


def test_the_trained_part_alone(config, batch, trained, tmp_path):
    torch.manual_seed(0)
    base, model = VIP5(config(mode="self+cross")).eval(), VIP5(config(mode="self+cross")).eval()
    base.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name in trained(model):
            model.get_parameter(name).normal_()
    save_trained(model, tmp_path)
    assert set(load_file(tmp_path / "trained.safetensors")) == trained(model)
    load_trained(base, tmp_path)
    assert torch.equal(base(batch()), model(batch()))

    assert "another backbone" in refusal(load_trained, VIP5(config(mode="self+cross")), tmp_path)
    assert "unknown" in refusal(load_trained, VIP5(config(mode="self")), tmp_path)
    photo = (ModalityConfig(name="photo", dim=5, tokens=2),)
    assert "shape" in refusal(load_trained, VIP5(config(mode="self+cross", modalities=photo)), tmp_path)
    assert "all of this model is trained" in refusal(save_trained, VIP5(config()), tmp_path)
    assert "no trained.safetensors" in refusal(load_trained, base, tmp_path / "none")


def test_a_run_is_a_backbone_for_the_next(config, batch, tmp_path):
    """The paper's two steps: a P5 of text with everything trained, then photos and adapters on it."""
    first = VIP5(config(modalities=())).eval()
    save_model(first, tmp_path)
    fields, state = load_backbone(tmp_path)
    fields |= {"modalities": [{"name": "photo", "dim": 6, "tokens": 2}], "peft": {"method": "adapters", "reduction": 8}}
    second = VIP5(type(first.config)(**fields)).eval()
    start_from(second, state, tmp_path)
    assert all(torch.equal(weight, second.state_dict()[name]) for name, weight in first.state_dict().items())
    text = batch(photos=False)
    torch.testing.assert_close(second(text), first(text), atol=2e-2, rtol=0)

    other = VIP5(config(new_tokens=9))
    assert "new_tokens.weight" in refusal(start_from, other, state, tmp_path)
    save_model(second, tmp_path)
    assert "unknown" in refusal(start_from, VIP5(config()), load_backbone(tmp_path)[1], tmp_path)


def test_a_t5_is_a_backbone(hugging_face, config, tmp_path):
    hugging_face("v1.1").save_pretrained(tmp_path)
    fields, state = load_backbone(tmp_path)
    state["text_tokens.weight"] += 100
    model = VIP5(config(mode="self", **fields))
    start_from(model, state, tmp_path)
    assert torch.equal(model.text_head.weight, state["text_head.weight"])
    assert model.new_tokens.weight.mean() > 99  # drawn as the backbone's tokens lie
    del state["encoder.norm.weight"]
    assert "misses encoder.norm.weight" in refusal(start_from, model, state, tmp_path)


def test_clear_errors(config, tmp_path):
    assert "no config.json" in refusal(load_model, tmp_path)
    save_model(VIP5(config()), tmp_path)
    good = json.loads((tmp_path / "config.json").read_text())

    def with_config(**changes) -> str:
        (tmp_path / "config.json").write_text(json.dumps(good | changes))
        return refusal(load_model, tmp_path)

    assert "depth" in with_config(depth=3)
    assert "d_model" in with_config(d_model="wide")
    assert "shape of text_tokens.weight is [50, 32], the model's is [51, 32]" in with_config(text_vocab=51)
    assert "misses decoder.blocks.3" in with_config(decoder_layers=4)
    assert "has unknown modalities.photo" in with_config(modalities=[])
    (tmp_path / "config.json").write_text("[1")
    assert "not the config" in refusal(load_model, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(good))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:5000])
    assert "cannot be read" in refusal(load_model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert "no model.safetensors" in refusal(load_model, tmp_path)
