"""`vip5 data codes`: how a code scheme would write the items of a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, Seed, print_json, print_table, writable


def register(app: typer.Typer) -> None:
    app.command("codes")(codes)


def codes(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of the scheme, as in codes.collaborative.width=32; `vip5 train` takes the same."),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(help="semantic, collaborative, atomic, sequential, random, paper, or joined with + in between."),
    ] = "semantic",
    out: Annotated[
        Path | None, typer.Option(help="Parquet file to write; DATASET/codes/SCHEME.parquet when not given.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit item codes without training a model: a table of item and code, which `vip5 data audit` reads.

    Example: vip5 data codes data/beauty codes.collaborative.width=32 --scheme collaborative
    """
    import time

    from vip5.data import Dataset
    from vip5.items import code_items, save_words
    from vip5.items.vectors import PURCHASES, TEXT
    from vip5.modalities import open_modality
    from vip5.training import load_config

    settings = load_config("prompts", None, [*(overrides or []), f"codes.scheme={scheme}"]).codes
    writable(file := out or dataset / "codes" / f"{scheme}.parquet")
    opened, began = Dataset(dataset), time.monotonic()
    named = [source for source in settings.semantic.sources or () if source not in (TEXT, PURCHASES)]
    coding = code_items(settings, opened, {name: open_modality(opened, name) for name in named}, seed)
    save_words(coding.words, opened.items["item"], file)
    lengths = [word.count("<") for word in coding.words]
    spelled = "by the tokenizer" if not coding.new_tokens else f"{min(lengths)} to {max(lengths)} tokens"
    result = {
        "file": str(file),
        "scheme": scheme,
        "items": opened.n_items,
        "spelled": spelled,
        "new_tokens": len(coding.new_tokens),
        "collisions": coding.collisions,
        "codes_new_items": coding.coder is not None,
        "seconds": round(time.monotonic() - began, 2),
        "examples": coding.words[:3],
    }
    if json:
        print_json(result)
    else:
        result["examples"] = ", ".join(coding.words[:3])
        rows = [[key.replace("_", " "), value] for key, value in result.items()]
        print_table(f"Item codes of {opened.manifest.name}", ["what", "value"], rows)
