"""Who wins: one sentence a task, that says so too where it is a baseline."""

from collections.abc import Sequence

from vip5.evaluation.results import EVERYONE, NEXT_ITEM, Result

RIVALS = ("popularity", "item-knn", "rules")  # what stands beside every evaluation
METRIC = "NDCG@10"


def verdict(results: Sequence[Result]) -> list[str]:
    """The best system for the next item and for one of N, by how much, and the command of a baseline that wins.

    Of several prompts of a task the best one stands for the model.
    """
    held = [
        r
        for r in results
        if (r.kind, r.group, r.metric) == ("model", EVERYONE, METRIC) and r.baseline in RIVALS and r.p is not None
    ]
    if not {r.baseline for r in held} - {RIVALS[0]}:  # popularity alone beats nobody
        return []
    lines = []
    for task in dict.fromkeys(r.task for r in held):
        own = max((r for r in held if r.task == task), key=lambda r: r.value)
        rivals = [r for r in held if (r.task, r.prompt, r.model) == (task, own.prompt, own.model)]
        lines.append(_sentence(max(rivals, key=lambda r: r.baseline_value or 0.0)))
    return lines


def _sentence(r: Result) -> str:
    asked = "the next item" if r.task == NEXT_ITEM else r.task
    assert r.baseline_value is not None and r.difference is not None
    assert r.difference_low is not None and r.difference_high is not None
    numbers = f"{METRIC} {_number(r.value)} by {r.prompt}, {r.baseline} {_number(r.baseline_value)}"
    between = f"[{_signed(r.difference_low)}, {_signed(r.difference_high)}]"
    if r.difference_low > 0:
        return f"Best for {asked}: {r.model}, {_signed(r.difference)} {between} above {r.baseline} ({numbers})."
    if r.difference_high < 0:
        use = f"`vip5 baseline {r.baseline} DATASET --out RUN` makes a run of it"
        return f"Best for {asked}: {r.baseline}, {_signed(-r.difference)} above {r.model} ({numbers}); {use}."
    close = f"{_signed(r.difference)} {between}, which may be chance"
    return f"No winner for {asked}: {r.model} and {r.baseline} differ by {close} ({numbers})."


def _number(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{_number(abs(value))}"
