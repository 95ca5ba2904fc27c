"""Configuration, run folders and the trainer."""

from vip5.training.config import EVERY, RunConfig, load_config
from vip5.training.distributed import best_device, together
from vip5.training.run import Run
from vip5.training.trainer import Trainer, train

__all__ = ["EVERY", "Run", "RunConfig", "Trainer", "best_device", "load_config", "together", "train"]
