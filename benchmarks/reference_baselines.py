"""Other people's implementations on our training part, scored by our metrics, beside our system of the same kind.

Usage: python benchmarks/reference_baselines.py DATASET [--peers NAME;…] [--epochs N] [--json FILE]

The peers whose library can be imported are measured, one after the other, on one thread; what they find takes its place
in benchmarks/results/reference.json, so that libraries that do not go together are measured by calls in environments
of their own. Peer and own system get the same purchases, the same number of dimensions, layers, negatives and epochs,
and the same seed; seconds are the CPU's, of training alone. Of a peer's `options` the one is taken that finds the
validation items best (NDCG@10, 5,000 users), as our system takes its best epoch. Test: each user's first held-out item
over the whole catalogue outside the history, and among the stored candidates; equal scores count against whoever gives
them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from vip5 import __version__
from vip5.baselines.base import Ranker
from vip5.baselines.learned import Learned
from vip5.baselines.registry import baseline
from vip5.data import Dataset, Ragged
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.ranking import ranking_metrics, ranks_from_scores
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.modalities import store_names

RESULT = Path(__file__).parent / "results" / "reference.json"
VALIDATED, AT_ONCE, SEED = 5000, 512, 0
Score = Callable[[np.ndarray, Ragged], np.ndarray]  # users [n], histories of n rows: float [n, n_items]


@dataclass(frozen=True)
class Peer:
    """Another implementation, and our system that it stands beside."""

    library: str  # the module that it is in
    package: str  # as it is installed
    fit: Callable[..., Score]  # of a data set, epochs and one of the options
    options: tuple[dict[str, Any], ...]
    ours: str
    settings: dict[str, Any] = field(default_factory=dict)  # of ours
    candidates: bool = True  # it scores any item, and so candidates
    digits: int | None = None  # scores are rounded to so many, so that ties are ties whoever adds up
    note: str = ""


def implicit_knn(dataset: Dataset, epochs: int) -> Score:
    """All neighbours kept, where the library's default is 20; its own product of a history and the similarities."""
    from implicit.nearest_neighbours import CosineRecommender

    bought = purchases(dataset.history("train"), dataset.n_items)
    most = int(((bought.T @ bought) > 0).sum(axis=1).max())
    model = CosineRecommender(K=most, num_threads=1)
    model.fit(bought, show_progress=False)
    itself = sp.diags(model.similarity.diagonal()).tocsr()
    others = (model.similarity - itself).tocsr()  # an item is no reason for itself, which is outside the history anyway
    return lambda users, histories: (purchases(histories, dataset.n_items) @ others).toarray()


def implicit_bpr(dataset: Dataset, epochs: int, factors: int, lr: float, l2: float) -> Score:
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=factors - 1,  # the bias is one more
        iterations=epochs,
        learning_rate=lr,
        regularization=l2,
        random_state=SEED,
        num_threads=1,
    )
    model.fit(purchases(dataset.history("train"), dataset.n_items), show_progress=False)
    return lambda users, histories: model.user_factors[users] @ model.item_factors.T


def cornac_bpr(dataset: Dataset, epochs: int, factors: int, lr: float, l2: float) -> Score:
    from cornac.models import BPR

    model = BPR(k=factors, max_iter=epochs, learning_rate=lr, lambda_reg=l2, num_threads=1, seed=SEED)
    model.fit(cornac_data(dataset))
    return lambda users, histories: model.u_factors[users] @ model.i_factors.T + model.i_biases


def cornac_vbpr(dataset: Dataset, epochs: int, factors: int, visual: int, lr: float, l2: float) -> Score:
    """On the same centred and scaled features as ours."""
    from cornac.data import ImageModality
    from cornac.models import VBPR

    system = baseline("vbpr")
    features = system.read_features(dataset, system.check({})).numpy()  # type: ignore[attr-defined]
    data = cornac_data(dataset)
    data.add_modalities(item_image=ImageModality(features=features, ids=list(range(dataset.n_items)), normalized=False))
    data.item_image.build(id_map=data.iid_map)
    model = VBPR(
        k=factors, k2=visual, n_epochs=epochs, batch_size=128, learning_rate=lr, lambda_w=l2, verbose=False, seed=SEED
    )
    model.fit(data)
    return lambda users, histories: np.stack([model.score(int(user)) for user in users])


def rectools_sasrec(dataset: Dataset, epochs: int, **settings: Any) -> Score:
    """Asked for lists of 20 by its own `recommend`; what is beyond them scores below everything."""
    import pandas as pd
    from pytorch_lightning import seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset as Interactions
    from rectools.models import SASRecModel

    def interactions(users: np.ndarray, histories: Ragged) -> Interactions:
        place = np.arange(len(histories.values)) - histories.offsets[histories.rows]
        columns = {
            Columns.User: users[histories.rows],
            Columns.Item: histories.values,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2000-01-01") + pd.to_timedelta(place, unit="D"),
        }
        return Interactions.construct(pd.DataFrame(columns))

    seed_everything(SEED, verbose=False)
    model = SASRecModel(epochs=epochs, recommend_torch_device="cpu", **settings)
    model.fit(interactions(np.arange(dataset.n_users), dataset.history("train")))

    def score(users: np.ndarray, histories: Ragged) -> np.ndarray:
        known = interactions(users, histories)
        found = model.recommend(users, known, k=20, filter_viewed=True, on_unsupported_targets="ignore")
        scores = np.full((len(users), dataset.n_items), -np.inf, dtype=np.float32)
        row = pd.Series(np.arange(len(users)), index=users)
        scores[row[found[Columns.User]].to_numpy(), found[Columns.Item].to_numpy()] = found[Columns.Score]
        return scores

    return score


_SASREC = {"n_blocks": 1, "n_heads": 1, "n_factors": 64, "session_max_len": 50, "batch_size": 128, "lr": 1e-3}
_PLAIN = {"dropout": 0.2, "leave_out": 0.0, "averaging": 0.0}  # of ours, without what theirs has not
_SGD = "plain gradient descent, where ours has Adam"
PEERS: dict[str, Peer] = {
    "item-kNN of implicit": Peer(
        "implicit.nearest_neighbours",
        "implicit",
        implicit_knn,
        ({},),
        "item-knn",
        {"recent": 1000},
        digits=5,
        note="all neighbours kept, the whole history read, scores of both rounded to 5 digits",
    ),
    "BPR of implicit": Peer(
        "implicit.bpr",
        "implicit",
        implicit_bpr,
        ({"factors": 64, "lr": 0.1, "l2": 0.01},),
        "bpr-mf",
        note=_SGD,
    ),
    "BPR of Cornac": Peer(
        "cornac.models",
        "cornac",
        cornac_bpr,
        ({"factors": 64, "lr": 0.1, "l2": 0.01},),
        "bpr-mf",
        note=_SGD,
    ),
    "VBPR of Cornac": Peer(
        "cornac.models",
        "cornac",
        cornac_vbpr,
        tuple({"factors": 64, "visual": 64, "lr": lr, "l2": l2} for lr, l2 in ((1e-3, 0.01), (3e-3, 0.01))),
        "vbpr",
        {"batch_size": 128},
        note="it adds the looks' bias of each pair, [N, 1], to the scores of all N pairs of a batch",
    ),
    "SASRec of RecTools, sampled softmax": Peer(
        "rectools.models",
        "RecTools",
        rectools_sasrec,
        (_SASREC | {"loss": "sampled_softmax", "n_negatives": 32},),
        "sasrec",
        _PLAIN | {"loss": "sampled", "negatives": 1024},
        candidates=False,
        note="its last epoch",
    ),
    "SASRec of RecTools, binary cross-entropy": Peer(
        "rectools.models",
        "RecTools",
        rectools_sasrec,
        (_SASREC | {"loss": "BCE", "n_negatives": 1},),
        "sasrec",
        _PLAIN | {"loss": "bce"},
        candidates=False,
        note="its last epoch",
    ),
}


def purchases(rows: Ragged, n_items: int) -> sp.csr_matrix:
    """float32 [n, n_items]: 1 where the item stands in the row, however often."""
    matrix = sp.csr_matrix((np.ones(len(rows.values), np.float32), rows.values, rows.offsets), (len(rows), n_items))
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def cornac_data(dataset: Dataset) -> Any:
    """The training part in the library's form, users and items under our numbers."""
    from cornac.data import Dataset as Interactions

    history = dataset.history("train")
    triples = history.rows.astype(np.int64), history.values.astype(np.int64), np.ones(len(history.values))
    users, items = ({n: n for n in range(count)} for count in (dataset.n_users, dataset.n_items))
    return Interactions(dataset.n_users, dataset.n_items, users, items, triples, seed=SEED)


def blocks(score: Score, held: HeldOut, digits: int | None) -> Iterator[tuple[np.ndarray, HeldOut]]:
    """The scores of all held-out users, some at a time."""
    for start in range(0, len(held), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(held)))
        part = HeldOut(held.users[rows], held.histories.take(rows), held.targets[rows], held.lists[rows])
        scores = score(part.users, part.histories)
        yield (scores if digits is None else scores.round(digits)), part


def found(score: Score, held: HeldOut, candidates: bool, digits: int | None = None) -> dict[str, np.ndarray]:
    """Ranks [n] by task."""
    next_ranks, choice_ranks = [], []
    for scores, part in blocks(score, held, digits):
        if candidates:
            place = (part.lists == part.targets[:, None]).argmax(axis=1)
            choice_ranks.append(ranks_from_scores(np.take_along_axis(scores, part.lists, axis=1), place))
        scores[part.histories.rows, part.histories.values] = -np.inf  # what is bought again is not found
        next_ranks.append(ranks_from_scores(scores, part.targets))
    tasks = {"next item": next_ranks} | ({"one of 100": choice_ranks} if candidates else {})
    return {task: np.concatenate(ranks) for task, ranks in tasks.items()}


def fit_ours(name: str, dataset: Dataset, settings: dict[str, Any]) -> tuple[Ranker, float]:
    """Our system, and the seconds of its training, without those of its validation."""
    system, validating = baseline(name), [0.0]

    class Watched(system):  # type: ignore[misc,valid-type]
        def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]]:
            measure = super().validation(dataset)

            def watched() -> dict[str, float]:
                began = time.process_time()
                scores = measure()
                validating[0] += time.process_time() - began
                return scores

            return watched

    began = time.process_time()
    fitted = Watched.fit(dataset, seed=SEED, **settings)
    return fitted, time.process_time() - began - validating[0]


def measure(name: str, peer: Peer, dataset: Dataset, epochs: int) -> dict[str, Any]:
    """Both sides, and what is between them."""
    import_module(peer.library)  # before the clock runs
    tried, best = [], None
    for option in peer.options:
        began = time.process_time()
        score = peer.fit(dataset, epochs, **option)
        seconds = time.process_time() - began
        ranks = found(score, HeldOut.of(dataset, "validation", VALIDATED), False)["next item"]
        validation = float(ranking_metrics(ranks, (10,))["NDCG@10"].mean())
        tried.append(option | {"validation": validation})
        if best is None or validation > best[0]:
            best = validation, score, option, seconds
    assert best is not None
    validation, score, option, seconds = best
    trained = issubclass(baseline(peer.ours), Learned)
    own_epochs = {"epochs": epochs, "patience": epochs} if trained else {}
    ours, own_seconds = fit_ours(peer.ours, dataset, peer.settings | own_epochs)
    own_score: Score = lambda users, histories: ours.scores(histories, users)  # noqa: E731
    held = HeldOut.of(dataset, "test")
    theirs, own = (found(s, held, peer.candidates, peer.digits) for s in (score, own_score))
    rows = {}
    for task in theirs:
        a, b = (ranking_metrics(ranks[task], (10,)) for ranks in (own, theirs))
        rows[task] = {
            metric: {
                "ours": estimate(a[metric])._asdict(),
                "peer": estimate(b[metric])._asdict(),
                "difference": paired_difference(a[metric], b[metric])._asdict(),
            }
            for metric in ("HR@10", "NDCG@10")
        }
    summary = ours.summary
    return {
        "peer": name,
        "library": f"{peer.package} {version(peer.package)}",
        "note": peer.note,
        "dataset": dataset.manifest.name,
        "data_hash": dataset.hash,
        "protocol": dataset.manifest.protocol,
        "seed": SEED,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tried": tried,
        "settings": {"peer": option, "ours": ours.settings.model_dump(mode="json")},
        "given": peer.settings,  # of ours, what is not the default
        "system": peer.ours,
        "epochs": {"peer": epochs if trained else None, "ours": summary.get("epochs_trained")},
        "seconds": {"peer": seconds, "ours": own_seconds},
        "same_ranks": {task: float((theirs[task] == own[task]).mean()) for task in theirs},
        "test": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--peers", type=lambda text: text.split(";"), help="names, with semicolons between")
    parser.add_argument("--epochs", type=int, default=30, help="on both sides")
    parser.add_argument("--json", type=Path, default=RESULT)
    given = parser.parse_args()
    if unknown := set(given.peers or ()) - set(PEERS):
        parser.error(f"no peer {', '.join(sorted(unknown))}: there are {'; '.join(PEERS)}")
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    dataset = Dataset(given.dataset)
    rows = json.loads(given.json.read_text("utf-8"))["rows"] if given.json.is_file() else []
    for name in given.peers or PEERS:
        peer = PEERS[name]
        if find_spec(peer.library.split(".")[0]) is None:
            print(f"{name}: {peer.library} is not installed here", flush=True)
            continue
        if peer.ours == "vbpr" and "photo" not in store_names(dataset):
            print(f"{name}: the data set has no photos", flush=True)
            continue
        row = measure(name, peer, dataset, given.epochs)
        rows = [other for other in rows if (other["peer"], other["dataset"]) != (name, row["dataset"])] + [row]
        rows.sort(key=lambda row: (list(PEERS).index(row["peer"]), row["dataset"]))
        stored = {
            "command": "benchmarks/reference_baselines.py DATASET",
            "date": row["date"],
            "version": __version__,
            "machine": Machine.here("cpu").model_dump(),
            "threads": 1,
            "rows": rows,
        }
        write_text(given.json, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        ndcg = row["test"]["next item"]["NDCG@10"]
        print(f"{name}: NDCG@10 {ndcg['peer']['value']:.4f}, ours {ndcg['ours']['value']:.4f}", flush=True)


if __name__ == "__main__":
    main()
