"""The training bench: what it compares is equal, a fault is seen, and its floor is what PyTorch counts."""

import json

import pytest
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from vip5.bench import train as bench
from vip5.bench.peers import PaddedVIP5
from vip5.bench.workload import random_run
from vip5.cli import bench_train
from vip5.data import Dataset
from vip5.model.input import Content, ModelInput


@pytest.fixture(scope="module")
def step(tiny_data):
    run = random_run(Dataset(tiny_data.path), "nano")
    return run, bench.mixed_step(run, 24, "cpu")[1]


def test_the_step_is_a_mix(step):
    _, work = step
    assert work.samples == sum(map(len, work.groups)) == 24
    assert len(work.batches) > 1
    assert work.tokens == sum(int((batch.input_ids != 0).sum()) for batch in work.batches)
    assert work.padded.input_ids.numel() > sum(batch.input_ids.numel() for batch in work.batches) > work.tokens


@pytest.mark.parametrize("mode", ["full", "self", "self+cross"])
def test_loss_and_gradients_are_the_peers(step, mode):
    run, work = step
    model = bench.in_mode(run.model, mode)
    peer = PaddedVIP5(model)
    loss_off, gradient_off, _ = bench.compare(model, peer, work)
    assert loss_off < 1e-5 and gradient_off < 1e-4
    with torch.no_grad():
        model.decoder.blocks[1].feed_forward.norm.weight[3] *= 1.1
    loss_off, gradient_off, where = bench.compare(model, peer, work)
    assert loss_off > 0 and gradient_off > 1e-3 and where


def test_dropout_is_turned_off_in_both(step):
    run, work = step
    model = bench.in_mode(run.model, "self+cross")
    peer = PaddedVIP5(model).train()
    for either in (model, peer):
        assert not torch.equal(either(work.padded), either(work.padded))
        bench.without_dropout(either)
    ours, theirs = (either(work.padded) for either in (model, peer))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def addmm_flops(to, a, b, **_) -> int:
    return 2 * a[0] * a[1] * b[1]  # PyTorch counts it only where it is not in place


@pytest.mark.parametrize("mode", ["full", "self+cross"])
def test_the_floor_is_what_pytorch_counts(step, mode):
    """Without padding, and with one target token, of which the decoder has no causal half to leave out."""
    run, _ = step
    model = bench.in_mode(run.model, mode)
    ids = torch.randint(2, 100, (3, 40))
    categories = torch.zeros_like(ids)
    categories[:, 3:5] = 1
    photo = Content(torch.arange(6), torch.randn(3, 512), torch.ones(3, dtype=torch.bool))
    batch = ModelInput(ids, ids, categories, {"photo": photo}, torch.randint(2, 100, (3, 1)))
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_flops}) as counter:
        model(batch).mean().backward()
    expected = counter.get_total_flops()
    assert bench.operations(model.config, batch, model) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "self+cross"])
def test_the_command(tiny_data, mode):
    app = typer.Typer()
    bench_train.register(app)
    options = [
        "--size",
        "nano",
        "--mode",
        mode,
        "--quick",
        "--json",
        "--threads",
        str(torch.get_num_threads()),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(app, [str(tiny_data.path), *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["checks"][f"{mode}: equal"]
    assert found["ratio"] == found["ratios"][mode] > 0
    assert found["rows"][0]["method"] == f"{mode}: vip5"
    assert all(row["rounds"] == 1 for row in found["rows"])
    assert found["quick"] and "transformers" in found["versions"]
