"""What exact lists of a catalogue cost beside a beam search, for item codes of several kinds, and choosing among 100.

Usage: benchmarks/exact.py [OUT.json [RUN …]]

A model of size nano with random weights reads prompts of 50 tokens for 64 users of a shop as large as Beauty
(12,101 items), whose histories, as long as Beauty's, are left out of the lists. Times are CPU milliseconds a user on
one thread, the lists of 20 items included; methods take turns, so what disturbs the machine disturbs them alike.

"exact" scores all items, "best" finds the same lists by branch and bound. What that takes depends on how sure a model
is, so finished runs can be named too: 64 of their test users, spread evenly, are asked prompt A-3. "lost" is the share
of users whose list of the beam search is not the exact one. The file of results also has the lowest and highest ratios.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch

from vip5.cli.options import print_table
from vip5.data import Dataset, Ragged
from vip5.decoding import beam_search, best_items, score_items, top_items
from vip5.evaluation.results import Machine
from vip5.files import write_json
from vip5.items import Trie
from vip5.model import VIP5, ModelConfig
from vip5.model.config import backbone_size
from vip5.model.input import ModelInput
from vip5.predict.folder import read_run
from vip5.predict.model import TrainedModel
from vip5.prompts import Samples

ITEMS, USERS, TOKENS, CANDIDATES, BEAMS, ROUNDS = 12_101, 64, 50, 100, 20, 5
TEXT = backbone_size("nano")["text_vocab"]
FIRST = 1001  # the first number of an item


def spelled(cuts: list[int]) -> np.ndarray:
    """Numbers, cut into tokens before the digits `cuts`; a token's id is its place in the number and its value."""
    codes = np.zeros((ITEMS, len(cuts) + 1), np.int64)
    for row, number in zip(codes, range(FIRST, FIRST + ITEMS), strict=True):
        digits = str(number)
        pieces = [digits[a:b] for a, b in zip(cuts, [*cuts[1:], 5], strict=True) if a < len(digits)]
        row[: len(pieces) + 1] = [*(10 ** len(piece) + int(piece) + 2 for piece in pieces), 1]
    return codes


def new_tokens(levels: list[np.ndarray]) -> np.ndarray:
    """Codes in tokens of their own, one table of tokens after the other, and </s>."""
    starts = np.cumsum([TEXT, *(level.max() + 1 for level in levels[:-1])])
    return np.column_stack([*(start + level for start, level in zip(starts, levels, strict=True)), np.ones(ITEMS, int)])


def clusters(rng: np.random.Generator, above: np.ndarray, n: int, evenness: float) -> np.ndarray:
    """A cluster 0 … n-1 for each item, drawn below each cluster `above` with shares of its own (Dirichlet)."""
    chosen = np.empty(ITEMS, np.int64)
    for cluster in np.unique(above):
        inside = above == cluster
        chosen[inside] = rng.choice(n, inside.sum(), p=rng.dirichlet(np.full(n, evenness)))
    return chosen


def code_kinds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    own, all_one = np.arange(ITEMS), np.zeros(ITEMS, np.int64)
    a, b = (rng.integers(0, 20, ITEMS) for _ in range(2))
    first = clusters(rng, all_one, 256, 0.5)
    second = clusters(rng, first, 256, 0.1)
    third = clusters(rng, first * 256 + second, 256, 0.1)
    order = np.lexsort([third, second, first])
    same = (np.diff(np.stack([first, second, third])[:, order], prepend=-1) == 0).all(axis=0)
    last = np.empty(ITEMS, np.int64)  # the how-manieth item with these three tokens
    last[order] = np.arange(ITEMS) - np.maximum.accumulate(np.where(same, 0, np.arange(ITEMS)))
    return {
        "atomic": new_tokens([own]),
        "collaborative + atomic": new_tokens([a, b, own]),
        "numbers, 2 digits a token": spelled([0, 2, 4]),
        "numbers, 1 digit a token": spelled([0, 1, 2, 3, 4]),
        "semantic, 3 x 256": new_tokens([first, second, third, last]),
    }


def turns(methods: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU milliseconds a user of each method, in each round."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for round_ in range(ROUNDS + 1):
        for name, method in methods.items():
            start = process_time()
            method()
            if round_:  # the first is to warm up
                times[name].append((process_time() - start) * 1e3 / USERS)
    return times


@dataclass
class Case:
    """A model, what it is asked for all users, the items that may not come out, and the code of each item."""

    model: VIP5
    batch: ModelInput
    histories: Ragged
    codes: np.ndarray


def random_case(codes: np.ndarray) -> Case:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    new = max(int(codes.max()) + 1 - TEXT, 0)
    model = VIP5(ModelConfig(**backbone_size("nano"), new_tokens=new)).eval()
    ids = torch.from_numpy(rng.integers(2, TEXT, (USERS, TOKENS)))
    batch = ModelInput(ids, torch.zeros_like(ids), torch.zeros_like(ids))
    histories = [rng.integers(0, ITEMS, 3 + rng.geometric(1 / 4)) for _ in range(USERS)]
    return Case(model, batch, Ragged.from_lists(histories), codes)


def trained_case(folder: Path) -> Case:
    run, dataset = TrainedModel.load(folder), Dataset(read_run(folder)["dataset"]["path"])
    tested = dataset.tested("test")
    users = tested[np.linspace(0, len(tested) - 1, USERS).astype(int)]
    histories = dataset.history("test").take(users)
    limit = run.config.prompts.max_history
    samples = Samples.of(np.zeros(USERS, int), users, Ragged.from_lists([row[-limit:] for row in histories]))
    return Case(run.model.eval(), run.batch(run.compiler(["A-3"]), samples), histories, run.codes.targets())


def measure(case: Case) -> dict[str, float | int]:
    model, batch, histories, codes = case.model, case.batch, case.histories, case.codes
    rng = np.random.default_rng(2)
    shown = np.stack([rng.choice(len(codes), CANDIDATES, replace=False) for _ in range(USERS)]).ravel()
    trie = Trie.build(codes)
    lists = Trie.build(codes[shown], shown, np.repeat(np.arange(USERS), CANDIDATES))
    beams = beam_search(model, batch, trie=trie, beams=BEAMS, exclude=histories).scores_BK
    exact = top_items(score_items(model, batch, trie), BEAMS, histories)[1]
    times = turns(
        {
            "beam": lambda: beam_search(model, batch, trie=trie, beams=BEAMS, exclude=histories),
            "exact": lambda: top_items(score_items(model, batch, trie), BEAMS, histories),
            "best": lambda: best_items(model, batch, trie, BEAMS, histories),
            "choose_beam": lambda: beam_search(model, batch, trie=lists, roots=lists.roots, beams=BEAMS),
            "choose_exact": lambda: beam_search(model, batch, trie=lists, roots=lists.roots, beams=CANDIDATES),
        }
    )
    ratios, best_ratios = (np.divide(times[name], times["beam"]) for name in ("exact", "best"))
    return {
        "items": len(codes),
        "inner_nodes": len(trie.item) - int((trie.item >= 0).sum()),
        **{name: median(values) for name, values in times.items()},
        "ratio": median(ratios),
        "ratio_low": ratios.min(),
        "ratio_high": ratios.max(),
        "best_ratio": median(best_ratios),
        "best_ratio_low": best_ratios.min(),
        "best_ratio_high": best_ratios.max(),
        "lost": float(((beams - exact).abs() > 1e-4).any(dim=1).float().mean()),
        "choose_ratio": median(np.divide(times["choose_exact"], times["choose_beam"])),
    }


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/exact.json")
    torch.set_num_threads(1)
    with torch.inference_mode():
        measured = {kind: measure(random_case(codes)) for kind, codes in code_kinds().items()}
        measured |= {f"trained: {Path(run).name}": measure(trained_case(Path(run))) for run in sys.argv[2:]}
    columns = [
        "codes",
        "inner nodes",
        "beam 20",
        "exact",
        "ratio",
        "best",
        "ratio",
        "lost",
        "100: beam 20",
        "beam 100",
        "ratio",
    ]
    rows = [
        [kind, m["inner_nodes"], *(f"{m[name]:.2f}" for name in ("beam", "exact", "ratio")),
         *(f"{m[name]:.2f}" for name in ("best", "best_ratio")), f"{m['lost']:.0%}",
         *(f"{m[name]:.2f}" for name in ("choose_beam", "choose_exact", "choose_ratio"))]
        for kind, m in measured.items()
    ]  # fmt: skip
    print_table("CPU ms a user", columns, rows, f"{USERS} users, medians of {ROUNDS} rounds")
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"users": USERS, "tokens": TOKENS, "rounds": ROUNDS, "unit": "CPU ms a user"}
    write_json(out, {"machine": Machine.here().model_dump(), **about, "codes": measured})


if __name__ == "__main__":
    main()
