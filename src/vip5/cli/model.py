"""`vip5 model …`: how big a model is and what of it is trained."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vip5.cli.options import Json, print_json, print_table

if TYPE_CHECKING:
    from vip5.model import ModalityConfig, ModelConfig, Part

PLACES = ("self_attention", "feed_forward", "cross_attention")
model_app = typer.Typer(name="model", help="Look at models.", no_args_is_help=True)


class Size(StrEnum):
    nano = "nano"
    small = "small"
    base = "base"


def register(app: typer.Typer) -> None:
    model_app.command("info")(info)
    app.add_typer(model_app)


def info(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a saved model; the options below are then not used.")
    ] = None,
    size: Annotated[Size, typer.Option(help="Size of the backbone; small is t5-small.")] = Size.small,
    method: Annotated[Literal["adapters", "full"], typer.Option(help="The way of tuning.")] = "adapters",
    places: Annotated[
        list[str] | None, typer.Option("--place", help="With adapters: a sublayer that gets one; repeatable. [all]")
    ] = None,
    reduction: Annotated[int, typer.Option(min=1, help="r: adapters are d_model / r wide inside.")] = 8,
    modalities: Annotated[
        list[str] | None,
        typer.Option("--modality", metavar="NAME:DIM:TOKENS", help="Repeatable; none: text alone. [photo:512:2]"),
    ] = None,
    freeze_word_category: Annotated[
        bool, typer.Option("--freeze-word-category", help="Do not train whole-word and category embeddings.")
    ] = False,
    new_tokens: Annotated[int, typer.Option(min=0, help="Tokens that an id scheme adds to the vocabulary.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the parameters of a model by part, trained and frozen.

    Example: vip5 model info --size small --place self_attention --place feed_forward --modality photo:512:1
    """
    import torch
    from pydantic import ValidationError

    from vip5.errors import UserError, first_fault
    from vip5.model import VIP5, Adapters, Full, ModelConfig, backbone_size, count_parameters, load_config
    from vip5.predict.folder import is_finished, read_run

    if run is not None:
        if is_finished(run):
            read_run(run, "model")  # a baseline's run is refused
        config = load_config(run)
    else:
        try:
            config = ModelConfig(
                **backbone_size(size.value),
                new_tokens=new_tokens,
                modalities=_modalities(modalities or ["photo:512:2"]),
                peft=Full()
                if method == "full"
                else Adapters(**({"places": tuple(places)} if places else {}), reduction=reduction),
                train_word_category=not freeze_word_category,
            )
        except ValidationError as error:
            raise UserError(f"no such model: {first_fault(error)[1]}: give other options") from None
    with torch.device("meta"):  # shapes alone; nothing is filled
        parts = count_parameters(VIP5(config))
    _show(parts, config, as_json)


def _show(parts: "list[Part]", config: "ModelConfig", as_json: bool) -> None:
    trained, total = sum(part.trained for part in parts), sum(part.total for part in parts)
    share = 100 * trained / total
    if as_json:
        print_json(
            {
                "config": config.model_dump(),
                "parts": [{"part": p.name, "trained": p.trained, "frozen": p.frozen, "total": p.total} for p in parts],
                "trained": trained,
                "frozen": total - trained,
                "total": total,
                "trained_share_percent": share,
            }
        )
        return
    rows = [[p.name, f"{p.trained:,}", f"{p.frozen:,}", f"{p.total:,}"] for p in parts if p.total]
    rows.append(["all", f"{trained:,}", f"{total - trained:,}", f"{total:,}"])
    title, columns = f"Parameters, tuned by {config.peft.method}", ["part", "trained", "frozen", "total"]
    print_table(title, columns, rows, f"trained: {share:.2f} %")


def _modalities(given: list[str]) -> "tuple[ModalityConfig, ...]":
    from vip5.errors import UserError
    from vip5.model import ModalityConfig

    if given == ["none"]:
        return ()
    try:
        cut = [text.split(":") for text in given]
        return tuple(ModalityConfig(name=name, dim=int(dim), tokens=int(tokens)) for name, dim, tokens in cut)
    except ValueError:
        raise UserError(f"--modality {' '.join(given)}: write name:width:tokens, as in photo:512:2") from None
