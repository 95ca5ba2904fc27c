"""A run is evaluated on the data set that it was trained on, wherever that lies now, and on no other."""

import json
import shutil

import pytest

from vip5.errors import UserError
from vip5.evaluation.opened import open_on_dataset


def test_where_the_data_moved(tiny_data, tiny_run, tmp_path):
    system, data = open_on_dataset(tiny_run)
    assert data.hash == tiny_data.hash and system.catalogue.n_items == tiny_data.n_items
    shutil.copytree(tiny_data.path, tmp_path / "moved")
    shutil.copytree(tiny_run, tmp_path / "run")
    about = json.loads((tmp_path / "run/run.json").read_text())
    about["dataset"]["path"] = str(tmp_path / "gone")
    (tmp_path / "run/run.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="--dataset"):
        open_on_dataset(tmp_path / "run")
    assert open_on_dataset(tmp_path / "run", tmp_path / "moved")[1].path == tmp_path / "moved"


def test_another_data_set_is_refused(tiny_data, tiny_run, tmp_path):
    shutil.copytree(tiny_data.path, tmp_path / "other")
    manifest = json.loads((tmp_path / "other/manifest.json").read_text())
    (tmp_path / "other/manifest.json").write_text(json.dumps(manifest | {"hash": "0" * 64}))
    with pytest.raises(UserError, match="not the data set of this run") as error:
        open_on_dataset(tiny_run, tmp_path / "other")
    assert tiny_data.hash[:12] in str(error.value) and "000000000000" in str(error.value)
