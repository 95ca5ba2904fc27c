"""From photos to one vector an item: encoders, the job that runs them, and the matrix they fill."""

from vip5.features.store import FeatureStore, open_features

__all__ = ["FeatureStore", "open_features"]
