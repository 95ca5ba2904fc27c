"""Tables of results: for the terminal, for a page in Markdown, for the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vip5.evaluation.intervals import Estimate
from vip5.evaluation.results import EVERYONE, EXPLANATION, INTERVAL, NEXT_ITEM, Result, Results, context_of
from vip5.evaluation.text import cut_into
from vip5.evaluation.verdict import verdict

BADGES = {"clean": "clean", "paper": "paper — leaky"}
# What a table is about → task → the metrics it shows, of those measured.
ACCURACY, BEYOND, GROUPS = "", "beyond accuracy", "by group of users"
SIDES = (ACCURACY, BEYOND, GROUPS)
_SHOWN = {
    ACCURACY: {
        NEXT_ITEM: ("HR@5", "NDCG@5", "HR@10", "NDCG@10"),
        "one of": ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"),
        EXPLANATION: ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"),
    },
    BEYOND: {
        NEXT_ITEM: ("coverage", "Gini", "popularity", "novelty", "invalid", "repeated"),
        "one of": ("invalid", "repeated"),
        EXPLANATION: ("USR", "FMR", "FCR", "DIV", "copied"),
    },
}
_MOST_COLUMNS = 5  # of metrics, in a table of 120 characters
_KINDS = ("model", "baseline", "difference", "control", "chance", "rule")


@dataclass
class Row:
    """One system on one prompt: its estimate of each metric. A "difference" is a model's minus its baseline's."""

    prompt: str
    system: str
    kind: str  # one of _KINDS
    cells: dict[str, Estimate] = field(default_factory=dict)


@dataclass
class Section:
    """What can stand in one table: one task on one split of one data set under one protocol, seen from one side."""

    dataset: str
    data_hash: str
    protocol: str
    split: str
    task: str
    about: str  # ACCURACY, BEYOND or GROUPS
    metrics: list[str]
    n: int
    rows: list[Row]

    @property
    def per_cent(self) -> bool:
        return self.task == EXPLANATION

    @property
    def title(self) -> str:
        """What a table of it is headed."""
        unit = ", per cent" if self.per_cent else ""
        return f"{self.task}{unit}{': ' + self.about if self.about else ''}"

    @property
    def cases(self) -> str:
        """What n counts."""
        return f"{self.n:,} {'reviews' if self.per_cent else 'users'}"

    def column(self, metric: str) -> str:
        """A metric's heading; at 1, HR and NDCG are the same number by definition."""
        return "HR@1=NDCG@1" if metric == "HR@1" else metric

    def number(self, value: float, metric: str = "", signed: bool = False) -> str:
        """A value as the literature of its metric prints it: .0921, or 12.92 for per cent, purchases and bits."""
        wide = self.per_cent or metric.startswith(("popularity", "novelty"))
        text = f"{abs(value):.2f}" if wide else f"{abs(value):.4f}".removeprefix("0")
        sign = "−" if value < 0 else "+"
        return sign + text if signed or value < 0 else text


def sections(results: Sequence[Result]) -> list[Section]:
    """Results grouped for display: prompts in order of appearance, models above their baselines above differences, and
    rules at the end.

    Where results of several seeds are together, the names of systems say the seed. ValueError where two results give a
    system two values in one place.
    """
    several_seeds = len({r.seed for r in results}) > 1
    grouped: dict[tuple[tuple[str, str, str, str], str, str], list[Result]] = {}
    for r in results:
        grouped.setdefault((context_of(r), r.task, _about(r)), []).append(r)
    tasks = list(dict.fromkeys(r.task for r in results))
    found = []
    for (context, task, about), group in sorted(
        grouped.items(), key=lambda entry: (tasks.index(entry[0][1]), SIDES.index(entry[0][2]))
    ):
        measured = list(dict.fromkeys(r.metric for r in group))
        usual = [m for name in _usual(about, task) for m in measured if m == name or m.startswith(f"{name}@")]
        metrics = usual or measured[:_MOST_COLUMNS]
        n = max(r.n for r in grouped[context, task, ACCURACY]) if about == GROUPS else max(r.n for r in group)
        rows = [row for row in _rows(group, several_seeds) if about != GROUPS or row.kind == "model"]
        found.append(Section(*context, task, about, metrics, n, rows))
    return found


def _usual(about: str, task: str) -> tuple[str, ...]:
    return _SHOWN.get(about, {}).get("one of" if task.startswith("one of") else task, ())


def _about(r: Result) -> str:
    if r.group != EVERYONE:
        return GROUPS
    return BEYOND if r.metric.partition("@")[0] in _usual(BEYOND, r.task) else ACCURACY


def _rows(group: Sequence[Result], several_seeds: bool) -> list[Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for r in group:
        for kind, system, cell in _estimates(r):
            name = f"{system}, seed {r.seed}" if several_seeds else system
            name = name if r.group == EVERYONE else f"{name}: {r.group}"
            row = rows.setdefault((r.prompt, kind, name), Row(r.prompt, name, kind))
            if row.cells.setdefault(r.metric, cell).value != cell.value:
                raise ValueError(
                    f"two values of {r.metric} for {name} on {r.prompt}: these results do not fit together"
                )
    models = {(row.prompt, row.system) for row in rows.values() if row.kind == "model"}
    prompts = list(dict.fromkeys(r.prompt for r in group))
    return sorted(
        (row for row in rows.values() if row.kind != "baseline" or (row.prompt, row.system) not in models),
        key=lambda row: (row.kind == "rule", prompts.index(row.prompt), _KINDS.index(row.kind)),
    )


def _estimates(r: Result) -> Iterator[tuple[str, str, Estimate]]:
    """(kind, system, estimate) for each of the up to three numbers of a result."""
    nan = float("nan")

    def cell(value: float, low: float | None, high: float | None) -> Estimate:
        return Estimate(value, nan if low is None else low, nan if high is None else high, r.n)

    yield r.kind, r.model, cell(r.value, r.low, r.high)
    if r.baseline is not None and r.baseline_value is not None:
        kind = "chance" if r.kind == "control" else "baseline"
        yield kind, r.baseline, cell(r.baseline_value, r.baseline_low, r.baseline_high)
    if r.difference is not None:
        yield "difference", f"{r.model} − {r.baseline}", cell(r.difference, r.difference_low, r.difference_high)


def table(results: Sequence[Result], sides: Sequence[str] = (ACCURACY, BEYOND)) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal, at most 120 characters wide, one row a prompt and system.

    Each task has its own metrics: the first task's are the columns' headings, the next ones' stand in a row of their
    own. `caption` says what the cells mean.
    """
    blocks = [section for section in sections(results) if section.about in sides]
    several = len({(s.dataset, s.protocol, s.split) for s in blocks}) > 1
    width = max((len(s.metrics) for s in blocks), default=0)
    indent = max((len(row.prompt) for s in blocks for row in s.rows), default=0) + 2
    lines: list[list[str]] = []
    for section in blocks:
        heading = section.task + (" in %" if section.per_cent else "") + f" · n {section.n:,}"
        heading += f" · {section.about}" if section.about else ""
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
                cells = [_plus_minus(section, metric, row.cells.get(metric)) for metric in section.metrics]
                lines.append([("" if row.prompt == prompt else row.prompt).ljust(indent) + row.system, *cells])
                prompt = row.prompt
    padded = [line + [""] * (1 + width - len(line)) for line in lines]
    return (padded[0], padded[1:]) if padded else ([], [])


def _plus_minus(section: Section, metric: str, cell: Estimate | None) -> str:
    if cell is None:
        return ""
    half = (cell.high - cell.low) / 2
    return section.number(cell.value, metric) + (f" ±{section.number(half, metric)}" if half == half else "")


def caption(results: Sequence[Result], audit: Mapping[str, Any] | None = None, notes: Sequence[str] = ()) -> str:
    """A few lines under a table: where the numbers come from, what ± is, what to know of the data, and the audit's."""
    contexts = dict.fromkeys(context_of(r) for r in results)
    names = [f"{name} {data[:12]}, {split}, protocol {BADGES[protocol]}" for name, data, protocol, split in contexts]
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(r.seed for r in results))
    lines = [
        *verdict(results),
        f"{'; '.join(names)}; seed {seeds}. ± is half the width of the {INTERVAL}.",
        *cut_into(results),
        *noted(notes),
    ]
    return "\n".join([*lines, *audit_lines(audit)])


def noted(notes: Sequence[str]) -> list[str]:
    """One line of what a reader must know of the data; none where there is nothing."""
    return [f"Data: {'; '.join(notes)}."] if notes else []


def audit_lines(audit: Mapping[str, Any] | None) -> list[str]:
    """What an audit found, a line each: the verdict, and the reasons of a bad one."""
    if audit is None:
        return []
    checked = f"{len(audit['checks'])} checks of the data and of the codes {audit['codes']}"
    if audit["verdict"] == "clean":
        return [f"Audit: clean, {checked}."]
    return [f"Audit: LEAKY, these numbers prove nothing ({checked}):", *(f"- {reason}" for reason in audit["reasons"])]


def markdown(results: Results, sides: Sequence[str] = SIDES) -> str:
    """Tables for a page in Markdown, one a task, with both bounds of each interval and where the numbers are from."""
    parts = []
    for s in (section for section in sections(results.results) if section.about in sides):
        parts.append(
            f"**{s.title[0].upper()}{s.title[1:]}** · {s.dataset}, {s.split}, protocol {BADGES[s.protocol]}, {s.cases}"
        )
        head = ["prompt", "system", *(s.column(metric) for metric in s.metrics)]
        lines = [head, ["---", "---", *("---:" for _ in s.metrics)]]
        lines += [[_cell(r.prompt), _cell(r.system), *(_bounds(s, r, m) for m in s.metrics)] for r in s.rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if said := verdict(results.results):
        parts.append("\n".join(f"**{line}**" for line in said))
    parts += cut_into(results.results)
    parts += noted(results.notes)
    if results.audit is not None:
        parts.append("\n".join(audit_lines(results.audit)))
    m = results.machine
    hashes = ", ".join(dict.fromkeys(f"`{r.data_hash[:12]}`" for r in results.results))
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(r.seed for r in results.results))
    parts.append(
        f"Brackets: {INTERVAL}. Data {hashes}; seed {seeds}. Measured by `{results.command}` "
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
    value, low, high = (section.number(number, metric, signed) for number in cell[:3])
    return f"{value} [{low}, {high}]" if cell.low == cell.low else value
