"""What each system lets a search choose: settings that exist, and values that they take."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.baselines.registry import BASELINES
from vip5.errors import UserError
from vip5.space import Choice, Real, Whole
from vip5.training.config import configure, merge, nested

# What a user may have fixed, of systems whose space depends on it.
FIXED: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in BASELINES]
FIXED += [("sasrec", {"loss": "ce"}), ("sasrec", {"dim": 50}), ("hgn", {"dim": 50})]
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("best", {}),
    ("paper", {"model": {"backbone": "x"}}),
    ("paper", {"model": {"size": "base"}, "peft": {"method": "full"}}),
]


def values(dimension):
    match dimension:
        case Real(low, high):
            return st.floats(low, high)
        case Whole(low, high):
            return st.integers(low, high)
        case Choice(these):
            return st.sampled_from(these)


def holds(dimension, value) -> bool:
    return value in dimension.values if isinstance(dimension, Choice) else dimension.low <= value <= dimension.high


@pytest.mark.parametrize(("name", "fixed"), FIXED)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_baseline_takes_whatever_is_chosen(name, fixed, data):
    system = BASELINES[name]
    space = {key: kind for key, kind in system.check(fixed).space().items() if key not in fixed}
    chosen = {key: data.draw(values(kind), key) for key, kind in space.items()}
    made = system.check(fixed | chosen)
    for key, value in chosen.items():
        assert getattr(made, key) == value
        assert holds(space[key], getattr(system.check(fixed), key)), "the default can be chosen"


@pytest.mark.parametrize(("recipe", "fixed"), MODELS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_model_takes_whatever_is_chosen(recipe, fixed, data):
    space = configure(recipe, fixed, "").space()
    config = fixed
    for key, kind in space.items():
        config = merge(config, nested(key, data.draw(values(kind), key)))
        default = configure(recipe, fixed, "")
        for part in key.split("."):
            default = getattr(default, part)
        assert holds(kind, default), "the default can be chosen"
    assert configure(recipe, config, "").space() == space


def test_adapters_are_chosen_where_there_are_any():
    best, paper, whole = (configure(recipe, fixed, "").space() for recipe, fixed in MODELS)
    assert "peft.reduction" in paper
    assert "peft.reduction" not in {**best, **whole}


def test_negatives_are_of_the_sampled_loss():
    sasrec = BASELINES["sasrec"]
    assert "negatives" in sasrec.check({}).space() and "negatives" not in sasrec.check({"loss": "ce"}).space()
    with pytest.raises(UserError, match="negatives"):
        sasrec.check({"loss": "ce", "negatives": 64})
