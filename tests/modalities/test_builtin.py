"""The vectors that a data set gets by itself, and a training with the defaults alone."""

import shutil

import numpy as np

from vip5.data import Dataset
from vip5.modalities import open_modality, store_names
from vip5.modalities.builtin import make_built_in


def bare(tiny_data: Dataset, folder) -> Dataset:
    shutil.copytree(tiny_data.path, folder, ignore=shutil.ignore_patterns("modalities"))
    return Dataset(folder)


def test_photos_and_texts_get_vectors_once(tiny_data, tmp_path):
    data = bare(tiny_data, tmp_path / "data")
    assert list(make_built_in(data)) == ["photo", "text"] and store_names(data) == ["photo", "text"]
    assert np.array_equal(open_modality(data, "photo").matrix, open_modality(tiny_data, "photo").matrix)
    assert make_built_in(data) == {}


def test_other_vectors_of_a_kind_are_left_alone(tiny_data, tmp_path):
    """A store of texts by another name is one of texts."""
    data = bare(tiny_data, tmp_path / "data")
    make_built_in(data)
    (data.path / "modalities/text").rename(data.path / "modalities/mine")
    shutil.rmtree(data.path / "modalities/photo")
    assert list(make_built_in(data)) == ["photo"] and store_names(data) == ["mine", "photo"]


def test_what_has_neither_photos_nor_texts_gets_none(make_shop):
    assert make_built_in(make_shop({"u": "abc", "v": "bcd"}, {"item": [*"abcd"]})) == {}
