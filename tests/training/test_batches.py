"""Steps cut into groups of like length give the gradients of steps that are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.model import ModelInput
from vip5.prompts import Prompt, PromptCompiler, Samples
from vip5.training import Run, load_config
from vip5.training.batches import Epoch, Feed, plan
from vip5.training.config import OptimPart
from vip5.training.distributed import Processes
from vip5.training.draw import SampleDrawer
from vip5.training.loss import ItemTargets
from vip5.training.trainer import Trainer


@given(
    st.lists(st.integers(2, 300), min_size=1, max_size=200),
    st.integers(1, 50),
    st.integers(8, 2000),
    st.integers(0, 5),
)
@settings(max_examples=80, deadline=None)
def test_a_plan_takes_every_sample_once(lengths, size, tokens, seed):
    lengths = np.array(lengths)
    steps = plan(lengths, OptimPart(batch_size=size, batch_tokens=tokens), np.random.default_rng(seed))
    assert sorted(np.concatenate([step.rows for step in steps]).tolist()) == list(range(len(lengths)))
    for number, step in enumerate(steps):
        assert len(step.rows) == size if number + 1 < len(steps) else 1 <= len(step.rows) <= size
        assert np.concatenate(step.groups).tolist() == step.rows.tolist()
        assert (np.diff(lengths[step.rows]) <= 0).all()
        for rows in step.groups:
            assert len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens


@given(st.lists(st.integers(2, 300), min_size=1, max_size=100), st.integers(1, 50), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_processes_share_each_step(lengths, size, count):
    """Each sample is one process's, in the order in which the sum of losses puts them; the work is even."""
    lengths, optim = np.array(lengths), OptimPart(batch_size=size)
    whole = plan(lengths, optim, np.random.default_rng(0))
    plans = [plan(lengths, optim, np.random.default_rng(0), Processes(rank, count)) for rank in range(count)]
    for step, *shares in zip(whole, *plans, strict=True):
        assert all((share.rows == step.rows).all() for share in shares)
        own = [np.concatenate([*share.groups, np.zeros(0, int)]) for share in shares]
        assert all(rows.tolist() == step.rows[rank::count].tolist() for rank, rows in enumerate(own))
        tokens = [lengths[rows].sum() for rows in own]
        assert max(tokens) - min(tokens) <= lengths.max()


def test_a_plan_is_random_and_repeats_itself():
    lengths, settings_ = np.full(100, 9), OptimPart(batch_size=10)
    one, same, other = (
        np.concatenate([step.rows for step in plan(lengths, settings_, np.random.default_rng(seed))]).tolist()
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_groups_are_of_like_length():
    lengths = np.array([100] * 20 + [10] * 20)
    (step,) = plan(lengths, OptimPart(batch_size=40), np.random.default_rng(0))
    assert [sorted(set(lengths[rows])) for rows in step.groups] == [[100], [10]]


@pytest.fixture(scope="module")
def parts(tiny_data, tiny_settings):
    config = load_config("prompts", None, [*tiny_settings, "model.dropout=0"])
    run = Run.new(config, tiny_data)
    compiler = run.compiler([name for name, prompt in run.prompts.items() if not prompt.unseen])
    return run, compiler, SampleDrawer(tiny_data, compiler.prompts, config).draw(0)


def test_grouped_gradient_equals_that_of_one_padded_batch(parts):
    run, compiler, samples = parts
    settings_ = OptimPart(batch_size=64, batch_tokens=2048)
    steps = plan(compiler.input_lengths(samples), settings_, np.random.default_rng(0))
    assert len(steps[0].groups) > 2
    model = run.model.train()
    model.zero_grad()
    _, groups = next(Feed(run, compiler, "cpu").steps(Epoch(samples, steps), 0))
    for batch in groups:
        (model(batch).sum() / 64).backward()
    grouped = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model(run.batch(compiler, samples.take(steps[0].rows), targets=True)).mean().backward()
    whole = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(grouped) == set(whole) and len(whole) > 20
    for name, gradient in whole.items():
        assert (gradient - grouped[name]).abs().max() < 1e-6, name


def test_the_feed_goes_on_from_any_step(parts):
    run, compiler, samples = parts
    steps = plan(compiler.input_lengths(samples), OptimPart(batch_size=40), np.random.default_rng(0))
    feed, epoch = Feed(run, compiler, "cpu"), Epoch(samples, steps)
    whole = list(feed.steps(epoch, 0))
    assert all(step is planned for (step, _), planned in zip(whole, steps, strict=True))
    for step, batches in whole:
        assert [len(batch) for batch in batches] == [len(rows) for rows in step.groups]
    rest = list(feed.steps(epoch, len(steps) - 2))
    assert all(step is planned for (step, _), planned in zip(rest, steps[-2:], strict=True))
    for (_, one), (_, other) in zip(whole[-2:], rest, strict=True):
        assert all(torch.equal(x.input_ids, y.input_ids) for x, y in zip(one, other, strict=True))
    assert list(feed.steps(epoch, len(steps))) == []


def test_vectors_kept_on_the_device_give_the_same_batches(parts):
    """With photos, without a photo, and where no photo is shown at all."""
    run, compiler, samples = parts
    photo = run.stores["photo"]
    mask = photo.mask.copy()
    mask[::5] = False
    run = replace(run, stores={"photo": replace(photo, mask=mask)})
    wordy = Prompt(id="own", task="next_yes_no", input="Does user_{user_id} want {item_id} ?", target="{yes_no}")
    text_alone = PromptCompiler([wordy], run.texts)
    for prompts, some, shown in ((compiler, samples, 40), (compiler, samples.take([3]), 1), (text_alone, None, 0)):
        some = some or Samples.of(np.zeros(2, int), np.arange(2), item=np.arange(2), yes=np.ones(2, int))
        by_file, by_row = Feed(run, prompts, "cpu"), Feed(run, prompts, "cpu")
        by_row.keep_vectors()
        one, other = by_file.batch(some), by_row.batch(some)
        there = len(one.content["photo"].vectors) if "photo" in one.content else 0
        assert there >= shown and bool(shown) == bool(there)
        for x, y in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(x, y) and x.dtype == y.dtype


def tensors(batch: ModelInput) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    batch.apply(lambda x: found.append(x) or x)
    return found


def test_an_epoch_has_steps_enough():
    lengths, rng = np.full(100, 10), np.random.default_rng(0)
    steps = plan(lengths, OptimPart(batch_size=64, least_steps=10), rng)
    assert [step.size for step in steps] == [10] * 10
    assert [step.size for step in plan(lengths, OptimPart(batch_size=64, least_steps=1000), rng)] == [1] * 100
    assert [step.size for step in plan(lengths, OptimPart(batch_size=8, least_steps=10), rng)] == [8] * 12 + [4]


def test_a_text_weighs_like_so_many_items(tiny_data, tiny_settings, tmp_path):
    """The gradient of a step is that of Σ text_weight · text + Σ items, over the sum of the weights."""
    counts = ["samples.next=1", "samples.explain=1", "samples.next_yes_no=0", "samples.yes_no=0", "samples.choice=0"]
    settings = [*tiny_settings, *counts, "prompts.history=decoder", "model.dropout=0", "optim.text_weight=3"]
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    trainer = Trainer(run, tmp_path, "cpu", None, True, Processes())
    samples = trainer.drawer.draw(0)
    lengths = trainer.compiler.input_lengths(samples)
    step = plan(lengths, run.config.optim, np.random.default_rng(0), samples=samples)[0]
    items = int(samples.then.lengths[step.rows].sum())
    texts = int((samples.then.lengths[step.rows] == 0).sum())
    assert items and texts and step.targets == items + texts and step.weight == items + 3 * texts
    run.model.train()
    total = 0.0
    for rows in step.groups:
        batch = Feed(run, trainer.compiler, "cpu").batch(samples.take(rows))
        trainer.backward(trainer.forward(batch), batch, step)
        weight = 1.0 if isinstance(batch, ItemTargets) else 3.0
        total = total + weight * trainer.forward(batch).sum() / step.weight
    name, found = next((name, p) for name, p in run.model.named_parameters() if name.endswith("wi.weight"))
    (expected,) = torch.autograd.grad(total, [found])
    assert torch.allclose(found.grad, expected, atol=1e-6), name
