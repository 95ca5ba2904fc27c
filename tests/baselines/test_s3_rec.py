"""S³-Rec: what is masked, its four objectives against loops over the same, and its two phases of training."""

import json
import math

import polars as pl
import pytest
import torch
import torch.nn.functional as F

from vip5.baselines import fitted, state
from vip5.baselines.s3_rec import S3Rec, S3RecSettings, attributes_of, masked_items, segments
from vip5.baselines.sasrec import SASRec
from vip5.data import Dataset, prepare

N_ITEMS, N_ATTRIBUTES = 12, 5
ATTRIBUTES = [[0, 3], [1], [], [0, 1, 4], [2], [2, 3], [4], [0], [1, 2], [3, 4], [0, 2], [1, 3]]
SHORT = {"dim": 8, "epochs": 3, "pretraining": 3, "batch_size": 16, "lr": 1e-2}


@pytest.fixture(scope="module")
def shelves(tmp_path_factory) -> Dataset:
    """People buy along a shelf; the item table says the shelf, and brands, one of which is of a single item."""
    folder = tmp_path_factory.mktemp("shelves")
    rows = [(f"u{u}", f"{'ab'[u % 2]}{(u // 2 + t) % 8}", t) for u in range(60) for t in range(6)]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_parquet(folder / "bought.parquet")
    items = [f"{shelf}{n}" for shelf in "ab" for n in range(8)]
    brands = ["x" if n < 4 else "a" if n < 12 else None for n in range(16)]
    brands[15] = "alone"
    table = {"item": items, "brand": brands, "categories": [["all", item[0]] for item in items]}
    pl.DataFrame(table).write_parquet(folder / "items.parquet")
    return prepare(folder / "dataset", interactions=folder / "bought.parquet", items=folder / "items.parquet")


@pytest.fixture
def made() -> S3Rec:
    """A system whose every part says something."""
    padded = torch.tensor([own + [-1] * (3 - len(own)) for own in ATTRIBUTES])
    system = S3Rec(S3RecSettings(dim=8, length=6, loss="ce", dropout=0.0), 4, N_ITEMS, "cpu", padded)
    torch.manual_seed(3)
    for parameter in system.module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return system


def test_attributes_are_brands_and_categories_that_two_items_have(shelves):
    found = attributes_of(shelves)
    kinds: dict[int, set[str]] = {}  # what items have each number
    for item, numbers in zip(shelves.items["item"], found.tolist(), strict=True):
        for number in set(numbers) - {-1}:
            kinds.setdefault(number, set()).add(item)
    every = set(shelves.items["item"])
    shelf = {letter: {item for item in every if item[0] == letter} for letter in "ab"}
    brand_x, brand_a = {"a0", "a1", "a2", "a3"}, {"a4", "a5", "a6", "a7", "b0", "b1", "b2", "b3"}
    assert sorted(kinds) == [0, 1, 2, 3, 4]
    assert sorted(map(sorted, kinds.values())) == sorted(map(sorted, (every, shelf["a"], shelf["b"], brand_x, brand_a)))


def test_what_is_masked():
    lengths = torch.tensor([1, 2, 5, 9] * 4000)
    real = torch.arange(9) < lengths[:, None]
    torch.manual_seed(0)
    masked, stretch = masked_items(real, 0.2), segments(real)
    assert not (masked & ~real).any() and not (stretch & ~real).any()
    last = masked[torch.arange(len(lengths)), lengths - 1]
    assert last.all() and (masked.sum() - len(lengths)) / (real.sum() - len(lengths)) == pytest.approx(0.2, abs=0.01)
    sizes = stretch.sum(dim=1)
    assert [sorted(set(sizes[lengths == n].tolist())) for n in (1, 2, 5, 9)] == [[1], [1], [1, 2], [1, 2, 3, 4]]
    turns = (stretch[:, 1:] != stretch[:, :-1]).sum(dim=1) + stretch[:, 0].long() + stretch[:, -1].long()
    assert (turns == 2).all()  # one stretch each
    assert (stretch & real)[lengths == 9].float().mean(dim=0).min() > 0.1  # anywhere


@torch.no_grad()
def test_each_objective_is_what_a_loop_finds(made):
    """Every sequence alone, without padding: a softmax of the right one and each of the wrong ones."""
    sequences = [[3, 0, 7, 5, 9], [2, 4, 1], [8, 10, 11, 6, 6, 0]]
    hidden, stretches = [{1, 4}, {2}, {0, 3, 5}], [{1, 2}, {0}, {2, 3, 4}]
    real = torch.arange(6) < torch.tensor([[5], [3], [6]])
    items = torch.tensor([row + [0] * (6 - len(row)) for row in sequences])
    at = [torch.tensor([[n in places for n in range(6)] for places in part]) for part in (hidden, stretches)]
    found = made._losses(items, real, *at, torch.arange(3), None)

    module = made.module

    def outputs(sequence: list[int], masked: set[int]) -> torch.Tensor:
        x = torch.stack([module.mask if n in masked else module.items.weight[i] for n, i in enumerate(sequence)])
        everything = torch.ones(1, len(sequence), dtype=torch.bool)
        return module.encode(x[None], everything, both_ways=True)[0]

    def softmax_loss(right: torch.Tensor, wrong: list[torch.Tensor]) -> float:
        return -math.log(math.exp(right) / (math.exp(right) + sum(map(math.exp, wrong))))

    expected = {"aap": [], "mip": [], "map": [], "sp": []}
    for sequence, places in zip(sequences, hidden, strict=True):
        h = outputs(sequence, places)
        for place in places:
            item = sequence[place]
            values = [h[place] @ module.forms["mip"] @ vector for vector in module.items.weight]
            expected["mip"].append(softmax_loss(values[item], values[:item] + values[item + 1 :]))
            for name, query in (("aap", module.items.weight[item]), ("map", h[place])):
                values = [query @ module.forms[name] @ vector for vector in module.attributes.weight]
                lacked = [values[a] for a in range(N_ATTRIBUTES) if a not in ATTRIBUTES[item]]
                expected[name] += [softmax_loss(values[a], lacked) for a in ATTRIBUTES[item]]
    inside = [outputs(s, set(range(len(s))) - part)[-1] for s, part in zip(sequences, stretches, strict=True)]
    for n, (sequence, part) in enumerate(zip(sequences, stretches, strict=True)):
        query = outputs(sequence, part)[-1] @ module.forms["sp"]
        values = [query @ stretch / math.sqrt(8) for stretch in inside]
        expected["sp"].append(softmax_loss(values[n], values[:n] + values[n + 1 :]))
    for name, losses in expected.items():
        assert found[name].item() == pytest.approx(sum(losses) / len(losses), rel=1e-4), name


def test_pretraining_reads_attributes(shelves):
    """Taught by nothing else, the vectors of items that share a shelf are alike."""
    settings = S3Rec.check(SHORT | {"mip": 0.0, "sp": 0.0})
    system = S3Rec(settings, shelves.n_users, shelves.n_items, "cpu", attributes_of(shelves))
    optimizer = torch.optim.Adam(system.module.parameters(), 3e-2, fused=True)
    for _ in range(12):
        for loss in system.pretraining_batches(shelves):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    vectors = system.module.items.weight.detach()
    vectors = F.normalize(vectors - vectors.mean(dim=0))
    shelf = torch.tensor([item[0] == "a" for item in shelves.items["item"]])
    alike, same = vectors @ vectors.T, shelf[:, None] == shelf
    assert alike[same].mean() > alike[~same].mean() + 0.3


def test_first_pretraining_then_fine_tuning(shelves, tmp_path, monkeypatch):
    """Pre-training is not validated, is no patience lost, and goes on exactly when stopped within."""
    monkeypatch.setattr(state, "_SAVE_SECONDS", -1.0)
    whole = fitted.fit("s3-rec", shelves, tmp_path / "whole", SHORT | {"patience": 2}, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 6 and ["validation/NDCG@10" in line for line in lines] == [False] * 3 + [True] * 3
    assert whole.summary["best_epoch"] > 3 and whole.summary["objectives"] == "aap, mip, map, sp"

    batches, count = S3Rec.pretraining_batches, iter(range(100))

    def stopped(self, dataset):
        for loss in batches(self, dataset):
            if next(count) == 6:  # within the second epoch of four batches
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(S3Rec, "pretraining_batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit("s3-rec", shelves, tmp_path / "run", SHORT | {"patience": 2}, quiet=True)
    monkeypatch.setattr(S3Rec, "pretraining_batches", batches)
    gone_on = fitted.fit("s3-rec", shelves, tmp_path / "run", SHORT | {"patience": 2}, quiet=True).tensors()
    assert all(torch.equal(gone_on[name], tensor) for name, tensor in whole.tensors().items())


def test_without_pretraining_it_is_sasrec(shelves):
    settings = {name: value for name, value in SHORT.items() if name != "pretraining"}
    ours, theirs = S3Rec.fit(shelves, **settings, pretraining=0), SASRec.fit(shelves, **settings)
    for name, tensor in theirs.tensors().items():
        assert torch.equal(ours.tensors()[name], tensor)
    assert ours.summary["objectives"] == "none"


def test_without_attributes_two_objectives_are_left(tiny):
    system = S3Rec.fit(tiny, **SHORT)
    assert system.summary["objectives"] == "mip, sp (items have no attributes)"
