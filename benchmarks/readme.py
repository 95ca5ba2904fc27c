"""Fill in the README's tables of results: `make results`.

What stands between `<!-- results:NAME -->` and `<!-- /results -->` is made from `benchmarks/results/NAME.json`.
"""

import re
import sys
from pathlib import Path

from vip5.errors import UserError
from vip5.evaluation.results import Results, markdown, write_whole

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- results:(?P<name>[\w-]+) -->\n)(?P<table>.*?)(<!-- /results -->)", re.DOTALL)


def filled(text: str, folder: Path = RESULTS) -> str:
    """`text` with every marked part made anew from the results in `folder`."""
    opened, closed = text.count("<!-- results:"), text.count("<!-- /results -->")
    if not opened == closed == len(MARKED.findall(text)):
        raise UserError(
            f"the markers do not pair ({opened} open, {closed} close): write `<!-- results:NAME -->` and "
            "`<!-- /results -->`, each on a line of its own"
        )
    return MARKED.sub(lambda m: m[1] + markdown(Results.load(folder / f"{m['name']}.json")) + m[4], text)


def main() -> int:
    """Rewrite the README where its tables are out of date."""
    try:
        text = README.read_text(encoding="utf-8")
        new = filled(text)
    except (OSError, UserError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if new != text:
        write_whole(README, new)
    print(f"{README.name}: {len(MARKED.findall(new))} tables, {'rewritten' if new != text else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
