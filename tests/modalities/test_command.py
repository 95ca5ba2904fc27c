"""`vip5 data encode` as a user types it: every kind of vectors, and no option that does nothing."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from vip5.cli import main
from vip5.data import Dataset, prepare
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.modalities import open_modality, store_names


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    write_demo(folder / "shop", users=20, items=60)
    tables = {name: folder / "shop" / f"{name}.csv" for name in ("interactions", "items")}
    prepare(folder / "data", **tables, images=folder / "shop" / "images")
    return folder / "data"


def encode(*words: object) -> Result:
    return CliRunner().invoke(main.app, ["data", "encode", *map(str, words)])


def told(*words: object) -> dict:
    result = encode(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_photos_in_a_shell(shop: Path) -> None:
    def vip5(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vip5", "data", "encode", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    first = json.loads(vip5(shop, "--modality", "photo", "--name", "looks", "--json").stdout)
    assert (first["store"], first["dim"], first["with_vector"]) == (str(shop / "modalities/looks"), 256, 60)
    refused = vip5(shop / "nowhere")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and not refused.stdout


@pytest.mark.parametrize("kind", ["photo", "text", "copurchase"])
def test_each_kind_has_its_store_and_is_made_once(shop: Path, kind: str) -> None:
    first, second = (told(shop, "--modality", kind) for _ in range(2))
    store = open_modality(Dataset(shop), kind)
    assert (store.kind, store.dim, store.fingerprint) == (kind, first["dim"], first["fingerprint"])
    assert first["dim"] == (256 if kind == "photo" else 128)
    assert (first["with_vector"], first["without_vector"]) == (store.mask.sum(), (~store.mask).sum())
    assert first["done_before"] == 0 and second["done_before"] > 0


def test_vectors_of_a_file(shop: Path, tmp_path: Path) -> None:
    ids = Dataset(shop).items["item"][:3].to_list()
    pl.DataFrame({"id": [*ids, "who"], "v": [[1.0, n] for n in range(4)]}).write_parquet(tmp_path / "x.parquet")
    done = told(shop, "--modality", "vectors", "--file", tmp_path / "x.parquet", "--key", "id", "--name", "sound")
    assert (done["dim"], done["with_vector"], done["without_vector"]) == (2, 3, 57)
    assert len(done["notes"]) == 1 and done["notes"][0].startswith("1 ids of") and "no item" in done["notes"][0]
    np.testing.assert_array_equal(open_modality(Dataset(shop), "sound").matrix[:3], [[1, 0], [1, 1], [1, 2]])


def test_settings_are_used(shop: Path) -> None:
    short = told(shop, "--modality", "text", "--name", "short", "--dim", 7, "--template", "{brand}: {title}")
    assert short["dim"] == 7
    about = json.loads((shop / "modalities/short/store.json").read_text())
    assert (about["kind"], about["encoder"], about["template"]) == ("text", "tfidf", "{brand}: {title}")
    assert told(shop, "--modality", "copurchase", "--name", "few", "--dim", 5)["dim"] == 5
    assert {"short", "few"} <= set(store_names(Dataset(shop)))


def test_the_command_in_the_error_works(shop: Path) -> None:
    told(shop, "--modality", "text", "--name", "mended", "--dim", 7, "--template", "{brand} - {title}")
    whole = (shop / "modalities/mended/matrix.npy").read_bytes()
    (shop / "modalities/mended/matrix.npy").write_bytes(b"damaged")
    with pytest.raises(UserError) as error:
        open_modality(Dataset(shop), "mended")
    words = shlex.split(str(error.value).split("`")[1])
    assert words[:3] == ["vip5", "data", "encode"] and encode(*words[3:]).exit_code == 0
    assert (shop / "modalities/mended/matrix.npy").read_bytes() == whole


@pytest.mark.parametrize(
    "words",
    [
        "--modality photo --dim 9",
        "--modality photo --template {title}",
        "--modality photo --device cpu",
        "--modality text --device cpu",
        "--modality text --batch-size 9",
        "--modality text --file x.parquet",
        "--modality copurchase --encoder tfidf",
        "--modality copurchase --batch-size 9",
        "--modality vectors --file x.parquet --dim 9",
    ],
)
def test_an_option_that_does_nothing_is_refused(shop: Path, words: str) -> None:
    result = encode(shop, *words.split())
    assert isinstance(result.exception, UserError), result.output
    option = words.split()[-2]
    assert f"{option} does nothing for" in str(result.exception)


def test_vectors_take_a_file(shop: Path) -> None:
    assert "give it with --file" in str(encode(shop, "--modality", "vectors").exception)
