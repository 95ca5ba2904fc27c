"""The model: T5, ways of tuning it, and mapping networks that turn items' vectors into tokens."""

from vip5.model.backbone import DecoderState, Encoded
from vip5.model.checkpoint import (
    load_backbone,
    load_config,
    load_model,
    load_trained,
    save_model,
    save_trained,
    start_from,
)
from vip5.model.config import SIZES, ModalityConfig, ModelConfig, backbone_size
from vip5.model.count import Part, count_parameters
from vip5.model.input import ModelInput
from vip5.model.int8 import to_int8
from vip5.model.peft import Adapters, Full
from vip5.model.t5 import load_t5, local_folder, to_t5_state
from vip5.model.vip5 import VIP5

__all__ = [
    "SIZES",
    "VIP5",
    "Adapters",
    "DecoderState",
    "Encoded",
    "Full",
    "ModalityConfig",
    "ModelConfig",
    "ModelInput",
    "Part",
    "backbone_size",
    "count_parameters",
    "load_backbone",
    "load_config",
    "load_model",
    "load_t5",
    "load_trained",
    "local_folder",
    "save_model",
    "save_trained",
    "start_from",
    "to_int8",
    "to_t5_state",
]
