"""`vip5 recommend`, `rank`, `explain` and `similar` as a user types them, of a model's run and of a baseline's."""

import json

import polars as pl
import pytest

RUNS = pytest.mark.parametrize("scored", [True, False], ids=["model", "baseline"])


@pytest.fixture
def run(scored, tiny_run, knn_run):
    return tiny_run if scored else knn_run


@pytest.fixture
def told(vip5):
    """What a command prints as JSON."""

    def ask(*words: object) -> dict:
        code, out, err = vip5(*words, "--json", "--device", "cpu")
        assert code == 0, err
        return json.loads(out)

    return ask


def ids(found: dict) -> list[str]:
    return [one["item"] for one in found["items"]]


@pytest.fixture
def had(tiny_data, items) -> list[str]:
    """What the first user bought, in turn."""
    return [items[row] for row in tiny_data.sequences[0].tolist()]


@RUNS
def test_recommend(vip5, told, run, scored, user, items, had):
    found = told("recommend", run, "--user", user, "-n", 4)
    assert found["user"] == user and found["prompt"] == "A-3" and len(set(ids(found))) == 4
    assert set(ids(found)) <= set(items) - set(had) and all(one["title"] for one in found["items"])
    assert all(("probability" in one) == scored for one in found["items"])
    if scored:
        chances = [one["probability"] for one in found["items"]]
        assert chances == sorted(chances, reverse=True) and all(0 < chance <= 1 for chance in chances)
    code, out, _ = vip5("recommend", run, "--user", user, "-n", 4, "--device", "cpu")
    assert code == 0 and all(one["item"] in out and one["title"][:10] in out for one in found["items"])
    assert ("probability" in out) == scored


@RUNS
def test_a_history_comes_with_the_request(told, run, user, items, had):
    looked_up = told("recommend", run, "--user", user, "-n", 5)
    given = [word for item in had for word in ("--history", item)]
    assert told("recommend", run, "--user", user, *given, "-n", 5) == looked_up
    for unknown in ([], ["--user", "somebody new"]):
        found = told("recommend", run, *unknown, "--history", items[3], "--history", items[7], "-n", 5)
        assert ids(found) and not {items[3], items[7]} & set(ids(found))


@RUNS
def test_what_may_come_out(told, run, tiny_data, user, items, had):
    some = ids(told("recommend", run, "--user", user, "-n", 5))
    assert some[0] not in ids(told("recommend", run, "--user", user, "-n", 5, "--exclude", some[0]))
    left = ids(told("recommend", run, "--user", user, "-n", 5, "--exclude", some[0], "--exclude", some[1]))
    assert left[:3] == some[2:]
    again = ids(told("recommend", run, "--user", user, "-n", len(items), "--beams", len(items), "--allow-again"))
    never = ids(told("recommend", run, "--user", user, "-n", len(items), "--beams", len(items), "--no-again"))
    assert set(had) & set(again) and never == [item for item in again if item not in had]
    categories = dict(tiny_data.items.select("item", "categories").rows())
    wanted = categories[some[1]][0]
    found = ids(told("recommend", run, "--user", user, "-n", 5, "--category", wanted.upper()))
    assert some[1] in found and all(wanted in categories[item] for item in found)


@RUNS
def test_rank(vip5, told, run, scored, user, items):
    given = [word for item in items[:4] for word in ("--candidate", item)]
    found = told("rank", run, "--user", user, *given)
    assert found["user"] == user and sorted(ids(found)) == sorted(items[:4])
    if scored:
        assert sum(one["probability"] for one in found["items"]) == pytest.approx(1, abs=1e-5)
    else:
        assert not any("probability" in one for one in found["items"])
    code, out, _ = vip5("rank", run, "--user", user, *given)
    assert code == 0 and sorted(ids(found), key=out.index) == ids(found)
    assert set(ids(told("rank", run, *given, "--history", items[9]))) <= set(items[:4])  # of nobody known


def test_explain(vip5, told, tiny_run, sentence_run, tiny_data, user, items):
    words = ["--user", user, "--item", items[0], "--stars", 5, "--feature", "handle"]
    found = told("explain", tiny_run, *words)
    assert found.keys() == {"user", "item", "explanation"}
    assert vip5("explain", tiny_run, *words)[:2] == (0, found["explanation"] + "\n")
    most = tiny_data.reviews.filter(split="train")["explanation"].drop_nulls().value_counts()
    common = most.filter(pl.col("count") == most["count"].max())["explanation"].min()
    assert told("explain", sentence_run, *words)["explanation"] == common
    assert vip5("explain", sentence_run, "--item", items[0])[:2] == (0, f"{common}\n")


@RUNS
def test_similar(vip5, told, run, items):
    found = told("similar", run, items[2], "-n", 6)
    assert found["item"] == items[2] and items[2] not in ids(found) and 0 < len(set(ids(found))) <= 6
    likeness = [one["similarity"] for one in found["items"]]
    assert likeness == sorted(likeness, reverse=True) and max(likeness) <= 1 + 1e-6
    code, out, _ = vip5("similar", run, items[2], "-n", 6)
    assert code == 0 and sorted(ids(found), key=out.index) == ids(found)


def test_in_8_bits(vip5, told, tiny_run, user):
    whole = told("recommend", tiny_run, "--user", user, "-n", 4)["items"]
    code, out, _ = vip5("recommend", tiny_run, "--user", user, "-n", 4, "--json", "--int8")
    rounded = json.loads(out)["items"]
    assert code == 0 and rounded != whole
    assert rounded[0]["probability"] == pytest.approx(whole[0]["probability"], rel=0.2)


@RUNS
def test_everybody_at_once(vip5, told, run, scored, tiny_data, tmp_path):
    """Each person's rows are what a request for that person alone gives."""
    file = tmp_path / "deep" / "everybody.parquet"
    done = told("recommend", run, "--all", "--out", file, "-n", 3)
    assert done == {"file": str(file), "people": tiny_data.n_users, "without_history": 0}
    table = pl.read_parquet(file)
    assert table.columns == ["user", "rank", "item", "probability"]
    assert table["user"].n_unique() == tiny_data.n_users and set(table["rank"]) == {1, 2, 3}
    assert table["probability"].is_not_null().all() if scored else table["probability"].is_null().all()
    for user in tiny_data.users["user"].gather([0, 7, 29]):
        alone, own = told("recommend", run, "--user", user, "-n", 3), table.filter(user=user)
        assert own["item"].to_list() == ids(alone) and own["rank"].to_list() == [1, 2, 3]
        if scored:
            chances = [one["probability"] for one in alone["items"]]
            assert own["probability"].to_list() == pytest.approx(chances, rel=1e-4)
    code, out, _ = vip5("recommend", run, "--all", "--out", file, "-n", 2, "--device", "cpu")
    assert code == 0 and "people" in out and str(tiny_data.n_users) in out
    assert len(pl.read_parquet(file)) == 2 * tiny_data.n_users and [f.name for f in file.parent.iterdir()] == [
        file.name
    ]


@RUNS
def test_mistakes_are_one_line(refused, run, user, items, tmp_path):
    of_user = run, "--user", user
    assert "nobody is asked about" in refused("recommend", run)
    assert "nothing is known of what 'nobody' bought" in refused("recommend", run, "--user", "nobody")
    assert "did you mean" in refused("recommend", run, "--history", items[0] + "0")
    assert "unknown item 'nothing'" in refused("recommend", *of_user, "--exclude", "nothing")
    assert "no item is of category 'Spaceships': common ones are" in refused(
        "recommend", *of_user, "--category", "Spaceships"
    )
    assert "unknown prompt A-99" in refused("recommend", *of_user, "--prompt", "A-99")
    assert "of task choice" in refused("recommend", *of_user, "--prompt", "B-5")
    assert "--all and --out go together" in refused("recommend", run, "--all")
    assert "--all and --out go together" in refused("recommend", *of_user, "--out", tmp_path / "x.parquet")
    assert "--all answers everybody" in refused("recommend", *of_user, "--all", "--out", tmp_path / "x.parquet")
    assert "unknown item" in refused("rank", *of_user, "--candidate", items[0], "--candidate", "nothing")
    assert "stands twice" in refused("rank", *of_user, "--candidate", items[0], "--candidate", items[0])
    assert "unknown item" in refused("similar", run, "nothing")
    assert "unknown item" in refused("explain", run, "--item", "nothing")
    assert "out of range" in refused("explain", run, "--item", items[0], "--stars", -1)
    assert "no prompt takes a headline together" in refused(
        "explain", run, "--item", items[0], "--stars", 1, "--headline", "so"
    )
    assert not list(tmp_path.iterdir())


def test_what_a_baseline_cannot_do(refused, knn_run, sentence_run, user, items):
    assert "item-knn ranks items and writes no sentences" in refused("explain", knn_run, "--item", items[0])
    writes = "frequent-sentence writes sentences and ranks no items"
    assert writes in refused("recommend", sentence_run, "--user", user)
    assert writes in refused("rank", sentence_run, "--user", user, "--candidate", items[0])
    assert "does not know which items are similar" in refused("similar", sentence_run, items[0])
    assert "--int8 is of models" in refused("recommend", knn_run, "--user", user, "--int8")
