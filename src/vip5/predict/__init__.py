"""A trained model or a fitted baseline, complete in its own folder and ready to answer."""

from vip5.predict.baseline import FittedBaseline
from vip5.predict.model import TrainedModel
from vip5.predict.open import open_run
from vip5.predict.recommender import Recommender, Suggestion

__all__ = ["FittedBaseline", "Recommender", "Suggestion", "TrainedModel", "open_run"]
