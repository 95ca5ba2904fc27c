"""What stands in the tables: each leak planted and found, and not found where it is not."""

import polars as pl
import pytest

from vip5.audit.leaks import Finding, table_findings
from vip5.evaluation.held_out import HeldOut

CLEAN = {"ann": "vwxyz", "bob": "zyxwv", "cat": "wvyxz"}
TITLES = {"item": list("vwxyz"), "title": ["Red vase", "Blue wall", "Small x", "Yellow yarn", "Zinc zoo"]}


def findings(dataset) -> dict[str, Finding]:
    return {finding.name: finding for finding in table_findings(dataset, HeldOut.of(dataset))}


def say(user: str, item: str, text: str) -> dict:
    return {"user": user, "item": item, "explanation": text}


def test_a_clean_set_passes(make_shop, random_shop):
    reviews = [say("ann", "v", "It is a vase ."), say("ann", "z", "It is the zoo .")]
    for dataset in (make_shop(CLEAN, TITLES, reviews), random_shop):
        assert not [f for f in findings(dataset).values() if f.status == "leak"]


@pytest.mark.parametrize(
    ("names", "telling"),
    [
        ({"ann": "loves her ZINC ZOO"}, 1),
        ({"ann": "Yellow yarn and zinc zoo", "bob": "red vase man"}, 2),
        ({"ann": "Red vase"}, 0),  # which she has in training
        ({"ann": "zinc", "bob": "v"}, 0),
    ],
)
def test_names_that_tell(make_shop, names, telling):
    found = findings(make_shop(CLEAN, TITLES, names=names))["user fields"]
    assert (found.status, found.figure) == ("leak" if telling else "ok", telling)


def test_raw_ids_that_tell(make_shop):
    items = ["B000000001", "B000000002", "B000000003", "short"]
    dataset = make_shop({"x-b000000003": [*items[:2], items[2]], "short": [*items[:2], "short"]}, {"item": items})
    assert findings(dataset)["user fields"].figure == 1


def test_explanations_of_held_out_pairs(make_shop):
    reviews = [say("ann", item, f"It is an {item} .") for item in "vwxyz"] + [say("bob", "v", "It is an v .")]
    clean = findings(make_shop(CLEAN, None, reviews))
    assert clean["explanations in training"].status == "ok"
    assert (clean["repeated sentences"].status, clean["repeated sentences"].figure) == ("note", 1)  # bob's of v
    dataset = make_shop(CLEAN, None, reviews)
    dataset.__dict__["reviews"] = dataset.reviews.with_columns(
        split=pl.lit("train").cast(dataset.reviews["split"].dtype)
    )
    planted = findings(dataset)["explanations in training"]
    assert (planted.status, planted.figure) == ("leak", 3) and "66.7% of the test items" in planted.words
    paper = findings(make_shop(CLEAN, None, reviews, review_split="random"))
    assert paper["protocol"].status == "leak" and paper["explanations in training"].status == "leak"


def test_dates(make_shop):
    found = findings(make_shop(CLEAN))
    assert found["order in time"].status == "ok" and found["order in time"].figure == 0
    assert found["training from the future"].figure == 0  # all train on days 0 to 2, and are tested on day 4
    dataset = make_shop(CLEAN)
    late = pl.when((pl.col("user") == 0) & (pl.col("position") == 1)).then(9).otherwise("timestamp")
    dataset.__dict__["interactions"] = dataset.interactions.with_columns(timestamp=late.cast(pl.Int64))
    found = findings(dataset)
    assert (found["order in time"].status, found["order in time"].figure) == ("leak", 1)
    assert found["training from the future"].status == "note"
    assert found["training from the future"].figure == pytest.approx(1 / 9)
    dataset.__dict__["interactions"] = dataset.interactions.with_columns(timestamp=pl.lit(None, pl.Int64))
    assert all(
        f.status == "ok" for n, f in findings(dataset).items() if n in ("order in time", "training from the future")
    )


def test_duplicates_twins_repeats_and_new_items(make_shop):
    dataset = make_shop(CLEAN | {"dan": "vwvzv", "eve": "vwxyq"}, {"item": list("vwxyzq"), "title": [*"aabcd", None]})
    same = pl.when(pl.col("user") == 3).then(5).otherwise("timestamp")
    dataset.__dict__["interactions"] = dataset.interactions.with_columns(timestamp=same.cast(pl.Int64))
    found = findings(dataset)
    wanted = {"duplicates": 2, "twin items": 2, "repeated targets": 1, "new items": 1}
    assert {name: found[name].figure for name in wanted} == wanted
    assert {found[name].status for name in wanted} == {"note"}
    assert dataset.buys_again and found["repeated targets"].words.endswith("may be these, as people buy again")


def test_repeated_targets_where_people_seldom_buy_again(make_shop):
    dataset = make_shop({"ann": "vwxyv", "bob": "zyxwv"})
    found = findings(dataset)["repeated targets"]
    assert not dataset.buys_again and found.figure == 1 and found.words.endswith("the next item leaves these out")
