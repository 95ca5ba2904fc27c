"""What an evaluation leaves in a run folder, case by case, so that runs can be compared later.

ranks.parquet       prompt, user (raw id), list (0 for next item, else the number of the candidate list),
                    rank (0-based, null beyond the list), depth (how many places were looked at)
sentences.parquet   prompt, user, item (raw ids), written, truth; not there where nothing was explained
evaluation.json     whether next items may be had again, and what a reader of the numbers must know
"""

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl

from vip5.errors import UserError
from vip5.evaluation.ranking import ABSENT
from vip5.files import write_json, written_aside

RANKS_FILE, SENTENCES_FILE, ABOUT_FILE = "ranks.parquet", "sentences.parquet", "evaluation.json"
RANKS = pl.Schema({"prompt": pl.String, "user": pl.String, "list": pl.Int32, "rank": pl.Int32, "depth": pl.Int32})
SENTENCES = pl.Schema(dict.fromkeys(("prompt", "user", "item", "written", "truth"), pl.String))


def rank_rows(prompt: str, users: pl.Series, ranks: np.ndarray, depth: int) -> pl.DataFrame:
    """Rows of ranks.parquet for one prompt: `ranks` is int [n_users], or [n_users, lists] for several candidate lists.

    `users` are the n raw ids. A rank of `depth` or more, `ABSENT` among them, was not found: null.
    """
    lists = np.asarray(ranks).reshape(len(users), -1)
    n_lists = lists.shape[1]
    flat = lists.ravel().astype(np.int64)
    return pl.DataFrame(
        {
            "prompt": [prompt] * len(flat),
            "user": users.gather(np.repeat(np.arange(len(users)), n_lists)),
            "list": np.tile(np.arange(n_lists), len(users)),
            "rank": pl.Series(np.minimum(flat, ABSENT)).set(pl.Series(flat >= depth), None),
            "depth": np.full(len(flat), depth),
        },
        schema=RANKS,
    )


def save_ranks(run: Path, rows: pl.DataFrame) -> None:
    """Write ranks.parquet, whole or not at all."""
    _save(run / RANKS_FILE, rows.select(RANKS.names()).cast(RANKS))


def load_ranks(run: Path) -> pl.DataFrame:
    """Read what `save_ranks` wrote, no rows where there are sentences alone.

    Raises: UserError where the run was not evaluated, or the file is older or contradicts itself.
    """
    if not (run / RANKS_FILE).is_file():
        if (run / SENTENCES_FILE).is_file():
            return RANKS.to_frame()
        raise UserError(f"no {run / RANKS_FILE}: evaluate the run first (vip5 evaluate {run})")
    rows = _load(run, RANKS_FILE, RANKS)
    whole = pl.all_horizontal(pl.exclude("rank").is_not_null())
    placed = pl.col("rank").is_null() | pl.col("rank").is_between(0, pl.col("depth"), closed="left")
    sound = rows.select((whole & placed).all() & pl.struct("prompt", "user", "list").is_unique().all()).item()
    return rows if sound else _refuse(run, RANKS_FILE, "a rank is out of range, or stands twice")


def save_sentences(run: Path, rows: pl.DataFrame) -> None:
    """Write sentences.parquet, whole or not at all."""
    _save(run / SENTENCES_FILE, rows.select(SENTENCES.names()).cast(SENTENCES))


def load_sentences(run: Path) -> pl.DataFrame:
    """Read what `save_sentences` wrote, no rows where nothing was; UserError where it is damaged."""
    if not (run / SENTENCES_FILE).is_file():
        return SENTENCES.to_frame()
    rows = _load(run, SENTENCES_FILE, SENTENCES)
    return _refuse(run, SENTENCES_FILE, "a value is missing") if rows.null_count().sum_horizontal().item() else rows


def save_about(run: Path, about: dict[str, Any]) -> None:
    """Write evaluation.json, whole or not at all."""
    write_json(run / ABOUT_FILE, about)


def load_about(run: Path) -> dict[str, Any]:
    """Read what `save_about` wrote; UserError where the run was not evaluated, or the file is damaged."""
    if not (run / ABOUT_FILE).is_file():
        raise UserError(f"no {run / ABOUT_FILE}: evaluate the run first (vip5 evaluate {run})")
    try:
        about = json.loads((run / ABOUT_FILE).read_text("utf-8"))
        return {"again": bool(about["again"]), "notes": [str(note) for note in about["notes"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _refuse(run, ABOUT_FILE, str(error).splitlines()[0])


def _save(path: Path, rows: pl.DataFrame) -> None:
    with written_aside(path) as aside:
        rows.write_parquet(aside)


def _load(run: Path, name: str, schema: pl.Schema) -> pl.DataFrame:
    try:
        return pl.read_parquet(run / name).select(schema.names()).cast(schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        return _refuse(run, name, str(error).splitlines()[0])


def _refuse(run: Path, name: str, reason: str) -> NoReturn:
    raise UserError(f"{run / name} is damaged or of another version ({reason}): evaluate again (vip5 evaluate {run})")
