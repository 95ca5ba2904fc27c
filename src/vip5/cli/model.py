"""`vip5 model …`: how big a model is and what of it is trained."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, print_json, print_table

model_app = typer.Typer(name="model", help="Look at models.", no_args_is_help=True)


class Size(StrEnum):
    nano = "nano"
    small = "small"
    base = "base"


class Mode(StrEnum):
    self = "self"
    self_cross = "self+cross"
    full = "full"


def register(app: typer.Typer) -> None:
    model_app.command("info")(info)
    app.add_typer(model_app)


def info(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a saved model; the options below are then not used.")
    ] = None,
    size: Annotated[Size, typer.Option(help="Size of the backbone; small is t5-small.")] = Size.small,
    mode: Annotated[Mode, typer.Option(help="What is trained: adapters in these places, or everything.")] = (
        Mode.self_cross
    ),
    image_tokens: Annotated[int, typer.Option("--image-tokens", "-k", min=0, help="Tokens a photo becomes.")] = 2,
    feature_dim: Annotated[int, typer.Option(min=1, help="Width of a photo's feature vector.")] = 512,
    reduction: Annotated[int, typer.Option(min=1, help="r: adapters are d_model / r wide inside.")] = 8,
    freeze_word_category: Annotated[
        bool, typer.Option("--freeze-word-category", help="Do not train whole-word and category embeddings.")
    ] = False,
    new_tokens: Annotated[int, typer.Option(min=0, help="Tokens that an id scheme adds to the vocabulary.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the parameters of a model by part, trained and frozen.

    Example: vip5 model info --size small --mode self --image-tokens 1 --freeze-word-category
    """
    import torch
    from pydantic import ValidationError

    from vip5.errors import UserError, first_fault
    from vip5.model import VIP5, AdapterConfig, ModelConfig, backbone_size, count_parameters, load_config

    if run is not None:
        config = load_config(run)
    else:
        try:
            config = ModelConfig(
                **backbone_size(size.value),
                new_tokens=new_tokens,
                image_tokens=image_tokens,
                feature_dim=feature_dim,
                adapter=AdapterConfig(mode=mode.value, reduction=reduction),
                train_word_category=not freeze_word_category,
            )
        except ValidationError as error:
            raise UserError(f"no such model: {first_fault(error)[1]}: give other options") from None
    with torch.device("meta"):  # shapes alone; nothing is filled
        parts = count_parameters(VIP5(config))
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
    print_table(
        f"Parameters, mode {config.adapter.mode}",
        ["part", "trained", "frozen", "total"],
        rows,
        f"trained: {share:.2f} %",
    )
