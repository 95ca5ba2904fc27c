"""P5 is VIP5's configuration with no photos and no adapters, and no other."""

import pytest

from vip5.baselines.run import fit_run
from vip5.errors import UserError
from vip5.training import load_config
from vip5.training.p5 import p5_config


@pytest.mark.parametrize("preset", ["nano", "small"])
def test_it_is_the_preset_on_text_alone_trained_whole(preset):
    ours = p5_config({"preset": preset, "optim": {"epochs": 7}})
    same = load_config(preset, overrides=["optim.epochs=7", "model.image_tokens=0", "model.adapter.mode=full"])
    assert ours == same and ours.model.image_tokens == 0 and ours.model.adapter.mode == "full"
    assert p5_config() == p5_config({"preset": "nano"}) == p5_config({"model": {"image_tokens": 0}})


@pytest.mark.parametrize("setting", [{"image_tokens": 2}, {"adapter": {"mode": "self"}}])
def test_what_makes_it_another_model_is_refused(setting):
    with pytest.raises(UserError, match="a P5 has no image tokens and no adapters: leave these out"):
        p5_config({"model": {"backbone": "somewhere"} | setting})


def test_it_is_no_run_of_a_baseline(tiny, tmp_path):
    with pytest.raises(UserError, match="p5 is trained as a model"):
        fit_run("p5", tiny, tmp_path / "run", {}, "")
