"""P5 is VIP5's configuration with no modalities, trained whole, and no other."""

import pytest

from vip5.errors import UserError
from vip5.model import Full
from vip5.predict.baseline import fit_run
from vip5.training import load_config
from vip5.training.p5 import p5_config


@pytest.mark.parametrize("recipe", ["best", "paper", "prompts"])
def test_it_is_the_recipe_on_text_alone_trained_whole(recipe):
    ours = p5_config({"recipe": recipe, "optim": {"epochs": 7}})
    same = load_config(
        recipe, overrides=["optim.epochs=7", "modalities.photo=none", "modalities.every=none", "peft.method=full"]
    )
    assert ours == same and ours.modalities == {} and ours.peft == Full()
    assert p5_config() == p5_config({"recipe": "prompts"}) == p5_config({"peft": {"method": "full"}})


@pytest.mark.parametrize("setting", [{"modalities": {"text": {"tokens": 2}}}, {"peft": {"method": "adapters"}}])
def test_what_makes_it_another_model_is_refused(setting):
    with pytest.raises(UserError, match="a P5 has no modalities and is trained whole: leave these out"):
        p5_config({"model": {"backbone": "somewhere"}} | setting)


def test_it_is_no_run_of_a_baseline(tiny_data, tmp_path):
    with pytest.raises(UserError, match="p5 is trained as a model"):
        fit_run("p5", tiny_data, tmp_path / "run", {}, "")
