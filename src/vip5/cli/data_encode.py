"""`vip5 data encode`: the photos of a dataset to features."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Device, Json, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("encode")(encode)


def encode(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder whose items have photos.")],
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            "-e",
            help="basic (nothing to download), clip-rn50, clip-rn101, clip-vit-b-32, clip-vit-b-16, clip-vit-l-14, "
            "a name on the Hugging Face hub, or a local folder.",
        ),
    ] = "basic",
    name: Annotated[str | None, typer.Option(help="Name of the features; the encoder's when not given.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos encoded at once.")] = 32,
    device: Device = None,
    json: Json = False,
) -> None:
    """Encode the photos of a dataset: one vector an item, in DATASET/modalities/NAME.

    A job that was stopped or killed goes on where it stood. What is there already is not encoded again.

    Example: vip5 data encode data/shop --encoder clip-vit-b-32 --device cuda
    """
    import time

    from vip5.data import Dataset
    from vip5.modalities.encode import encode as run
    from vip5.modalities.encoders import load_encoder

    began = time.monotonic()
    done = run(Dataset(dataset), load_encoder(encoder, device), name, batch_size, progress=True)
    store, items = done.store, len(done.store.mask)
    for path in done.broken[:20]:
        typer.echo(f"photo is broken, its item goes on without: {path}", err=True)
    result = {
        "features": str(dataset / "modalities" / store.name),
        "encoder": encoder,
        "fingerprint": store.fingerprint,
        "dim": store.dim,
        "items": items,
        "with_photo": int(store.mask.sum()),
        "without_photo": items - done.photos,
        "broken_photos": len(done.broken),
        "done_before": done.photos if done.reused else done.resumed_from,
        "seconds": round(time.monotonic() - began, 1),
    }
    if json:
        print_json(result)
    else:
        result["fingerprint"] = store.fingerprint[:12]
        rows = [[key.replace("_", " "), value] for key, value in result.items()]
        print_table("Features were there already" if done.reused else "Features", ["what", "value"], rows)
