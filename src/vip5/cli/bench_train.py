"""`vip5 bench train`: a training step beside that of transformers' T5."""

from typing import Annotated, Literal

import typer

from vip5.cli.bench_options import DatasetOption, Out, Quick, Rounds, Threads, Tokenizer, show
from vip5.cli.options import Device, Json


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    dataset: DatasetOption = None,
    size: Annotated[Literal["nano", "small", "base"], typer.Option(help="Size of the model.")] = "small",
    tokenizer: Tokenizer = None,
    mode: Annotated[
        Literal["full", "self", "self+cross", "both"],
        typer.Option(help="What is trained; both: all (the recipe's step one), then self+cross (step two)."),
    ] = "both",
    samples: Annotated[
        int, typer.Option(min=1, help="Samples in the step. The paper has 36, for which the peer needs 20 GB.")
    ] = 24,
    device: Device = None,
    threads: Threads = None,
    rounds: Rounds = 5,
    quick: Quick = False,
    as_json: Json = False,
    out: Out = None,
) -> None:
    """Measure a training step on a real mix of samples beside transformers' T5 on the padded batch, fp32 both.

    Then, how many targets a second a nano model learns from: whole histories, one item a prompt, and SASRec.

    Loss and gradients are compared first, without dropout. The floor is the time that the matrix products of real
    tokens take at the rate of a large one.

    Example: vip5 bench train data/beauty --tokenizer t5-small --out train.json
    """
    from vip5.bench.train import MODES, bench_train
    from vip5.training import best_device

    modes = MODES if mode == "both" else (mode,)
    show(
        bench_train(dataset, size, tokenizer, modes, samples, best_device(device), threads, rounds, quick), out, as_json
    )
