"""Configuration, run folders and the training loop."""

from vip5.training.config import RunConfig, load_config
from vip5.training.distributed import best_device, together
from vip5.training.loop import train
from vip5.training.run import Run

__all__ = ["Run", "RunConfig", "best_device", "load_config", "together", "train"]
