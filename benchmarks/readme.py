"""Fill in the tables of results in README.md, benchmarks/RESULTS.md and docs/audit.md: `make results`.

What stands between `<!-- results:NAME -->` and `<!-- /results -->` is made from `benchmarks/results/NAME.json`; the
name `summary` stands for the main numbers of the quickstart; own_tables.py makes those of `audit`, `codes`, `history`,
`ties`, baseline_tables.py those of `baselines`, `baselines-summary`, `trials` and `reference`, speed_tables.py those of
`speed` and `speed-summary`, from `benchmarks/results/speed/`, win_tables.py those of `win` and `win-summary`.
"""

import re
import sys
from pathlib import Path

import baseline_tables
import own_tables
import speed_tables
import win_tables

from vip5.errors import UserError
from vip5.evaluation.results import EVERYONE, Result, Results
from vip5.evaluation.tables import ACCURACY, BEYOND, markdown
from vip5.evaluation.verdict import RIVALS, verdict
from vip5.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "audit.md")
MARKED = re.compile(r"(<!-- results:(?P<name>[\w-]+) -->\n)(?P<table>.*?)(<!-- /results -->)", re.DOTALL)
WITH, WITHOUT = "VIP5", "VIP5 without photos"
SHOWN = (("A-3", "HR@10"), ("A-3", "NDCG@10"), ("A-3 of 100", "HR@10"), ("A-3 of 100", "NDCG@10"),
         ("C-3", "ROUGE-L"), ("C-12", "ROUGE-L"))  # fmt: skip


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
            "win": win_tables.systems,
            "win-summary": win_tables.summary,
            "win-explanations": win_tables.explanations,
        }
        return own[name](folder) if name in own else markdown(Results.load(folder / f"{name}.json"), [ACCURACY, BEYOND])

    return MARKED.sub(lambda m: m[1] + table(m["name"]) + m[4], text)


def summary(folder: Path) -> str:
    """The main metrics of the quickstart: VIP5, VIP5 without photos, and the baselines beside them."""
    results = Results.load(folder / "quickstart.json").results
    lines = [
        f"| task | metric | VIP5 | without photos | {' | '.join(RIVALS)} |",
        f"| --- | --- | ---: | ---: | {' | '.join('---:' for _ in RIVALS)} |",
    ]
    for prompt, metric in SHOWN:
        found = [r for r in results if (r.prompt, r.metric, r.group) == (prompt, metric, EVERYONE)]
        own, without = (next(r for r in found if r.model == name) for name in (WITH, WITHOUT))
        beside = {r.baseline: r for r in found if r.model == WITH}
        numbers = [_number(own, own.value, own.low, own.high), _number(own, without.value, without.low, without.high)]
        numbers += [
            _number(own, r.baseline_value, r.baseline_low, r.baseline_high) if (r := beside.get(name)) else ""
            for name in RIVALS
        ]
        lines.append(f"| {own.task}, {prompt.partition(' ')[0]} | {metric} | {' | '.join(numbers)} |")
    return "\n".join([*lines, "", *verdict(results)]) + "\n"


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
