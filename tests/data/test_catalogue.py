"""The catalogue: what a run knows of a shop, written and read again, whatever the texts."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from vip5.data.catalogue import ABOUT, ITEMS, USERS, Catalogue
from vip5.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MAYBE = st.none() | TEXT
ITEM_TYPES = {name: pl.String for name in ("item", "title", "brand", "description", "image")}


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    ids = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    people = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    columns = {name: [draw(MAYBE) for _ in ids] for name in ITEM_TYPES if name != "item"}
    categories = [draw(st.none() | st.lists(TEXT, max_size=3)) for _ in ids]
    items = pl.DataFrame(
        {"item": ids, "title": columns["title"], "brand": columns["brand"], "categories": categories,
         "description": columns["description"], "image": columns["image"]},
        schema_overrides={**ITEM_TYPES, "categories": pl.List(pl.String)},
    )  # fmt: skip
    names = [draw(MAYBE) for _ in people]
    users = pl.DataFrame(
        {"user": people, "name": names, "number": range(1, len(people) + 1)},
        schema_overrides={"user": pl.String, "name": pl.String},
    )
    return Catalogue(draw(TEXT), items, users, draw(MAYBE), draw(st.booleans()), draw(st.booleans()))


@given(catalogues())
@settings(max_examples=60, deadline=None)
def test_what_was_written_is_read(tmp_path_factory, catalogue):
    folder = tmp_path_factory.mktemp("catalogue")
    catalogue.save(folder)
    again = Catalogue.load(folder)
    assert_frame_equal(again.items, catalogue.items)
    assert_frame_equal(again.users, catalogue.users)
    for name in ("name", "images_root", "buys_again", "explains"):
        assert getattr(again, name) == getattr(catalogue, name)
    for row, raw in enumerate(catalogue.items["item"]):
        assert again.item_index(raw) == row
    for row, raw in enumerate(catalogue.users["user"]):
        assert again.user_index(raw) == row
    assert again.user_index(None) == -1 and again.user_index("nobody at all, really") == -1
    assert sorted(path.name for path in folder.iterdir()) == sorted([ABOUT, ITEMS, USERS])


@given(catalogues())
@settings(max_examples=60, deadline=None)
def test_the_rows_of_a_category_are_those_that_have_it(catalogue):
    lists = catalogue.items["categories"].to_list()
    spelled = {name for names in lists for name in names or ()}
    for name in spelled:
        wanted = [row for row, names in enumerate(lists) if name.casefold() in [n.casefold() for n in names or ()]]
        assert catalogue.category_rows[name.casefold()] == wanted
    assert catalogue.category_rows.keys() == {name.casefold() for name in spelled}


def test_it_is_what_the_data_set_knows(make_shop):
    """Rows are the data set's; explanations of held-out purchases are none to learn from."""
    bought = {f"u{n}": [f"i{(n + m) % 9}" for m in range(5)] for n in range(9)}
    items = {"item": [f"i{n}" for n in range(9)], "title": [f"Mug {n}" for n in range(9)]}

    def review(place: int, said: str | None) -> list[dict]:
        return [{"user": "u0", "item": bought["u0"][place], "rating": 4.0, "explanation": said}]

    for reviews, explains in ((None, False), (review(0, "Warm ."), True), (review(4, "Held out ."), False)):
        data = make_shop(bought, items, reviews)
        catalogue = Catalogue.of(data)
        assert catalogue.items["item"].equals(data.items["item"]) and catalogue.users.drop("number").equals(data.users)
        assert catalogue.users["number"].to_list() == [*range(1, 10)]
        assert (catalogue.n_items, catalogue.n_users, catalogue.explains) == (9, 9, explains)
        assert catalogue.items["title"].to_list() == items["title"]


def test_people_keep_the_numbers_that_they_had(make_shop):
    """Whatever their rows are now; the numbers of newcomers follow, and nobody takes that of who left."""
    first = Catalogue.of(make_shop({f"u{n}": ["a", "b", "c", "d"] for n in range(4)}))
    later = make_shop({f"{name}": ["a", "b", "c", "d"] for name in ("new2", "u3", "u1", "new1", "u2")})
    again = Catalogue.of(later, first)
    numbers = dict(again.users.select("user", "number").iter_rows())
    old = dict(first.users.select("user", "number").iter_rows())
    assert {user: numbers[user] for user in ("u1", "u2", "u3")} == {user: old[user] for user in ("u1", "u2", "u3")}
    assert sorted(numbers[user] for user in ("new1", "new2")) == [5, 6]


@pytest.mark.parametrize("name", [ABOUT, ITEMS, USERS])
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other bytes", "other columns"])
def test_a_damaged_one_is_one_clear_line(name, how, tiny_data, tmp_path):
    Catalogue.of(tiny_data).save(tmp_path)
    file = tmp_path / name
    whole = file.read_bytes()
    match how:
        case "gone":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(whole[: len(whole) // 2])
        case "other bytes":
            file.write_bytes(b'[1, "two"]')
        case _ if name == ABOUT:
            file.write_text(json.dumps({"name": "shop"}))
        case _:
            pl.DataFrame({"x": [1]}).write_parquet(file)
    with pytest.raises(UserError) as error:
        Catalogue.load(tmp_path)
    said = str(error.value)
    assert "\n" not in said and str(tmp_path) in said and "cannot read the catalogue" in said and "train again" in said


def test_unknown_items_are_told_what_there_is(tiny_data):
    catalogue = Catalogue.of(tiny_data)
    near = catalogue.items["item"][4]
    for raw, hint in ((near + "0", f"{near}"), ("", "ids look like"), ("完全に別", "ids look like")):
        with pytest.raises(UserError) as error:
            catalogue.item_index(raw)
        assert hint in str(error.value) and "\n" not in str(error.value)


def test_photos_lie_inside_their_folder(tiny_data):
    catalogue = Catalogue.of(tiny_data)
    path = catalogue.photo_path(0)
    assert path is not None and path == tiny_data.photo_path(0) and path.is_file()
