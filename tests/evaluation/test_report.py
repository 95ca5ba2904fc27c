"""The page is self-contained, safe with any title, small, and shows what it promises."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vip5.evaluation import report
from vip5.evaluation.report import Case, Explained, Product, Recommended, write_report

from .conftest import make_results

HOSTILE = "<script>alert('x')</script>\"><img src=https://evil.example/a.png onerror=alert(1)> {{ 7*7 }} & </style>"
VOID = {"meta", "link", "rect", "line", "img", "br"}


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on tags that do not nest."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(results, cases, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page") / "new"
    write_report(folder / "report.html", "VIP5 quickstart", [results], cases, "A small shop.")
    assert [p.name for p in folder.iterdir()] == ["report.html"]
    return (folder / "report.html").read_text()


def test_it_fetches_nothing(page):
    parsed = Page(page)
    for name, value in parsed.attributes:
        if name in ("src", "href", "srcset", "action", "xlink:href", "poster", "data"):
            assert value is not None and value.startswith("data:")
    without_photos = re.sub(r"base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|//|@import|<script", without_photos)
    assert all(url.startswith("data:image/jpeg;base64,") for url in re.findall(r"url\(([^)]{0,40})", page))
    assert "default-src 'none'" in page


def test_hostile_names_stay_text(results, tmp_path):
    product = Product(HOSTILE)
    case = Case(
        HOSTILE, [product], [Recommended(product, 0.2, True)], product, [Explained(HOSTILE, HOSTILE, product, HOSTILE)]
    )
    hostile = make_results(models=(HOSTILE,), dataset=HOSTILE).model_copy(
        update={"command": HOSTILE, "decoding": {HOSTILE: HOSTILE}}
    )
    write_report(tmp_path / "r.html", HOSTILE, [hostile], [case], HOSTILE)
    parsed = Page((tmp_path / "r.html").read_text())
    assert not {"script", "img"} & set(parsed.tags)
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert "{{ 7*7 }}" in parsed.words() and "49" not in parsed.words().split()


def test_it_shows_numbers_with_intervals_beside_the_baseline(page):
    words = Page(page).words()
    for said in ("VIP5 .0500 .0450 – .0600", "popularity .0100 .0080 – .0110", "Prompt C-12", "most frequent sentence"):
        assert said in words
    assert page.count("<svg") == 3 * (2 * 4 + 2 * 5 + 2 * 4)  # systems, by prompts and metrics
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="10"', page)]
    assert min(widths) > 0 and max(widths) <= 100


def test_it_names_its_source(page):
    words = Page(page).words()
    for said in ("protocol: clean", "c0ffeec0ffee", "seed 0", "vip5 quickstart", "Some CPU", "tok:13a", "600 users"):
        assert said in words
    assert "leak" not in words


def test_a_leaky_protocol_stands_out(tmp_path):
    write_report(tmp_path / "r.html", "x", [make_results(protocol="paper")])
    words = Page((tmp_path / "r.html").read_text()).words()
    assert "protocol: paper — leaky" in words and words.count("paper — leaky") == 4


def test_it_shows_users(page):
    words = Page(page).words()
    assert "User 0" in words and "User 11" in words
    assert "User 12" not in words  # a dozen is enough
    assert "and 2 earlier" in words
    assert "taken next: number 3 of the list" in words and "12 % ✓ taken" in words
    assert "taken next: not in the first 10" in words
    assert "I love it, says 0." in words and "The user wrote: It is fine." in words


def test_photos_are_there_once_and_named(page, photos):
    embedded = re.findall(r"base64,([\w+/=]+)\)", page)
    assert len(embedded) == len(set(embedded)) == 12 + 9  # user 0's first two are too long ago
    for data in embedded:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == "JPEG" and max(image.size) <= 128
    labels = [value for name, value in Page(page).attributes if name == "aria-label"]
    assert "Photo of Product 3" in labels and len(labels) == page.count('role="img"')


def test_broken_and_missing_photos_do_not_stop_it(results, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    products = [Product("Broken", broken), Product("Gone", tmp_path / "gone.jpg"), Product("None")]
    write_report(tmp_path / "r.html", "x", [results], [Case("u", products, [], products[0])])
    labels = [value for name, value in Page((tmp_path / "r.html").read_text()).attributes if name == "aria-label"]
    assert labels == ["Broken, no photo", "Gone, no photo", "None, no photo", "Broken, no photo"]


def test_see_through_photos_are_on_white(results, tmp_path):
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    product = Product("Clear", tmp_path / "clear.png")
    write_report(tmp_path / "r.html", "x", [results], [Case("u", [product], [], product)])
    (data,) = re.findall(r"base64,([\w+/=]+)\)", (tmp_path / "r.html").read_text())
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.getpixel((32, 32)) == (255, 255, 255)


def test_it_stays_small(page, results, cases, tmp_path, monkeypatch):
    assert len(page.encode()) < 2_000_000
    monkeypatch.setattr(report, "_PHOTO_BYTES", 60_000)
    write_report(tmp_path / "small.html", "x", [results], cases)
    embedded = re.findall(r"base64,([\w+/=]+)\)", (tmp_path / "small.html").read_text())
    assert 0 < sum(map(len, embedded)) <= 60_000


@pytest.mark.parametrize("probability, said", [(1.0, "100 %"), (0.126, "13 %"), (0.0312, "3.1 %"), (0.0004, "< 0.1 %")])
def test_probabilities_read_well(probability, said):
    assert report._share(probability) == said


def test_photos_of_16_bits_are_scaled_and_those_past_the_limits_left_out(tmp_path, monkeypatch):
    """The limits hold wherever a photo is opened again."""
    Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)).save(tmp_path / "grey.png")
    (data,) = report._thumbnails([tmp_path / "grey.png"]).values()
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert abs(small.convert("L").getpixel((5, 5)) - 128) < 3
    monkeypatch.setattr("vip5.modalities.photos.MAX_PIXELS", 20 * 20 - 1)
    assert report._thumbnails([tmp_path / "grey.png"]) == {}
