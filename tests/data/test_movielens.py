"""MovieLens in its three forms: the same ratings and films from each."""

from pathlib import Path

import pytest

from vip5.data import prepare_movielens
from vip5.data.movielens import read_movielens
from vip5.errors import UserError

FILMS = [("1", "Toy Story (1995)", ["Animation", "Comedy"]), ("2", "Amélie, la (2001)", ["Romance"]), ("9", "X", [])]
RATINGS = [(f"{user}", f"{item}", stars, 978300000 + n) for user in (1, 22) for n, (item, stars) in
           enumerate([(1, 5.0), (2, 3.0), (9, 4.0)])]  # fmt: skip


def write_csv(folder: Path) -> None:
    rows = [f'{i},"{title}",{"|".join(genres) or "(no genres listed)"}' for i, title, genres in FILMS]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "\n".join(rows), "utf-8")
    rows = [f"{u},{i},{stars},{time}" for u, i, stars, time in RATINGS]
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(rows))


def write_dat(folder: Path) -> None:
    rows = [f"{i}::{title}::{'|'.join(genres) or '(no genres listed)'}" for i, title, genres in FILMS]
    (folder / "movies.dat").write_text("\n".join(rows) + "\n", "latin-1")
    rows = [f"{u}::{i}::{stars:g}::{time}" for u, i, stars, time in RATINGS]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n", "latin-1")


def write_100k(folder: Path) -> None:
    from vip5.data.movielens import _GENRES_100K

    rows = [
        f"{i}|{title}|01-Jan-1995||http://x.test|{'|'.join(str(int(name in genres)) for name in _GENRES_100K)}"
        for i, title, genres in FILMS
    ]
    (folder / "u.item").write_text("\n".join(rows) + "\n", "latin-1")
    rows = [f"{u}\t{i}\t{stars:g}\t{time}" for u, i, stars, time in RATINGS]
    (folder / "u.data").write_text("\n".join(rows) + "\n", "latin-1")


@pytest.mark.parametrize("write", [write_csv, write_dat, write_100k])
def test_the_same_from_each_form(tmp_path: Path, write) -> None:
    write(tmp_path)
    tables = read_movielens(tmp_path)
    assert tables["interactions"].frame.select("user", "item", "rating", "timestamp").rows() == RATINGS
    assert tables["items"].frame.select("item", "title", "categories").rows() == FILMS
    dataset = prepare_movielens(tmp_path / "out", ratings=tmp_path)
    assert (dataset.n_users, dataset.n_items, dataset.items["title"].to_list()) == (
        2,
        3,
        [title for _, title, _ in FILMS],
    )


def test_a_line_ends_where_it_ends_and_films_of_10m_are_in_utf_8(tmp_path: Path) -> None:
    """In Latin-1 the second byte of an Å is read as the end of a line by Python's splitlines."""
    write_dat(tmp_path)
    (tmp_path / "movies.dat").write_text("1::Ångest…::Drama\r\n2::B::Drama\r\n\r\n9::C::Drama", "utf-8")
    assert read_movielens(tmp_path)["items"].frame["title"].to_list() == ["Ångest…", "B", "C"]


def test_what_is_no_release_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds none of ratings.csv, ratings.dat, u.data"):
        read_movielens(tmp_path)
    write_dat(tmp_path)
    with (tmp_path / "ratings.dat").open("a") as file:
        file.write("1::2::3\n")
    with pytest.raises(UserError, match=r"3 values where 4 must stand \(.*ratings.dat, line 7\)"):
        read_movielens(tmp_path)
    (tmp_path / "movies.dat").unlink()
    (tmp_path / "ratings.dat").write_text("1::2::3::4\n")
    with pytest.raises(UserError, match="give the whole folder"):
        read_movielens(tmp_path)
