"""P5: our own model without photos, trained whole. Its run is that of a model, not of a `Baseline`.

S. Geng, S. Liu, Z. Fu, Y. Ge, Y. Zhang: Recommendation as language processing (RLP): a unified pretrain, personalized
prompt & predict paradigm (P5), RecSys 2022. It is what VIP5 is with no image tokens and no adapters.
"""

from collections.abc import Mapping
from typing import Any

from vip5.errors import UserError
from vip5.training import RunConfig
from vip5.training.config import configure, merge

NAME = "p5"
_FIXED = {"model": {"image_tokens": 0, "adapter": {"mode": "full"}}}


def p5_config(settings: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration of a P5: `settings`, nested as of `configure`, and `preset` among them (nano, if it is not).

    Raises: UserError as `configure`, and for settings that make it another model.
    """
    given = dict(settings or {})
    preset = given.pop("preset", "nano")
    config = configure(preset, merge(_FIXED, given), f"of {NAME}, preset {preset}")
    if config.model.image_tokens or config.model.adapter.mode != "full":
        raise UserError(
            "a P5 has no image tokens and no adapters: leave these out, or train another model (vip5 train)"
        )
    return config
