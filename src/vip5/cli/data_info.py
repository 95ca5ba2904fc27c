"""`vip5 data info`: what a dataset folder holds."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("info")(info)


def info(dataset: Annotated[Path, typer.Argument(help="Dataset folder.")], json: Json = False) -> None:
    """Show counts, filled fields, sparsity, lengths of histories, splits, modalities and the hash of a dataset.

    Example: vip5 data info data/beauty
    """
    from vip5.data import Dataset
    from vip5.data.said import repeats_words
    from vip5.data.statistics import describe, filled_rows

    opened = Dataset(dataset)
    facts = describe(opened)
    if json:
        print_json(opened.manifest.model_dump() | facts)
        return
    manifest = opened.manifest
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in manifest.counts.items()]
    rows += filled_rows(opened)
    rows.append(["sparsity", f"{facts['sparsity']:.4%}"])
    for name in ("user_lengths", "item_lengths"):
        lengths = facts[name]
        text = f"{lengths['min']} / {lengths['median']:g} / {lengths['mean']:.1f} / {lengths['max']}"
        rows.append([f"interactions of {'a user' if name == 'user_lengths' else 'an item'}, min/median/mean/max", text])
    times = manifest.split_times
    points = f": validation from {times[0]}, test from {times[1]}" if times else ""
    rows.append(["split", manifest.split + points])
    rows += [[f"users with a {split} item", f"{count:,}"] for split, count in facts["tested"].items()]
    rows.append(["order", facts["order_note"]])
    rows.append(["repeats", repeats_words(manifest) + (": people buy again" if facts["buys_again"] else "")])
    rows += [[f"reviews for {split}", f"{count:,}"] for split, count in facts["review_splits"].items()]
    rows.append(["split of the reviews", manifest.review_split])
    rows.append(["modalities", ", ".join(facts["modalities"]) or "none: make some with `vip5 data encode`"])
    rows.append(["k-core", str(manifest.k_core or "no")])
    leaky = ": random review split, only to compare with the paper" if manifest.protocol == "paper" else ""
    rows.append(["protocol", manifest.protocol + leaky])
    rows.append(["candidate lists", f"{manifest.candidate_lists}, {manifest.candidates_by}"])
    rows.append(["hash of the candidates", facts["candidates_hash"]])
    rows.append(["made", f"{manifest.created}, vip5 {manifest.versions['vip5']}, seed {manifest.seed}"])
    rows.append(["hash", opened.hash])
    print_table(f"Dataset {manifest.name} ({opened.path})", ["what", "value"], rows)
