"""Tables of `results/win.json`: VIP5 beside the best baseline of each set, and every system that was measured."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

TASKS = {"next": "next item", "choice": "one of 100"}
MAIN = "NDCG@10"


def summary(folder: Path) -> str:
    """For each set and task VIP5, the best baseline, and the paired difference."""
    stored = _stored(folder)
    lines = [
        "| data | task | VIP5 HR@10 | VIP5 NDCG@10 | best baseline | its NDCG@10 | VIP5 above it | p |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for (data, task), rows in _groups(stored["rows"]):
        own = {row["metric"]: row for row in rows if "difference" not in row}
        rivals = [row for row in rows if row["metric"] == MAIN and row["system"] in _baselines(stored)]
        if not rivals:
            continue
        best = max(rivals, key=lambda row: row["mean"])
        lines.append(
            f"| {data} | {TASKS[task]} | {_bounds(own['HR@10'])} | {_bounds(own[MAIN])} "
            f"| {_titles(stored)[best['system']]} | {_bounds(best)} | {_difference(best)} | {_p(best)} |"
        )
    return "\n".join([*lines, "", _note(stored)]) + "\n"


def systems(folder: Path) -> str:
    """Every system of every set, the best first below VIP5, and what VIP5 is above it."""
    stored = _stored(folder)
    parts = []
    for (data, task), rows in _groups(stored["rows"]):
        own = {row["metric"]: row for row in rows if "difference" not in row}
        others = sorted(
            (row for row in rows if row["metric"] == MAIN and "difference" in row), key=lambda r: -r["mean"]
        )
        hits = {row["system"]: row for row in rows if row["metric"] == "HR@10"}
        lines = [
            f"**{data}, {TASKS[task]}**",
            "",
            "| system | seeds | HR@10 | NDCG@10 | VIP5 above it, NDCG@10 | p |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            f"| VIP5 | {own[MAIN]['seeds']} | {_bounds(own['HR@10'])} | {_bounds(own[MAIN])} |  |  |",
        ]
        lines += [
            f"| {_titles(stored)[row['system']]} | {row['seeds']} | {_bounds(hits[row['system']])} | {_bounds(row)} "
            f"| {_difference(row)} | {_p(row)} |"
            for row in others
        ]
        parts.append("\n".join(lines))
    trained = ["| data | system | seed | epochs | best epoch | its validation, NDCG@10 of the network | minutes |"]
    trained += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    trained += [
        f"| {t['data']} | {_titles(stored)[t['system']]} | {t['seed']} | {t['epochs']} | {t['best_epoch']} "
        f"| {_number(t['validation'])} | {t['seconds'] / 60:.1f} |"
        for t in stored["trainings"]
    ]
    return "\n\n".join([*parts, "\n".join(trained), _note(stored)]) + "\n"


def _stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "win.json").read_text("utf-8"))


def _groups(rows: list[dict[str, Any]]) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    return [(key, list(group)) for key, group in groupby(rows, lambda row: (row["data"], row["task"]))]


def _titles(stored: dict[str, Any]) -> dict[str, str]:
    return {system["name"]: system["title"] for system in stored["systems"]}


def _baselines(stored: dict[str, Any]) -> set[str]:
    return {system["name"] for system in stored["systems"] if system["row"]}


def _number(value: float) -> str:
    return f"{'−' if value < 0 else ''}{abs(value):.4f}".replace("0.", ".", 1)


def _bounds(row: dict[str, Any]) -> str:
    return f"{_number(row['mean'])} [{_number(row['low'])}, {_number(row['high'])}]"


def _difference(row: dict[str, Any]) -> str:
    sign = "+" if row["difference"] >= 0 else ""
    between = f"[{_number(row['difference_low'])}, {_number(row['difference_high'])}]"
    return f"{sign}{_number(row['difference'])} {between}"


def _p(row: dict[str, Any]) -> str:
    return f"{row['p']:.4f}".removeprefix("0")


def _note(stored: dict[str, Any]) -> str:
    hashes = {row["data"]: row["data_hash"][:12] for row in stored["rows"]}
    data = ", ".join(f"{name} `{digest}`" for name, digest in hashes.items())
    return (
        "Test part, all users, over the whole catalogue or the stored 99 uniform negatives, protocol clean. Brackets: "
        "95 % paired bootstrap over users, and over seeds where there are several; p is corrected for all comparisons "
        f"of a set (Holm, 1979). Data {data}. Measured by `{stored['command']}` (vip5 {stored['version']}) on "
        f"{stored['date'][:10]}; {stored['machine']['cpu']}, one of {stored['machine']['cores']} cores."
    )
