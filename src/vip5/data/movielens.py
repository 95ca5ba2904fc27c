"""A folder of MovieLens as published: 100K (`u.data`), 1M and 10M (`ratings.dat`), 20M and later (`ratings.csv`).

F. M. Harper, J. A. Konstan: The MovieLens datasets, 2015. Each rating is an interaction, its stars kept.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl

from vip5.data.table import Table
from vip5.data.tables import read_table, typed
from vip5.errors import UserError

_FORMS = ("ratings.csv", "ratings.dat", "u.data")
_AT_ONCE = 2**16  # lines
_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def read_movielens(folder: str | Path) -> dict[str, Table]:
    """The tables `interactions` and `items`; all films are the catalogue.

    Raises: UserError for a folder that holds none of these releases, or a line that is not of its form.
    """
    folder = Path(folder)
    form = next((name for name in _FORMS if (folder / name).is_file()), None)
    if form is None:
        raise UserError(f"{folder} holds none of {', '.join(_FORMS)}: give the folder of a MovieLens release, unpacked")
    if form == "ratings.csv":
        catalogue = read_table(folder / "movies.csv", "items")
        return {"interactions": read_table(folder / form, "interactions"), "items": _without_no_genres(catalogue)}
    old = form == "u.data"
    ratings = _read(folder / form, "\t" if old else "::", 4)
    films = _read(folder / ("u.item" if old else "movies.dat"), "|" if old else "::", 24 if old else 3)
    genres = pl.concat_list(
        [pl.when(pl.col(f"{5 + n}") == "1").then(pl.lit(name)) for n, name in enumerate(_GENRES_100K)]
    ).list.drop_nulls()
    tables = {
        "interactions": ratings.select("row", user="0", item="1", rating="2", timestamp="3"),
        "items": films.select("row", item="0", title="1", categories=genres if old else pl.col("2")),
    }
    files = {"interactions": folder / form, "items": folder / ("u.item" if old else "movies.dat")}
    read = {
        kind: typed(Table(frame, files[kind], tuple(frame.columns), "line"), kind)[0] for kind, frame in tables.items()
    }
    return read | {"items": _without_no_genres(read["items"])}


def _without_no_genres(films: Table) -> Table:
    """Later releases have a name for "none", which is no genre."""
    genres = pl.col("categories").list.eval(pl.element().filter(pl.element() != "(no genres listed)"))
    return replace(films, frame=films.frame.with_columns(genres))


def _read(file: Path, separator: str, width: int) -> pl.DataFrame:
    """The values of each line as text, in columns "0", "1", …; these files know no quotes."""
    names = [f"{n}" for n in range(width)]
    parts = [pl.DataFrame(schema={"row": pl.UInt32(), **dict.fromkeys(names, pl.String())})]
    try:
        with file.open(encoding=_encoding(file), newline="\n") as stream:
            lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream, start=1))
            while part := list(islice(lines, _AT_ONCE)):
                frame = pl.DataFrame(part, schema={"row": pl.UInt32(), "line": pl.String()}, orient="row")
                parts.append(_values(frame.filter(pl.col("line") != ""), file, separator, names))
    except OSError as error:
        raise UserError(f"cannot read {file} ({error.strerror}): give the whole folder of the release") from None
    return pl.concat(parts)


def _values(lines: pl.DataFrame, file: Path, separator: str, names: list[str]) -> pl.DataFrame:
    line = pl.col("line")
    found = line.str.count_matches(separator, literal=True) + 1
    wrong = lines.select("row", found.alias("found")).filter(pl.col("found") != len(names))
    if wrong.height:
        what = f"{wrong['found'][0]} values where {len(names)} must stand ({file}, line {wrong['row'][0]})"
        raise UserError(f"{what}: download the release again")
    values = line.str.split_exact(separator, len(names) - 1).struct.rename_fields(names)
    return lines.select("row", values.alias("values")).unnest("values")


def _encoding(file: Path) -> str:
    """UTF-8 in the release of 10M, Latin-1 in the earlier ones."""
    try:
        with file.open(encoding="utf-8") as stream:
            while stream.read(_AT_ONCE):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
