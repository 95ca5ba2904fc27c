"""The card of a run: what it is, what it was made from, what it reaches, and whether those numbers can stand."""

from pathlib import Path

from vip5.data import Dataset
from vip5.evaluation.results import Results
from vip5.evaluation.tables import BADGES, audit_lines, markdown
from vip5.files import write_text
from vip5.predict.system import System

CARD = "README.md"


def write_card(folder: Path, system: System, dataset: Dataset, results: Results) -> None:
    """Write RUN/README.md, in place of an earlier evaluation's; whole or not at all."""
    write_text(folder / CARD, card(system, dataset, results))


def card(system: System, dataset: Dataset, results: Results) -> str:
    """The card in Markdown."""
    manifest = dataset.manifest
    size = f"{dataset.n_users:,} users, {dataset.n_items:,} items"
    facts = [
        ("data", f"{manifest.name}, {size}, `{dataset.hash[:12]}`"),
        ("protocol", BADGES["paper" if system.leaky else manifest.protocol]),
        ("split", f"{manifest.split}; reviews {manifest.review_split}"),
        ("order in time", dataset.order_note),
        *system.facts(),
    ]
    lines = [
        f"# A run of {system.name}",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {text} |" for name, text in facts),
    ]
    lines += ["", "## Audit", "", *audit_lines(results.audit), "", "## Results", ""]
    return "\n".join(lines) + "\n" + markdown(results)
