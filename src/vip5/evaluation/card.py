"""The model card of a run: what it is, what it was trained on, what it reaches, and whether those numbers can stand."""

from pathlib import Path

from vip5.evaluation.results import Results
from vip5.evaluation.tables import BADGES, audit_lines, markdown
from vip5.files import write_text
from vip5.model import count_parameters
from vip5.training import Run

CARD = "README.md"


def write_card(folder: Path, run: Run, results: Results) -> None:
    """Write RUN/README.md, in place of an earlier evaluation's; whole or not at all."""
    write_text(folder / CARD, card(run, results))


def card(run: Run, results: Results) -> str:
    """The card in Markdown."""
    config, manifest, codes = run.config, run.dataset.manifest, run.codes.facts()
    parts = count_parameters(run.model)
    trained, total = sum(part.trained for part in parts), sum(part.total for part in parts)
    leaky = "paper" in (manifest.protocol, config.codes.scheme)
    photos = f"{config.model.image_tokens} tokens a photo ({run.features.name})" if run.features else "no photos"
    lengths = f"{codes['tokens_shortest']} to {codes['tokens_longest']} tokens, {codes['new_tokens']:,} new ones"
    size = f"{run.dataset.n_users:,} users, {run.dataset.n_items:,} items"
    grow = "items that come later can be coded" if codes["codes_new_items"] else "items that come later need a new run"
    facts = [
        ("data", f"{manifest.name}, {size}, `{run.dataset.hash[:12]}`"),
        ("protocol", BADGES["paper" if leaky else "clean"]),
        ("split", f"{manifest.split}; reviews {manifest.review_split}"),
        ("backbone", config.model.backbone or f"{config.model.size}, from scratch"),
        ("parameters", f"{total:,}, {100 * trained / total:.1f} % of them trained"),
        (
            "item codes",
            f"{codes['scheme']}: {lengths}, {codes['collisions']:,} items told apart by a last token alone; {grow}",
        ),
        ("photos", photos),
        ("seed", str(config.seed)),
    ]  # fmt: skip
    lines = ["# A VIP5 run", "", "| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in facts), ""]
    lines += ["## Audit", "", *audit_lines(results.audit), "", "## Results", ""]
    return "\n".join(lines) + "\n" + markdown(results)
