"""The demo shop: the same by seed, whole or not at all, with tastes that only its photos tell."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vip5.demo import tables, words, write_demo
from vip5.demo.shop import BRANDS, CATEGORIES, COLOURS, PATTERNS, SHAPES, Shop, make_shop
from vip5.errors import UserError

TRAITS = (*COLOURS, *SHAPES, *PATTERNS)
TRAIT_WORDS = re.compile(
    rf"\b({'|'.join(TRAITS)}|purple|magenta|turquoise|cyan|colou?r(ed|ful)?|round|striped?|dot|dotted|check(ed|ered)?)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "shop"
    write_demo(folder, users=60, items=80, seed=3)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_demo(tmp_path / "again", users=60, items=80, seed=3)
    write_demo(tmp_path / "other", users=60, items=80, seed=4)
    assert files(tmp_path / "again") == files(folder)
    other = files(tmp_path / "other")
    assert all(other[name] != content for name, content in files(folder).items())


def test_tables(folder: Path) -> None:
    purchases = pl.read_csv(folder / "interactions.csv")
    items = pl.read_csv(folder / "items.csv")
    reviews = pl.read_csv(folder / "reviews.csv")
    assert purchases.columns == ["user", "item", "timestamp", "rating"]
    assert items.columns == ["item", "title", "brand", "categories", "description", "image"]
    assert reviews.columns == [
        *("user", "item", "rating", "headline", "text", "feature", "explanation", "timestamp", "user_name")
    ]
    assert items["item"].is_unique().all() and items["title"].is_unique().all() and items.height == 80
    assert not purchases.select("user", "item").is_duplicated().any()
    assert not purchases.select("user", "timestamp").is_duplicated().any()
    lengths = purchases.group_by("user").len()["len"]
    assert (lengths.len(), lengths.min(), lengths.max()) == (60, 8, 16)
    assert purchases["timestamp"].max() - purchases["timestamp"].min() < 365 * 86_400
    assert purchases["timestamp"].is_sorted() and set(purchases["rating"]) == {1, 2, 3, 4, 5}
    assert set(purchases["item"]) <= set(items["item"])
    assert reviews.join(purchases, on=["user", "item", "timestamp", "rating"]).height == reviews.height
    assert reviews.height / purchases.height == pytest.approx(0.8, abs=0.06)


def test_reviews_say_their_feature_in_one_sentence(folder: Path) -> None:
    reviews = pl.read_csv(folder / "reviews.csv").join(pl.read_csv(folder / "items.csv"), on="item")
    for row in reviews.iter_rows(named=True):
        assert re.search(rf"\b{row['feature']}\b", row["explanation"])
        assert row["categories"].split("|")[1].lower() in row["explanation"] + row["title"]
        assert row["text"].startswith(row["explanation"]) and len(row["text"]) > len(row["explanation"])
        assert row["explanation"].count(".") == 1 and row["explanation"].endswith(".")
    names = reviews.group_by("user").agg(pl.col("user_name").unique())
    assert (names["user_name"].list.len() == 1).all()  # one name a user, and nobody else's
    assert names["user_name"].list.first().is_unique().all()
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", name) for name in names["user_name"].list.first())


def test_stars_and_feature_tell_much_of_the_sentence() -> None:
    """The most frequent sentence for stars, feature and category is far more often right than the most frequent one."""
    rng = np.random.default_rng(0)
    sentences: dict[tuple[int, str, str], list[str]] = {}
    for _ in range(6000):
        stars, category = int(rng.integers(1, 6)), str(rng.choice(list(CATEGORIES)))
        review = words.write_review(category, stars, rng)
        sentences.setdefault((stars, review["feature"], category), []).append(review["explanation"])
    every = [s for group in sentences.values() for s in group]
    best = max(every.count(s) for s in set(every)) / len(every)
    informed = sum(max(map(group.count, set(group))) for group in sentences.values()) / len(every)
    assert best < 0.02 < 0.2 < informed
    assert len(set(every)) > 500


def test_no_text_tells_what_the_photo_shows(folder: Path) -> None:
    for table in ("interactions", "items", "reviews"):
        assert TRAIT_WORDS.findall((folder / f"{table}.csv").read_text()) == []
    templates = [*sum(words._EXPLANATIONS.values(), ()), *sum(words._REMARKS.values(), ())]
    texts = [*templates, *sum(words._HEADLINES.values(), ()), *sum(words._ADJECTIVES.values(), ()), *words._ADJECTIVES]
    names = words.user_names(2000, np.random.default_rng(0))
    assert len(set(names)) == 2000
    assert [w for w in [*texts, *BRANDS, *CATEGORIES, *names] if TRAIT_WORDS.search(w)] == []


def test_photos_show_their_colour(folder: Path) -> None:
    shop = make_shop(60, 80, 3)
    palette = np.array(list(COLOURS.values()))
    right = 0
    for item in range(80):
        with Image.open(folder / "images" / f"P{item + 1:04d}.jpg") as photo:
            assert photo.size == (96, 96) and photo.format == "JPEG"
            pixels = np.asarray(photo.convert("RGB"), dtype=float).reshape(-1, 3)
        span = np.ptp(pixels, axis=1)
        vivid = pixels[span >= np.quantile(span, 0.95)]
        right += np.linalg.norm(palette - np.median(vivid, axis=0), axis=1).argmin() == shop.colour[item]
    assert right / 80 > 0.9


def hit_rate(shop: Shop, score: np.ndarray, k: int = 10) -> float:
    """Share of users whose last purchase is among the k best of it and 99 uniform others they never bought."""
    rng = np.random.default_rng(1)
    hits = 0
    for user, row in enumerate(shop.purchases):
        others = rng.choice(np.setdiff1d(np.arange(score.shape[1]), row), 99, replace=False)
        target = row[-1]
        ties = rng.random(100) * 1e-9
        hits += (score[user, others] + ties[1:] > score[user, target] + ties[0]).sum() < k
    return hits / len(shop.purchases)


def test_learnable_but_not_trivial() -> None:
    """Who knows the tastes is far above popularity; who does not see the photos is far below who does."""
    shop = make_shop()
    before = np.array([row[-2] for row in shop.purchases])
    bought = np.concatenate([row[:-2] for row in shop.purchases])
    counts = np.broadcast_to(np.bincount(bought, minlength=400), (600, 400)).astype(float)
    whole = hit_rate(shop, shop.taste() + shop.sequel(before) + shop.popularity)
    blind = hit_rate(shop, shop.taste(visual=False) + shop.sequel(before, visual=False) + shop.popularity)
    lasting = hit_rate(shop, shop.taste() + shop.popularity)
    popularity = hit_rate(shop, counts)
    print(
        f"HR@10 of 100: oracle {whole:.3f}, taste only {lasting:.3f}, no photos {blind:.3f}, popular {popularity:.3f}"
    )
    assert whole > 0.75 and lasting > 0.6
    assert 0.11 < popularity < 0.22
    assert popularity + 0.1 < blind < whole - 0.25

    def spread(visual: bool, told: bool) -> float:
        return float((shop.taste(visual, told) + shop.sequel(before, visual, told)).var(axis=1).mean())

    assert 0.5 < spread(True, False) / (spread(True, False) + spread(False, True)) < 0.7


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "draw_photo", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_demo(tmp_path / "shop", users=10, items=40)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".shop.partial").mkdir()  # what a killed run leaves
    (tmp_path / ".shop.partial" / "rest").touch()
    write_demo(tmp_path / "shop", users=10, items=40)
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]
    assert not (tmp_path / "shop" / "rest").exists()


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 8 users and 32 items"):
        write_demo(tmp_path / "shop", users=3)
    write_demo(tmp_path / "shop", users=8, items=32)
    with pytest.raises(UserError, match="exists"):
        write_demo(tmp_path / "shop", users=8, items=32)
    write_demo(tmp_path / "shop", users=9, items=32, overwrite=True)
    assert pl.read_csv(tmp_path / "shop" / "interactions.csv")["user"].n_unique() == 9
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(UserError, match="mine"):
        write_demo(tmp_path / "mine", users=8, items=32, overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").exists()
    with pytest.raises(UserError, match="diary"):
        write_demo(tmp_path / "mine" / "diary.txt" / "shop", users=8, items=32)
