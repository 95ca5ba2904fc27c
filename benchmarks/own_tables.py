"""Tables of results that are not one evaluation's: code schemes side by side, what `vip5 compare` calls, ties, int8."""

import json
from pathlib import Path
from statistics import mean
from typing import Any

SHOWN = (("A-3", "HR@10"), ("A-3", "NDCG@10"), ("B-5", "HR@10"), ("B-5", "NDCG@10"))
TASKS = {"A-3": "next item", "B-5": "one of 100"}


def codes(folder: Path) -> str:
    """Every scheme with its numbers over seeds, the rules below, and which differences to the best one hold."""
    stored = json.loads((folder / "codes.json").read_text("utf-8"))
    rows = stored["comparison"]["rows"]
    values: dict[tuple[str, str, str], Any] = {}
    for row in rows:
        for system, value in (("system", "value"), ("reference", "reference_value")):
            values[_scheme(row[system]), row["prompt"], row["metric"]] = row[value]
    head = [
        "| item codes | protocol | tokens | new tokens | A-3 HR@10 | A-3 NDCG@10 | B-5 HR@10 | B-5 NDCG@10 "
        "| id + 1 | audit | beam 20 − exact |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    body = []
    best = max(stored["systems"], key=lambda s: values[s["scheme"], "A-3", "NDCG@10"]["value"])["scheme"]
    for system in stored["systems"]:
        scheme, facts = system["scheme"], system["facts"]
        spread = f"{facts['tokens_shortest']}–{facts['tokens_longest']}"
        rule = next(r for r in system["rules"] if (r["task"], r["rule"]) == ("next item", "id + 1"))
        cells = [
            f"**{scheme}**" if scheme == best else scheme,
            "paper — leaky" if system["protocol"] == "paper" else "clean",
            spread,
            f"{facts['new_tokens']:,}",
            *(_bounds(values[scheme, prompt, metric]) for prompt, metric in SHOWN),
            _number(rule["metrics"]["NDCG@5"]["value"]),
            system["audit"]["verdict"],
            f"{100 * system['search']['relative_difference']:+.2f} %".replace("-", "−"),
        ]
        body.append(f"| {' | '.join(cells)} |")
    for name in ("popularity", "item-kNN"):
        found = {r["task"]: r["metrics"] for r in stored["rules"] if r["rule"].lower() == name.lower()}
        cells = [_bounds(found[TASKS[prompt]][metric]) for prompt, metric in SHOWN]
        body.append(f"| rule: {name} | clean | | | {' | '.join(cells)} | | | |")
    lines = ["\n".join(head + body), _differences(rows, best), _source(stored)]
    return "\n\n".join(lines) + "\n"


def history(folder: Path) -> str:
    """Two comparisons, with what `vip5 compare` says of each."""
    stored = json.loads((folder / "history.json").read_text("utf-8"))
    lines = ["| compared | metric | first | second | first − second | p, corrected | shown |", "| --- " * 7 + "|"]
    titles = {"seeds": "seed 1 − seed 0", "history": "with history − without"}
    for name, title in titles.items():
        for row in stored[name]["rows"]:
            cells = [title, row["metric"], _bounds(row["value"]), _bounds(row["reference_value"])]
            cells += [_bounds(row["difference"], True), _number(row["p"]), row["verdict"]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + _source(stored) + "\n"


def audit(folder: Path) -> str:
    """What the rules reach on each data set, and the verdicts."""
    stored = json.loads((folder / "audit.json").read_text("utf-8"))
    by = {(found["dataset"], found["codes"]): found for found in stored["audits"]}
    sets = list(dict.fromkeys(found["dataset"] for found in stored["audits"]))

    def cell(name: str, codes: str, task: str, rule: str, metric: str) -> str:
        rules = by[name, codes]["rules"] if (name, codes) in by else []
        found = [r["metrics"][metric]["value"] for r in rules if (r["task"], r["rule"].lower()) == (task, rule.lower())]
        return _number(found[0]) if found else "–"

    rows = [
        (f"{rule}, codes `{codes}`: NDCG@5", (codes, "next item", rule, "NDCG@5"))
        for codes in ("paper", "sequential")
        for rule in ("id + 1", "id gap")
    ]
    rows += [(f"{rule}: NDCG@5", ("sequential", "next item", rule, "NDCG@5")) for rule in ("popularity", "item-kNN")]
    rows += [
        (f"{rule}, one of 100: HR@10", ("sequential", "one of 100", rule, "HR@10"))
        for rule in ("popularity", "item-kNN", "seldom a negative")
    ]
    lines = [f"| | {' | '.join(sets)} |", "| --- " + "| ---: " * len(sets) + "|"]
    lines += [f"| {title} | {' | '.join(cell(name, *what) for name in sets)} |" for title, what in rows]
    for codes in ("paper", "sequential"):
        verdicts = [by[name, codes]["verdict"] if (name, codes) in by else "–" for name in sets]
        lines.append(f"| verdict, codes `{codes}` | {' | '.join(verdicts)} |")
    hashes = ", ".join(f"{name} `{by[name, 'sequential']['data_hash'][:12]}`" for name in sets)
    seconds = [found["seconds"] for found in stored["audits"]]
    m = stored["machine"]
    return "\n".join(lines) + (
        f"\n\nSeed 0; {hashes}. Measured by `{stored['command']}` (vip5 {stored['version']}) on {stored['date'][:10]}; "
        f"{m['cpu']}, {m['cores']} cores; {min(seconds):.0f} to {max(seconds):.0f} seconds an audit.\n"
    )


def ties(folder: Path) -> str:
    """How many test targets tie with the purchase before, and what the next higher raw id finds of them."""
    stored = json.loads((folder / "ties.json").read_text("utf-8"))
    columns = [(metric, whom) for whom in ("all", "tied") for metric in ("HR@1", "HR@10")]
    names = " | ".join(f"{metric}, {whom}" for metric, whom in columns)
    lines = [f"| data | order of ties | test targets | tied | {names} | audit |"]
    lines.append("| --- | --- " + "| ---: " * 6 + "| --- |")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    hashes: dict[str, list[str]] = {}
    for row in stored["rows"]:
        groups.setdefault((row["dataset"], row["ties"]), []).append(row)
        hashes.setdefault(row["dataset"], []).append(f"`{row['data_hash'][:12]}`")
    for (name, how), rows in groups.items():
        timed = rows[0]["order"] == "time"
        order = {"file": "the file's", "shuffle": "shuffled"}[how] if timed else "comes with an order and no time"
        cells = [name, order, f"{rows[0]['n']:,}", f"{rows[0]['tied_share']:.1%}" if timed else "–"]
        cells += [_over([r["rule"][whom][m] for r in rows]) if whom in rows[0]["rule"] else "–" for m, whom in columns]
        cells.append(", ".join(dict.fromkeys(r["check"]["status"] for r in rows)))
        lines.append(f"| {' | '.join(cells)} |")
    data = "; ".join(f"{name} {', '.join(found)}" for name, found in hashes.items())
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in stored["rows"]}))
    m = stored["machine"]
    return "\n".join(lines) + (
        "\n\nSquare brackets: 95 % bootstrap over users, 10,000 resamples. Round ones: the lowest and the highest of "
        f"the shuffle's seeds {seeds}, whose mean stands before. Data, the file's order first, then by seed: {data}. "
        f"Measured by `{stored['command']}` (vip5 {stored['version']}) on {stored['date'][:10]}; {m['cpu']}, "
        f"{m['cores']} cores, Python {m['python']}.\n"
    )


def int8(folder: Path) -> str:
    """What 8-bit integers cost in accuracy."""
    stored = json.loads((folder / "int8.json").read_text("utf-8"))
    lines = [
        "| item codes | prompt | users | metric | float32 | int8 | int8 − float32 | p |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in stored["rows"]:
        cells = [row["scheme"], row["prompt"], f"{row['users']:,}", row["metric"]]
        cells += [_bounds(row["float32"]), _bounds(row["int8"]), _bounds(row["difference"], True)]
        lines.append(f"| {' | '.join([*cells, _number(row['difference']['p'])])} |")
    m, hashes = stored["machine"], {row["data_hash"][:12] for row in stored["rows"]}
    return "\n".join(lines) + (
        f"\n\nProtocol {stored['protocol']}, seed {stored['rows'][0]['seed']}, data {', '.join(sorted(hashes))}; "
        f"brackets: 95 % bootstrap over users, 10,000 resamples; p is not corrected. Measured by "
        f"`{stored['command']}` (vip5 {stored['version']}) on {stored['date'][:10]}; {m['cpu']}, {m['cores']} cores.\n"
    )


def _differences(rows: list[dict[str, Any]], best: str) -> str:
    """The best scheme against each other one, in NDCG@10."""
    lines = [f"| {best} minus | A-3 NDCG@10 | p | B-5 NDCG@10 | p |", "| --- | ---: | ---: | ---: | ---: |"]
    found: dict[str, dict[str, tuple[Any, float]]] = {}
    for row in rows:
        pair = (_scheme(row["system"]), _scheme(row["reference"]))
        if row["metric"] == "NDCG@10" and best in pair:
            d, sign = row["difference"], 1 if pair[0] == best else -1
            low, high = sorted((sign * d["low"], sign * d["high"]))
            turned = {"value": sign * d["value"], "low": low, "high": high}
            found.setdefault(pair[1] if sign == 1 else pair[0], {})[row["prompt"]] = (turned, row["p"])
    for other, by_prompt in found.items():
        cells = [c for prompt in TASKS for c in (_bounds(by_prompt[prompt][0], True), _number(by_prompt[prompt][1]))]
        lines.append(f"| {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _source(stored: dict[str, Any]) -> str:
    m = stored["machine"]
    return (
        "Brackets: 95 % bootstrap over users and seeds, 10,000 resamples; p is corrected for the number of comparisons "
        f"(Holm). Data `{stored['data_hash'][:12]}`. Measured by `{stored['command']}` (vip5 {stored['version']}) on "
        f"{stored['date'][:10]}; {m['cpu']}, {m['cores']} cores, Python {m['python']}, torch {m['torch']}."
    )


def _scheme(system: str) -> str:
    """`semantic-0 (3 seeds)` is the system of codes `semantic`."""
    return system.split(" (")[0].rpartition("-")[0]


def _bounds(cell: dict[str, float], signed: bool = False) -> str:
    value, low, high = (_number(cell[name], signed) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _over(cells: list[dict[str, float]]) -> str:
    """One number with its interval, or the mean of several with their range."""
    if len(cells) == 1:
        return _bounds(cells[0])
    values = [cell["value"] for cell in cells]
    return f"{_number(mean(values))} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float, signed: bool = False) -> str:
    text = f"{abs(value):.4f}".removeprefix("0")
    return ("−" if value < 0 else "+") + text if signed or value < 0 else text
