"""`vip5 data amazon` as a user types it."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from vip5.cli.main import main
from vip5.data import Dataset


def test_the_release_and_a_truncated_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [
        json.dumps(
            {"reviewerID": user, "asin": item, "overall": 5.0, "reviewText": "It is so good. Yes", "unixReviewTime": n}
        )
        for user in "ABC"
        for n, item in enumerate("wxyz")
    ]
    packed = gzip.compress("\n".join(lines).encode())
    Path("reviews_X_5.json.gz").write_bytes(packed)
    Path("cut.json.gz").write_bytes(packed[:-12])
    Path("meta_X.json.gz").write_bytes(gzip.compress(b"{'asin': 'x', 'title': \"It's x\"}\n"))
    words = ["vip5", "data", "amazon", "out", "--meta", "meta_X.json.gz", "--k-core", "3", "--json", "--reviews"]
    monkeypatch.setattr(sys, "argv", [*words, "reviews_X_5.json.gz"])
    main_code(0)
    assert json.loads(capsys.readouterr().out)["counts"]["explanations"] == 12
    assert Dataset("out").items["title"].to_list() == [None, "It's x", None, None]
    monkeypatch.setattr(
        sys, "argv", [*words, "reviews_X_5.json.gz", "--overwrite", "--split", "time", "--holdout", "0.3"]
    )
    main_code(0)
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["split_times"], manifest["counts"]["users"]) == ([2, 3], 3)
    assert Dataset("out").reviews["split"].to_list() == ["train", "train", "validation", "test"] * 3
    monkeypatch.setattr(sys, "argv", [*words, "reviews_X_5.json.gz", "--overwrite", "--review-split", "random"])
    main_code(0)
    assert json.loads(capsys.readouterr().out)["protocol"] == "paper"
    monkeypatch.setattr(sys, "argv", [*words, "cut.json.gz", "--overwrite"])
    main_code(2)
    err = capsys.readouterr().err
    assert err.startswith("error: unreadable or truncated gzip (cut.json.gz: ") and err.count("\n") == 1
    assert Dataset("out").n_users == 3


def main_code(expected: int) -> None:
    """Run the command line in this process and check its exit code."""
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0) == expected
