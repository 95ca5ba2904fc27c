"""What stands in the tables of the shop: names, titles, and what users write of what they bought."""

import numpy as np

from vip5.demo.shop import CATEGORIES


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_SERIES = _split("Ar Be Cor Del El Fin Gal Hul Il Jor Kel Lum Mor Nev Or Pil")
_SERIES_ENDS = _split("a en ia is o um")
_FIRST = _split(
    "ada ben cleo dario edith finn greta hugo ines jonas karla leo mara nils olga pablo quinn rita sven tilda ugo vera "
    "willa xenia yuri zora"
)
_LAST = _split(
    "bar cor dal fel gar hal jen kar lin mor nor pel quin ros sol tar ul ver wil zim bren clar dros fjor gren hol kvar"
)
_LAST_ENDS = _split(
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
_FEATURE_SHARES = (0.45, 0.28, 0.17, 0.10)


def product_title(maker: str, category: str, rng: np.random.Generator) -> str:
    """ "Nordvik Arena mug": the maker, a series drawn, the category."""
    return f"{maker} {rng.choice(_SERIES)}{rng.choice(_SERIES_ENDS)} {category}"


def user_names(users: int, rng: np.random.Generator) -> list[str]:
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


def write_review(category: str, stars: int, rng: np.random.Generator) -> dict[str, str]:
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
