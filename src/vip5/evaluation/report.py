"""A page one can read without us: results with intervals, and some users as photos, in one HTML file."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from vip5.evaluation.results import Results
from vip5.evaluation.tables import ACCURACY, BADGES, Row, Section, audit_lines, noted, sections
from vip5.evaluation.verdict import verdict
from vip5.files import to_json, write_text
from vip5.modalities.photos import read_photo

MOST_CASES = 12
MOST_HISTORY = 8
MOST_RECOMMENDED = 10
_PHOTO_BYTES = 1_300_000  # of all thumbnails together, in base64; the page stays under 2 MB
_THUMBNAILS = ((128, 82), (112, 70), (80, 60), (48, 50))  # longest side in pixels, JPEG quality; the first that fits


@dataclass(frozen=True)
class Product:
    """An item as people see it."""

    title: str
    photo: Path | None = None


@dataclass(frozen=True)
class Recommended:
    """A recommended item, the probability the model gives it (a baseline gives none), and whether it was taken next."""

    product: Product
    probability: float | None
    taken: bool = False


@dataclass(frozen=True)
class Explained:
    """A generated sentence, the id of the prompt it answers, what it is about, and the user's own sentence if any."""

    prompt: str
    sentence: str
    product: Product
    reference: str | None = None


@dataclass(frozen=True)
class Case:
    """One user: what they had (oldest first), what was recommended (best first), what they took next."""

    user: str
    history: Sequence[Product]
    recommended: Sequence[Recommended]
    truth: Product
    explanations: Sequence[Explained] = ()


def write_report(
    path: str | Path, title: str, results: Sequence[Results], cases: Sequence[Case] = (), note: str = ""
) -> None:
    """Write the page: self-contained (styles and photos inside, nothing is fetched), whole or not at all.

    The first `MOST_CASES` cases are shown. Each photo stands in the file once, however often it is shown.
    """
    cases = cases[:MOST_CASES]
    photos = _thumbnails(p.photo for case in cases for p in _shown_products(case) if p.photo is not None)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"share": _share, "json": lambda value: to_json(value, ensure_ascii=False)}
    template = environment.from_string(files("vip5.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    shown = [result for run in results for result in run.results if result.kind != "control"]
    groups = [section for section in sections(shown) if section.about == ACCURACY]
    page = template.render(
        title=title,
        verdicts=[line for run in results for line in verdict(run.results)],
        notes=[note, *dict.fromkeys(line for run in results for line in noted(run.notes))],
        runs=results,
        charts=[(section, _chart(section)) for section in groups],
        badges=BADGES,
        audited=audit_lines,
        protocols=list(dict.fromkeys(s.protocol for s in groups)),
        sources=list(dict.fromkeys((s.dataset, s.split, s.data_hash) for s in groups)),
        seeds=list(dict.fromkeys(r.seed for run in results for r in run.results)),
        cases=cases,
        most_history=MOST_HISTORY,
        most_recommended=MOST_RECOMMENDED,
        photo_class={photo: f"p{number}" for number, photo in enumerate(photos)},
        photo_data=list(photos.values()),
    )
    write_text(Path(path), page)


def _shown_products(case: Case) -> Iterable[Product]:
    yield from case.history[-MOST_HISTORY:]
    yield from (r.product for r in case.recommended[:MOST_RECOMMENDED])
    yield case.truth
    yield from (e.product for e in case.explanations)


def _thumbnails(photos: Iterable[Path]) -> dict[Path, str]:
    """Base64 of a JPEG for every photo that can be read, as large as fits into the page."""
    wanted = list(dict.fromkeys(photos))
    made: dict[Path, str] = {}
    for side, quality in _THUMBNAILS:
        made = {photo: data for photo in wanted if (data := _thumbnail(photo, side, quality)) is not None}
        if sum(map(len, made.values())) <= _PHOTO_BYTES:
            break
    return made


def _thumbnail(photo: Path, side: int, quality: int) -> str | None:
    if (small := read_photo(photo, side)) is None:
        return None
    small.thumbnail((side, side))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=quality, optimize=True)
    return base64.b64encode(data.getvalue()).decode("ascii")


def _share(probability: float | None) -> str:
    """A probability as people read it; nothing where there is none."""
    if probability is None:
        return ""
    if probability < 0.001:
        return "< 0.1 %"
    return f"{100 * probability:.0f} %" if probability >= 0.1 else f"{100 * probability:.1f} %"


@dataclass(frozen=True)
class _Bar:
    """One line of a chart; `value`, `low` and `high` are places from 0 to 100 on the metric's common scale."""

    system: str
    colour: str
    value: float
    low: float
    high: float
    text: str
    bounds: str


def _chart(section: Section) -> dict[str, list[tuple[str, list[_Bar]]]]:
    """prompt -> [(metric, its bars)]. One scale a metric, so that prompts can be compared."""
    shown = [row for row in section.rows if row.kind != "difference"]
    tops = {m: max((row.cells[m].high for row in shown if m in row.cells), default=0) or 1 for m in section.metrics}
    models = list(dict.fromkeys(row.system for row in shown if row.kind == "model"))
    chart: dict[str, list[tuple[str, list[_Bar]]]] = {}
    for prompt in dict.fromkeys(row.prompt for row in shown):
        rows = [row for row in shown if row.prompt == prompt]
        chart[prompt] = [
            (section.column(m), [_bar(section, row, m, tops[m], models) for row in rows if m in row.cells])
            for m in section.metrics
        ]
    return chart


def _bar(section: Section, row: Row, metric: str, top: float, models: list[str]) -> _Bar:
    cell = row.cells[metric]
    value, low, high = (round(100 * max(number, 0.0) / top, 2) for number in cell[:3])
    colour = "base" if row.kind in ("baseline", "rule") else f"m{models.index(row.system) % 3}"
    bounds = f"{section.number(cell.low)} – {section.number(cell.high)}"
    return _Bar(row.system, colour, value, low, high, section.number(cell.value), bounds)
