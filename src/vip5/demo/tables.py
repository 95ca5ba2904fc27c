"""The shop as files: interactions.csv, items.csv, reviews.csv and images/."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from vip5.data.folder import new_folder
from vip5.demo.photos import draw_photo
from vip5.demo.shop import BRANDS, CATEGORIES, Shop, make_shop
from vip5.demo.words import product_title, user_names, write_review

MARK = "demo.json"  # tells a shop that may be overwritten
YEAR_START, YEAR = 1_672_531_200, 365 * 86_400  # 2023-01-01, seconds
_RATING_SHARES = (0.06, 0.11, 0.18, 0.33, 0.32)  # of 1 to 5 stars
_REVIEWED = 0.8  # share of the purchases


def write_demo(
    folder: str | Path, users: int = 600, items: int = 400, seed: int = 0, overwrite: bool = False
) -> dict[str, int]:
    """Write a shop into a new `folder`: interactions.csv, items.csv, reviews.csv and images/. Whole or not at all.

    The same arguments give the same bytes. Returns the counts of users, items, interactions, reviews and photos.
    Raises: UserError for a shop too small, and where `folder` is there already (with `overwrite`: holds no shop).
    """
    shop = make_shop(users, items, seed)
    # One stream for each file, so that a change in one leaves the others as they are.
    for_items, for_tables, for_photos = np.random.default_rng([seed, 1]).spawn(3)
    with new_folder(Path(folder), overwrite, mark=MARK) as aside:
        (aside / "images").mkdir()
        interactions, reviews = _write_tables(shop, _items(shop, for_items), aside, for_tables)
        for item in range(items):
            draw_photo(shop, item, for_photos).save(aside / "images" / f"{_item_id(item)}.jpg", quality=90)
        (aside / MARK).write_text(json.dumps({"users": users, "items": items, "seed": seed}) + "\n")
    return {"users": users, "items": items, "interactions": interactions, "reviews": reviews, "photos": items}


def _item_id(item: int) -> str:
    return f"P{item + 1:04d}"


def _items(shop: Shop, rng: np.random.Generator) -> pl.DataFrame:
    """The catalogue; nothing in it tells a colour, shape or pattern."""
    rows, titles = [], dict[str, int]()
    for item, (kind, brand) in enumerate(zip(shop.category, shop.brand, strict=True)):
        category, maker = list(CATEGORIES)[kind], BRANDS[brand]
        department, materials, _ = CATEGORIES[category]
        title = product_title(maker, category, rng)
        titles[title] = titles.get(title, 0) + 1
        rows.append(
            {
                "item": _item_id(item),
                "title": title if titles[title] == 1 else f"{title} {titles[title]}",
                "brand": maker,
                "categories": f"{department}|{category.capitalize()}",
                "description": f"A {category} by {maker}, made of {rng.choice(materials)}.",
                "image": f"{_item_id(item)}.jpg",
            }
        )
    return pl.DataFrame(rows)


def _write_tables(shop: Shop, items: pl.DataFrame, folder: Path, rng: np.random.Generator) -> tuple[int, int]:
    """Write the three tables; returns the numbers of interactions and reviews."""
    n_users = len(shop.purchases)
    names = user_names(n_users, rng)
    user = np.repeat(np.arange(n_users), [len(p) for p in shop.purchases])
    item = np.concatenate(shop.purchases)
    time = np.concatenate([np.sort(rng.choice(YEAR, size=len(p), replace=False)) for p in shop.purchases]) + YEAR_START
    # Stars: how well the purchase matches the taste, with a little mood.
    match = shop.taste()[user, item] + rng.normal(0, 0.5, size=len(user))
    rating = 1 + np.searchsorted(np.quantile(match, np.cumsum(_RATING_SHARES)[:-1]), match)
    reviewed = rng.random(len(user)) < _REVIEWED
    order = np.argsort(time, kind="stable")  # a shop's log is in the order of time

    purchases, reviews = [], []
    for row in order:
        ids = {"user": f"U{user[row] + 1:04d}", "item": _item_id(item[row])}
        when, stars = int(time[row]), int(rating[row])
        purchases.append({**ids, "timestamp": when, "rating": stars})
        if reviewed[row]:
            review = write_review(list(CATEGORIES)[shop.category[item[row]]], stars, rng)
            reviews.append({**ids, "rating": stars, **review, "timestamp": when, "user_name": names[user[row]]})
    pl.DataFrame(purchases).write_csv(folder / "interactions.csv")
    items.write_csv(folder / "items.csv")
    pl.DataFrame(reviews).write_csv(folder / "reviews.csv")
    return len(purchases), len(reviews)
