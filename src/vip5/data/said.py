"""Plain sentences on what a dataset is like: how it was put in order, and whether people buy again."""

from collections.abc import Iterator

from vip5.data.schema import REPEATS_COMMON, Manifest


def buys_again(manifest: Manifest) -> bool:
    """Whether repeats are common in the training part; not in folders of older versions, which do not know."""
    return (manifest.repeats_share or 0.0) >= REPEATS_COMMON


def notes(manifest: Manifest, unexplained: str) -> Iterator[str]:
    """What `prepare` says of the order, of ties, of explanations and of repeats, where there is something to say.

    unexplained: why reviews have no explanation, see `why_unexplained`.
    """
    counts = manifest.counts
    if manifest.order == "position":
        yield "no time is given: the order is that of the column position"
    elif manifest.order == "file":
        yield "no time is given: the order is that of the file"
    if counts["tied"]:
        what = f"{counts['tied']:,} interactions tie with another one of the same user"
        done = {
            "shuffle": f"their order was drawn (seed {manifest.seed})",
            "file": "their order is the file's",
            "drop": f"their order was drawn (seed {manifest.seed}), and who has such a test item is not tested",
        }
        whom = f"{counts['tied_tests']:,} test items with the one before"
        yield f"{what}, {whom}: {done[manifest.ties or 'file']}"
    if (told := counts["explanations"]) < counts["reviews"]:
        yield f"{told:,} of {counts['reviews']:,} reviews give an explanation; {unexplained}"
    if buys_again(manifest):
        yield f"people buy again: {repeats_words(manifest)}"


def repeats_words(manifest: Manifest) -> str:
    """The share of repeats, in words."""
    share = manifest.repeats_share
    return "not recorded" if share is None else f"{share:.1%} of the training purchases after a user's first"


def order_words(manifest: Manifest, tested: int) -> str:
    """One sentence on the order within a user and how ties were broken; `tested`: users with a test item."""
    if manifest.order is None:
        return "how equal times were put in order is not recorded"
    if manifest.order == "file":
        return "no times are given; the order is that of the file"
    tied = manifest.counts["tied_tests"]
    key = "time" if manifest.order == "time" else "position"
    given = "an order is given, and no times" if manifest.order == "position" else ""
    if not tied:
        return given or "no test target carries the same time as the purchase before"
    lead = f"{given}; " if given else ""
    if manifest.ties == "drop":
        return f"{lead}{tied:,} users are not tested, their last purchase carries the same {key} as the one before"
    how = "is the file's" if manifest.ties == "file" else f"was drawn (seed {manifest.seed})"
    return (
        f"{lead}{tied / tested:.1%} of the test targets carry the same {key} as the purchase before; their order {how}"
    )
