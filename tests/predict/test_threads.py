"""Several threads ask one run at once, from the first question on: the answers are those of one thread."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from vip5.predict import Recommender

THREADS, REQUESTS = 8, 10_000


def questions(shop: Recommender, user: str) -> list:
    """A handful of requests of each kind, by number; few beams, few candidates."""
    items = shop.catalogue.items["item"].to_list()
    return [
        lambda: shop.recommend(user, n=2, beams=2),
        lambda: shop.similar(items[1], n=3),
        lambda: shop.rank(items[:2], user=user),
        lambda: shop.similar(items[2], n=3),
        lambda: shop.recommend(history=items[:2], n=2, beams=2, category="Living"),
        lambda: shop.similar(items[3], n=3),
        lambda: shop.rank(items[2:4], history=items[:2]),
        lambda: shop.similar(items[4], n=3),
        lambda: shop.explain(items[5], user=user, feature="handle"),
        lambda: shop.similar(items[5], n=3),
        lambda: shop.similar(items[6], n=3),
        lambda: shop.similar(items[7], n=3),
    ]


@pytest.fixture(scope="module")
def run(tiny_data, tiny_settings, tmp_path_factory, one_thread):
    """A run whose answers take little time."""
    from vip5.training import Run, load_config, train

    out = tmp_path_factory.mktemp("runs") / "quick"
    settings = [*tiny_settings, "optim.epochs=1", "prompts.max_target=4"]
    train(Run.new(load_config("prompts", None, settings), tiny_data), out, quiet=True)
    return out


@pytest.mark.slow
def test_eight_threads_answer_as_one(run, one_thread):
    alone = Recommender(run)
    user = alone.catalogue.users["user"][3]
    wanted = [question() for question in questions(alone, user)]
    asked = questions(Recommender(run), user)  # nothing in it is made yet
    start, interval = Barrier(THREADS), sys.getswitchinterval()

    def ask(thread: int) -> list[int]:
        """The numbers of the requests that were answered otherwise."""
        start.wait()
        numbers = itertools.islice(itertools.cycle(range(len(asked))), thread, thread + REQUESTS // THREADS)
        return [number for number in numbers if asked[number]() != wanted[number]]

    sys.setswitchinterval(1e-4)
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            wrong = [number for found in threads.map(ask, range(THREADS)) for number in found]
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
