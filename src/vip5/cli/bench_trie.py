"""`vip5 bench trie`: the trie of item codes, whatever the size of the catalogue."""

from typing import Annotated

import typer

from vip5.cli.bench_options import Out, Quick, Rounds, Threads, show
from vip5.cli.options import Device, Json

ITEMS, QUICK_ITEMS = (10_000, 100_000, 1_000_000, 10_000_000), (10_000, 100_000, 1_000_000)


def register(app: typer.Typer) -> None:
    app.command("trie")(trie)


def trie(
    items: Annotated[
        list[int] | None, typer.Option(min=1, help="Sizes of catalogues; 10^4 to 10^7 when not given.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Users decoded at a time.")] = 16,
    beams: Annotated[int, typer.Option(min=1, help="Beams of each.")] = 20,
    rounds: Rounds = 10,
    threads: Threads = None,
    device: Device = None,
    quick: Quick = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Build tries of catalogues of several sizes, and mask what beams may write by them, beside Python dictionaries.

    Example: vip5 bench trie --rows 64 --out trie.json
    """
    from vip5.bench.measure import in_threads
    from vip5.bench.trie import bench
    from vip5.training import best_device

    in_threads(threads)
    sizes = items or (QUICK_ITEMS if quick else ITEMS)
    found = bench(sizes, rows=rows, beams=beams, rounds=rounds, device=best_device(device or "cpu"), quick=quick)
    show(found, out, json)
