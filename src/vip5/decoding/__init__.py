"""From a prompt to ranked items and sentences."""

from vip5.decoding.beam import Beams, beam_search
from vip5.decoding.best import best_items
from vip5.decoding.exact import score_items, top_items
from vip5.decoding.space import CodeSpace, DecodingSpace, TextSpace
from vip5.decoding.text import best_of_beam, greedy

__all__ = [
    "Beams",
    "CodeSpace",
    "DecodingSpace",
    "TextSpace",
    "beam_search",
    "best_items",
    "best_of_beam",
    "greedy",
    "score_items",
    "top_items",
]
