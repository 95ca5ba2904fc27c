"""Measured numbers: one `Result` a number, a file of them with all that is needed to measure them again, and tables."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError, model_validator

import vip5
from vip5.errors import UserError
from vip5.evaluation.intervals import LEVEL, RESAMPLES, Difference, Estimate
from vip5.evaluation.text import BLEU_SIGNATURE

EXPLANATION = "explanation"
Task = Annotated[str, Field(pattern=r"^(next item|one of [1-9][0-9]*|explanation)$")]
BADGES = {"clean": "clean", "paper": "paper — leaky"}

_SHOWN = {
    "next item": ("HR@5", "NDCG@5", "HR@10", "NDCG@10"),
    "one of": ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"),
    EXPLANATION: ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"),
}
_MOST_COLUMNS = 5  # of metrics, in a table of 120 characters


class Result(BaseModel):
    """One number: a metric of one model on one prompt, its 95 % interval, and the baseline's on the same cases.

    Ranking metrics are fractions, text metrics per cent. `difference` is paired: model minus baseline.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    data_hash: str
    protocol: Literal["clean", "paper"]
    split: Literal["validation", "test"]
    task: Task
    prompt: str
    metric: str
    model: str
    seed: int
    n: int = Field(ge=1)
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    baseline: str | None = None
    baseline_value: FiniteFloat | None = None
    baseline_low: FiniteFloat | None = None
    baseline_high: FiniteFloat | None = None
    difference: FiniteFloat | None = None
    difference_low: FiniteFloat | None = None
    difference_high: FiniteFloat | None = None
    p: FiniteFloat | None = None

    @classmethod
    def of(
        cls, own: Estimate, other: Estimate | None = None, difference: Difference | None = None, **about: Any
    ) -> Self:
        """A result from estimates; `about` is the rest of the fields, `baseline` the name of `other`."""
        numbers: dict[str, Any] = own._asdict()
        if other is not None:
            numbers |= {f"baseline_{bound}": getattr(other, bound) for bound in ("value", "low", "high")}
        if difference is not None:
            names = ("difference", "difference_low", "difference_high", "p")
            numbers |= dict(zip(names, difference, strict=True))
        return cls(**numbers, **about)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        beside = [self.baseline, self.baseline_value, self.baseline_low, self.baseline_high]
        between = [self.difference, self.difference_low, self.difference_high, self.p]
        for numbers, name in ((beside, "a baseline"), (between, "a difference")):
            if None in numbers and any(number is not None for number in numbers):
                raise ValueError(f"{name} is whole (with its interval) or not there")
        if self.difference is not None and self.baseline is None:
            raise ValueError("a difference is between a model and a baseline")
        return self


class Machine(BaseModel):
    """What it ran on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    device: str
    python: str
    torch: str

    @classmethod
    def here(cls, device: str = "cpu") -> Self:
        """This machine; `device` is the torch device that was used."""
        if device.startswith("cuda"):
            import torch  # only then: reading stored results needs no torch

            device = torch.cuda.get_device_name(device)
        affinity = getattr(os, "sched_getaffinity", None)
        return cls(
            cpu=_cpu_model(),
            cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
            device=device,
            python=platform.python_version(),
            torch=version("torch"),
        )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _how_measured() -> dict[str, str]:
    return {
        "BLEU": BLEU_SIGNATURE,
        "ROUGE": f"F1, no stemming, rouge-score {version('rouge-score')}",
        "interval": _INTERVAL,
    }


_INTERVAL = f"{LEVEL:.0%} percentile bootstrap, {RESAMPLES:,} resamples"


class Results(BaseModel):
    """Numbers measured by one command, with the command, the machine, the date and the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    date: str
    version: str
    machine: Machine
    decoding: dict[str, JsonValue]
    metrics: dict[str, str] = Field(default_factory=_how_measured)
    results: tuple[Result, ...]

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        seen: set[tuple] = set()
        for r in self.results:
            key = (*_context(r), r.task, r.prompt, r.metric, r.model, r.seed, r.baseline)
            if key in seen:
                raise ValueError(f"two values of {r.metric} for {r.model} on {r.prompt}, seed {r.seed}")
            seen.add(key)
        return self

    @classmethod
    def record(
        cls, results: Sequence[Result], command: str, device: str = "cpu", decoding: dict[str, JsonValue] | None = None
    ) -> Self:
        """What was just measured here by `command` with these decoding settings."""
        return cls(
            command=command,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            version=vip5.__version__,
            machine=Machine.here(device),
            decoding=decoding or {},
            results=tuple(results),
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON, whole or not at all."""
        write_whole(Path(path), self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; UserError where it is not that."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise UserError(
                f"cannot read results {path} ({error.strerror}): give the JSON file of an evaluation"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise UserError(f"{path} is no file of results ({where}: {first['msg']}): evaluate again") from None


def write_whole(path: Path, text: str) -> None:
    """Write a text file aside, then rename it into place; folders above it are made."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose another place") from None


@dataclass
class Row:
    """One system on one prompt: its estimate of each metric. A "difference" is a model's minus its baseline's."""

    prompt: str
    system: str
    kind: str  # "model", "baseline" or "difference"
    cells: dict[str, Estimate] = field(default_factory=dict)


@dataclass
class Section:
    """What can stand in one table: one task on one split of one data set under one protocol."""

    dataset: str
    data_hash: str
    protocol: str
    split: str
    task: str
    metrics: list[str]
    n: int
    rows: list[Row]

    @property
    def per_cent(self) -> bool:
        return self.task == EXPLANATION

    @property
    def cases(self) -> str:
        """What n counts."""
        return f"{self.n:,} {'reviews' if self.per_cent else 'users'}"

    def column(self, metric: str) -> str:
        """A metric's heading; at 1, HR and NDCG are the same number by definition."""
        return "HR@1=NDCG@1" if metric == "HR@1" else metric

    def number(self, value: float, signed: bool = False) -> str:
        """A value as the literature of its metric prints it: .0921, or 12.92 for per cent."""
        text = f"{abs(value):.2f}" if self.per_cent else f"{abs(value):.4f}".removeprefix("0")
        sign = "−" if value < 0 else "+"
        return sign + text if signed or value < 0 else text


def sections(results: Sequence[Result]) -> list[Section]:
    """Results grouped for display: prompts in order of appearance, models above their baselines above differences.

    Where results of several seeds are together, the names of systems say the seed. ValueError where two results give a
    system two values in one place.
    """
    several_seeds = len({r.seed for r in results}) > 1
    grouped: dict[tuple[tuple[str, str, str, str], str], list[Result]] = {}
    for r in results:
        grouped.setdefault((_context(r), r.task), []).append(r)
    found = []
    for (context, task), group in grouped.items():
        measured = list(dict.fromkeys(r.metric for r in group))
        usual = [metric for metric in _SHOWN["one of" if task.startswith("one of") else task] if metric in measured]
        metrics = usual or measured[:_MOST_COLUMNS]
        found.append(Section(*context, task, metrics, max(r.n for r in group), _rows(group, several_seeds)))
    return found


def _rows(group: Sequence[Result], several_seeds: bool) -> list[Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for r in group:
        for kind, system, cell in _estimates(r):
            name = f"{system}, seed {r.seed}" if several_seeds else system
            row = rows.setdefault((r.prompt, kind, name), Row(r.prompt, name, kind))
            if row.cells.setdefault(r.metric, cell).value != cell.value:
                raise ValueError(
                    f"two values of {r.metric} for {name} on {r.prompt}: these results do not fit together"
                )
    models = {(row.prompt, row.system) for row in rows.values() if row.kind == "model"}
    prompts, kinds = list(dict.fromkeys(r.prompt for r in group)), ("model", "baseline", "difference")
    return sorted(
        (row for row in rows.values() if row.kind != "baseline" or (row.prompt, row.system) not in models),
        key=lambda row: (prompts.index(row.prompt), kinds.index(row.kind)),
    )


def _estimates(r: Result) -> Iterator[tuple[str, str, Estimate]]:
    """(kind, system, estimate) for each of the up to three numbers of a result."""
    yield "model", r.model, Estimate(r.value, r.low, r.high, r.n)
    for kind, system, bounds in (
        ("baseline", r.baseline, (r.baseline_value, r.baseline_low, r.baseline_high)),
        ("difference", f"{r.model} − {r.baseline}", (r.difference, r.difference_low, r.difference_high)),
    ):
        value, low, high = bounds
        if system is not None and value is not None and low is not None and high is not None:
            yield kind, system, Estimate(value, low, high, r.n)


def _context(r: Result) -> tuple[str, str, str, str]:
    return (r.dataset, r.data_hash, r.protocol, r.split)


def table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal, at most 120 characters wide, one row a prompt and system.

    Each task has its own metrics: the first task's are the columns' headings, the next ones' stand in a row of their
    own. `caption` says what the cells mean.
    """
    blocks = sections(results)
    several = len({(s.dataset, s.protocol, s.split) for s in blocks}) > 1
    width = max((len(s.metrics) for s in blocks), default=0)
    indent = max((len(row.prompt) for s in blocks for row in s.rows), default=0) + 2
    lines: list[list[str]] = []
    for section in blocks:
        heading = section.task + (" in %" if section.per_cent else "") + f" · n {section.n:,}"
        if several:
            heading = f"{section.dataset} {section.split}: {heading}"
        if section.protocol == "paper":
            heading += " · LEAKY"
        if lines:
            lines.append([])
        lines.append([heading, *(section.column(metric) for metric in section.metrics)])
        prompt = None
        for row in section.rows:
            if row.kind != "difference":
                cells = [_plus_minus(section, row.cells.get(metric)) for metric in section.metrics]
                lines.append([("" if row.prompt == prompt else row.prompt).ljust(indent) + row.system, *cells])
                prompt = row.prompt
    padded = [line + [""] * (1 + width - len(line)) for line in lines]
    return (padded[0], padded[1:]) if padded else ([], [])


def _plus_minus(section: Section, cell: Estimate | None) -> str:
    return "" if cell is None else f"{section.number(cell.value)} ±{section.number((cell.high - cell.low) / 2)}"


def caption(results: Sequence[Result]) -> str:
    """One line under a table: where the numbers come from and what ± is."""
    names = dict.fromkeys(f"{r.dataset} {r.data_hash[:12]}, {r.split}, protocol {BADGES[r.protocol]}" for r in results)
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(r.seed for r in results))
    return f"{'; '.join(names)}; seed {seeds}. ± is half the width of the {_INTERVAL}."


def markdown(results: Results) -> str:
    """Tables for a page in Markdown, one a task, with both bounds of each interval and where the numbers are from."""
    parts = []
    for s in sections(results.results):
        task = s.task[0].upper() + s.task[1:] + (", per cent" if s.per_cent else "")
        parts.append(f"**{task}** · {s.dataset}, {s.split}, protocol {BADGES[s.protocol]}, {s.cases}")
        head = ["prompt", "system", *(s.column(metric) for metric in s.metrics)]
        lines = [head, ["---", "---", *("---:" for _ in s.metrics)]]
        lines += [[_cell(r.prompt), _cell(r.system), *(_bounds(s, r, m) for m in s.metrics)] for r in s.rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    m = results.machine
    hashes = ", ".join(dict.fromkeys(f"`{r.data_hash[:12]}`" for r in results.results))
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(r.seed for r in results.results))
    parts.append(
        f"Brackets: {_INTERVAL}. Data {hashes}; seed {seeds}. Measured by `{results.command}` "
        f"(vip5 {results.version}) on {results.date[:10]}; {m.cpu}, {m.cores} cores, device {m.device}, "
        f"Python {m.python}, torch {m.torch}."
    )
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _bounds(section: Section, row: Row, metric: str) -> str:
    if (cell := row.cells.get(metric)) is None:
        return ""
    signed = row.kind == "difference"
    value, low, high = (section.number(number, signed) for number in cell[:3])
    return f"{value} [{low}, {high}]"
