"""The encoder `basic`: colour and gradient statistics of a photo. Nothing to download, milliseconds a photo.

Lab colours and histograms of oriented gradients (N. Dalal, B. Triggs, CVPR 2005) come from scikit-image.
"""

import hashlib
from importlib.metadata import version

import numpy as np
from PIL import Image
from skimage.color import rgb2lab
from skimage.feature import hog

SIDE = 64  # photos are scaled to SIDE x SIDE, whatever their shape
HUES, GRID, CELLS, ORIENTATIONS = 16, 4, 8, 8
DIM = HUES + 3 * GRID**2 + ORIENTATIONS * GRID**2 + CELLS**2


class BasicEncoder:
    """256 numbers a photo, in four blocks: hues, colours by place, gradient directions by place, gradient strength.

    Fixed constants centre each block roughly and give it a spread of about 4 (the root of its summed variances), over
    product photos. So each number is about 0.5 in size, as in CLIP's image embeddings, and a mapping network with a
    saturating activation can be trained on them as they are.
    """

    name = "basic"
    dim = DIM

    def __init__(self) -> None:
        constants = f"basic 1, scikit-image {version('scikit-image')}, pillow {version('pillow')}"
        self.fingerprint = hashlib.sha256(constants.encode()).hexdigest()

    def prepare(self, photo: Image.Image) -> np.ndarray:
        """An RGB photo as uint8 [SIDE, SIDE, 3]."""
        return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BOX))

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Photos uint8 [B, SIDE, SIDE, 3] to float32 [B, DIM]."""
        return np.stack([_describe(lab) for lab in rgb2lab(pixels)]).astype(np.float32)


def _describe(lab: np.ndarray) -> np.ndarray:
    lightness, a, b = np.moveaxis(lab, 2, 0)
    return np.concatenate(
        [
            14 * _hues(a, b),
            2.5 * (_mean_by_place(lab, GRID).ravel() - np.tile((75, 0, 0), GRID**2)) / 50,
            2 * (_directions(lightness / 100) - 0.3),
            8 * (_strength(lightness / 100) - 0.15),
        ]
    )


def _hues(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Histogram of hues, weighted by chroma, each pixel shared by the two nearest bins; the root evens it out."""
    place = np.arctan2(b, a).ravel() / (2 * np.pi) * HUES
    below = np.floor(place).astype(int)
    chroma, share = np.hypot(a, b).ravel() / 100, place - below
    counts = np.bincount(below % HUES, chroma * (1 - share), HUES)
    counts += np.bincount((below + 1) % HUES, chroma * share, HUES)
    return np.sqrt(counts / place.size)


def _mean_by_place(values: np.ndarray, cells: int) -> np.ndarray:
    """Means over a grid of cells x cells squares."""
    step = SIDE // cells
    return values.reshape(cells, step, cells, step, -1).mean((1, 3))


def _directions(lightness: np.ndarray) -> np.ndarray:
    step = SIDE // GRID
    return hog(lightness, ORIENTATIONS, pixels_per_cell=(step, step), cells_per_block=(1, 1), block_norm="L2")


def _strength(lightness: np.ndarray) -> np.ndarray:
    return np.sqrt(_mean_by_place(np.hypot(*np.gradient(lightness)), CELLS).ravel())
