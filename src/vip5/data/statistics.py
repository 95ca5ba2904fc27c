"""What a dataset is like, in numbers."""

from typing import Any

import numpy as np

from vip5.data.dataset import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Sparsity (share of user-item pairs without interaction), lengths, users tested, ties, repeats, review splits,
    candidates' hash and modalities."""
    pairs = dataset.manifest.counts["interactions"] - dataset.manifest.counts["repeats"]
    splits = dataset.reviews["split"].value_counts().sort("split")
    return {
        "sparsity": 1 - pairs / (dataset.n_users * dataset.n_items),
        "user_lengths": _summary(dataset.sequences.lengths),
        "item_lengths": _summary(np.bincount(dataset.sequences.values, minlength=dataset.n_items)),
        "tested": {split: len(dataset.tested(split)) for split in ("validation", "test")},
        "tied_share": dataset.tied_share,
        "order_note": dataset.order_note,
        "buys_again": dataset.buys_again,
        "review_splits": dict(splits.iter_rows()),
        "candidates_hash": dataset.candidates_hash,
        "modalities": sorted(store.parent.name for store in dataset.path.glob("modalities/[!.]*/store.json")),
    }


def _summary(lengths: np.ndarray) -> dict[str, float]:
    return {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "max": int(lengths.max()),
    }
