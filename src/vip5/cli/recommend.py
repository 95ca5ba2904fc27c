"""`vip5 recommend`, `rank`, `explain` and `similar`: a run's answers."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vip5.cli.options import AllowAgain, Device, Int8, Json, print_json, print_table, printable, report, writable

RunFolder = Annotated[Path, typer.Argument(help="Run folder, of a model or a baseline.")]
User = Annotated[str | None, typer.Option(help="Raw id of the person.")]
History = Annotated[
    list[str] | None, typer.Option(help="Raw id of an item the person had; repeatable, the oldest first.")
]
DatasetFolder = Annotated[
    Path | None,
    typer.Option("--dataset", help="Dataset folder to take histories from; the run's own when it is there."),
]
Number = Annotated[int, typer.Option("-n", min=1, help="How many items.")]


def register(app: typer.Typer) -> None:
    for command in (recommend, rank, explain, similar):
        app.command(command.__name__)(command)


def recommend(
    run: RunFolder,
    user: User = None,
    history: History = None,
    n: Number = 10,
    exclude: Annotated[list[str] | None, typer.Option(help="Raw id of an item to leave out; repeatable.")] = None,
    category: Annotated[str | None, typer.Option(help="Only items of this category.")] = None,
    allow_again: AllowAgain = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Answer everybody in the dataset folder; needs --out.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", callback=writable, help="With --all: Parquet file to write.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Which prompt of task next.")] = "A-3",
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; at least n are used.")] = 20,
    dataset: DatasetFolder = None,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print the items most likely to come next, of the whole catalogue.

    A history comes with the request, or is looked up for a person in the dataset folder. People whom the run does not
    know are answered by their history. What a person had is left out, unless people of the shop commonly buy again.

    Example: vip5 recommend runs/shop --history P0003 --history P0021 --category Kitchen -n 5

    For everybody at once: vip5 recommend runs/shop --all --out recommendations.parquet
    """
    from vip5.errors import UserError

    if everybody != (out is not None):
        raise UserError("--all and --out go together: give both, or neither")
    if everybody and (user or history or exclude or category):
        raise UserError("--all answers everybody: leave out --user, --history, --exclude and --category")
    shop = _engine(run, dataset, device, int8, history)
    if out is not None:
        from vip5.predict.everybody import recommend_all

        done = recommend_all(shop, out, n, prompt, allow_again, beams, progress=not as_json)
        about = {"file": str(out), **done}
        if as_json:
            print_json(about)
        else:
            print_table(f"Recommended by {run}", ["", ""], [[key, value] for key, value in about.items()])
        return
    items = shop.recommend(
        user, history=history, n=n, exclude=exclude or (), category=category, allow_again=allow_again,
        prompt=prompt, beams=beams,
    )  # fmt: skip
    _print(f"Next for {user or 'this history'}", items, {"user": user, "prompt": prompt}, as_json)


def rank(
    run: RunFolder,
    candidates: Annotated[list[str], typer.Option("--candidate", help="Raw id of an item; repeatable.")],
    user: User = None,
    history: History = None,
    by: Annotated[
        Literal["next", "prompt"] | None,
        typer.Option(help="next: what would come next after the history; prompt: a prompt that shows the candidates."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Of task next or choice; A-3 by next, B-5 by prompt.")] = None,
    dataset: DatasetFolder = None,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print the given candidates, best first.

    Example: vip5 rank runs/shop --user U0001 --candidate P0003 --candidate P0008
    """
    shop = _engine(run, dataset, device, int8, history)
    items = shop.rank(candidates, user=user, history=history, by=by, prompt=prompt)
    _print(f"Best for {user or 'this history'}", items, {"user": user}, as_json)


def explain(
    run: RunFolder,
    item: Annotated[str, typer.Option(help="Raw id of the item.")],
    user: User = None,
    stars: Annotated[float | None, typer.Option(help="How many stars the explanation is to give.")] = None,
    feature: Annotated[str | None, typer.Option(help="A word it is to be about.")] = None,
    headline: Annotated[str | None, typer.Option(help="The headline it is to stand under.")] = None,
    beams: Annotated[int, typer.Option(min=1, help="1 is greedy.")] = 1,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print a sentence on why the person would take the item.

    Example: vip5 explain runs/shop --user U0001 --item P0008 --stars 5 --feature handle
    """
    shop = _engine(run, None, device, int8, ())
    sentence = shop.explain(item, user=user, stars=stars, feature=feature, headline=headline, beams=beams)
    if as_json:
        print_json({"user": user, "item": item, "explanation": sentence})
    else:
        typer.echo(printable(sentence))


def similar(
    run: RunFolder,
    item: Annotated[str, typer.Argument(help="Raw id of the item.")],
    n: Number = 10,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Print the items most like an item: by what the run has learnt of them, and by their vectors.

    Example: vip5 similar runs/shop P0008 -n 5
    """
    items = _engine(run, None, device, False, ()).similar(item, n)
    if as_json:
        print_json({"item": item, "items": [one.as_dict() for one in items]})
    else:
        rows = [[place, s.item, s.title, f"{s.similarity:.3f}"] for place, s in enumerate(items, 1)]
        print_table(f"Like {item}", ["", "item", "title", "similarity"], rows)


def _engine(run: Path, dataset: Path | None, device: str | None, int8: bool, history: Any):
    """The run, ready to answer; where histories come along, the dataset folder is not read."""
    from vip5.predict import Recommender
    from vip5.training import best_device

    device = "cpu" if int8 and device is None else best_device(device)
    return Recommender(run, dataset if dataset else (False if history is not None else None), device, int8, report)


def _print(title: str, items: list[Any], about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(about | {"items": [item.as_dict() for item in items]})
        return
    scored = any(item.probability is not None for item in items)
    rows = [[n, s.item, s.title, *([f"{s.probability:.4f}"] if scored else [])] for n, s in enumerate(items, 1)]
    print_table(title, ["", "item", "title", *(["probability"] if scored else [])], rows)
