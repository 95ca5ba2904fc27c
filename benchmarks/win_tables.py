"""Tables of `results/win.json`: VIP5 beside the best baseline of each set, every system that was measured, and
explanations with some of their sentences."""

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
    trained = ["| data | system | seed | epochs | best epoch | its validation | minutes |"]
    trained += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    trained += [
        f"| {t['data']} | {_titles(stored)[t['system']]} | {t['seed']} | {t['epochs']} | {t['best_epoch']} "
        f"| {_number(t['validation'])} | {t['seconds'] / 60:.1f} |"
        for t in stored["trainings"]
    ]
    return "\n\n".join([*parts, "\n".join(trained), _note(stored)]) + "\n"


def explanations(folder: Path) -> str:
    """Who explains how well, with and without the feature word; below each table what VIP5 wrote."""
    stored = _stored(folder)
    told = [row for row in stored["rows"] if row["task"] == "explain"]
    parts = []
    for (data, prompt), group in groupby(told, lambda row: (row["data"], row["prompt"])):
        rows = list(group)
        metrics = list(dict.fromkeys(row["metric"] for row in rows))
        lines = [f"**{data}, {prompt}**, per cent", "", f"| system | {' | '.join(metrics)} |"]
        lines.append("| --- |" + " ---: |" * len(metrics))
        for system in dict.fromkeys(row["system"] for row in rows):
            of = {row["metric"]: row for row in rows if row["system"] == system}
            cells = [_told(of[metric]) if metric in of else "" for metric in metrics]
            lines.append(f"| {_titles(stored)[system]} | {' | '.join(cells)} |")
        parts.append("\n".join([*lines, "", *_examples(stored, data, prompt)]))
    note = "Test part; brackets: 95 % bootstrap over users; in italics, what VIP5 is above this system, paired."
    return "\n\n".join([*parts, f"{note} Measured by `{stored['command']}`, one seed."]) + "\n"


def _told(row: dict[str, Any]) -> str:
    between = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    above = f" *{row['difference']:+.2f}, p {_p(row)}*" if "difference" in row else ""
    return f"{row['mean']:.2f}{between}{above}"


def _examples(stored: dict[str, Any], data: str, prompt: str) -> list[str]:
    """A folded list of the sentences of the first system, beside the true ones."""
    found = next((s for s in stored["sentences"] if (s["data"], s["prompt"]) == (data, prompt)), None)
    if found is None:
        return []
    title = f"{len(found['sentences'])} sentences of {_titles(stored)[found['system']]}, drawn at random"
    shown = [f"| {_cell(s['written'])} | {_cell(s['truth'])} |" for s in found["sentences"]]
    return [f"<details><summary>{title}</summary>", "", "| written | true |", "| --- | --- |", *shown, "", "</details>"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "win.json").read_text("utf-8"))


def _groups(rows: list[dict[str, Any]]) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    ranked = [row for row in rows if row["task"] in TASKS]
    return [(key, list(group)) for key, group in groupby(ranked, lambda row: (row["data"], row["task"]))]


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
