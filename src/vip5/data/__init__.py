"""From plain files to a dataset folder, and the folder opened."""

from vip5.data.dataset import Dataset
from vip5.data.prepare import prepare, prepare_amazon
from vip5.data.ragged import Ragged
from vip5.data.schema import Manifest

__all__ = ["Dataset", "Manifest", "Ragged", "prepare", "prepare_amazon"]
