"""The encode job: right features in right rows, whole or not at all, and going on after a kill with the same bytes."""

import contextlib
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vip5.errors import UserError
from vip5.lock import held, lock_of
from vip5.modalities import encode as encode_module
from vip5.modalities import job, open_modality, photos, store_names
from vip5.modalities.encode import encode
from vip5.modalities.photos import read_photo


def test_every_photo_in_its_row(dataset, mean_colour) -> None:
    encoder = mean_colour()
    done = encode(dataset, encoder, batch_size=4)
    assert sum(encoder.batches) == 20 and max(encoder.batches) == 4
    assert (done.inputs, done.broken, done.resumed_from, done.reused) == (21, [5], 0, False)
    absent = [2, 5, 22]
    assert np.flatnonzero(~done.store.mask).tolist() == absent
    assert not done.store.matrix[absent].any()
    for item in set(range(23)) - set(absent):
        with Image.open(dataset.photos[item]) as photo:
            np.testing.assert_array_equal(done.store.matrix[item], encoder.prepare(photo.convert("RGB")))
    assert sorted(path.name for path in (dataset.path / "modalities" / "photo").iterdir()) == [
        *("mask.npy", "matrix.npy", "store.json")
    ]


def test_gather(dataset, mean_colour) -> None:
    store = encode(dataset, mean_colour()).store
    features, mask = store.gather(np.array([4, 2, 4]))
    assert features.dtype == np.float32 and not isinstance(features, np.memmap) and mask.dtype == bool
    np.testing.assert_array_equal(features, np.stack([store.matrix[4], np.zeros(8), store.matrix[4]]))
    assert mask.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="read-only"):
        store.matrix[0] = 0


KILLED = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
from conftest import FakeDataset, MeanColour
from pathlib import Path
from vip5.modalities.encode import encode
photos = [None if p is None else Path(p) for p in eval(sys.argv[3])]
encode(FakeDataset(Path(sys.argv[2]), photos), MeanColour(delay=0.15), batch_size=3)
"""


def test_kill_9_then_the_same_bytes(dataset, mean_colour, contents) -> None:
    encode(dataset, mean_colour(), batch_size=3)
    undisturbed = contents(dataset.path / "modalities")
    shutil.rmtree(dataset.path / "modalities")

    names = repr([None if path is None else str(path) for path in dataset.photos])
    job = subprocess.Popen([sys.executable, "-c", KILLED, str(Path(__file__).parent), str(dataset.path), names])
    record = dataset.path / "modalities" / ".photo.partial" / "store.json"
    deadline = time.monotonic() + 60
    while not (record.exists() and json.loads(record.read_bytes())["done"] >= 6):
        assert job.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    done_then = json.loads(record.read_bytes())["done"]
    assert 6 <= done_then < 21
    assert store_names(dataset) == []  # nothing half-written is ever seen

    encoder = mean_colour()
    done = encode(dataset, encoder, batch_size=3)
    assert done.resumed_from == done_then and len(encoder.batches) <= 7 - done_then // 3
    assert contents(dataset.path / "modalities") == undisturbed


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_size=st.integers(1, 25), stops=st.lists(st.integers(0, 4), max_size=3))
def test_stopped_anywhere_it_ends_the_same(dataset, mean_colour, contents, batch_size: int, stops: list[int]) -> None:
    encode(dataset, mean_colour(), "whole")
    whole = contents(dataset.path / "modalities" / "whole")
    for stop in stops:
        with contextlib.suppress(KeyboardInterrupt):  # where it is not done before the stop
            encode(dataset, mean_colour(fail_at=stop), "whole-2", batch_size)
    encode(dataset, mean_colour(), "whole-2", batch_size)
    again = contents(dataset.path / "modalities" / "whole-2")
    shutil.rmtree(dataset.path / "modalities" / "whole-2")
    assert again == whole


def test_leftover_of_other_work_is_discarded(dataset, mean_colour, contents) -> None:
    encode(dataset, mean_colour(), batch_size=4)
    whole = contents(dataset.path / "modalities")
    for fingerprint, tables in (("other", "tables"), ("weights", "other tables")):
        dataset.hash = tables
        with pytest.raises(KeyboardInterrupt):
            encode(dataset, mean_colour(fail_at=2, fingerprint=fingerprint), "new", batch_size=4)
        dataset.hash = "tables"
        assert encode(dataset, mean_colour(), "new", batch_size=4).resumed_from == 0
        assert contents(dataset.path / "modalities" / "new") == contents(dataset.path / "modalities" / "photo")
        shutil.rmtree(dataset.path / "modalities" / "new")
    with pytest.raises(KeyboardInterrupt):
        encode(dataset, mean_colour(fail_at=2), "new", batch_size=4)
    for damage in ("store.json", "matrix.npy"):  # and a damaged one
        (dataset.path / "modalities" / ".new.partial" / damage).write_bytes(b"{")
        assert encode(dataset, mean_colour(), "new", batch_size=4).resumed_from == 0
        shutil.rmtree(dataset.path / "modalities" / "new")
        with pytest.raises(KeyboardInterrupt):
            encode(dataset, mean_colour(fail_at=2), "new", batch_size=4)
    shutil.rmtree(dataset.path / "modalities" / ".new.partial")
    assert contents(dataset.path / "modalities") == whole


def test_killed_between_the_renames(dataset, mean_colour, contents, monkeypatch) -> None:
    encode(dataset, mean_colour(fingerprint="first"), batch_size=4)
    before = contents(dataset.path / "modalities")
    rename = os.replace

    def stop(source, target) -> None:
        if Path(source).name == ".photo.partial":
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop)
        encode(dataset, mean_colour(fingerprint="second"), batch_size=4)
    encode(dataset, mean_colour(), "other")  # another job on the dataset
    encoder = mean_colour(fingerprint="second")
    assert encode(dataset, encoder).resumed_from == 21 and encoder.batches == []
    assert open_modality(dataset, "photo").fingerprint == "second"
    assert set(contents(dataset.path / "modalities" / "photo")) == {Path(name).name for name in before}
    hidden = [path.name for path in (dataset.path / "modalities").iterdir() if path.is_dir() and path.name[0] == "."]
    assert hidden == []


def test_there_already_is_not_done_again(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    again = encode(dataset, mean_colour(fail_at=0))
    assert again.reused and again.broken == [5]
    shutil.copy(dataset.photos[4], dataset.photos[5])  # the broken photo is mended
    mended = encode(dataset, mean_colour())
    assert not mended.reused and mended.broken == [] and mended.store.mask[5]
    whole = dataset.photos[4].read_bytes()
    dataset.photos[4].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # replaced by one of the same size
    assert not encode(dataset, mean_colour()).reused
    other = encode(dataset, mean_colour(fingerprint="other"))
    assert not other.reused and other.store.fingerprint == "other"


def test_photos_of_all_kinds(dataset, mean_colour, tmp_path) -> None:
    red = Image.new("RGB", (10, 10), (255, 0, 0))
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    turned = Image.new("RGB", (10, 20), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    for image, name, options in (
        *((red.convert(mode), f"{mode}.png", {}) for mode in ("L", "P", "1", "RGB")),
        (red.convert("CMYK"), "cmyk.jpg", {}),
        (clear, "clear.png", {}),
        (turned, "turned.jpg", {"exif": exif}),
    ):
        image.save(tmp_path / name, **options)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a photo")
    names = ["RGB.png", "P.png", "L.png", "clear.png", "turned.jpg", "cmyk.jpg", "1.png", "empty.jpg", "text.jpg"]
    dataset.photos = [tmp_path / name for name in names]
    done = encode(dataset, mean_colour())
    assert done.store.mask.tolist() == [True] * 7 + [False] * 2 and len(done.broken) == 2
    means = done.store.matrix[:, :3].round().astype(int).tolist()
    assert means[0] == means[1] == [255, 0, 0] and means[2] == [76, 76, 76]
    assert means[3] == [255, 255, 255]  # transparent is white, as on a shop's page
    assert done.store.matrix[4, 6:].tolist() == [20, 10]


def test_16_bits_a_pixel_are_scaled(tmp_path) -> None:
    grey = np.linspace(0, 255, 90, dtype=np.uint8).reshape(9, 10)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, sixteen = (read_photo(tmp_path / name) for name in ("8.png", "16.png"))
    assert eight is not None and sixteen is not None and sixteen.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(sixteen), np.asarray(eight))
    wide = np.repeat((grey.astype(np.uint16) * 257)[:, :, None], 3, axis=2)
    opaque = np.full((9, 10, 1), 65535, np.uint16)
    for pixels, kind in ((wide, 2), (np.dstack([wide[..., :1], opaque]), 4), (np.dstack([wide, opaque]), 6)):
        _png_16(tmp_path / "more.png", pixels, kind)
        more = read_photo(tmp_path / "more.png")
        assert more is not None
        np.testing.assert_allclose(np.asarray(more, int), np.asarray(eight, int), atol=1)
    grey_16 = Image.fromarray(np.array([[0, 30_000, 30_001]], np.uint16))
    grey_16.save(tmp_path / "clear.png", transparency=30_000)
    clear = read_photo(tmp_path / "clear.png")
    assert clear is not None and np.asarray(clear)[0, :, 0].tolist() == [0, 255, 117]


def _png_16(path: Path, pixels: np.ndarray, kind: int) -> None:
    """A PNG with 16 bits a channel, which Pillow does not write but for grey."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows))
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (*parts, (b"IEND", b""))
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_a_photo_replaced_by_one_of_the_same_size_is_encoded_again(dataset, mean_colour, tmp_path) -> None:
    path = tmp_path / "a.bmp"  # as many bytes for every photo of one shape
    Image.new("RGB", (8, 8), (10, 0, 0)).save(path)
    dataset.photos = [path]
    first, about = np.array(encode(dataset, mean_colour()).store.matrix[0]), path.stat()
    assert encode(dataset, mean_colour()).reused
    Image.new("RGB", (8, 8), (0, 200, 0)).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    again = encode(dataset, mean_colour())
    assert path.stat().st_size == about.st_size and not again.reused
    assert not np.array_equal(again.store.matrix[0], first)


def test_past_the_limits_it_counts_as_broken(dataset, mean_colour, monkeypatch) -> None:
    """Checked when a photo is opened: it may have been replaced since the tables were made."""
    sizes = {item: path.stat().st_size for item, path in enumerate(dataset.photos) if path}
    with monkeypatch.context() as patch:
        patch.setattr(photos, "MAX_BYTES", sorted(sizes.values())[10])
        done = encode(dataset, mean_colour())
        assert done.broken == sorted({5, *(item for item in sizes if sizes[item] > photos.MAX_BYTES)})
    monkeypatch.setattr(photos, "MAX_PIXELS", 9 * 20)
    assert encode(dataset, mean_colour(fingerprint="other")).broken == [5, *range(13, 22)]


def test_one_line_for_what_the_user_can_mend(dataset, mean_colour, monkeypatch) -> None:
    with pytest.raises(UserError, match="cannot be the name"):
        encode(dataset, mean_colour(), "../elsewhere")
    with pytest.raises(UserError, match="'text' is what vectors of that kind are called"):
        encode(dataset, mean_colour(), "text")
    with pytest.raises(UserError, match="batch size"):
        encode(dataset, mean_colour(), batch_size=0)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        encode(dataset, mean_colour())
    with monkeypatch.context() as patch, pytest.raises(UserError, match="not finite"):
        patch.setattr(mean_colour, "encode", lambda self, pixels: pixels * np.nan)
        encode(dataset, mean_colour())
    with held(lock_of(dataset.path / "modalities/photo"), "busy"), pytest.raises(UserError, match="another run"):
        encode(dataset, mean_colour())
    dataset.photos = [None] * 5
    with pytest.raises(UserError, match="has no photos"):
        encode(dataset, mean_colour())
    assert store_names(dataset) == []


def test_a_fault_in_the_encoder_is_not_taken_for_a_broken_photo(dataset, mean_colour, monkeypatch) -> None:
    monkeypatch.setattr(mean_colour, "prepare", lambda self, photo: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encode(dataset, mean_colour())


def test_works_ahead_but_not_far(dataset, mean_colour, monkeypatch) -> None:
    """Photos wait decoded for at most a few batches, so that memory is bounded."""
    read, waiting = [], []
    keep = encode_module.read_photo
    monkeypatch.setattr(encode_module, "read_photo", lambda path: read.append(path) or keep(path))
    encoder = mean_colour(delay=0.02)
    take = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda pixels: waiting.append(len(read)) or take(pixels))
    encode(dataset, encoder, batch_size=2)
    given_out = np.cumsum([0, *encoder.batches[:-1]])
    assert max(np.array(waiting) - given_out) <= 2 * (job.AHEAD + 1) + 1  # + the broken one
