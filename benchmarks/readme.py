"""Fill in the tables of results in README.md, benchmarks/RESULTS.md and docs/audit.md: `make results`.

What stands between `<!-- results:NAME -->` and `<!-- /results -->` is made from `benchmarks/results/NAME.json`; the
name `summary` stands for one table of them all; own_tables.py makes those of `audit`, `codes`, `history`, `int8` and
`ties`, baseline_tables.py those of `baselines`, `baselines-summary`, `trials` and `reference`, speed_tables.py those of
`speed` and `speed-summary`, from `benchmarks/results/speed/`.
"""

import re
import sys
from pathlib import Path

import baseline_tables
import own_tables
import speed_tables

from vip5.errors import UserError
from vip5.evaluation.results import Result, Results
from vip5.evaluation.tables import ACCURACY, BEYOND, markdown
from vip5.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "audit.md")
MARKED = re.compile(r"(<!-- results:(?P<name>[\w-]+) -->\n)(?P<table>.*?)(<!-- /results -->)", re.DOTALL)
SUMMARY = ("quickstart", "beauty", "hm", "hm-time")
SHOWN = (("A-3", "HR@10"), ("A-3", "NDCG@10"), ("B-5", "HR@10"), ("B-5", "NDCG@10"), ("C-3", "ROUGE-L"))


def filled(text: str, folder: Path = RESULTS) -> str:
    """`text` with every marked part made anew from the results in `folder`."""
    opened, closed = text.count("<!-- results:"), text.count("<!-- /results -->")
    if not opened == closed == len(MARKED.findall(text)):
        raise UserError(
            f"the markers do not pair ({opened} open, {closed} close): write `<!-- results:NAME -->` and "
            "`<!-- /results -->`, each on a line of its own"
        )

    def table(name: str) -> str:
        own = {
            "summary": summary,
            "codes": own_tables.codes,
            "history": own_tables.history,
            "audit": own_tables.audit,
            "int8": own_tables.int8,
            "ties": own_tables.ties,
            "baselines": baseline_tables.baselines,
            "baselines-summary": baseline_tables.summary,
            "reference": baseline_tables.reference,
            "trials": baseline_tables.trials,
            "speed": speed_tables.speed,
            "speed-summary": speed_tables.summary,
        }
        return own[name](folder) if name in own else markdown(Results.load(folder / f"{name}.json"), [ACCURACY, BEYOND])

    return MARKED.sub(lambda m: m[1] + table(m["name"]) + m[4], text)


def summary(folder: Path) -> str:
    """The main metrics of the main prompts of every stored result: VIP5, VIP5 without photos, the baseline, and the
    strongest rule that needs no training."""
    lines = [
        "| data | task | metric | VIP5 | without photos | simplest baseline | item-kNN |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in SUMMARY:
        results = Results.load(folder / f"{name}.json").results
        for prompt, metric in SHOWN:
            found = [r for r in results if (r.prompt, r.metric) == (prompt, metric)]
            own = next((r for r in found if r.model == "VIP5" and r.baseline != "VIP5 without photos"), None)
            if own is None:
                continue
            without = next((r for r in found if r.model == "VIP5 without photos"), None)
            numbers = (
                _number(own, own.value, own.low, own.high),
                _number(without, without.value, without.low, without.high) if without else "",
                _number(own, own.baseline_value, own.baseline_low, own.baseline_high),
                own_tables.rule(results, folder, own, "item-kNN"),
            )
            lines.append(f"| {own.dataset} | {own.task}, {prompt} | {metric} | {' | '.join(numbers)} |")
    return "\n".join(lines) + "\n"


def _number(r: Result, value: float | None, low: float | None, high: float | None) -> str:
    """A value with its interval, as the literature prints it."""
    form = "{:.2f}" if r.task == "explanation" else "{:.4f}"
    value, low, high = (form.format(x).removeprefix("0") if x is not None else "" for x in (value, low, high))
    return f"{value} [{low}, {high}]"


def main() -> int:
    """Rewrite the pages whose tables are out of date."""
    for page in PAGES:
        try:
            text = page.read_text(encoding="utf-8")
            new = filled(text)
        except (OSError, UserError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        if new != text:
            write_text(page, new)
        print(f"{page.name}: {len(MARKED.findall(new))} tables, {'rewritten' if new != text else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
