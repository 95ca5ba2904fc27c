"""From photos or texts to a store, by an encoder that takes one item after the other."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.modalities.encoders import PhotoEncoder, TextEncoder
from vip5.modalities.job import Draft, EncodeJob, Encoding, fill_in_batches
from vip5.modalities.photos import hash_of_photos, photos_of, read_photo
from vip5.modalities.texts import TEMPLATE, hash_of_texts, texts_of


def encode(
    dataset: Dataset, encoder: PhotoEncoder, name: str = "photo", batch_size: int = 32, progress: bool = False
) -> Encoding:
    """The vectors of all photos of `dataset`, as its store `name`. Whole or not at all.

    A killed job goes on where it stood, and ends with the same bytes as an undisturbed one of the same batch size.
    A store of that name by another encoder, or for other tables or photos, is replaced. `progress` shows a bar on
    standard error.

    Raises: UserError for a dataset without photos, a bad name, a full disk, or when another job is at the same work.
    """
    _check(batch_size)
    photos = photos_of(dataset)
    job = EncodeJob(
        dataset=dataset,
        kind="photo",
        name=name,
        encoder=Path(encoder.name).name,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        inputs=len(photos),
        inputs_hash=hash_of_photos(photos, progress),
        options={"encoder": _found_again(encoder.name)},
    )

    def prepare(path: Path) -> np.ndarray | None:
        photo = read_photo(path)
        return None if photo is None else encoder.prepare(photo)

    def vectors(pixels: list[np.ndarray]) -> tuple[np.ndarray, int]:
        return encoder.encode(np.stack(pixels)), 0

    def fill(draft: Draft) -> None:
        fill_in_batches(draft, photos, prepare, vectors, batch_size, "encoding photos" if progress else None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # past the limit of pixels anyway
        return job.run(fill)


def encode_text(
    dataset: Dataset,
    encoder: TextEncoder,
    name: str = "text",
    template: str = TEMPLATE,
    batch_size: int = 32,
    progress: bool = False,
) -> Encoding:
    """The vectors of all items' texts by a pretrained encoder, as the store `name` of `dataset`, as `encode` does.

    Texts of like length go together. Raises: UserError where no item has a text; see `encode`.
    """
    _check(batch_size)
    texts = texts_of(dataset, template)
    job = EncodeJob(
        dataset=dataset,
        kind="text",
        name=name,
        encoder=Path(encoder.name).name,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        inputs=len(texts),
        inputs_hash=hash_of_texts(texts),
        facts={"template": template},
        options={"encoder": _found_again(encoder.name), "template": template},
    )
    by_length = sorted(texts, key=lambda text: len(text[1]))

    def fill(draft: Draft) -> None:
        shown = "encoding texts" if progress else None
        fill_in_batches(draft, by_length, lambda text: text, encoder.encode, batch_size, shown)

    return job.run(fill)


def _check(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"a batch size of {batch_size} is too small: take 1 or more")


def _found_again(encoder: str) -> str:
    """The name of an encoder, such that it is the same one from any folder."""
    return str(Path(encoder).absolute()) if Path(encoder).is_dir() else encoder
