"""The tables of what `vip5 bench …` measured, from `benchmarks/results/speed/`."""

from pathlib import Path

from vip5.bench.measure import Bench, Row

ORDER = ("data", "train", "decode", "trie", "prepare")


def speed(folder: Path) -> str:
    """Every benchmark with its rates, its ratios and what was checked."""
    files = [folder / "speed" / f"{name}.json" for name in ORDER]
    return "\n\n".join(_one(Bench.model_validate_json(file.read_bytes())) for file in files if file.is_file()) + "\n"


# What of each benchmark stands in the README: what it is, the method that is ours, the peer, and what to call it.
SUMMARY = (("data", "next item", "prompts for the next item, on one core", "rendering and tokenising"),)


def summary(folder: Path) -> str:
    """A line for each benchmark: our rate, the peer, how many times as fast."""
    lines = ["| what | a second | peer | times as fast |", "| --- | ---: | --- | ---: |"]
    return "\n".join(lines) + "\n"


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


def _row(row: Row) -> str:
    share = "" if row.reached is None else f"{row.reached:.0%}"
    memory = ["" if mib is None else f"{mib:,.0f}" for mib in (row.peak_mib, row.beyond_mib)]
    spread = f"{row.low:,.4g} – {row.high:,.4g}"
    return f"| {' | '.join([row.method, f'{row.median:,.4g} {row.unit}', spread, share, *memory])} |"
