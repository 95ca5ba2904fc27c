"""Any number of named stores of one vector an item: what makes them, and how they are opened."""

from vip5.modalities.store import KINDS, Kind, ModalityStore, copy_store, open_modality, open_store, store_names

__all__ = ["KINDS", "Kind", "ModalityStore", "copy_store", "open_modality", "open_store", "store_names"]
