"""Who shops and what there is: items by their traits, users by their tastes, and what they buy.

Every item has traits that the tables tell (category, brand) and traits that only its photo shows (colour, shape,
pattern). Users choose by both, so a system that sees the photos can know more than one that reads the tables.
"""

from dataclasses import dataclass

import numpy as np

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
