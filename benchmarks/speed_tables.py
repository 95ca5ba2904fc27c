"""The tables of what `vip5 bench …` measured, from `benchmarks/results/speed/`."""

from pathlib import Path

from vip5.bench.measure import Bench, Rate

ORDER = ("data", "train", "decode", "trie", "prepare")


def speed(folder: Path) -> str:
    """Every benchmark with its rates, its ratios and what was checked."""
    files = [folder / "speed" / f"{name}.json" for name in ORDER]
    return "\n\n".join(_one(Bench.model_validate_json(file.read_bytes())) for file in files if file.is_file()) + "\n"


def _rendered(kind: str) -> list[str]:
    return [f"rendered, tokenised {how}: {kind}" for how in ("one by one", "in batches")]


# What stands in the README: the benchmark, what it is, our method, its peers (the fastest counts), their name.
SUMMARY = (
    ("data", "batches of prompts, next item, one core", "vip5: next item", _rendered("next item"), "rendering"),
    ("data", "batches of prompts, one of 100, one core", "vip5: one of 100", _rendered("one of 100"), "rendering"),
    ("train", "training step, t5-small's size, whole", "full: vip5", ["full: transformers"], "transformers, padded"),
    ("train", "training step, adapters", "self+cross: vip5", ["self+cross: transformers"], "transformers, padded"),
    ("decode", "next item, beam 20", "next item", ["next item, transformers"], "transformers' generate"),
    ("decode", "one of 100, beam 20", "one of 100", ["one of 100, transformers"], "transformers' generate"),
    ("decode", "next item, 8-bit integers", "next item, int8", ["next item, transformers"], "transformers' generate"),
    ("decode", "any text, beam 20", "free text", ["free text, CTranslate2"], "CTranslate2"),
)  # fmt: skip


def summary(folder: Path) -> str:
    """Our rate beside the peer's, medians of one call, and how many times as fast that is."""
    lines = ["| what | a second | peer | a second | times as fast |", "| --- | ---: | --- | ---: | ---: |"]
    for bench, what, method, peers, name in SUMMARY:
        found = Bench.model_validate_json((folder / "speed" / f"{bench}.json").read_bytes())
        rows = {row.method: row for row in found.rows}
        ours, theirs = rows[method], max((rows[peer] for peer in peers), key=lambda row: row.median)
        cells = [what, f"{_short(ours.median)} {ours.unit}", name, _short(theirs.median)]
        cells.append(f"{ours.median / theirs.median:.2g}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _short(number: float) -> str:
    """Three digits, and no power of ten."""
    return f"{float(f'{number:.3g}'):,}".removesuffix(".0")


def _one(found: Bench) -> str:
    lines = [
        f"**{found.bench}** · `{found.command}` · {found.machine.cpu}, {found.machine.device}, {found.threads} "
        f"thread{'s' * (found.threads > 1)}, {found.created[:10]}",
        "| method | a second | slowest – fastest round | of the floor | peak MiB | beyond loading |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines[1:] = ["\n".join([*lines[1:], *map(_row, found.rows)])]
    lines.append("; ".join(f"{name}: {value:.3g}" for name, value in (found.ratios | found.checks).items()) + ".")
    sizes = ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in found.sizes.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    lines.append(f"Sizes: {sizes}. Versions: {versions}." + "".join(f" {note}." for note in found.notes))
    return "\n\n".join(lines)


def _row(row: Rate) -> str:
    share = "" if row.reached is None else f"{row.reached:.0%}"
    memory = ["" if mib is None else f"{mib:,.0f}" for mib in (row.peak_mib, row.beyond_mib)]
    rate, spread = f"{_short(row.median)} {row.unit}", f"{_short(row.low)} – {_short(row.high)}"
    return f"| {' | '.join([row.method, rate, spread, share, *memory])} |"
