"""A user's own vectors: each in its item's row whatever the file's order and form, and one line for what is wrong."""

import numpy as np
import polars as pl
import pytest

from vip5.errors import UserError
from vip5.modalities import vectors as vectors_module
from vip5.modalities.vectors import encode_vectors, item_rows, open_vectors

IDS = ["i4", "strange", "i0", "i11"]
X = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def forms(folder) -> dict[str, tuple]:
    """The same vectors in every form that a file may have."""
    lists = pl.Series(X.tolist())
    pl.DataFrame({"item": IDS, "v": lists}).write_parquet(folder / "lists.parquet")
    pl.DataFrame({"v": lists.cast(pl.Array(pl.Float64, 3)), "item": IDS}).write_parquet(folder / "arrays.parquet")
    columns = {f"x{n}": X[:, n] for n in range(3)}
    pl.DataFrame({"item": IDS, **columns}).write_parquet(folder / "columns.parquet", row_group_size=2)
    pl.DataFrame({"asin": IDS, "v": lists, "w": lists, "note": ["n"] * 4}).write_parquet(folder / "many.parquet")
    np.save(folder / "x.npy", X.astype(np.float64))
    (folder / "ids.txt").write_text("\n".join(IDS) + "\n")
    return {
        "lists": (folder / "lists.parquet",),
        "arrays": (folder / "arrays.parquet",),
        "columns": (folder / "columns.parquet",),
        "many": (folder / "many.parquet", None, "asin", "v"),
        "npy": (folder / "x.npy", folder / "ids.txt"),
        "npy with ids in Parquet": (folder / "x.npy", folder / "many.parquet", "asin"),
    }


@pytest.mark.parametrize("form", ["lists", "arrays", "columns", "many", "npy", "npy with ids in Parquet"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_joined_by_item(dataset, tmp_path, monkeypatch, form: str, rows: int) -> None:
    monkeypatch.setattr(vectors_module, "_ROWS", rows)
    own = open_vectors(*forms(tmp_path)[form])
    assert item_rows(dataset, own).tolist() == [4, -1, 0, 11]
    store = encode_vectors(dataset, own).store
    assert (store.kind, store.dim, store.matrix.dtype) == ("vectors", 3, np.float32)
    assert np.flatnonzero(store.mask).tolist() == [0, 4, 11]
    np.testing.assert_array_equal(store.matrix[[4, 0, 11]], X[[0, 2, 3]])
    assert not store.matrix[~store.mask].any()


def test_ids_that_are_whole_numbers(dataset, tmp_path) -> None:
    dataset.__class__ = type("Numbered", (type(dataset),), {"items": pl.DataFrame({"item": ["7", "12"] + [""] * 21})})
    pl.DataFrame({"item": [12, 7], "x": [1.0, 2.0]}).write_parquet(tmp_path / "x.parquet")
    store = encode_vectors(dataset, open_vectors(tmp_path / "x.parquet")).store
    assert store.matrix[:2, 0].tolist() == [2, 1]


def test_there_already_stopped_and_made_anew(dataset, tmp_path, contents, monkeypatch) -> None:
    monkeypatch.setattr(vectors_module, "_ROWS", 1)
    form = forms(tmp_path)["columns"]
    assert not encode_vectors(dataset, open_vectors(*form), "mine").reused
    whole = contents(dataset.path / "modalities" / "mine")
    assert encode_vectors(dataset, open_vectors(*form), "mine").reused
    pl.read_parquet(form[0]).with_columns(pl.col("x0") + 1).write_parquet(tmp_path / "other.parquet")
    assert not encode_vectors(dataset, open_vectors(tmp_path / "other.parquet"), "mine").reused
    kept = vectors_module._check_finite

    def stop(block, own, start) -> None:
        if start == 2:
            raise KeyboardInterrupt
        kept(block, own, start)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(vectors_module, "_check_finite", stop)
        encode_vectors(dataset, open_vectors(*form), "mine")
    assert encode_vectors(dataset, open_vectors(*form), "mine").resumed_from == 2
    assert contents(dataset.path / "modalities" / "mine") == whole


def parquet(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"item": ["i0", "i1"], **columns})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (parquet(v=[[1.0, 2.0], [1.0]]), r"not of one length \(row 1 of 'v'"),
        (parquet(v=[None, [1.0, 2.0]]), r"not of one length \(row 0 of 'v'"),
        (parquet(v=pl.Series([[], []], dtype=pl.List(pl.Float32))), "not of one length"),
        (parquet(v=[[1.0, 2.0], [1.0, None]]), r"not a finite number .*row 1, counted from 0, id 'i1'"),
        (parquet(x=[1.0, None]), r"not a finite number .*row 1"),
        (parquet(x=[np.nan, 1.0]), r"not a finite number .*row 0"),
        (parquet(x=[1e300, 1.0]), r"not a finite number .*row 0"),
        (parquet(v=[["a"], ["b"]]), "give lists of numbers"),
        (parquet(v=[[1.0], [1.0]], w=[[1.0], [1.0]]), "with --vector"),
        (parquet(v=[[1.0], [1.0]], x=[1, 2]), "with --vector"),
        (parquet(x=[1, 2], name=["a", "b"]), "'name' is no number"),
        (parquet(), "no column but the ids"),
        (pl.DataFrame({"item": ["i0", "i0"], "x": [1, 2]}), r"'i0' stands twice .*row 1"),
        (pl.DataFrame({"item": ["i0", None], "x": [1, 2]}), "no id in row 1"),
        (pl.DataFrame({"item": [0.5, 1.5], "x": [1, 2]}), "ids as text or whole numbers"),
        (pl.DataFrame({"asin": ["i0"], "x": [1]}), "name the ids with --key"),
        (pl.DataFrame({"item": ["x"], "x": [1]}), "has none of the items"),
        (pl.DataFrame({"item": [], "x": []}, schema={"item": pl.String, "x": pl.Float32}), "has no rows"),
        (pl.DataFrame({"item": [], "v": []}, schema={"item": pl.String, "v": pl.List(pl.Float32)}), "has no rows"),
    ],
)
def test_one_line_for_a_wrong_table(dataset, tmp_path, table: pl.DataFrame, message: str) -> None:
    table.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=message) as error:
        encode_vectors(dataset, open_vectors(tmp_path / "x.parquet"))
    assert "\n" not in str(error.value) and not (dataset.path / "modalities" / "vectors").exists()


def test_one_line_for_a_wrong_npy(dataset, tmp_path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("i0\ni1\n")
    file = tmp_path / "x.npy"

    def refusal(array: np.ndarray, *more, **options) -> str:
        np.save(file, array, allow_pickle=True)
        with pytest.raises(UserError) as error:
            encode_vectors(dataset, open_vectors(file, *more, **options))
        return str(error.value)

    x = np.ones((2, 3), np.float32)
    assert "--ids" in refusal(x)
    assert "leave out --vector" in refusal(x, ids, vector="v")
    assert "leave out --key" in refusal(x, ids, key="v")
    assert "give a .npy of numbers" in refusal(np.array([[print] * 3] * 2), ids)  # nothing is unpickled
    assert "3 rows" in refusal(np.ones((3, 3)), ids)
    assert "[n, d]" in refusal(np.ones(2), ids) and "[n, d]" in refusal(np.ones((2, 3), complex), ids)
    assert "row 1" in refusal(np.array([[1.0], [np.inf]]), ids)
    (tmp_path / "x.parquet").write_bytes(b"no Parquet")
    for words in ((tmp_path / "x.parquet",), (tmp_path / "gone.parquet",), (file, tmp_path / "gone.txt")):
        with pytest.raises(UserError, match=r"cannot read|unreadable"):
            open_vectors(*words)
    forms(tmp_path)
    with pytest.raises(UserError, match="leave out --ids"):
        open_vectors(tmp_path / "lists.parquet", ids)
    with pytest.raises(UserError, match="no column of lists 'note'"):
        open_vectors(tmp_path / "many.parquet", None, "asin", "note")
