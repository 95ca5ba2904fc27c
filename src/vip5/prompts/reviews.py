"""Which reviews can fill a prompt of task `explain`, and the stars of each."""

import numpy as np
import polars as pl

from vip5.data import Dataset
from vip5.data.dataset import known_split
from vip5.data.schema import TEST, TRAIN, VALIDATION
from vip5.prompts.templates import Prompt


def explainable(dataset: Dataset, split: str) -> pl.DataFrame:
    """The reviews of a split that hold an explanation: row, user, item."""
    reviews = dataset.reviews.with_row_index("row")
    return reviews.filter(
        (pl.col("split") == known_split(split, TRAIN, VALIDATION, TEST)) & pl.col("explanation").is_not_null()
    )


def stars_in_tenths(reviews: pl.DataFrame) -> np.ndarray:
    """int [n]: the rating times ten, -1 where there is none or it is outside 0 … 10."""
    tenths = (reviews["rating"].cast(pl.Float64) * 10).round().fill_null(-1).fill_nan(-1).to_numpy().astype(int)
    return np.where((tenths >= 0) & (tenths <= 100), tenths, -1)


def fillable(reviews: pl.DataFrame, prompt: Prompt) -> np.ndarray:
    """bool [n]: which reviews have all the fields that a prompt of task `explain` needs."""
    fits = reviews["explanation"].is_not_null().to_numpy().copy()
    for field, column in (("review_headline", "headline"), ("feature", "feature")):
        if field in prompt.needs:
            fits &= reviews[column].is_not_null().to_numpy()
    if "star_rating" in prompt.needs:
        fits &= stars_in_tenths(reviews) >= 0
    return fits
