"""How long the code schemes take, and how much memory, on a made-up catalogue.

Usage: python benchmarks/codes_scale.py ITEMS SCHEME. Ten purchases an item, half as many users as items; items have a
title of six words and two categories. Prints one JSON object. One process a scheme, so that each peak is its own.
"""

import json
import resource
import sys
import time
from types import SimpleNamespace

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged
from vip5.items import code_items


def made_up(n_items: int, seed: int = 0) -> Dataset:
    """Items in a thousand kinds; a user buys 20 items of three kinds, popular ones more often. All for training."""
    rng = np.random.default_rng(seed)
    n_users, kinds = n_items // 2, min(1000, n_items // 10)
    kind_of = rng.integers(0, kinds, n_items)
    by_kind = np.argsort(kind_of, kind="stable")
    start = np.searchsorted(kind_of[by_kind], np.arange(kinds + 1))
    kind = rng.integers(0, kinds, (n_users, 3))[np.arange(n_users)[:, None], rng.integers(0, 3, (n_users, 20))]
    size = np.diff(start)[kind]
    place = np.minimum((size * rng.random(kind.shape) ** 3).astype(np.int64), size - 1)
    items = by_kind[start[kind] + place].astype(np.int32)
    words = np.array([f"w{n}" for n in range(50_000)])
    title = words[np.concatenate([kind_of[:, None] * 7 % 50_000, rng.integers(0, 50_000, (n_items, 5))], axis=1)]
    dataset = Dataset.__new__(Dataset)
    dataset.path = "made up"  # type: ignore[assignment]
    dataset.manifest = SimpleNamespace(counts={"users": n_users, "items": n_items})  # type: ignore[assignment]
    lengths = np.full(n_users, 20)
    dataset.__dict__["sequences"] = Ragged.from_lengths(items.ravel(), lengths)
    dataset.__dict__["_split_counts"] = np.stack([lengths, 0 * lengths, 0 * lengths])
    dataset.__dict__["items"] = pl.DataFrame(
        {
            "item": [f"i{n:09}" for n in range(n_items)],
            "title": pl.DataFrame(title).select(pl.concat_str(pl.all(), separator=" ")).to_series(),
            "categories": [["all", f"kind {k}"] for k in kind_of.tolist()],
        }
    )
    return dataset


if __name__ == "__main__":
    n_items, scheme = int(sys.argv[1]), sys.argv[2]
    data = made_up(n_items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    coding = code_items(scheme, data)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(set(coding.words)) == n_items
    print(
        json.dumps(
            {
                "items": n_items,
                "scheme": scheme,
                "seconds": round(seconds, 1),
                "peak_gib": round(peak / 2**20, 2),
                "before_gib": round(before / 2**20, 2),
                "new_tokens": len(coding.new_tokens),
                "collisions": coding.collisions,
            }
        )
    )
