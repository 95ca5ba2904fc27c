"""P5: our own model on text alone, trained whole. Its run is that of a model, not of a baseline.

S. Geng, S. Liu, Z. Fu, Y. Ge, Y. Zhang: Recommendation as language processing (RLP): a unified pretrain, personalized
prompt & predict paradigm (P5), RecSys 2022. It is what VIP5 is on text alone, trained whole.
"""

from collections.abc import Mapping
from typing import Any

from vip5.baselines.registry import P5
from vip5.errors import UserError
from vip5.model import Full
from vip5.training.config import RunConfig, configure, merge

_FIXED = {"modalities": {"photo": None, "every": None}, "peft": {"method": "full"}}


def p5_config(settings: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a P5: `settings`, nested as of `configure`, and `recipe` among them (prompts, if it is not).

    Raises: UserError as `configure`, and for settings that make it another model.
    """
    given = dict(settings or {})
    recipe = given.pop("recipe", "prompts")
    config = configure(recipe, merge(_FIXED, given), f"of {P5}, recipe {recipe}")
    if config.modalities or not isinstance(config.peft, Full):
        raise UserError(
            "a P5 has no modalities and is trained whole: leave these out, or train another model (vip5 train)"
        )
    return config
