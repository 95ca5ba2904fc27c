"""`vip5 bench decode`: users a second, beside transformers' generate and CTranslate2."""

from typing import Annotated, Literal

import typer

from vip5.cli.bench_options import DatasetOption, Out, Quick, Rounds, Threads, Tokenizer, show
from vip5.cli.options import Device, Json


def register(app: typer.Typer) -> None:
    app.command("decode")(decode)


def decode(
    dataset: DatasetOption = None,
    size: Annotated[Literal["nano", "small", "base"], typer.Option(help="Of the model; small is t5-small.")] = "small",
    tokenizer: Tokenizer = None,
    scheme: Annotated[str, typer.Option(help="How items are written.")] = "semantic",
    users: Annotated[int, typer.Option(min=1, help="Test users who are asked about.")] = 64,
    rounds: Rounds = 3,
    threads: Threads = None,
    device: Device = None,
    quick: Quick = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Beam search under the trie, one of 100, and free text, with the peers on the same weights.

    Example: vip5 bench decode data/beauty --tokenizer t5-small --out decode.json
    """
    from vip5.bench.decode import bench
    from vip5.bench.measure import in_threads
    from vip5.training import best_device

    in_threads(threads)
    result = bench(
        dataset,
        size=size,
        tokenizer=tokenizer,
        scheme=scheme,
        users=users,
        rounds=rounds,
        device=best_device(device or "cpu"),
        quick=quick,
    )
    show(result, out, json)
