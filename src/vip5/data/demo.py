"""A small made-up shop as plain files, so that the product has something of its own to run on.

Every item has traits that the tables tell (category, brand) and traits that only its photo shows (colour, shape,
pattern). Users choose by both, so a system that sees the photos can know more than one that reads the tables.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFilter

from vip5.data.folder import new_folder
from vip5.errors import UserError

# The shop's categories; people who bought from one tend to go on with the one after it. Department, what it is made
# of, and the words that reviews are about, the most common first.
CATEGORIES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "mug": ("Kitchen", ("stoneware", "porcelain", "enamel"), ("handle", "glaze", "size", "price")),
    "notebook": ("Office", ("recycled paper", "cotton paper"), ("paper", "binding", "cover", "price")),
    "lamp": ("Living", ("metal", "glass", "paper"), ("light", "switch", "base", "cable")),
    "clock": ("Living", ("metal", "plywood"), ("movement", "dial", "size", "battery")),
    "vase": ("Living", ("glass", "stoneware"), ("glaze", "neck", "base", "size")),
    "cushion": ("Textiles", ("linen", "cotton", "velvet"), ("filling", "fabric", "stitching", "zip")),
    "scarf": ("Textiles", ("wool", "cashmere", "cotton"), ("fabric", "length", "stitching", "price")),
    "bag": ("Travel", ("canvas", "felt", "nylon"), ("strap", "pocket", "zip", "lining")),
}
BRANDS = ("Nordvik", "Haldo", "Tavoro", "Brixel", "Caldero", "Ostrano", "Pellano", "Wendro", "Kivio", "Maruna")

# What only the photo shows.
COLOURS = {
    "red": (206, 62, 60),
    "orange": (240, 138, 48),
    "yellow": (243, 208, 70),
    "green": (92, 164, 88),
    "teal": (44, 158, 156),
    "blue": (56, 104, 188),
    "violet": (132, 86, 178),
    "pink": (236, 130, 172),
}
SHAPES = ("circle", "square", "triangle", "star")
PATTERNS = ("plain", "stripes", "dots", "checks")

# Weights of the utility, in units of the Gumbel noise's scale.
COLOUR, SECOND_COLOUR, FORM, CATEGORY, BRAND = 3.6, 1.8, 1.6, 2.0, 1.2  # the user's taste
COMPLEMENT, COLOUR_RUN = 2.0, 1.2  # what the last purchase brings about
POPULARITY = 0.55  # standard deviation of the items' log popularity
PURCHASES = (8, 16)  # of a user, both included
MIN_USERS, MIN_ITEMS = 8, 32
MARK = "demo.json"  # tells a shop that may be overwritten

SIDE = 96  # pixels of a photo's side
YEAR_START, YEAR = 1_672_531_200, 365 * 86_400  # 2023-01-01, seconds


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SERIES = _words("Ar Be Cor Del El Fin Gal Hul Il Jor Kel Lum Mor Nev Or Pil")
_SERIES_ENDS = _words("a en ia is o um")
_FIRST = _words(
    "ada ben cleo dario edith finn greta hugo ines jonas karla leo mara nils olga pablo quinn rita sven tilda ugo vera "
    "willa xenia yuri zora"
)
_LAST = _words(
    "bar cor dal fel gar hal jen kar lin mor nor pel quin ros sol tar ul ver wil zim bren clar dros fjor gren hol kvar"
)
_LAST_ENDS = _words(
    "berg by dahl den der dorf feld gard heim holt ic ini kamp land man mark mond o quist rup sen son stad sted thal "
    "vall vik wald"
)

# feature word -> how it is praised (twice), found passable, and criticised (twice)
_ADJECTIVES: dict[str, tuple[str, str, str, str, str]] = {
    "handle": ("sturdy", "comfortable", "ordinary", "loose", "awkward"),
    "glaze": ("smooth", "flawless", "uneven", "rough", "scratched"),
    "size": ("perfect", "generous", "acceptable", "wrong", "disappointing"),
    "price": ("fair", "excellent", "acceptable", "steep", "unreasonable"),
    "paper": ("thick", "smooth", "average", "flimsy", "scratchy"),
    "binding": ("strong", "flexible", "tight", "weak", "careless"),
    "cover": ("robust", "pleasant", "ordinary", "bent", "slippery"),
    "light": ("gentle", "cosy", "dim", "harsh", "flickering"),
    "switch": ("quiet", "handy", "stiff", "faulty", "noisy"),
    "base": ("heavy", "stable", "light", "shaky", "crooked"),
    "cable": ("long", "tidy", "stiff", "short", "tangled"),
    "movement": ("silent", "precise", "audible", "loud", "slow"),
    "dial": ("readable", "elegant", "crowded", "blurred", "misprinted"),
    "battery": ("lasting", "reliable", "average", "empty", "leaking"),
    "neck": ("elegant", "wide", "narrow", "cracked", "lopsided"),
    "filling": ("plump", "springy", "firm", "lumpy", "flat"),
    "fabric": ("soft", "thick", "thin", "scratchy", "cheap"),
    "stitching": ("neat", "strong", "simple", "crooked", "loose"),
    "zip": ("smooth", "solid", "stiff", "stuck", "broken"),
    "length": ("perfect", "generous", "moderate", "short", "impractical"),
    "strap": ("comfortable", "strong", "stiff", "thin", "frayed"),
    "pocket": ("roomy", "practical", "small", "useless", "torn"),
    "lining": ("neat", "durable", "thin", "loose", "ripped"),
}
_EXPLANATIONS = {
    5: (
        "I love this {category} because the {feature} is so {adjective}.",
        "The {feature} is wonderfully {adjective} and I would buy this {category} again.",
        "Best {category} I have owned, with a really {adjective} {feature}.",
    ),
    4: (
        "The {feature} is {adjective} and the {category} does its job well.",
        "A good {category} with a {adjective} {feature}.",
        "I am happy with this {category}, the {feature} feels {adjective}.",
    ),
    3: (
        "The {category} is fine but the {feature} is {adjective}.",
        "The {feature} is only {adjective} for a {category} like this.",
    ),
    2: (
        "I expected more from this {category}, the {feature} is {adjective}.",
        "The {category} looks nice but the {feature} turned out {adjective}.",
    ),
    1: (
        "I returned this {category} because the {feature} was {adjective}.",
        "The {feature} is {adjective}, do not buy this {category}.",
    ),
}
_HEADLINES = {
    5: ("Love it", "Perfect {category}", "Could not be happier", "Wonderful"),
    4: ("Very nice", "Good {category}", "Happy with it", "Well made"),
    3: ("It is okay", "Decent {category}", "Not bad, not great"),
    2: ("A bit disappointed", "Expected more", "So so"),
    1: ("Not for me", "Sent it back", "Poor {category}"),
}
_REMARKS = {
    5: ("It arrived well packed.", "Everyone asks where I got it.", "I gave a second one to my sister."),
    4: ("Delivery was quick.", "It matches what I have at home.", "I use it nearly every day."),
    3: ("Delivery took a while.", "I may keep it for guests.", "You get what you pay for."),
    2: ("I will look elsewhere next time.", "Perhaps I got a bad one.", "Support was friendly at least."),
    1: ("I asked for my money back.", "A waste of money.", "I cannot recommend it."),
}
_RATING_SHARES = (0.06, 0.11, 0.18, 0.33, 0.32)  # of 1 to 5 stars
_FEATURE_SHARES = (0.45, 0.28, 0.17, 0.10)
_REVIEWED = 0.8  # share of the purchases


@dataclass(frozen=True)
class Shop:
    """The truth behind the files: traits of the items, tastes of the users, and what they bought.

    Traits are numbers of categories, brands, colours, shapes, patterns; arrays are [n_items] or [n_users].
    """

    category: np.ndarray
    brand: np.ndarray
    colour: np.ndarray
    shape: np.ndarray
    pattern: np.ndarray
    popularity: np.ndarray  # float, log scale
    likes_colours: np.ndarray  # [n_users, 2]: most, and second
    likes_shape: np.ndarray  # bool: looks at the shape; else at the pattern
    likes_form: np.ndarray  # the shape or pattern liked
    likes_categories: np.ndarray  # [n_users, 2]
    likes_brand: np.ndarray
    purchases: list[np.ndarray]  # item numbers of each user, oldest first

    def taste(self, visual: bool = True, told: bool = True) -> np.ndarray:
        """Lasting part of the utility, [n_users, n_items]; without what only the photo shows, or what tables tell."""
        seen = COLOUR * (self.colour == self.likes_colours[:, :1])
        seen = seen + SECOND_COLOUR * (self.colour == self.likes_colours[:, 1:])
        form = np.where(self.likes_shape[:, None], self.shape, self.pattern)
        seen = seen + FORM * (form == self.likes_form[:, None])
        read = CATEGORY * (self.category == self.likes_categories[:, :, None]).any(1)
        read = read + BRAND * (self.brand == self.likes_brand[:, None])
        return visual * seen + told * read

    def sequel(self, last: np.ndarray, visual: bool = True, told: bool = True) -> np.ndarray:
        """Part of the utility that the last purchases [n_users] (-1: none yet) bring about, [n_users, n_items]."""
        complement = self.category == (self.category[last, None] + 1) % len(CATEGORIES)
        same_colour = self.colour == self.colour[last, None]
        return (last >= 0)[:, None] * (told * COMPLEMENT * complement + visual * COLOUR_RUN * same_colour)


def make_shop(users: int = 600, items: int = 400, seed: int = 0) -> Shop:
    """Draw a shop, and let its users buy: each next item is a draw from the softmax of taste + popularity + sequel."""
    if users < MIN_USERS or items < MIN_ITEMS:
        raise UserError(
            f"a demo shop of {users} users and {items} items is too small: take at least {MIN_USERS} users "
            f"and {MIN_ITEMS} items"
        )
    traits, tastes, choices = np.random.default_rng(seed).spawn(3)

    def pairs(n: int) -> np.ndarray:
        first = tastes.integers(n, size=users)
        return np.stack([first, (first + tastes.integers(1, n, size=users)) % n], axis=1)

    shop = Shop(
        category=traits.integers(len(CATEGORIES), size=items),
        brand=traits.integers(len(BRANDS), size=items),
        colour=traits.integers(len(COLOURS), size=items),
        shape=traits.integers(len(SHAPES), size=items),
        pattern=traits.integers(len(PATTERNS), size=items),
        popularity=traits.normal(0, POPULARITY, size=items),
        likes_colours=pairs(len(COLOURS)),
        likes_shape=tastes.random(users) < 0.5,
        likes_form=tastes.integers(4, size=users),
        likes_categories=pairs(len(CATEGORIES)),
        likes_brand=tastes.integers(len(BRANDS), size=users),
        purchases=[],
    )
    lengths = choices.integers(PURCHASES[0], PURCHASES[1] + 1, size=users)
    lasting = shop.taste() + shop.popularity
    bought = np.full((users, PURCHASES[1]), -1)
    last = np.full(users, -1)
    for step in range(PURCHASES[1]):
        utility = lasting + shop.sequel(last) + choices.gumbel(size=(users, items))
        np.put_along_axis(utility, bought[:, :step], -np.inf, axis=1)
        last = bought[:, step] = utility.argmax(1)
    shop.purchases.extend(row[:length] for row, length in zip(bought, lengths, strict=True))
    return shop


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
            _photo(shop, item, for_photos).save(aside / "images" / f"{_item_id(item)}.jpg", quality=90)
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
        title = f"{maker} {rng.choice(_SERIES)}{rng.choice(_SERIES_ENDS)} {category}"
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


def _user_names(users: int, rng: np.random.Generator) -> list[str]:
    """Handles such as "mara.grenfeld": one surname a user while they last, then again with another first name."""
    surnames = np.array([start + end for start in _LAST for end in _LAST_ENDS])
    shuffled, firsts = rng.permutation(surnames), rng.permutation(_FIRST)
    names = []
    for user in range(users):
        lap, place = divmod(user, len(surnames))
        again, shift = divmod(lap, len(firsts))
        first = firsts[(place + shift) % len(firsts)]
        names.append(f"{first}.{shuffled[place]}{again + 1 if again else ''}")
    return names


def _write_tables(shop: Shop, items: pl.DataFrame, folder: Path, rng: np.random.Generator) -> tuple[int, int]:
    """Write the three tables; returns the numbers of interactions and reviews."""
    n_users = len(shop.purchases)
    names = _user_names(n_users, rng)
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
            review = _review(list(CATEGORIES)[shop.category[item[row]]], stars, rng)
            reviews.append({**ids, "rating": stars, **review, "timestamp": when, "user_name": names[user[row]]})
    pl.DataFrame(purchases).write_csv(folder / "interactions.csv")
    items.write_csv(folder / "items.csv")
    pl.DataFrame(reviews).write_csv(folder / "reviews.csv")
    return len(purchases), len(reviews)


def _review(category: str, stars: int, rng: np.random.Generator) -> dict[str, str]:
    """What a user writes: the sentence follows from the stars, the feature word and the category, in a few wordings."""
    feature = str(rng.choice(CATEGORIES[category][2], p=_FEATURE_SHARES))
    good, better, passable, bad, worse = _ADJECTIVES[feature]
    adjective = {5: (good, better), 4: (good, better), 3: (passable,), 2: (bad, worse), 1: (bad, worse)}[stars]
    words = {"category": category, "feature": feature, "adjective": str(rng.choice(adjective))}
    explanation = str(rng.choice(_EXPLANATIONS[stars])).format(**words)
    return {
        "headline": str(rng.choice(_HEADLINES[stars])).format(**words),
        "text": f"{explanation} {rng.choice(_REMARKS[stars])}",
        "feature": feature,
        "explanation": explanation,
    }


# Parts that make a silhouette a mug or a lamp, in its own units: the body is within -1 … 1, y points down.
# A line by its points, a dot by its centre and radius, an arc by its box and angles.
_PARTS: dict[str, tuple[tuple, ...]] = {
    "mug": (("arc", (0.55, -0.45, 1.45, 0.45), -100, 100),),
    "notebook": tuple(("dot", (-0.95, y), 0.09) for y in (-0.6, -0.2, 0.2, 0.6)),
    "lamp": (("line", (0, -1.7), (0, -0.7)), ("line", (-0.3, -1.7), (0.3, -1.7))),
    "clock": (("dot", (-0.55, -1.05), 0.22), ("dot", (0.55, -1.05), 0.22), ("line", (-0.5, 1.2), (0.5, 1.2))),
    "vase": (
        *(("line", (0, -0.6), tip) for tip in ((-0.35, -1.55), (0.3, -1.4))),
        *(("dot", tip, 0.14) for tip in ((-0.35, -1.55), (0.3, -1.4))),
    ),
    "cushion": tuple(("dot", (x, y), 0.13) for x in (-0.98, 0.98) for y in (-0.98, 0.98)),
    "scarf": tuple(("line", (x, 0.8), (x, 1.4)) for x in (-0.6, -0.3, 0, 0.3, 0.6)),
    "bag": (("arc", (-0.5, -1.5, 0.5, -0.2), 180, 360),),
}
_SCALE = 2  # photos are drawn larger and shrunk, for smooth edges
_METAL = (122, 112, 104)


def _photo(shop: Shop, item: int, rng: np.random.Generator) -> Image.Image:
    """A product photo, SIDE x SIDE: the silhouette in its colour and pattern before a light background."""
    side = SIDE * _SCALE
    centre = side / 2 + rng.normal(0, 0.02, 2) * side
    radius = side * rng.uniform(0.27, 0.32)
    tilt = math.radians(rng.normal(0, 3))
    base = np.array(list(COLOURS.values())[shop.colour[item]]) * rng.uniform(0.93, 1.06) + rng.normal(0, 6, 3)

    def at(x: float, y: float) -> tuple[float, float]:
        turned = (x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt))
        return float(centre[0] + radius * turned[0]), float(centre[1] + radius * turned[1])

    # Background, with a soft shadow under the product; light falls from one side.
    light = rng.uniform(0.06, 0.12) * rng.choice((-1, 1))
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    backdrop = np.array((244, 242, 238)) + rng.normal(0, 2, 3)
    shadow = np.exp(-(((x - (centre[0] / side - 0.5) * 2) / 0.62) ** 2) - ((y - 0.74) / 0.12) ** 2)
    ground = backdrop * (1 - 0.05 * (x**2 + y**2) - 0.28 * shadow)[..., None]
    picture = Image.fromarray(_bytes(ground)).resize((side, side), Image.Resampling.BILINEAR)

    draw = ImageDraw.Draw(picture)
    width = round(radius * 0.13)
    for kind, *part in _PARTS[list(CATEGORIES)[shop.category[item]]]:
        if kind == "line":
            draw.line([at(*point) for point in part], fill=_METAL, width=width)
        elif kind == "dot":
            draw.circle(at(*part[0]), part[1] * radius, fill=_METAL)
        else:
            (left, top, right, bottom), start, end = part
            draw.arc((*at(left, top), *at(right, bottom)), start, end, fill=_METAL, width=width)

    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon([at(*point) for point in _outline(SHAPES[shop.shape[item]])], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(1.5 * _SCALE)).point(lambda v: 255 * (v > 127))  # rounded corners
    picture.paste(_cloth(PATTERNS[shop.pattern[item]], base, radius, centre), mask=mask)

    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    shade = 1 + light * x - 0.05 * y
    return Image.fromarray(_bytes(small * shade[..., None] + rng.normal(0, 2, small.shape)))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _colour(pixel: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = _bytes(pixel).tolist()
    return red, green, blue


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a silhouette of about the same area for every shape."""
    if shape == "square":
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    if shape == "triangle":
        return [(0, -1.15), (1.2, 0.92), (-1.2, 0.92)]
    corners = 64 if shape == "circle" else 10
    turns = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    reach = np.ones(corners) if shape == "circle" else np.tile((1.3, 0.62), 5)
    return list(zip(reach * np.cos(turns), reach * np.sin(turns), strict=True))


def _cloth(pattern: str, base: np.ndarray, radius: float, centre: np.ndarray) -> Image.Image:
    """A sheet of the product's surface: its colour, with the pattern in a lighter tint of it."""
    side = SIDE * _SCALE
    period = 0.46 * radius
    u, v = ((np.arange(side) - c) / period % 1 for c in centre)
    lines = np.broadcast_to(u < 0.5, (side, side))
    tinted = {
        "plain": np.zeros((side, side), bool),
        "stripes": lines,
        "dots": (u - 0.5) ** 2 + (v[:, None] - 0.5) ** 2 < 0.3**2,
        "checks": lines ^ (v[:, None] < 0.5),
    }[pattern]
    sheet = Image.new("RGB", (side, side), _colour(base))
    sheet.paste(_colour(0.45 * base + 0.55 * 255), mask=Image.fromarray(tinted.astype(np.uint8) * 255))
    return sheet
