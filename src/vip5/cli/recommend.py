"""`vip5 recommend`, `rank` and `explain`: a run's answers for one user."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vip5.cli.options import Device, Int8, Json, print_json, print_table

RunFolder = Annotated[Path, typer.Argument(help="Run folder.")]
User = Annotated[str, typer.Option(help="Raw id of the user.")]
DatasetFolder = Annotated[Path | None, typer.Option("--dataset", help="Dataset folder, where it has moved.")]


def register(app: typer.Typer) -> None:
    app.command("recommend")(recommend)
    app.command("rank")(rank)
    app.command("explain")(explain)


def recommend(
    run: RunFolder,
    user: User,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    prompt: Annotated[str, typer.Option(help="Which prompt of task next.")] = "A-3",
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; at least k are used.")] = 20,
    dataset: DatasetFolder = None,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print the items most likely to come next, of the whole catalogue without the user's own.

    Example: vip5 recommend runs/quickstart/with-photos --user u17 -k 5
    """
    items = _engine(run, dataset, device, int8).recommend(user, k, prompt, beams)
    _print(f"Next for {user}", items, {"user": user, "prompt": prompt}, as_json)


def rank(
    run: RunFolder,
    user: User,
    candidates: Annotated[str, typer.Option(help="Raw ids of items, with commas between.")],
    prompt: Annotated[str, typer.Option(help="Which prompt of task choice.")] = "B-5",
    dataset: DatasetFolder = None,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print the given candidates, best first.

    Example: vip5 rank runs/quickstart/with-photos --user u17 --candidates i3,i8,i21
    """
    names = [name.strip() for name in candidates.split(",") if name.strip()]
    items = _engine(run, dataset, device, int8).rank(user, names, prompt)
    _print(f"Best for {user}", items, {"user": user, "prompt": prompt}, as_json)


def explain(
    run: RunFolder,
    user: User,
    item: Annotated[str, typer.Option(help="Raw id of the item.")],
    stars: Annotated[float | None, typer.Option(help="How many stars the explanation is to give.")] = None,
    feature: Annotated[str | None, typer.Option(help="A word it is to be about.")] = None,
    headline: Annotated[str | None, typer.Option(help="The headline it is to stand under.")] = None,
    beams: Annotated[int, typer.Option(min=1, help="1 is greedy.")] = 1,
    dataset: DatasetFolder = None,
    device: Device = None,
    int8: Int8 = False,
    as_json: Json = False,
) -> None:
    """Print a sentence on why the user would take the item.

    Example: vip5 explain runs/quickstart/with-photos --user u17 --item i8 --stars 5 --feature handle
    """
    sentence = _engine(run, dataset, device, int8).explain(user, item, stars, feature, headline, beams)
    if as_json:
        print_json({"user": user, "item": item, "explanation": sentence})
    else:
        typer.echo(sentence)


def _engine(run: Path, dataset: Path | None, device: str | None, int8: bool):
    from vip5.serving import Recommender
    from vip5.training import best_device

    return Recommender(run, dataset, "cpu" if int8 and device is None else best_device(device), int8)


def _print(title: str, items: list[Any], about: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(about | {"items": [item.as_dict() for item in items]})
    else:
        rows = [[n, s.item, s.title, f"{s.probability:.4f}"] for n, s in enumerate(items, 1)]
        print_table(title, ["", "item", "title", "probability"], rows)
