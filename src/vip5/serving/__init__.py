"""A trained run, ready to answer."""

from vip5.serving.engine import Recommender, Suggestion

__all__ = ["Recommender", "Suggestion"]
