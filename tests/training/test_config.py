"""The configuration of a run: recipe, then file, then overrides."""

import pytest

from vip5.errors import UserError
from vip5.model import Adapters, Full
from vip5.predict.config import ModalityPart
from vip5.training import RunConfig, load_config
from vip5.training.config import RECIPES, SamplesPart


def refusal(*args) -> str:
    with pytest.raises(UserError) as error:
        load_config(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def tokens(config: RunConfig) -> dict[str, int]:
    return {name: part.tokens for name, part in config.modalities.items()}


def test_recipes():
    best, prompts = load_config(), load_config("prompts")
    assert best == load_config("best") and (best.recipe, best.model.size) == ("best", "nano")
    assert best.peft == Full() and best.on(["photo", "text"]).modalities == {
        name: ModalityPart(tokens=1, row=True, score=True) for name in ("photo", "text")
    }
    assert (prompts.model.size, prompts.peft, tokens(prompts)) == ("nano", Full(), {"photo": 2})
    for size in ("small", "base"):
        config = load_config("paper", None, ["model.backbone=somewhere"], size)
        assert config == load_config("paper", None, [f"model.size={size}", "model.backbone=somewhere"])
        assert config.recipe == "paper" and config.model.size == size and tokens(config) == {"photo": 2}
        assert config.peft == Adapters(places=("self_attention", "feed_forward", "cross_attention"), reduction=8)
        # the paper's recipe (section 4.1): 10 epochs, 36 samples on each of 4 GPUs, 1e-3 after 10 % warm-up, clip 5
        optim = config.optim
        assert (optim.epochs, optim.batch_size, optim.lr, optim.warmup, optim.clip) == (10, 144, 1e-3, 0.1, 5.0)
        assert config.samples == SamplesPart(
            next=5,
            next_yes_no=5,
            yes_no=5,
            choice=5,
            explain=1,
            candidates=100,
            mix="prompts",
            last_positions=3,
            first_positions=3,
            shortest_history=2,
        )
        assert (config.prompts.max_input, config.prompts.max_target) == (1024, 64)
    assert load_config("paper", None, ["model.backbone=x"]).model.size == "small"


def test_tuning_what_is_added_needs_a_backbone():
    for size in ("small", "base"):
        said = refusal("paper", None, [], size)
        assert "peft.method=adapters needs a trained backbone" in said and "model.backbone=FOLDER" in said
        assert load_config("paper", None, ["peft.method=full"], size).model.backbone is None
    assert "needs a trained backbone" in refusal("best", None, ["peft.method=adapters"])


def test_another_way_of_tuning_begins_with_its_own_defaults():
    """Settings of the one below do not reach it."""
    config = load_config("paper", None, ["model.backbone=x", "peft.reduction=4"])
    assert config.peft == Adapters(reduction=4)
    assert load_config("paper", None, ["peft.reduction=4", "peft.method=full"]).peft == Full()
    assert load_config("prompts", None, ["model.backbone=x", "peft.method=adapters"]).peft == Adapters()
    own = ["model.backbone=x", "peft.method=adapters", "peft.places=['feed_forward']"]
    assert load_config("prompts", None, own).peft == Adapters(places=("feed_forward",))
    assert "peft" in refusal("best", None, ["peft.reduction=4"])


def test_modalities_are_added_and_taken_away():
    assert tokens(load_config("prompts", None, ["modalities.photo=none"])) == {}
    assert tokens(load_config("prompts", None, ["modalities.photo.tokens=1"])) == {"photo": 1}
    both = load_config("prompts", None, ["modalities.text.tokens=3"])
    assert tokens(both) == {"photo": 2, "text": 3} and list(both.modalities) == ["photo", "text"]
    assert tokens(load_config("prompts", None, ["modalities.text={}"])) == {"photo": 2, "text": 2}


def test_every_store_of_a_data_set_is_a_modality():
    config = load_config(
        "best", None, ["modalities.photo.row=false", "modalities.text=none", "modalities.every.tokens=3"]
    )
    photo, other = ModalityPart(tokens=3, score=True), ModalityPart(tokens=3, row=True, score=True)
    assert config.on(["photo", "sound", "text"]).modalities == {"photo": photo, "sound": other}
    assert load_config("best", None, ["modalities.every=none"]).on(["photo"]).modalities == {}
    assert load_config("prompts").on(["photo", "text"]).modalities == {"photo": ModalityPart(tokens=2)}


def test_file_over_recipe_and_overrides_over_both(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        'seed = 3\n[optim]\nlr = 0.5\nepochs = 7\n[model]\nbackbone = "x"\n[peft]\nmethod = "adapters"\n'
        'reduction = 4\n[modalities]\nphoto.tokens = 3\n[codes]\nscheme = "paper"\n'
    )
    config = load_config("prompts", file, ["optim.epochs=2", "codes.scheme=sequential", "prompts.train=['A-1', 'B-2']"])
    assert (config.seed, config.optim.lr, config.optim.epochs) == (3, 0.5, 2)
    assert config.codes.scheme == "sequential" and config.codes.users == "atomic"  # the recipe's, untouched
    assert config.peft == Adapters(reduction=4) and tokens(config) == {"photo": 3}
    assert config.prompts.train == ["A-1", "B-2"]
    file.write_text('model.backbone = "none"\nmodalities.photo = "none"\nsamples.last_positions = "any"\n')
    config = load_config("prompts", file)  # TOML has no null
    assert config.model.backbone is None and tokens(config) == {} and config.samples.last_positions == "any"


@pytest.mark.parametrize(
    ("override", "get", "wanted"),
    [
        ("optim.lr=3e-4", lambda c: c.optim.lr, 3e-4),
        ("samples.last_positions=any", lambda c: c.samples.last_positions, "any"),
        ("samples.last_positions=5", lambda c: c.samples.last_positions, 5),
        ("modalities={clip={tokens=5}}", lambda c: c.modalities["clip"].tokens, 5),
        ("modalities.photo=none", lambda c: c.modalities, {}),
        ("model.backbone=runs/a=b", lambda c: c.model.backbone, "runs/a=b"),
        ("model.backbone=none", lambda c: c.model.backbone, None),
        ("samples.shortest_history=2", lambda c: c.samples.shortest_history, 2),
        ("run.tensorboard=true", lambda c: c.run.tensorboard, True),
    ],
)
def test_overrides(override, get, wanted):
    assert get(load_config("prompts", None, [override])) == wanted


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.rate=1", ["optim.rate", "no such setting", "lr", "batch_tokens", "weight_decay"]),
        ("optimiser.lr=1", ["optimiser", "no such setting", "model", "optim", "seed"]),
        ("model.adapter.mode=full", ["model.adapter", "no such setting", "backbone", "dropout"]),
        ("features=photo", ["features", "no such setting", "modalities"]),
        ("peft.width=1", ["peft", "width", "no such setting"]),
        ("modalities.photo.tokens=6", ["modalities.photo.tokens", "5"]),
        ("modalities.photo.width=1", ["modalities.photo.width", "no such setting"]),
        ("optim.lr=-1", ["optim.lr", "greater than 0"]),
        ("optim.lr=fast", ["optim.lr", "number"]),
        ("optim.lr.x=1", ["optim.lr", "number"]),
        ("optim=1", ["optim"]),
        ("samples.last_positions=0", ["samples.last_positions"]),
        ("peft.method=half", ["peft", "half", "full", "adapters"]),
        ("peft={method='adapters', places=['head']}", ["peft", "places", "self_attention"]),
        ("seed=none", ["seed", "integer"]),
        ("optim.lr", ["'optim.lr' is not an override", "key=value"]),
        ("optim..lr=1", ["not an override"]),
        ("=1", ["not an override"]),
    ],
)
def test_a_wrong_override_is_one_clear_line(override, said):
    line = refusal("best", None, [override])
    assert all(word in line for word in said), line


def test_a_wrong_file_is_one_clear_line(tmp_path):
    assert all(name in refusal("tiny") for name in RECIPES)
    assert "cannot read the configuration" in refusal("best", tmp_path / "none.toml")
    file = tmp_path / "own.toml"
    for text, said in (("[optim\n", "not valid TOML"), ("[optim]\nrate = 1\n", "optim.rate"), ("x = 1\n", "no such")):
        file.write_text(text)
        line = refusal("best", file)
        assert said in line and "own.toml" in line
    file.write_bytes(b"\xff\xfe")
    assert "own.toml" in refusal("best", file)


def test_a_configuration_survives_being_written_down():
    """run.json holds it, and is read again."""
    config = load_config("prompts", None, ["prompts.train=['A-1']", "samples.last_positions=4", "model.tokenizer=x"])
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--epochs", "no option --epochs of this command: the setting is optim.epochs"),
        ("--batch-size=3", "no option --batch-size of this command: the setting is optim.batch_size"),
        ("--nonsense", "no option --nonsense of this command: settings are written as in optim.lr=3e-4"),
        ("epochs=3", "epochs: no such setting; did you mean optim.epochs?"),
        ("model.lr=1", "model.lr: no such setting; did you mean optim.lr?"),
        ("optim.leaning_rate=1", "optim.leaning_rate: no such setting; there are epochs, "),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("seed=4294967296", "seed: Input should be less than 4294967296"),
    ],
)
def test_a_remedy_names_what_exists(override, said):
    with pytest.raises(UserError) as refused:
        load_config("best", None, [override])
    assert said in str(refused.value)
