"""The paper's two steps: a P5 of text, trained whole; then photos and adapters on it, frozen. And a T5 as the first."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration

from vip5.errors import UserError
from vip5.predict import TrainedModel
from vip5.training import Run, load_config, train

STEP_TWO = ["modalities.photo.tokens=2", "peft.method=adapters", "optim.epochs=1"]


@pytest.fixture(scope="module", params=["atomic", "sequential"])
def p5(request, tiny_data, tiny_settings, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("p5") / "run"
    codes = [f"codes.scheme={request.param}", f"codes.users={'atomic' if request.param == 'atomic' else 'text'}"]
    settings = [*tiny_settings, *codes, "modalities.photo=none", "optim.epochs=1"]
    train(Run.new(load_config("prompts", None, settings), tiny_data), out, quiet=True)
    return out


def codes_of(folder: Path) -> list[str]:
    config = json.loads((folder / "run.json").read_text())["config"]["codes"]
    return [f"codes.{key}={config[key]}" for key in ("scheme", "users")]


def is_trained(name: str) -> bool:
    """DESIGN: adapters, mapping network, layer norms, whole-word and category embeddings, tokens of the id scheme."""
    added = ("modalities.", "whole_words.", "categories.", "new_tokens.", "new_head.", "user_tokens.")
    return name.startswith(added) or ".adapter." in name or name.endswith("norm.weight")


@pytest.mark.slow
def test_vip5_on_a_p5(p5, tiny_data, tiny_settings, tmp_path):
    settings = [*tiny_settings, *codes_of(p5), *STEP_TWO, f"model.backbone={p5}", "model.dropout=0"]
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    first = load_file(p5 / "model.safetensors")
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    run.stores["photo"].mask[::5] = False  # so that the vector for items without photo is met
    assert not any(name.startswith("modalities.") or ".adapter." in name for name in first)
    assert all(torch.equal(before[name], weight) for name, weight in first.items())
    train(run, tmp_path / "run", quiet=True)
    after = load_file(tmp_path / "run/model.safetensors")
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if is_trained(name)}
    assert {"modalities", "encoder", "decoder"} <= {name.partition(".")[0] for name in changed}
    assert (p5 / "tokenizer.json").read_text() == (tmp_path / "run/tokenizer.json").read_text()
    second, one = TrainedModel.load(tmp_path / "run"), TrainedModel.load(p5)
    assert second.codes.words == one.codes.words and (second.codes.targets() == one.codes.targets()).all()
    assert second.tokens == {"photo": 2} and (second.stores["photo"].mask == run.stores["photo"].mask).all()
    assert one.tokens == {} and one.stores == {}


def test_what_does_not_fit_a_p5_is_refused(p5, tiny_data, tiny_settings, tmp_path):
    def said(source: Path, codes: list[str]) -> str:
        config = load_config("prompts", None, [*tiny_settings, *STEP_TWO, *codes, f"model.backbone={source}"])
        with pytest.raises(UserError) as error:
            Run.new(config, tiny_data)
        assert "\n" not in str(error.value)
        return str(error.value)

    given = ["codes.scheme=sequential", "codes.users=atomic"]
    line = said(p5, given)
    assert "in another way" in line and all((own in line) == (own not in given) for own in codes_of(p5))
    assert "codes.collaborative.width=20" in said(p5, [*codes_of(p5), "codes.collaborative.width=9"])
    assert "no folder and no model" in said(tmp_path / "none", [])


@pytest.mark.parametrize("form", ["v1.0", "v1.1"])
@pytest.mark.parametrize("scheme", ["sequential", "atomic"])
def test_adapters_on_a_t5(form, scheme, shared, tiny_data, tiny_settings, tmp_path):
    """A folder as transformers writes it, tied and untied, with T5's own tokenizer in it."""
    torch.manual_seed(0)
    theirs = T5ForConditionalGeneration(
        T5Config(  # type: ignore[call-arg]
            vocab_size=32128, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0,
            feed_forward_proj="relu" if form == "v1.0" else "gated-gelu", tie_word_embeddings=form == "v1.0",
        )
    )  # fmt: skip
    if form == "v1.1":
        theirs.lm_head.weight = torch.nn.Parameter(torch.randn(32128, 32))
    theirs.save_pretrained(tmp_path / "t5")
    shutil.copy(shared / "models/t5-tokenizer/tokenizer.json", tmp_path / "t5")
    settings = [*tiny_settings, *STEP_TWO, f"codes.scheme={scheme}", f"model.backbone={tmp_path / 't5'}",
                "samples.next_yes_no=0", "samples.yes_no=0", "samples.choice=0", "samples.explain=0"]  # fmt: skip
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    assert run.model.config.tied_head == (form == "v1.0")
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    assert torch.equal(before["text_tokens.weight"], theirs.state_dict()["shared.weight"])
    run.stores["photo"].mask[::5] = False
    train(run, tmp_path / "run", quiet=True)
    after = load_file(tmp_path / "run/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if is_trained(name)}
    assert any(name.startswith("new_tokens") for name in changed) == (scheme == "atomic")
    assert any(name.startswith("new_head") for name in changed) == (scheme == "atomic" and form == "v1.1")
    opened = TrainedModel.load(tmp_path / "run")
    assert opened.codes.vocabulary.size == 32128
    assert (opened.codes.targets().max() >= 32128) == (scheme == "atomic")


def test_a_t5_by_its_name_on_the_hub(shared, tiny_data, tiny_settings, tmp_path, monkeypatch):
    """Weights and tokenizer of the downloaded folder are used."""
    from vip5.model import t5

    T5ForConditionalGeneration(
        T5Config(  # type: ignore[call-arg]
            vocab_size=32128, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
    ).save_pretrained(tmp_path / "cached")
    shutil.copy(shared / "models/t5-tokenizer/tokenizer.json", tmp_path / "cached")
    monkeypatch.setattr(t5, "snapshot_download", lambda name, **_: tmp_path / "cached")
    settings = [
        *tiny_settings,
        "model.backbone=google-t5/t5-tiny",
        "codes.scheme=sequential",
        "peft={method='adapters', reduction=4}",
    ]
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    assert run.model.config.d_model == 16 and run.codes.vocabulary.size == 32128
