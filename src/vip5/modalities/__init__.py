"""From photos to one vector an item: encoders, the job that runs them, and the matrix they fill."""

from vip5.modalities.store import ModalityStore, open_modality

__all__ = ["ModalityStore", "open_modality"]
