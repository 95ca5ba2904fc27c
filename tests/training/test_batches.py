"""Steps cut into groups of like length give the gradients of steps that are not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.training import Run, load_config
from vip5.training.batches import assemble, plan
from vip5.training.config import OptimPart
from vip5.training.draw import SampleDrawer


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
    assert sorted(np.concatenate([rows for step in steps for rows in step]).tolist()) == list(range(len(lengths)))
    for number, step in enumerate(steps):
        count = sum(len(rows) for rows in step)
        assert count == size if number + 1 < len(steps) else 1 <= count <= size
        for rows in step:
            assert len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens


def test_a_plan_is_random_and_repeats_itself():
    lengths, settings_ = np.full(100, 9), OptimPart(batch_size=10)
    one, same, other = (
        np.concatenate(
            [rows for step in plan(lengths, settings_, np.random.default_rng(seed)) for rows in step]
        ).tolist()
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_groups_are_of_like_length():
    lengths = np.array([100] * 20 + [10] * 20)
    (step,) = plan(lengths, OptimPart(batch_size=40), np.random.default_rng(0))
    assert [sorted(set(lengths[rows])) for rows in step] == [[100], [10]]


@pytest.fixture(scope="module")
def parts(tiny_data, tiny_settings):
    config = load_config("nano", None, [*tiny_settings, "model.dropout=0"])
    run = Run.new(config, tiny_data)
    compiler = run.compiler([name for name, prompt in run.prompts.items() if not prompt.unseen])
    return run, compiler, SampleDrawer(tiny_data, compiler.prompts, config).draw(0)


def test_grouped_gradient_equals_that_of_one_padded_batch(parts):
    run, compiler, samples = parts
    settings_ = OptimPart(batch_size=64, batch_tokens=2048)
    steps = plan(compiler.input_lengths(samples), settings_, np.random.default_rng(0))
    assert len(steps[0]) > 2
    model = run.model.train()
    model.zero_grad()
    _, groups = next(assemble(run, compiler, samples, steps, 0, "cpu"))
    for _, batch in groups:
        (model.sample_losses(batch).sum() / 64).backward()
    grouped = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.loss(run.batch(compiler, samples.take(np.concatenate(steps[0])), targets=True)).backward()
    whole = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(grouped) == set(whole) and len(whole) > 20
    for name, gradient in whole.items():
        assert (gradient - grouped[name]).abs().max() < 1e-6, name


def test_assemble_goes_on_from_any_step(parts):
    run, compiler, samples = parts
    steps = plan(compiler.input_lengths(samples), OptimPart(batch_size=40), np.random.default_rng(0))
    whole = list(assemble(run, compiler, samples, steps, 0, "cpu"))
    assert [number for number, _ in whole] == list(range(len(steps)))
    rest = list(assemble(run, compiler, samples, steps, len(steps) - 2, "cpu"))
    assert [number for number, _ in rest] == [len(steps) - 2, len(steps) - 1]
    for (_, one), (_, other) in zip(whole[-2:], rest, strict=True):
        assert all(torch.equal(x.input_ids, y.input_ids) for (_, x), (_, y) in zip(one, other, strict=True))
    assert list(assemble(run, compiler, samples, steps, len(steps), "cpu")) == []
