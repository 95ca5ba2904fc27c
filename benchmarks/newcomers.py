"""Who and what comes later: a tenth of the items, or of the people, is held out of training altogether.

Usage: python benchmarks/newcomers.py items|people DATASET OUT [--trained RUN] [--seed N]

DATASET has vectors of its items. In OUT/before it is prepared without the held-out items and what was bought of them,
or without the held-out people; a VIP5 by recipe best is trained there (OUT/run) and takes the newcomers in by what
`vip5 extend` does. What is counted (transitions and so on) never saw them. All are asked for the test items of DATASET,
over its whole catalogue; RUN is the same model trained with everything. "not extended" is OUT/run as it was trained,
which knows no newcomer: what taking them in costs the others. Adds to benchmarks/results/newcomers.json.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from vip5 import __version__
from vip5.baselines.rules import Rules
from vip5.data import Dataset, Ragged, prepare
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.modalities import open_modality, store_names
from vip5.modalities.job import Draft, EncodeJob
from vip5.modalities.texts import item_texts
from vip5.predict.folder import is_finished
from vip5.predict.lists import scored_next
from vip5.predict.model import TrainedModel
from vip5.training import Run, load_config, train
from vip5.training.extend import extend

RESULTS = Path(__file__).parent / "results" / "newcomers.json"
SHARE, METRICS = 0.1, ("HR@10", "NDCG@10")


def without(rows: Ragged, items: np.ndarray) -> Ragged:
    """The rows without some items."""
    kept = ~np.isin(rows.values, items)
    return Ragged.from_lengths(rows.values[kept], np.bincount(rows.rows[kept], minlength=len(rows)))


def emptied(rows: Ragged, which: np.ndarray) -> Ragged:
    """The rows, those that are marked (bool [n]) without anything."""
    kept = ~which[rows.rows]
    return Ragged.from_lengths(rows.values[kept], np.where(which, 0, rows.lengths))


def data_before(data: Dataset, left: Ragged, items: np.ndarray, folder: Path) -> Dataset:
    """The data set as it was: what each person had bought (n_users rows, some empty), and the items there were."""
    if not (folder / "dataset/manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        enough = np.flatnonzero(left.lengths >= 3)  # to be trained, validated and tested
        left, users = left.take(enough), data.users["user"].gather(enough)
        place = np.arange(len(left.values)) - np.repeat(left.offsets[:-1], left.lengths)
        table = {"user": users.gather(left.rows), "item": data.items["item"].gather(left.values)}
        pl.DataFrame(table | {"timestamp": place}).write_parquet(folder / "interactions.parquet")
        columns = [name for name in ("item", "title", "brand", "categories", "description") if name in data.items]
        data.items[items].select(columns).write_parquet(folder / "items.parquet")
        prepare(
            folder / "dataset",
            interactions=folder / "interactions.parquet",
            items=folder / "items.parquet",
            name=f"{data.manifest.name}-before",
        )
    before = Dataset(folder / "dataset")
    rows = {raw: row for row, raw in enumerate(data.items["item"])}
    places = np.array([rows[raw] for raw in before.items["item"]])
    for store in (open_modality(data, name) for name in store_names(data)):
        vectors, there = store.gather(places)

        def fill(draft: Draft, vectors: np.ndarray = vectors, there: np.ndarray = there) -> None:
            known = np.flatnonzero(there)
            draft.add(known, vectors[known], len(known))

        about: dict[str, Any] = {"fingerprint": store.fingerprint, "dim": store.dim, "inputs": int(there.sum())}
        EncodeJob(
            dataset=before, kind=store.kind, name=store.name, encoder="copied", inputs_hash=data.hash, **about
        ).run(fill)
    return before


def measured(
    data: Dataset,
    counted: Ragged,
    new_items: np.ndarray,
    new: np.ndarray,
    before: Dataset,
    out: Path,
    trained: Path | None,
) -> list[dict]:
    """HR@10 and NDCG@10 for what is new and for the others, of all systems, and VIP5 minus each.

    counted: the training part that is known; new_items: bool [n_items]; new: which of the tested people are looked at
    as new, for themselves or for their target, bool [n].
    """
    if not is_finished(out / "run"):
        train(Run.new(load_config(), before), out / "run", quiet=True)
    texts = item_texts(data)
    vectors = {name: (s.matrix, s.mask) for name in store_names(data) for s in [open_modality(data, name)]}
    run = extend(out / "run", data)
    assert run.terms is not None
    run.terms = run.terms.renewed(counted, data.n_items, vectors, texts, new_items)
    rules = Rules.fit(before, vectors=list(vectors))
    rules = Rules(
        rules.terms.renewed(counted, data.n_items, vectors, texts, np.zeros(data.n_items, bool)),
        rules.settings,
        data.n_users,
    )
    held = HeldOut.of(data)
    left_out = None if data.buys_again else held.histories
    people = np.full(len(held), -1)
    found = {
        "vip5": scored_next(run, "A-3", people, held.histories, 10, left_out).items,
        "rules": rules.rank(held.histories, 10, exclude=left_out),
        "content": by_content(rules, held.histories, left_out),
    }
    found["not extended"] = not_extended(TrainedModel.load(out / "run"), data, before, held.histories)
    if trained is not None:
        full = TrainedModel.load(trained)
        found["trained with all items"] = scored_next(full, "A-3", people, held.histories, 10, left_out).items
    metrics = {name: ranking_metrics(ranks_in_list(items, held.targets), (10,)) for name, items in found.items()}
    rows = []
    for group, inside in (("new", new), ("others", ~new)):
        for name in found:
            for metric in METRICS:
                ours, theirs = metrics["vip5"][metric][inside], metrics[name][metric][inside]
                row = {"targets": group, "system": name, "metric": metric, **estimate(theirs)._asdict()}
                rows.append(row | {"vip5_minus_it": paired_difference(ours, theirs)._asdict()})
    return rows


def not_extended(run: TrainedModel, data: Dataset, before: Dataset, histories: Ragged) -> np.ndarray:
    """Ten items by the model that knows no newcomer, int [n, 10], as rows of the whole data set."""
    known = before.items["item"].to_list()
    rows = {raw: row for row, raw in enumerate(data.items["item"])}
    there = np.array([rows[raw] for raw in known])
    theirs = np.full(data.n_items, -1, np.int32)
    theirs[there] = np.arange(len(there))
    kept = without(histories, np.flatnonzero(theirs < 0))
    asked = Ragged.from_lengths(theirs[kept.values], kept.lengths)
    left_out = None if data.buys_again else asked
    return there[scored_next(run, "A-3", np.full(len(asked), -1), asked, 10, left_out).items]


def by_content(rules: Rules, histories: Ragged, left_out: Ragged | None) -> np.ndarray:
    """Ten items by their vectors and words alone, int [n, 10]: the sum of the cosines with the history's."""
    terms, lists = rules.terms, []
    for at in range(0, len(histories), 512):
        part = histories.take(np.arange(at, min(at + 512, len(histories))))
        score = torch.zeros(len(part), terms.n_items)
        for name in (*terms.vectors, *(("words",) if terms.settings.words else ())):
            score += terms.scores(name, part)
        if left_out is not None:
            score[part.rows, part.values] = -1.0
        lists.append(score.topk(10, dim=1).indices.numpy())
    return np.concatenate(lists)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["items", "people"])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the draw of what is held out")
    given = parser.parse_args()
    data = Dataset(given.dataset)
    n = data.n_items if given.kind == "items" else data.n_users
    drawn = np.zeros(n, bool)
    drawn[np.random.default_rng(given.seed).permutation(n)[: round(SHARE * n)]] = True
    held = HeldOut.of(data)
    if given.kind == "items":
        left, counted = (without(rows, np.flatnonzero(drawn)) for rows in (data.sequences, data.history("train")))
        items, new = np.flatnonzero(~drawn), drawn[held.targets]
    else:
        left, counted = (emptied(rows, drawn) for rows in (data.sequences, data.history("train")))
        items, new = np.unique(left.values), drawn[held.users]
    new_items = np.isin(np.arange(data.n_items), items, invert=True)
    before = data_before(data, left, items, given.out / "before")
    rows = measured(data, counted, new_items, new, before, given.out, given.trained)
    stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {"sets": []}
    kept = [one for one in stored["sets"] if (one["data"], one["new"]) != (data.manifest.name, given.kind)]
    result = {
        "data": data.manifest.name,
        "data_hash": data.hash,
        "protocol": data.manifest.protocol,
        "seed": given.seed,
        "new": given.kind,
        "held_out": int(drawn.sum()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "rows": rows,
    }
    command = "benchmarks/newcomers.py items|people DATASET OUT --trained RUN"
    write_text(RESULTS, json.dumps({"command": command, "sets": [*kept, result]}, indent=1) + "\n")
    for row in rows:
        gap = row["vip5_minus_it"]
        between = f"VIP5 {gap['value']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
        print(f"{row['targets']:7} {row['system']:24} {row['metric']:8} {row['value']:.4f} (n {row['n']})  {between}")


if __name__ == "__main__":
    main()
