"""One compiler for many requests: with reviews of their own, and from several threads at once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import polars as pl
import pytest

from vip5.prompts import Compiled, PromptCompiler, load_prompts

WORDS = ["warm", "Red mug", "</s>", "so so", "Ünïcödé", "light , light", ""]


def some_reviews(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    return pl.DataFrame(
        {
            name: [f"{name} {seed} {WORDS[w]}" for w in rng.integers(0, len(WORDS), n)]
            for name in ("headline", "feature", "explanation")
        }
    )


def same(one: Compiled, other: Compiled) -> bool:
    names = ("tokens", "words", "content", "offsets")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_reviews_of_a_request_share_all_other_tables(texts, some_samples):
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    for all_of_it in (compiler.inputs, compiler.targets):
        all_of_it(some_samples(29, 12, 400))  # so that all tables are there
    pool = compiler._tables.pool
    before = (pool._size, len(pool._parts), sum(part[0].nbytes for part in pool._parts))
    for request in range(100):
        reviews = some_reviews(request)
        samples = some_samples(29, 100 + request, 5, reviews=len(reviews))
        own = compiler.with_reviews(reviews)
        fresh = PromptCompiler(compiler.prompts, texts.of_reviews(reviews))
        assert same(own.inputs(samples), fresh.inputs(samples))
        assert same(own.targets(samples), fresh.targets(samples))
        assert (own.input_lengths(samples) == fresh.input_lengths(samples)).all()
    assert own._tables.pool is pool
    assert (pool._size, len(pool._parts), sum(part[0].nbytes for part in pool._parts)) == before


def test_a_request_leaves_the_compilers_own_reviews_alone(texts, some_samples, check_equal):
    compiler = PromptCompiler(list(load_prompts().values()), texts)
    samples = some_samples(29, 13, 100)
    own = compiler.with_reviews(some_reviews(0).head(1))
    own.inputs(some_samples(29, 14, 100, reviews=1))
    check_equal(compiler, samples, texts)


@pytest.fixture
def often_switching():
    """Threads change places every few microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
def test_eight_threads_make_what_one_makes(texts_of, some_samples, often_switching):
    """10,000 requests: 25 compilers without a table, each asked 400 times, at first by all threads at once."""
    texts, prompts = texts_of("sequential"), list(load_prompts().values())
    requests, expected = [], []
    for number in range(100):
        reviews = some_reviews(number) if number % 2 else None
        samples = some_samples(29, 500 + number, 3, reviews=3 if reviews is None else len(reviews))
        requests.append((samples, reviews))
        alone = PromptCompiler(prompts, texts if reviews is None else texts.of_reviews(reviews))
        expected.append((alone.inputs(samples), alone.targets(samples)))

    def ask(compiler: PromptCompiler, barrier: Barrier, thread: int) -> list[int]:
        order = np.random.default_rng(thread).integers(0, 100, 50)
        barrier.wait()
        wrong = []
        for number in order:
            samples, reviews = requests[number]
            mine = compiler if reviews is None else compiler.with_reviews(reviews)
            found = mine.inputs(samples), mine.targets(samples)
            if not all(same(*pair) for pair in zip(found, expected[number], strict=True)):
                wrong.append(int(number))
        return wrong

    with ThreadPoolExecutor(8) as threads:
        for n in range(25):
            compiler, barrier = PromptCompiler(prompts, texts), Barrier(8)
            asked = [threads.submit(ask, compiler, barrier, 8 * n + thread) for thread in range(8)]
            assert [wrong for future in asked for wrong in future.result()] == []
