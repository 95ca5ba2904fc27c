"""The photos of the shop: a silhouette in its colour and pattern before a light background."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vip5.demo.shop import CATEGORIES, COLOURS, PATTERNS, SHAPES, Shop

SIDE = 96  # pixels of a photo's side

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


def draw_photo(shop: Shop, item: int, rng: np.random.Generator) -> Image.Image:
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
