"""`vip5 data encode`: one vector an item, from photos, texts, purchases or a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vip5.cli.options import Device, Json, print_json, print_table
from vip5.errors import UserError

if TYPE_CHECKING:
    from vip5.data import Dataset
    from vip5.modalities.job import Encoding

Modality = Annotated[
    Literal["photo", "text", "copurchase", "vectors"], typer.Option(help="What the vectors are made of.")
]
Name = Annotated[str | None, typer.Option(help="Name of the vectors; that of the modality when not given.")]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        help="photo: basic (default, nothing to download), clip-rn50, clip-rn101, clip-vit-b-32, clip-vit-b-16, "
        "clip-vit-l-14; text: tfidf (default, nothing to download); either: a name on the Hugging Face hub, or a local "
        "folder.",
    ),
]
TemplateText = Annotated[
    str | None,
    typer.Option(
        help="text: what is read of an item, over {title}, {brand}, {categories}, {description} and {reviews}, those "
        'of the training part; "{title} . {brand} . {categories}" when not given.'
    ),
]
Dim = Annotated[int | None, typer.Option(min=1, help="tfidf, copurchase: numbers in a vector; 128 when not given.")]
VectorsFile = Annotated[Path | None, typer.Option(help="vectors: a Parquet file, or a .npy.")]
Ids = Annotated[Path | None, typer.Option(help="vectors: the ids of a .npy, one a line, or a Parquet file.")]
Key = Annotated[str | None, typer.Option(help="vectors: the Parquet column of the item ids; item when not given.")]
VectorColumn = Annotated[str | None, typer.Option(help="vectors: the column of lists, where there are several.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="photo, text: inputs encoded at once; 32 when not given.")]


def register(app: typer.Typer) -> None:
    app.command("encode")(encode)


def encode(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    modality: Modality = "photo",
    name: Name = None,
    encoder: EncoderName = None,
    template: TemplateText = None,
    dim: Dim = None,
    file: VectorsFile = None,
    ids: Ids = None,
    key: Key = None,
    vector: VectorColumn = None,
    batch_size: BatchSize = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Make one vector an item, in DATASET/modalities/NAME.

    A job that was stopped or killed goes on where it stood. What is there already is not made again.

    Example: vip5 data encode data/shop --modality photo --encoder clip-vit-b-32 --device cuda
    """
    import time

    from vip5.data import Dataset

    began = time.monotonic()
    options = {
        "encoder": encoder,
        "template": template,
        "dim": dim,
        "file": file,
        "ids": ids,
        "key": key,
        "vector": vector,
        "batch_size": batch_size,
        "device": device,
    }
    given = {option: value for option, value in options.items() if value is not None}
    opened = Dataset(dataset)
    done, notes = _MAKERS[modality](opened, name or modality, given)
    result = {
        "store": str(dataset / "modalities" / done.store.name),
        "modality": modality,
        "fingerprint": done.store.fingerprint,
        "dim": done.store.dim,
        "items": opened.n_items,
        "with_vector": int(done.store.mask.sum()),
        "without_vector": int((~done.store.mask).sum()),
        "broken": len(done.broken),
        "cut": done.cut,
        "done_before": done.inputs if done.reused else done.resumed_from,
        "seconds": round(time.monotonic() - began, 1),
    }
    _show(result, notes, done.reused, json)


def _photo(dataset: "Dataset", name: str, given: dict[str, Any]) -> "tuple[Encoding, list[str]]":
    from vip5.modalities import encode as run
    from vip5.modalities.encoders import load_encoder

    encoder = given.get("encoder", "basic")
    used = ("encoder", "batch_size") if encoder == "basic" else ("encoder", "batch_size", "device")
    _refuse_others(given, used, f"photos by {encoder}")
    loaded = load_encoder(encoder, given.get("device"))
    done = run.encode(dataset, loaded, name, given.get("batch_size", 32), progress=True)
    notes = [f"photo is broken, its item goes on without: {dataset.photo_path(item)}" for item in done.broken[:20]]
    return done, notes


def _text(dataset: "Dataset", name: str, given: dict[str, Any]) -> "tuple[Encoding, list[str]]":
    from vip5.modalities import encode as run
    from vip5.modalities import tfidf
    from vip5.modalities.encoders import load_text_encoder
    from vip5.modalities.texts import TEMPLATE

    encoder, template = given.get("encoder", tfidf.NAME), given.get("template", TEMPLATE)
    if encoder == tfidf.NAME:
        _refuse_others(given, ("encoder", "template", "dim"), "texts by tfidf")
        return tfidf.encode_tfidf(dataset, name, template, given.get("dim", tfidf.DIM)), []
    _refuse_others(given, ("encoder", "template", "batch_size", "device"), f"texts by {encoder}")
    loaded = load_text_encoder(encoder, given.get("device"))
    done = run.encode_text(dataset, loaded, name, template, given.get("batch_size", 32), progress=True)
    return done, [f"{done.cut} texts are longer than {loaded.length} tokens: their ends are not read"] * (done.cut > 0)


def _copurchase(dataset: "Dataset", name: str, given: dict[str, Any]) -> "tuple[Encoding, list[str]]":
    from vip5.modalities.copurchase import DIM, encode_copurchase

    _refuse_others(given, ("dim",), "copurchase")
    return encode_copurchase(dataset, name, given.get("dim", DIM)), []


def _vectors(dataset: "Dataset", name: str, given: dict[str, Any]) -> "tuple[Encoding, list[str]]":
    from vip5.modalities.vectors import encode_vectors, item_rows, open_vectors

    _refuse_others(given, ("file", "ids", "key", "vector"), "vectors")
    if "file" not in given:
        raise UserError("--modality vectors takes a file of vectors: give it with --file")
    vectors = open_vectors(given["file"], given.get("ids"), given.get("key"), given.get("vector"))
    done = encode_vectors(dataset, vectors, name)
    unknown = int((item_rows(dataset, vectors) < 0).sum())
    return done, [f"{unknown} ids of {vectors.file} are no item of {dataset.path}: left out"] * (unknown > 0)


_MAKERS: "Mapping[str, Callable[[Dataset, str, dict[str, Any]], tuple[Encoding, list[str]]]]" = {
    "photo": _photo,
    "text": _text,
    "copurchase": _copurchase,
    "vectors": _vectors,
}


def _refuse_others(given: Mapping[str, Any], used: tuple[str, ...], what: str) -> None:
    """An option that would do nothing is an error."""
    for option in given:
        if option not in used:
            known = ", ".join(f"--{one.replace('_', '-')}" for one in used)
            raise UserError(f"--{option.replace('_', '-')} does nothing for {what}: leave it out (there are {known})")


def _show(result: dict[str, Any], notes: list[str], reused: bool, json: bool) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    if json:
        print_json(result | {"notes": notes})
        return
    rows = [
        [key.replace("_", " "), value] for key, value in (result | {"fingerprint": result["fingerprint"][:12]}).items()
    ]
    print_table("Vectors were there already" if reused else "Vectors", ["what", "value"], rows)
