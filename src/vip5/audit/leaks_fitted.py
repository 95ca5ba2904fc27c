"""Whether what was fitted or drawn has seen the held-out part: item codes, statistics, samples, negatives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from vip5.audit.counterfactual import blind
from vip5.audit.leaks import ALPHA, Finding
from vip5.audit.probes import IdGap, IdPlusOne, SeldomNegative
from vip5.data import Dataset, Ragged
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import paired_difference
from vip5.evaluation.ranking import hit_rate, ranks_in_list
from vip5.prompts import Samples

FEW = 10  # new items, at least, to judge where their codes stand
NEXT_TO_HISTORY = 0.4  # share of the new items from which on codes have read whole sequences; see `codes_of_new_items`


def refitted_codes(
    words: Sequence[str], refit: Callable[[Dataset], list[str]], dataset: Dataset, other: Dataset
) -> Finding:
    """Codes of a known scheme, fitted again here, and with another held-out part.

    Clusters may come out otherwise on another machine or in another version: then the scheme is cleared, but these very
    codes are not (a note).
    """
    name, fresh = "item codes", refit(dataset)
    if fresh != refit(other):
        return Finding(name, "leak", None, "they change with the held-out items, and so were fitted on them")
    if list(words) != fresh:
        return Finding(name, "note", None, "not what their scheme gives here, so judged by what they give away")
    return Finding(name, "ok", None, "fitted again with other held-out items, they are the same")


def codes_above_training(rules: Mapping[str, np.ndarray], honest: Mapping[str, np.ndarray], seed: int = 0) -> Finding:
    """Whether a rule on the codes alone beats every rule that reads the training part.

    rules, honest: NDCG@5 of each user, float [n], by the name of the rule. Paired bootstrap; the largest p counts.
    """
    name = "codes against training"
    rule = max(rules, key=lambda rule: rules[rule].mean())
    best = max(honest, key=lambda rule: honest[rule].mean())
    differences = [paired_difference(rules[rule], values, seed=seed) for values in honest.values()]
    p = max(difference.p for difference in differences)
    text = f"NDCG@5 {rules[rule].mean():.4f} by {rule!r}, {honest[best].mean():.4f} by {best!r}"
    if all(difference.low > 0 for difference in differences) and p < ALPHA:
        return Finding(name, "leak", p, f"the codes alone tell more than the whole training part can: {text}")
    return Finding(name, "ok", p, f"the codes alone tell no more than the training part: {text}")


def codes_of_new_items(words: Sequence[str], dataset: Dataset) -> Finding:
    """Where the codes put items that the training part does not have.

    Codes fitted on the training part can put them next to a history by what the items are, but not by who buys them.
    Numbers given as whole sequences are read put a new item one or two above the history of its first buyer. So we
    count the new items that stand so for at least one of those who have them held out, or are neighbours of the last
    item. Measured: 58 to 68 % under the paper's numbers, 0 % under `sequential`, up to 21 % under the raw ids of a
    catalogue that lists like products together.
    """
    name = "codes of new items"
    known = np.unique(dataset.history("train").values)
    hits, items = [], []
    for split in ("validation", "test"):
        tested = HeldOut.of(dataset, split)
        rows = np.flatnonzero(~np.isin(tested.targets, known))
        history = dataset.history("train")
        part = Ragged.from_lists([history[user] for user in tested.users[rows]])
        targets = tested.targets[rows]
        near = [ranks_in_list(rule(words).rank(part, 2), targets) < 2 for rule in (IdPlusOne, IdGap)]
        hits.append(near[0] | near[1])
        items.append(targets)
    item, hit = np.concatenate(items), np.concatenate(hits)
    new, holders = np.unique(item, return_counts=True)
    if len(new) < FEW:
        return Finding(name, "ok", None, f"{len(new)} held-out items are new: too few to judge")
    found = len(np.unique(item[hit]))
    chance = float((1 - (1 - min(4 / dataset.n_items, 1)) ** holders).mean())
    p = float(binomtest(found, len(new), chance, "greater").pvalue)
    text = (
        f"{found} of {len(new)} items that training does not have stand next to a history that they are held out from"
    )
    leak = found >= NEXT_TO_HISTORY * len(new) and p < ALPHA
    return Finding(name, "leak" if leak else "ok", found / len(new), text)


def fitted_findings(fitted: Mapping[str, Callable[[Dataset], Any]], dataset: Dataset, other: Dataset) -> list[Finding]:
    """Each thing that is fitted to the data or drawn from it, made twice: it must not tell the held-out parts apart."""
    findings = []
    for name, what in fitted.items():
        if blind(what, dataset, other):
            findings.append(Finding(name, "ok", None, "the same with another held-out part"))
        else:
            findings.append(Finding(name, "leak", None, "changes with the held-out part, and so has read it"))
    return findings


def training_negatives(choices: Samples, dataset: Dataset) -> Finding:
    """Whether a user's held-out items are drawn as negatives as often as chance has it.

    choices: samples that each hold the right item among C candidates. A model that never meets the test item as a
    negative learns which item that is.
    """
    name, n_items = "training negatives", dataset.n_items
    trained, whole = dataset.history("train"), dataset.sequences
    bought = np.unique(trained.rows * n_items + trained.values)
    held = np.setdiff1d(np.unique(whole.rows * n_items + whole.values), bought)
    held_of = np.bincount(held // n_items, minlength=len(whole))
    free = n_items - np.bincount(bought // n_items, minlength=len(whole))
    rows = choices.candidates.rows
    shown = choices.user[rows] * n_items + choices.candidates.values
    seen = int(np.isin(shown, held).sum())
    chance = (choices.candidates.lengths - 1) / np.maximum(free[choices.user], 1)
    trials, expected = int(held_of[choices.user].sum()), float((held_of[choices.user] * chance).sum())
    if expected < FEW:
        return Finding(name, "ok", seen, f"held-out items are expected {expected:.1f} times: too few draws to judge")
    p = float(binomtest(min(seen, trials), trials, min(expected / trials, 1.0), "less").pvalue)
    text = f"a user's held-out items are drawn {seen:,} times as negatives, {expected:,.0f} expected"
    if p < ALPHA:
        return Finding(name, "leak", p, f"they avoid the held-out items: {text}")
    return Finding(name, "ok", p, text)


def stored_negatives(tested: HeldOut, sequences: Ragged, n_items: int, weights: np.ndarray | None = None) -> Finding:
    """Whether items that are someone's target are stored negatives as often as others.

    sequences: the n tested users' whole sequences, of which no negative is drawn. weights: float [n_items], how likely
    each item was to be drawn; uniform when not given. Two tests: the number of times that targets are negatives, and
    `SeldomNegative` against chance (with uniform weights only).
    """
    name, width = "stored negatives", tested.lists.shape[1]
    if width < 2:
        return Finding(name, "ok", None, "there are no stored negatives")
    negatives = tested.lists[tested.lists != tested.targets[:, None]]
    own = np.unique(sequences.rows * n_items + sequences.values)
    weight = np.ones(n_items) if weights is None else np.asarray(weights, dtype=np.float64)
    lists = len(tested) - np.bincount(own % n_items, minlength=n_items)  # that an item might be in
    targets = np.unique(tested.targets)
    seen = int(np.bincount(negatives, minlength=n_items)[targets].sum())
    trials = int(lists[targets].sum())
    expected = _expected_draws(weight, own, len(tested), width - 1, np.isin(np.arange(n_items), targets))
    chance = min(expected / max(trials, 1), 1.0)
    p = float(binomtest(min(seen, trials), trials, chance, "less").pvalue) if trials else 1.0
    text = f"test items are negatives {seen:,} times, {chance * trials:,.0f} expected"
    if weights is None:
        rule = SeldomNegative(negatives, sequences, n_items)
        cut = max(1, width // 10)
        ranks = ranks_in_list(rule.rank_candidates(tested.lists, tested.targets), tested.targets)
        hits = int(hit_rate(ranks, cut).sum())
        clusters = np.unique(tested.targets, return_counts=True)[1]  # one item is as seldom for all whose target it is
        spread = np.sqrt(cut / width * (1 - cut / width) * float((clusters**2).sum()))
        p = min(p, float(norm.sf((hits - len(tested) * cut / width) / spread))) if cut < width else p
        text += f"; HR@{cut} of the seldomest {hits / len(tested):.4f}, chance {cut / width:.4f}"
    if p < ALPHA / 2:
        return Finding(name, "leak", p, f"they avoid test items: {text}")
    return Finding(name, "ok", p, text)


def _expected_draws(
    weight: np.ndarray, own: np.ndarray, n_users: int, width: int, wanted: np.ndarray, steps: int = 8
) -> float:
    """How many of the `wanted` items, bool [n_items], stand in n_users lists of `width` items, in expectation.

    Lists are drawn by `weight` [n_items] without replacement, outside each user's own items (`own`: user * n_items +
    item). So drawn, an item comes before a time t with probability 1 - exp(-t * weight), where t is such that `width`
    come on average (Rosén 1997: exact for equal weights, nearly so for many items). t is found by Newton's method,
    which rises to it from below.
    """
    n_items = len(weight)
    values, kind = np.unique(weight, return_inverse=True)
    many, asked = np.bincount(kind), np.bincount(kind[wanted], minlength=len(values))
    row, item = own // n_items, own % n_items
    total = 0.0
    for users in np.array_split(np.arange(n_users), max(1, n_users * len(values) // 4_000_000)):
        mine = (row >= users[0]) & (row <= users[-1])
        at, w, counts = row[mine] - users[0], weight[item[mine]], wanted[item[mine]]
        free = weight.sum() - np.bincount(at, w, minlength=len(users))
        time = width / free
        for _ in range(steps):
            late = np.exp(-time[:, None] * values)
            come = (1 - late) @ many - np.bincount(at, 1 - np.exp(-time[at] * w), minlength=len(users))
            rate = (late * values) @ many - np.bincount(at, w * np.exp(-time[at] * w), minlength=len(users))
            time = np.minimum(time + (width - come) / np.maximum(rate, 1e-12), 1e9)  # all items come in the end
        here = (1 - np.exp(-time[:, None] * values)) @ asked
        total += float(here.sum() - ((1 - np.exp(-time[at] * w)) * counts).sum())
    return total
