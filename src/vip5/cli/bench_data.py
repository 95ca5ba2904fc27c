"""`vip5 bench data`: batches of prompts, beside rendering and tokenising."""

from typing import Annotated

import typer

from vip5.cli.bench_options import DatasetOption, Out, Quick, Rounds, Threads, Tokenizer, show
from vip5.cli.options import Json


def register(app: typer.Typer) -> None:
    app.command("data")(data)


def data(
    dataset: DatasetOption = None,
    tokenizer: Tokenizer = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in a batch; 144 as in a step of training.")] = 144,
    rounds: Rounds = 3,
    threads: Threads = 1,
    quick: Quick = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Make batches for the model from samples of training, compiled and, as a peer, rendered and tokenised.

    Example: vip5 bench data data/beauty --tokenizer t5-small --out data.json
    """
    from vip5.bench.data import bench
    from vip5.bench.measure import in_threads

    in_threads(threads)
    show(bench(dataset, tokenizer=tokenizer, batch=batch, rounds=rounds, quick=quick), out, json)
