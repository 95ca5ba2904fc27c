"""The model: T5, adapters, and a mapping network that turns photos into tokens."""

from vip5.model.backbone import DecoderState, Encoded
from vip5.model.checkpoint import (
    load_adapters,
    load_backbone,
    load_config,
    load_model,
    save_adapters,
    save_model,
    start_from,
)
from vip5.model.config import SIZES, AdapterConfig, ModelConfig, backbone_size
from vip5.model.count import Part, count_parameters
from vip5.model.int8 import to_int8
from vip5.model.t5 import load_t5, local_folder, to_t5_state
from vip5.model.vip5 import VIP5

__all__ = [
    "SIZES",
    "VIP5",
    "AdapterConfig",
    "DecoderState",
    "Encoded",
    "ModelConfig",
    "Part",
    "backbone_size",
    "count_parameters",
    "load_adapters",
    "load_backbone",
    "load_config",
    "load_model",
    "load_t5",
    "local_folder",
    "save_adapters",
    "save_model",
    "start_from",
    "to_int8",
    "to_t5_state",
]
