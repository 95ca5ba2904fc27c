"""The whole audit: a clean set passes, each planted leak turns the verdict and is named in it."""

import numpy as np
import polars as pl
import pytest

from vip5.audit.audit import CHOICE_METRICS, FITTED, NEXT_METRICS, audit, codes_of
from vip5.baselines.popularity import Popularity
from vip5.data import Dataset, prepare
from vip5.errors import UserError
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import estimate
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.items import code_items


def first_read(dataset: Dataset) -> list[str]:
    """Numbers in the order in which whole sequences are read: the planted leak."""
    rank = np.full(dataset.n_items, 10**6)
    seen, first = np.unique(dataset.sequences.values, return_index=True)
    rank[seen] = first
    return [str(n) for n in np.argsort(np.argsort(rank, kind="stable"))]


@pytest.mark.parametrize("scheme", ["sequential", "atomic"])
def test_a_clean_set_passes(random_shop: Dataset, scheme: str):
    found = audit(random_shop, *codes_of(scheme, random_shop), name=scheme)
    assert (found.verdict, found.leaky, found.reasons) == ("clean", False, [])
    assert {row.task: tuple(row.metrics) for row in found.rows} == {
        "next item": NEXT_METRICS,
        "one of 100": CHOICE_METRICS,
    }
    assert all(finding.words and finding.status != "leak" for finding in found.findings)


def test_codes_of_unknown_origin(random_shop: Dataset):
    """Honest codes pass, those numbered through the test items are told by both symptoms."""
    assert not audit(random_shop, code_items("sequential", random_shop).words).leaky
    found = audit(random_shop, first_read(random_shop))
    assert found.leaky and [f.name for f in found.findings if f.status == "leak"] == [
        "codes against training",
        "codes of new items",
    ]
    rule = next(row for row in found.rows if row.rule == "id + 1")
    assert rule.metrics["NDCG@5"].low > 0.2


def test_rows_go_through_the_metrics_of_the_models(random_shop: Dataset):
    found = audit(random_shop, code_items("sequential", random_shop).words, seed=4)
    tested = HeldOut.of(random_shop)
    ranked = Popularity.fit(random_shop, seed=4).rank(tested.histories, 10, exclude=tested.histories)
    metrics = ranking_metrics(ranks_in_list(ranked, tested.targets))
    row = next(row for row in found.rows if (row.task, row.rule) == ("next item", "popularity"))
    assert row.metrics == {name: estimate(metrics[name], seed=4) for name in NEXT_METRICS}


def test_a_leak_turns_the_verdict_and_is_its_reason(random_shop: Dataset):
    sequential = code_items("sequential", random_shop).words

    def counts(dataset: Dataset) -> np.ndarray:
        return np.bincount(dataset.sequences.values, minlength=dataset.n_items)

    fitted = audit(random_shop, sequential, fitted=FITTED | {"popularity": counts})
    assert fitted.reasons == ["popularity: changes with the held-out part, and so has read it"]
    refitted = audit(random_shop, first_read(random_shop), first_read)
    assert refitted.reasons == ["item codes: they change with the held-out items, and so were fitted on them"]
    plain = refitted.as_dict()
    assert (plain["verdict"], plain["reasons"]) == ("leaky", refitted.reasons)
    assert plain["rules"][0]["metrics"]["NDCG@5"].keys() == {"value", "low", "high", "n"}
    assert plain["checks"][0].keys() == {"name", "status", "figure", "words"}


def test_codes_from_a_table(random_shop: Dataset, tmp_path):
    words = code_items("sequential", random_shop).words
    table = pl.DataFrame({"item": random_shop.items["item"], "code": words})
    table.sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "codes.parquet")
    found, refit = codes_of(str(tmp_path / "codes.parquet"), random_shop)
    assert found == words and refit is not None and refit(random_shop) == words
    table.with_columns(code=pl.Series(first_read(random_shop))).write_parquet(tmp_path / "other.parquet")
    assert codes_of(str(tmp_path / "other.parquet"), random_shop) == (first_read(random_shop), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.head(10), "not one distinct code an item"),
        (lambda t: t.with_columns(code=pl.lit("7")), "not one distinct code an item"),
        (lambda t: pl.concat([t, t.head(1)]), "not one distinct code an item"),
        (lambda t: t.rename({"code": "word"}), "cannot read item codes"),
    ],
)
def test_tables_that_are_no_codes(random_shop: Dataset, tmp_path, change, message):
    table = pl.DataFrame({"item": random_shop.items["item"], "code": code_items("sequential", random_shop).words})
    change(table).write_parquet(tmp_path / "codes.parquet")
    with pytest.raises(UserError, match=message):
        codes_of(str(tmp_path / "codes.parquet"), random_shop)
    with pytest.raises(UserError, match="no item codes 'nothing': give one of atomic, collaborative, paper, random"):
        codes_of("nothing", random_shop)


@pytest.mark.slow
def test_on_the_papers_data(shared, tmp_path):
    """Beauty: the published numbers of rules, and the paper's numbering found out by them."""
    folder = shared / "data" / "amazon2014" / "beauty"
    dataset = prepare(tmp_path / "beauty", **{t: folder / f"{t}.parquet" for t in ("interactions", "items")})
    quick = {"popularity": FITTED["popularity"]}
    paper = audit(dataset, *codes_of("paper", dataset), fitted=quick)
    value = {(row.task, row.rule): row.metrics for row in paper.rows}
    assert value["next item", "id + 1"]["NDCG@5"].value == pytest.approx(0.0447, abs=0.0005)
    assert value["one of 100", "popularity"]["HR@10"].value == pytest.approx(0.2906, abs=0.006)
    assert value["one of 100", "last items again"]["HR@10"].value == pytest.approx(0.1, abs=0.006)
    assert paper.verdict == "leaky" and len(paper.reasons) == 2
