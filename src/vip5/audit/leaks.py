"""What the tables themselves give away: names, explanations, duplicates, dates."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import binomtest

from vip5.audit.probes import code_numbers, last_items
from vip5.data import Dataset
from vip5.evaluation.held_out import HeldOut

ALPHA = 0.001  # a check that is passed by an honest data set cries wolf once in a thousand
PLAIN_KEYS = ("title", "brand", "image")  # items alike in all of these are likely one item under two ids


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: "leak" where a number can no longer be trusted, "note" for what to know, else "ok"."""

    name: str
    status: Literal["ok", "note", "leak"]
    figure: float | None  # the number behind it: a count, a share or a p-value, as the words say
    words: str


def table_findings(dataset: Dataset, tested: HeldOut) -> list[Finding]:
    """All checks that read the tables alone."""
    return [
        protocol(dataset),
        user_fields(dataset),
        *explanations(dataset),
        time_travel(dataset),
        ties(dataset, tested),
        later_training(dataset, tested),
        duplicates(dataset),
        twin_items(dataset),
        repeats(dataset, tested),
        cold_targets(dataset, tested),
    ]


def protocol(dataset: Dataset) -> Finding:
    """Protocol paper splits reviews at random, whatever is held out."""
    if dataset.manifest.protocol == "clean":
        return Finding("protocol", "ok", None, "clean: reviews are split as the interactions are")
    return Finding("protocol", "leak", None, "protocol paper splits explanations at random, held-out purchases or not")


def user_fields(dataset: Dataset) -> Finding:
    """Names and raw ids of users that hold the raw id or the whole title of an item held out from them."""
    held, items, users = _held_out(dataset), dataset.items, dataset.users
    own = [f"{name or ''}\n{raw}".casefold() for name, raw in users.select("name", "user").iter_rows()]
    keys = [
        [k for k in (str(raw).casefold(), (title or "").strip().casefold()) if len(k) >= 8 or len(k.split()) >= 2]
        for raw, title in items.select("item", "title").iter_rows()
    ]
    telling = {user for user, item in held.iter_rows() if any(key in own[user] for key in keys[item])}
    words = f"{len(telling):,} users have a name or id that holds the id or title of an item held out from them"
    return Finding("user fields", "leak" if telling else "ok", len(telling), words)


def explanations(dataset: Dataset) -> list[Finding]:
    """Explanations of held-out purchases that stand in training, as their own rows or word for word."""
    told = dataset.reviews.filter(pl.col("explanation").is_not_null())
    name = "explanations in training"
    if not len(told):
        return [Finding(name, "ok", 0, "there are no explanations")]
    train = told.filter(pl.col("split") == "train")
    held = _held_out(dataset)
    taught = train.join(held, on=["user", "item"], how="semi")
    tests = dataset.interactions.filter(pl.col("split") == "test").select("user", "item")
    share = len(tests.join(train, on=["user", "item"], how="semi")) / max(len(tests), 1)
    words = (
        f"{len(taught):,} training explanations are of held-out purchases; {share:.1%} of the test items have theirs"
    )
    first = Finding(name, "leak" if len(taught) else "ok", len(taught), f"{words} in training")
    rest = told.filter(pl.col("split") != "train")
    again = len(rest.join(train, on=["item", "explanation"], how="semi"))
    words = f"{again:,} of {len(rest):,} held-out explanations stand word for word in training, for the same item"
    return [first, Finding("repeated sentences", "note" if again else "ok", again, words)]


def time_travel(dataset: Dataset) -> Finding:
    """Held-out interactions that are older than a training interaction of the same user."""
    dated = dataset.interactions.filter(pl.col("timestamp").is_not_null())
    if not len(dated):
        return Finding("order in time", "ok", None, "there are no dates; the order is as given")
    newest = dated.filter(pl.col("split") == "train").group_by("user").agg(newest=pl.col("timestamp").max())
    held = dated.filter(pl.col("split") != "train").join(newest, on="user")
    wrong = held.filter(pl.col("timestamp") < pl.col("newest"))["user"].n_unique()
    words = f"{wrong:,} users have a held-out interaction that is older than one in training"
    return Finding("order in time", "leak" if wrong else "ok", wrong, words)


def ties(dataset: Dataset, tested: HeldOut) -> Finding:
    """Test targets of the same time as the purchase before, and whether their order follows the raw ids.

    In an order that tells nothing, the target's id is the higher one half of the time (two-sided binomial test), of all
    tied pairs and of those whose ids are at most ten places apart: there "next higher raw id" finds its targets.
    """
    name, tied = "ties in time", tied_targets(dataset, tested)
    if tied is None:
        return Finding(name, "ok", None, dataset.order_note)
    if not tied.any():
        return Finding(name, "ok", 0.0, "no test target has the time of the purchase before")
    place = np.argsort(np.argsort(code_numbers(dataset.items["item"].to_list()), kind="stable"))
    last, target = last_items(tested.histories)[tied], tested.targets[tied]
    gap = (place[target] - place[last])[last != target]
    near = gap[np.abs(gap) <= 10]
    p = min(1.0, 2 * min(_higher_later(gap)[1], _higher_later(near)[1]))  # of two tests (Bonferroni)
    words = (
        f"{dataset.order_note}; the higher raw id comes later in {_higher_later(gap)[0]:.1%} of these, and in "
        f"{_higher_later(near)[0]:.1%} of the {len(near):,} whose ids are near"
    )
    if p < ALPHA:
        return Finding(name, "leak", p, f"their order gives the answer away: {words}; prepare with --ties shuffle")
    return Finding(name, "note", float(tied.mean()), words)


def _higher_later(gap: np.ndarray) -> tuple[float, float]:
    """How often the later of two has the higher id, and how likely that is or more where neither comes first."""
    if not len(gap):
        return 0.5, 1.0
    above = int((gap > 0).sum())
    return above / len(gap), float(binomtest(above, len(gap), 0.5).pvalue)


def tied_targets(dataset: Dataset, tested: HeldOut) -> np.ndarray | None:
    """bool [n]: which test targets have the time of the purchase before; None where no times are given."""
    table = dataset.interactions
    if table["timestamp"].null_count() == len(table):
        return None
    times, lengths = table["timestamp"].to_numpy(), dataset.history("test").lengths[tested.users]
    first = dataset.sequences.offsets[tested.users] + lengths
    return times[first] == times[first - 1]


def later_training(dataset: Dataset, tested: HeldOut) -> Finding:
    """How much of the others' training part is from after a user's test target: part of leave-one-out."""
    table = dataset.interactions
    times = table.filter((pl.col("split") == "train") & pl.col("timestamp").is_not_null())["timestamp"].sort()
    tests = table.filter((pl.col("split") == "test") & pl.col("timestamp").is_not_null())["timestamp"]
    if not len(times) or not len(tests):
        return Finding("training from the future", "ok", None, "there are no dates")
    later = len(times) - np.searchsorted(times.to_numpy(), tests.to_numpy(), side="right")
    share = float(later.mean() / len(times))
    words = (
        f"{share:.1%} of the training interactions are later than a test target, on average, as leave-one-out has it"
    )
    return Finding("training from the future", "note" if share else "ok", share, words)


def duplicates(dataset: Dataset) -> Finding:
    """The same user, item and date twice."""
    dated = dataset.interactions.filter(pl.col("timestamp").is_not_null())
    twice = len(dated) - dated.select("user", "item", "timestamp").n_unique()
    words = f"{twice:,} interactions have the user, item and date of another one"
    return Finding("duplicates", "note" if twice else "ok", twice, words)


def twin_items(dataset: Dataset) -> Finding:
    """Items of the same title, brand and photo: a model may name the twin of the right one."""
    named = dataset.items.filter(pl.col("title").is_not_null()).select(PLAIN_KEYS)
    twins = int(named.is_duplicated().sum()) if len(named) else 0
    words = f"{twins:,} items share title, brand and photo with another one"
    return Finding("twin items", "note" if twins else "ok", twins, words)


def repeats(dataset: Dataset, tested: HeldOut) -> Finding:
    """Test targets that the user had before: where people seldom buy again, full ranking leaves them out."""
    histories = tested.histories
    again = np.zeros(len(tested), dtype=bool)
    again[histories.rows[histories.values == np.repeat(tested.targets, histories.lengths)]] = True
    count = int(again.sum())
    listed = "may be these, as people buy again" if dataset.buys_again else "leaves these out"
    words = f"{count:,} test targets stand in their user's history; the next item {listed}"
    return Finding("repeated targets", "note" if count else "ok", count, words)


def cold_targets(dataset: Dataset, tested: HeldOut) -> Finding:
    """Test targets that nobody bought in the training part."""
    cold = int((~np.isin(tested.targets, dataset.history("train").values)).sum())
    words = f"{cold:,} of {len(tested):,} test targets do not occur in the training part"
    return Finding("new items", "note" if cold else "ok", cold, words)


def _held_out(dataset: Dataset) -> pl.DataFrame:
    """The pairs of user and item that are held out, distinct."""
    return dataset.interactions.filter(pl.col("split") != "train").select("user", "item").unique()
