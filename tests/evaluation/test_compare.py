"""Differences that are there are called, others are not, and runs that do not fit together are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sacrebleu

from vip5.errors import UserError
from vip5.evaluation.compare import METRICS, RunComparison, compare, note, table
from vip5.evaluation.intervals import difference_of, holm, paired_difference, two_level_samples
from vip5.evaluation.ranking import hit_rate, ndcg
from vip5.evaluation.stored import rank_rows, save_about, save_ranks, save_sentences
from vip5.evaluation.text import TextScores
from vip5.predict.folder import FORMAT
from vip5.training import load_config

N = 200
USERS = pl.Series([f"U{number:03}" for number in np.random.default_rng(3).permutation(N)])
RNG = np.random.default_rng(0)
RANKS = np.minimum(RNG.geometric(0.06, N) - 1, 20)
WORDS = np.array(["the", "soap", "is", "soft", "and", "smells", "of", "fresh", "lemon", "all", "day"])
TRUTH = [" ".join(RNG.choice(WORDS, 8)) for _ in range(N)]


def noisy(ranks: np.ndarray, seed: int, share: float = 0.3) -> np.ndarray:
    """The same law of ranks, with some users' drawn again."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(ranks.shape) < share, rng.permutation(ranks), ranks)


def sentences(broken: float, seed: int, prompt: str = "C-3") -> pl.DataFrame:
    """Sentences of which a share of the words is wrong."""
    rng = np.random.default_rng(seed)
    written = [" ".join(np.where(rng.random(8) < broken, "xyz", truth.split())) for truth in TRUTH]
    return pl.DataFrame({"prompt": prompt, "user": USERS, "item": "P1", "written": written, "truth": TRUTH})


@pytest.fixture
def run(tmp_path) -> Callable[..., Path]:
    """Write the folder of an evaluated run."""

    def write(
        name: str, ranks: dict[str, np.ndarray], written: pl.DataFrame | None = None, seed: int = 0,
        data_hash: str = "ab12", protocol: str = "clean", depth: int = 20, users: pl.Series = USERS,
        setting: str = "optim.epochs=3", again: bool = False,
    ) -> Path:  # fmt: skip
        folder = tmp_path / name
        folder.mkdir(parents=True)
        about = {
            "format": FORMAT, "kind": "model", "modalities": {}, "extra_prompts": None,
            "dataset": {"path": "/data", "name": "shop", "hash": data_hash, "protocol": protocol},
            "config": load_config("prompts", None, [f"seed={seed}", setting]).model_dump(),
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(about))
        save_about(folder, {"again": again, "notes": ["bought in this order"]})
        rows = [rank_rows(prompt, users, values, depth) for prompt, values in ranks.items()]
        save_ranks(folder, pl.concat(rows).sample(fraction=1, shuffle=True, seed=seed))  # the order does not matter
        if written is not None:
            save_sentences(folder, written.sample(fraction=1, shuffle=True, seed=seed))
        return folder

    return write


def row(found: RunComparison, metric: str, prompt: str = "A-3", system: str | None = None):
    return next(
        r for r in found.rows if (r.metric, r.prompt) == (metric, prompt) and (system is None or r.system == system)
    )


def test_numbers_of_two_runs(run):
    """Each number again from `paired_difference`, on which test_intervals has more."""
    a, b = RANKS, noisy(RANKS, 1) + RNG.integers(0, 5, N)
    found = compare([run("a", {"A-3": a}), run("b", {"A-3": b})])
    assert [r.metric for r in found.rows] == ["HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"]
    for metric, of in (("HR@5", lambda r: hit_rate(r, 5)), ("NDCG@10", lambda r: ndcg(r, 10))):
        theirs = paired_difference(of(b), of(a), seed=2)
        ours = row(found, metric)
        assert (ours.system, ours.reference, ours.value.n) == ("b", "a", N)
        assert ours.value.value == pytest.approx(of(b).mean()) and ours.by_seed == pytest.approx((of(b).mean(),))
        assert ours.reference_value.value == pytest.approx(of(a).mean())
        assert ours.difference[:3] == pytest.approx(theirs[:3], abs=0.006)
        assert ours.difference.p == pytest.approx(theirs.p, abs=0.02)
        assert ours.value.low < ours.value.value < ours.value.high
    assert [r.p for r in found.rows] == holm([r.difference.p for r in found.rows])


def test_better_and_worse(run):
    runs = [run("middle", {"A-3": RANKS + 3}), run("good", {"A-3": RANKS}), run("bad", {"A-3": RANKS + 9})]
    found = compare(runs, metrics=["NDCG@10"])
    assert [(r.system, r.reference, r.verdict) for r in found.rows] == [
        ("good", "middle", "better"), ("bad", "middle", "worse"),
    ]  # fmt: skip
    every = compare(runs, metrics=["NDCG@10"], all_pairs=True)
    assert [(r.system, r.reference) for r in every.rows] == [("good", "middle"), ("bad", "middle"), ("bad", "good")]
    assert row(every, "NDCG@10", system="bad").difference == row(found, "NDCG@10", system="bad").difference


def test_a_run_and_its_copy_do_not_differ(run):
    """Exactly, however the sums are added up."""
    found = compare([run(name, {"A-3": RANKS}, sentences(0.3, 0)) for name in "abc"], all_pairs=True)
    for r in found.rows:
        assert tuple(r.difference) == (0, 0, 0, 1) and r.p == 1 and r.verdict == "no difference shown"


def test_two_noisy_copies_do_not_differ(run):
    found = compare([run("a", {"A-3": noisy(RANKS, 1)}), run("b", {"A-3": noisy(RANKS, 2)})])
    assert {r.verdict for r in found.rows} == {"no difference shown"}


def test_all_of_many_comparisons_are_silent_in_nineteen_cases_of_twenty():
    """Four alike systems, three metrics, compared with the first: one call or more in about 5 % of experiments.

    With p uncorrected it is several times as many.
    """
    corrected, raw = [], []
    for experiment in range(150):
        rng = np.random.default_rng(experiment)
        ranks = np.stack([noisy(RANKS, rng.integers(2**31), 0.6) for _ in range(4)], axis=1)
        values = np.stack([hit_rate(ranks, 5), hit_rate(ranks, 10), ndcg(ranks, 10)], axis=2)
        samples = two_level_samples(values, [1] * 4, lambda sums: sums / N, 2000, experiment)
        means = values.mean(axis=0)
        p = [
            difference_of(means[s, m] - means[0, m], samples[:, s, m] - samples[:, 0, m]).p
            for s in (1, 2, 3)
            for m in range(3)
        ]
        raw.append(min(p) < 0.05)
        corrected.append(min(holm(p)) < 0.05)
    assert np.mean(corrected) < 0.1 and np.mean(raw) > 2 * np.mean(corrected)


def test_candidate_lists_are_averaged_within_a_user(run):
    lists = np.stack([RANKS, noisy(RANKS, 1), noisy(RANKS, 2)], axis=1)
    found = compare([run("one", {"B-5": lists}), run("two", {"B-5": lists[::-1]})], metrics=["HR@5", "NDCG@10"])
    own = ndcg(lists, 10).mean(axis=1)
    theirs = paired_difference(own[::-1], own, seed=1)
    ours = row(found, "NDCG@10", "B-5")
    assert ours.value.n == N and ours.value.value == pytest.approx(own.mean())
    assert ours.difference[:3] == pytest.approx(theirs[:3], abs=0.005)


def test_sentences(run):
    good, bad = sentences(0.2, 1), sentences(0.5, 2)
    found = compare([run("good", {"A-3": RANKS}, good), run("bad", {"A-3": RANKS}, bad)], prompts=["C-3"])
    assert [(r.metric, r.verdict) for r in found.rows] == [("BLEU-4", "worse"), ("ROUGE-L", "worse")]
    bleu = sacrebleu.corpus_bleu(bad["written"].to_list(), [TRUTH]).score
    assert row(found, "BLEU-4", "C-3").value.value == pytest.approx(bleu)
    scores = [TextScores(rows["written"].to_list(), TRUTH) for rows in (bad, good)]
    for metric, theirs in scores[0].differences(scores[1], seed=3).items():
        if metric in ("BLEU-4", "ROUGE-L"):
            assert row(found, metric, "C-3").difference[:3] == pytest.approx(theirs[:3], abs=0.3)


def test_explanations_alone_can_be_compared(run):
    folders = [run(name, {"A-3": RANKS}, sentences(0.3, seed)) for seed, name in enumerate("ab")]
    for folder in folders:
        (folder / "ranks.parquet").unlink()
    assert {r.prompt for r in compare(folders).rows} == {"C-3"}


def test_reviews_of_one_user_are_drawn_together(run):
    """Copies of every review under the same users: nothing is known more surely, and no mean changes."""
    found = []
    for copies in (1, 4):
        runs = [
            run(f"{name}{copies}", {"A-3": RANKS}, pl.concat([sentences(share, 1)] * copies))
            for name, share in (("a", 0.3), ("b", 0.35))
        ]
        found.append(compare(runs, metrics=["ROUGE-L"]).rows[0])
    assert found[0].difference == pytest.approx(found[1].difference) and found[1].value.n == N


def test_seeds_of_two_steps_are_joined(run):
    """Each seed's second step stands on its own first one."""
    first = [run(f"first{seed}", {"A-3": RANKS}, seed=seed) for seed in (0, 1)]
    second = [
        run(f"second{seed}", {"A-3": noisy(RANKS, seed)}, seed=seed, setting=f"model.backbone={below}")
        for seed, below in enumerate(first)
    ]
    found = compare([*first, *second], metrics=["HR@5"], join_seeds=True)
    assert [(s.name, s.seeds) for s in found.systems] == [("first0 (2 seeds)", (0, 1)), ("second0 (2 seeds)", (0, 1))]


def test_seeds_are_joined(run):
    def ranks(shift: int, seed: int) -> dict[str, np.ndarray]:
        return {"A-3": noisy(RANKS, seed) + shift}

    wide = "modalities.photo.tokens=4"
    runs = [run(f"a{seed}", ranks(0, seed), seed=seed) for seed in (0, 1, 2)]
    runs[1:1] = [run(f"b{seed}", ranks(5, seed + 10), seed=seed, setting=wide) for seed in (0, 1)]
    found = compare(runs, metrics=["HR@5", "NDCG@10"], join_seeds=True)
    assert [(s.name, s.seeds) for s in found.systems] == [("a0 (3 seeds)", (0, 1, 2)), ("b0 (2 seeds)", (0, 1))]
    assert len(found.rows) == 2
    r = row(found, "NDCG@10")
    by_seed = [ndcg(ranks(0, seed)["A-3"], 10).mean() for seed in (0, 1, 2)]
    assert r.reference_by_seed == pytest.approx(by_seed) and r.reference_value.value == pytest.approx(np.mean(by_seed))
    assert len(r.by_seed) == 2 and r.verdict == "worse"
    assert len(compare(runs).systems) == 5
    columns, rows = table(found)
    assert columns == ["system", "value", "sd", "difference", "p", "shown"]
    assert rows[0][0] == "A-3 HR@5 · n 200" and rows[1][0] == "  a0 (3 seeds)" and rows[1][3:] == ["", "", ""]
    assert rows[3][0] == "A-3 NDCG@10 · n 200"
    assert rows[-1][2] == f"{np.std(r.by_seed, ddof=1):.4f}"[1:] and rows[-1][-1] == "worse"
    said = note(found)
    for part in (
        "Data: bought in this order.",
        "2 comparisons",
        "Holm",
        "10,000 resamples",
        "200 users",
        "over users and seeds",
        "0, 1, 2; b0",
    ):
        assert part in said


def test_seeds_widen_the_interval(run):
    """Two seeds that differ as wholes make the difference to a third run unsure, though users are many."""
    runs = [run("good", {"A-3": RANKS}, seed=0), run("bad", {"A-3": RANKS + 6}, seed=1)]
    other = run("other", {"A-3": RANKS + 3}, setting="codes.scheme=sequential")
    for single in runs:
        assert row(compare([other, single], metrics=["HR@10"]), "HR@10").verdict != "no difference shown"
    joined = row(compare([other, *runs], metrics=["HR@10"], join_seeds=True), "HR@10")
    assert joined.verdict == "no difference shown"
    assert joined.difference.low < -0.1 and joined.difference.high > 0.1


def test_what_is_left_out_is_said(run):
    a = run("a", {"A-3": RANKS, "B-5": RANKS}, sentences(0.3, 1))
    b = run("b", {"A-3": RANKS, "A-9": RANKS})
    found = compare([a, b])
    assert {r.prompt for r in found.rows} == {"A-3"} and set(found.left_out) == {"B-5", "C-3", "A-9"}
    assert "Left out, since not all runs have them: B-5, C-3, A-9" in note(found)


def test_a_leaky_protocol_is_named(run):
    runs = [run(name, {"A-3": RANKS}, protocol="paper") for name in "ab"]
    found = compare(runs, metrics=["HR@5"])
    assert [r[0] for r in table(found)[1]] == ["A-3 HR@5 · n 200", "  a · LEAKY", "  b · LEAKY"]
    assert "LEAKY" in note(found) and found.systems[0].protocol == "paper"
    assert "LEAKY" not in note(compare([run("c", {"A-3": RANKS}), run("d", {"A-3": RANKS})]))


def test_everything_goes_into_json(run):
    found = compare([run("a", {"A-3": RANKS}), run("b", {"A-3": RANKS + 5})], metrics=["HR@5"], seed=4)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["comparisons"] == 1 and told["correction"] == "Holm (1979)" and told["resamples"] == 10_000
    assert told["rows"][0]["difference"].keys() == {"value", "low", "high", "p"} and told["seed"] == 4
    assert told["rows"][0]["verdict"] == "worse" and told["systems"][1]["seeds"] == [0] and told["data_hash"] == "ab12"


def test_seed_decides(run):
    runs = [run("a", {"A-3": RANKS}), run("b", {"A-3": noisy(RANKS, 1)})]
    assert compare(runs, seed=1) == compare(runs, seed=1) != compare(runs, seed=2)


def test_runs_of_one_name_are_told_apart(run):
    runs = [run(f"{shop}/vip5", {"A-3": RANKS}) for shop in ("x", "y")]
    assert [s.name for s in compare(runs, metrics=["HR@5"]).systems] == [str(folder) for folder in runs]


def test_runs_that_do_not_fit_are_refused(run, tmp_path):
    a = run("a", {"A-3": RANKS, "B-5": RANKS[:, None]}, sentences(0.3, 1))

    def refused(message: str, *others: Path, first: Path = a, **options: object) -> None:
        with pytest.raises(UserError, match=message) as caught:
            compare([first, *others], **options)
        assert "\n" not in str(caught.value)

    same = run("same", {"A-3": RANKS, "B-5": RANKS[:, None]}, sentences(0.3, 1), seed=1)
    refused("nothing to compare with")
    refused("seeds of one system", same, join_seeds=True)
    refused("given twice", a.parent / "same" / ".." / "a")
    refused("not a finished run", tmp_path)
    refused(r"b was trained on other data than .*a \(hash cd34, not ab12\)", run("b", {"A-3": RANKS}, data_hash="cd34"))
    fewer = run("fewer", {"A-3": RANKS[1:]}, users=USERS[1:])
    refused(f"A-3: .*same users \\('{USERS[0]}', 1 in all", fewer)
    refused("other candidate lists", run("lists", {"B-5": np.stack([RANKS, RANKS], 1)}))
    other = sentences(0.3, 1).with_columns(item=pl.lit("P2"))
    refused("C-3: .*other reviews", run("reviews", {"A-3": RANKS}, other), prompts=["C-3"])
    shallow = run("shallow", {"A-3": np.minimum(RANKS, 9)}, depth=10)
    refused("shallow looked at 10 places for A-3.*--beams 20", shallow, prompts=["A-3"], metrics=["HR@20"])
    refused("shallow was not evaluated on B-5 but on A-3", shallow, prompts=["A-3", "B-5"])
    refused("unknown metric HR@0", same, metrics=["HR@0"])
    refused("no metric of BLEU-4 is one of prompt A-3", same, prompts=["A-3"], metrics=["BLEU-4"])
    refused("no prompt that all runs", run("A-9", {"A-9": RANKS}))
    wide = run("wide", {"A-3": RANKS}, setting="modalities.photo.tokens=4")
    refused("have the same seed", wide, run("again", {"A-3": RANKS}), join_seeds=True)
    again = run("anew", {"A-3": RANKS}, again=True)
    refused("anew and .*a were not evaluated alike: .*evaluate both with --allow-again, or with --no-again", again)
    refused("12 comparisons corrected .* at least 480", same, resamples=479)
    (tmp_path / "fewer" / "ranks.parquet").unlink()
    refused(r"no .*fewer/ranks\.parquet: evaluate the run first", fewer)
    (tmp_path / "lists" / "evaluation.json").unlink()
    refused(r"no .*lists/evaluation\.json: evaluate the run first", tmp_path / "lists")


def test_default_metrics_say_nothing_twice():
    assert "NDCG@1" not in METRICS and ndcg(RANKS, 1).tolist() == hit_rate(RANKS, 1).tolist()
