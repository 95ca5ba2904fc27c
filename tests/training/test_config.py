"""The configuration of a run: preset, then file, then overrides."""

import pytest

from vip5.errors import UserError
from vip5.training import RunConfig, load_config
from vip5.training.config import PRESETS, SamplesPart


def refusal(*args) -> str:
    with pytest.raises(UserError) as error:
        load_config(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_presets():
    nano = load_config()
    assert nano == load_config("nano") and nano.model.size == "nano" and nano.model.adapter.mode == "full"
    for name in ("small", "base"):
        config = load_config(name, None, ["model.backbone=somewhere"])
        assert (config.model.adapter.mode, config.model.adapter.reduction) == ("self+cross", 8)
        assert config.model.image_tokens == 2 and config.model.size == name
        # the paper's recipe (section 4.1): 10 epochs, 36 samples on each of 4 GPUs, 1e-3 after 10 % warm-up, clip 5
        optim = config.optim
        assert (optim.epochs, optim.batch_size, optim.lr, optim.warmup, optim.clip) == (10, 144, 1e-3, 0.1, 5.0)
        assert config.samples == SamplesPart(
            next=5, next_yes_no=5, yes_no=5, choice=5, explain=1, candidates=100, last_positions=3, first_positions=3
        )
        assert (config.prompts.max_input, config.prompts.max_target) == (1024, 64)


def test_adapters_need_a_backbone():
    for name in ("small", "base"):
        said = refusal(name)
        assert "adapters need a trained backbone" in said and "model.backbone=FOLDER" in said
        assert load_config(name, None, ["model.adapter.mode=full"]).model.backbone is None
    assert "adapters need" in refusal("nano", None, ["model.adapter.mode=self"])


def test_file_over_preset_and_overrides_over_both(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        'seed = 3\n[optim]\nlr = 0.5\nepochs = 7\n[model.adapter]\nreduction = 4\n[codes]\nscheme = "paper"\n'
    )
    config = load_config("nano", file, ["optim.epochs=2", "codes.scheme=sequential", "prompts.train=['A-1', 'B-2']"])
    assert (config.seed, config.optim.lr, config.optim.epochs) == (3, 0.5, 2)
    assert config.codes.scheme == "sequential" and config.codes.users == "atomic"  # the preset's, untouched
    assert (config.model.adapter.mode, config.model.adapter.reduction) == ("full", 4)
    assert config.prompts.train == ["A-1", "B-2"]


@pytest.mark.parametrize(
    ("override", "get", "wanted"),
    [
        ("optim.lr=3e-4", lambda c: c.optim.lr, 3e-4),
        ("samples.last_positions=any", lambda c: c.samples.last_positions, "any"),
        ("samples.last_positions=5", lambda c: c.samples.last_positions, 5),
        ("features=clip-vit-b-32", lambda c: c.features, "clip-vit-b-32"),
        ("features=none", lambda c: c.features, None),
        ("model.backbone=runs/a=b", lambda c: c.model.backbone, "runs/a=b"),
        ("model.adapter={mode='full', reduction=2}", lambda c: c.model.adapter.reduction, 2),
        ("run.tensorboard=true", lambda c: c.run.tensorboard, True),
    ],
)
def test_overrides(override, get, wanted):
    assert get(load_config("nano", None, [override])) == wanted


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.rate=1", ["optim.rate", "no such setting", "lr", "batch_tokens", "weight_decay"]),
        ("optimiser.lr=1", ["optimiser", "no such setting", "model", "optim", "seed"]),
        ("model.adapter.width=1", ["model.adapter.width", "mode", "reduction"]),
        ("optim.lr=-1", ["optim.lr", "greater than 0"]),
        ("optim.lr=fast", ["optim.lr", "number"]),
        ("optim.lr.x=1", ["optim.lr", "number"]),
        ("optim=1", ["optim"]),
        ("samples.last_positions=0", ["samples.last_positions"]),
        ("model.adapter.mode=half", ["model.adapter.mode", "self+cross"]),
        ("seed=none", ["seed", "integer"]),
        ("optim.lr", ["'optim.lr' is not an override", "key=value"]),
        ("optim..lr=1", ["not an override"]),
        ("=1", ["not an override"]),
    ],
)
def test_a_wrong_override_is_one_clear_line(override, said):
    line = refusal("nano", None, [override])
    assert all(word in line for word in said), line


def test_a_wrong_file_is_one_clear_line(tmp_path):
    assert all(name in refusal("tiny") for name in PRESETS)
    assert "cannot read the configuration" in refusal("nano", tmp_path / "none.toml")
    file = tmp_path / "own.toml"
    for text, said in (("[optim\n", "not valid TOML"), ("[optim]\nrate = 1\n", "optim.rate"), ("x = 1\n", "no such")):
        file.write_text(text)
        line = refusal("nano", file)
        assert said in line and "own.toml" in line
    file.write_bytes(b"\xff\xfe")
    assert "own.toml" in refusal("nano", file)


def test_a_configuration_survives_being_written_down():
    """run.json holds it, and is read again."""
    config = load_config("nano", None, ["prompts.train=['A-1']", "samples.last_positions=4", "model.tokenizer=x"])
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
