"""`vip5 data info` as a user types it."""

import json
import sys
from pathlib import Path

import pytest

from vip5.cli.main import main
from vip5.data import prepare


def test_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    rows = [(user, item) for user, items in (("a", "wxyzw"), ("b", "wxy")) for item in items]
    (tmp_path / "buys.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    (tmp_path / "reviews.csv").write_text("user,item,text\na,w,It is what I need.\n")
    given = {"interactions": tmp_path / "buys.csv", "reviews": tmp_path / "reviews.csv"}
    dataset = prepare(tmp_path / "shop", **given, review_split="random")
    (tmp_path / "shop" / "modalities" / "basic").mkdir(parents=True)
    (tmp_path / "shop" / "modalities" / "basic" / "store.json").write_text("{}")
    (tmp_path / "shop" / "modalities" / ".half.partial").mkdir()
    monkeypatch.setattr(sys, "argv", ["vip5", "data", "info", str(tmp_path / "shop"), "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    facts = json.loads(capsys.readouterr().out)
    assert facts["sparsity"] == pytest.approx(1 - 7 / 8)  # the repeat counts once
    assert facts["user_lengths"] == {"min": 3, "median": 4.0, "mean": 4.0, "max": 5}
    assert facts["item_lengths"] == {"min": 1, "median": 2.0, "mean": 2.0, "max": 3}
    assert facts["review_splits"] == {"train": 1} and facts["modalities"] == ["basic"]
    assert facts["tested"] == {"validation": 2, "test": 2} and facts["candidates_hash"] == dataset.candidates_hash
    assert facts["filled"]["reviews"]["explanation"] == 1 and facts["filled"]["items"]["title"] == 0
    assert facts["filled"]["interactions"] == {"timestamp": 0, "rating": 0}
    assert facts["hash"] == dataset.hash and facts["counts"]["repeats"] == 1
    monkeypatch.setattr(sys, "argv", ["vip5", "data", "info", str(tmp_path / "shop")])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr().out
    assert "leave-one-out" in shown and dataset.candidates_hash in shown and "random" in shown
    assert "title none, brand none" in " ".join(shown.split())
    assert "sparsity" in shown and "12.5000%" in shown and "only to compare with the paper" in " ".join(shown.split())
    monkeypatch.setattr(sys, "argv", ["vip5", "data", "info", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "is not a dataset folder" in capsys.readouterr().err
