"""Recommendations for everybody at once, into a Parquet file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from vip5.data import Ragged
from vip5.errors import UserError
from vip5.files import written_aside
from vip5.predict.recommender import NEXT, Recommender
from vip5.predict.system import Decoding

_PEOPLE = 4096  # asked about at once
_COLUMNS = pa.schema(
    [("user", pa.string()), ("rank", pa.int32()), ("item", pa.string()), ("probability", pa.float32())]
)


def recommend_all(
    shop: Recommender,
    out: Path,
    n: int = 10,
    prompt: str = NEXT,
    allow_again: bool | None = None,
    beams: int = 20,
    progress: bool = False,
) -> dict[str, int]:
    """Write the n next items of everybody who has a history: user, rank (from 1), item, probability (null from a
    baseline). Whole or not at all. Gives how many people were answered, and how many have no history.

    Raises: UserError where no dataset folder is at hand to take the histories from.
    """
    if shop.people is None:
        raise UserError("no dataset folder is at hand to take everybody's history from: name it with --dataset")
    people, raw = shop.people.items, np.array(list(shop.people.users))
    asked = np.flatnonzero(people.lengths > 0)
    again = shop.catalogue.buys_again if allow_again is None else allow_again
    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar,
        written_aside(out) as aside,
        pq.ParquetWriter(aside, _COLUMNS, compression="zstd") as writer,
    ):
        task = bar.add_task("recommending", total=len(asked))
        for rows in np.array_split(asked, max(1, -(-len(asked) // _PEOPLE))):
            for table in _answers(shop, raw[rows], people.take(rows), n, prompt, again, beams):
                writer.write_table(table)
            bar.advance(task, len(rows))
    return {"people": len(asked), "without_history": len(people) - len(asked)}


def _answers(
    shop: Recommender, raw: np.ndarray, histories: Ragged, n: int, prompt: str, again: bool, beams: int
) -> Iterator[pa.Table]:
    if not len(raw):
        return
    users = np.array([shop.catalogue.user_index(user) for user in raw])
    how = Decoding(beams=max(n, beams))
    found = shop.system.rank(shop.asks(prompt, "next"), users, histories, n, how, None if again else histories)
    items = found.items[:, :n]
    row, place = np.nonzero(items >= 0)
    scores = None if found.scores is None else np.exp(found.scores[:, :n][row, place])
    frame = pl.DataFrame(
        {
            "user": raw[row],
            "rank": (place + 1).astype(np.int32),
            "item": shop.catalogue.items["item"].gather(items[row, place]),
            "probability": pl.Series(scores, dtype=pl.Float32) if scores is not None else pl.Series([None] * len(row)),
        }
    )
    yield frame.to_arrow().cast(_COLUMNS)
