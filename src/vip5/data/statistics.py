"""What a dataset is like, in numbers."""

from typing import Any

import numpy as np
import polars as pl

from vip5.data.dataset import Dataset

_FIELDS = {
    "users": ("name",),
    "items": ("title", "brand", "categories", "description", "image"),
    "interactions": ("timestamp", "rating"),
    "reviews": ("rating", "headline", "text", "feature", "explanation", "timestamp"),
}


def describe(dataset: Dataset) -> dict[str, Any]:
    """Sparsity (share of user-item pairs without interaction), lengths, users tested, ties, repeats, which fields are
    filled, review splits, candidates' hash and modalities."""
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
        "filled": filled(dataset),
        "review_splits": dict(splits.iter_rows()),
        "candidates_hash": dataset.candidates_hash,
        "modalities": sorted(store.parent.name for store in dataset.path.glob("modalities/[!.]*/store.json")),
    }


def filled(dataset: Dataset) -> dict[str, dict[str, float]]:
    """By table and field, the share of rows that have a value; tables without rows are not there."""
    shares = {}
    for table, fields in _FIELDS.items():
        rows = pl.scan_parquet(dataset.path / f"{table}.parquet")
        full = [pl.col(name).list.len() > 0 if name == "categories" else pl.col(name).is_not_null() for name in fields]
        found = rows.select(pl.len().alias(""), *(has.sum().alias(n) for n, has in zip(fields, full, strict=True)))
        counts = found.collect().row(0, named=True)
        if number := counts.pop(""):
            shares[table] = {name: count / number for name, count in counts.items()}
    return shares


def filled_rows(dataset: Dataset) -> list[list[str]]:
    """A row a table, for people: which fields have values."""
    return [
        [f"{table} with", ", ".join(f"{name} {_share(share)}" for name, share in fields.items())]
        for table, fields in filled(dataset).items()
    ]


def _share(share: float) -> str:
    """In per cent, where it is neither all nor none, not even nearly so."""
    if share in (0, 1):
        return "all" if share else "none"
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def _summary(lengths: np.ndarray) -> dict[str, float]:
    return {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "max": int(lengths.max()),
    }
