"""`vip5 data prepare` as a user types it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from vip5.cli.main import main
from vip5.data import Dataset

BUYS = "customer,sku,day\n" + "".join(f"{u},{i},{n}\n" for u in "abc" for n, i in enumerate("vwxyz"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("buys.csv").write_text(BUYS)
    Path("items.csv").write_text("sku,title\nv,V\nw,W\nx,X\ny,Y\nz,Z\n")
    Path("photos").mkdir()
    for item in "vwxy":
        Image.new("RGB", (8, 8)).save(f"photos/{item}.png")
    return tmp_path


def vip5(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["vip5", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


NO_CANDIDATES = "note: there are no candidates, somebody leaves no item to draw: nothing can be ranked among some\n"
PREPARE = ["data", "prepare", "out", "--interactions", "buys.csv", "--map", "customer=user", "--map", "day=timestamp"]


def test_prepared_and_shown(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    Path("photos/w.png").write_bytes(b"broken")
    Path("photos/x.png").unlink()
    Path("photos/x.png").symlink_to(shop / "buys.csv")
    assert vip5(monkeypatch, *PREPARE, "--items", "items.csv", "--images", "photos", "--json") == 0
    out, err = capsys.readouterr()
    manifest = json.loads(out)
    assert manifest["counts"]["users"] == 3 and manifest["hash"] == Dataset(shop / "out").hash
    assert [manifest["counts"][f"photos{kind}"] for kind in ("", "_missing", "_broken", "_escaping")] == [2, 1, 1, 1]
    assert err.splitlines()[0] == "note: photo of x escapes the folder (x.png)"
    assert err.splitlines()[1].startswith(f"note: photo is broken ({shop}/photos/w.png: ")
    assert vip5(monkeypatch, *PREPARE, "--overwrite", "--k-core", "3", "--name", "corner shop") == 0
    out, _ = capsys.readouterr()
    assert "Dataset out" in out and "interactions" in out and "15" in out
    assert Dataset("out").manifest.name == "corner shop" and Dataset("out").manifest.k_core == 3


def test_splits_and_candidates_as_typed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("buys.csv").write_text(BUYS.replace("a,v,0\n", "") + "d,w,9\n")  # d has one purchase
    split = ["--split", "time", "--holdout", "0.2", "--review-split", "by-pair"]
    lists = ["--candidates", "2", "--candidates-by", "popularity", "--candidate-lists", "3"]
    assert vip5(monkeypatch, *PREPARE, *split, "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["split"], manifest["holdout"], manifest["split_times"]) == ("time", 0.2, [3, 4])
    assert (manifest["review_split"], manifest["protocol"]) == ("by-pair", "clean")
    assert Dataset("out").tested("test").tolist() == [0, 1, 2]
    assert vip5(monkeypatch, *PREPARE, "--overwrite", *split, "--k-core", "1", *lists, "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["candidates_by"], manifest["candidate_lists"], manifest["counts"]["candidates"]) == (
        "popularity", 3, 0  # b and c bought all there is
    )  # fmt: skip
    assert vip5(monkeypatch, "data", "info", "out") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("time: validation from 3, test from 4", "by-pair", "3, popularity", manifest["candidates_hash"]):
        assert said in shown
    assert vip5(monkeypatch, *PREPARE, "--overwrite", "--protocol", "paper") == 2  # --review-split random


def test_a_table_from_a_german_spreadsheet_as_typed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Semicolons, decimal commas, dots in dates, cp1252; and all of a user's last purchases on one day."""
    days = list(zip("vwxyz", (1, 2, 2, 3, 3), strict=True))
    rows = [f"{user};{item};{day}.02.2014;4,5" for user in "äöü" for item, day in days]
    Path("kauf.csv").write_bytes("\n".join(["Kunde;Artikel;Datum;Rating", *rows]).encode("cp1252"))
    words = ["data", "prepare", "out", "--interactions", "kauf.csv", "--overwrite", "--json"]
    for column in ("Kunde=user", "Artikel=item", "Datum=timestamp"):
        words += ["--map", column]
    written = ["--date-format", "%d.%m.%Y", "--decimal", ",", "--encoding", "cp1252"]
    assert vip5(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith("error: not UTF-8 (kauf.csv, row 2, byte 27): save it as UTF-8, or name")
    assert vip5(monkeypatch, *words, *written) == 0
    out, err = capsys.readouterr()
    manifest = json.loads(out)
    assert (manifest["order"], manifest["ties"], manifest["repeats_share"]) == ("time", "shuffle", 0)
    assert manifest["counts"]["tied"] == 12 and manifest["counts"]["tied_tests"] == 3
    assert err == (
        "note: 12 interactions tie with another one of the same user, 3 test items with the one before: "
        "their order was drawn (seed 0)\n" + NO_CANDIDATES
    )
    assert Dataset("out").interactions["rating"].to_list() == [4.5] * 15
    assert Dataset("out").interactions["timestamp"][0] == 1391212800
    assert vip5(monkeypatch, "data", "info", "out") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "100.0% of the test targets carry the same time as the purchase before" in shown
    assert "0.0% of the training purchases after a user's first" in shown
    assert vip5(monkeypatch, *words, *written, "--ties", "file") == 0
    assert Dataset("out").sequences[0].tolist() == [0, 1, 2, 3, 4]
    assert vip5(monkeypatch, *words, *written, "--ties", "drop") == 2
    assert "--ties drop leaves nobody to test, leave it out" in capsys.readouterr().err
    assert vip5(monkeypatch, *words, *written, "--ties", "keep") == 2


def test_people_who_buy_again_are_noted(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rows = [f"{user},{item},{n}\n" for user in "ab" for n, item in enumerate("vvwxy")]
    Path("buys.csv").write_text("customer,sku,day\n" + "".join(rows))
    assert vip5(monkeypatch, *PREPARE) == 0
    assert capsys.readouterr().err == (
        "note: people buy again: 50.0% of the training purchases after a user's first\n" + NO_CANDIDATES
    )
    assert vip5(monkeypatch, "data", "info", "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["buys_again"] is True


@pytest.mark.parametrize(
    ("words", "files", "message"),
    [
        (PREPARE[:5], {}, "error: no column 'user' in the table of interactions (buys.csv, row 1; its columns are"),
        (PREPARE[:3], {}, "error: no interactions: give --interactions, or --reviews"),
        (
            [*PREPARE, "--items", "i.csv"],
            {"i.csv": "item\nv\n"},
            "error: unknown item 'w' (buys.csv, row 3, and 11 more): ",
        ),
        (
            [*PREPARE, "--items", "i.csv"],
            {"i.csv": "sku\nv\nv\n"},
            "error: item 'v' stands there twice (i.csv, row 3): ",
        ),
        ([*PREPARE, "--items", "i.csv"], {"i.csv": ""}, "error: the table of items is empty (i.csv): "),
        ([*PREPARE, "--reviews", "r.csv.gz"], {"r.csv.gz": "no"}, "error: unreadable or truncated gzip (r.csv.gz: "),
        ([*PREPARE, "--items", "gone.csv"], {}, "error: no file gone.csv: check the path"),
        ([*PREPARE, "--k-core", "9"], {}, "error: nothing is left of the 9-core (buys.csv): "),
        (
            PREPARE,
            {"buys.csv": BUYS + "d,v,1\n"},
            "error: user 'd' has 1 of the 3 interactions it takes (buys.csv, row 17): drop",
        ),
        (PREPARE, {"buys.csv": BUYS + "a,v,never\n"}, "error: timestamp 'never' is neither a number nor a date like"),
        ([*PREPARE, "--holdout", "0.1"], {}, "error: --holdout without --split time: "),
        ([*PREPARE, "--split", "time", "--holdout", "0.7"], {}, "error: --holdout 0.7 leaves no three parts: "),
        (
            [*PREPARE[:7], "--split", "time"],
            {},
            "error: no timestamps to split by (buys.csv): name their column with --map THEIRS=timestamp, or",
        ),
        (
            [*PREPARE, "--split", "time"],
            {"buys.csv": "customer,item,day\na,x,1\na,y,2\n"},
            "error: 2 different timestamps, where a split by time takes 3 (buys.csv): ",
        ),
        (
            PREPARE,
            {"buys.csv": BUYS + "a,v,1393200000000\n"},
            "error: timestamps of two kinds (buys.csv, row 2: 0, plain numbers; row 17: 1393200000000, millis",
        ),
        ([*PREPARE, "--ties", "drop", "--split", "time"], {}, "error: --ties drop with --split time: "),
        ([*PREPARE, "--encoding", "klingon"], {}, "error: unknown encoding 'klingon': give one that Python knows"),
        ([*PREPARE, "--map", "a"], {}, "error: --map a is not theirs=ours: "),
        ([*PREPARE, "--map", "user=Kunde"], {}, "error: --map user=Kunde has its sides the wrong way round: "),
        ([*PREPARE, "--images", "gone"], {}, "error: no folder of photos gone: "),
        (
            ["data", "prepare", "photos", "--interactions", "buys.csv"],
            {},
            "photos exists and is not a folder of ours: ",
        ),
    ],
)
def test_one_line_code_2_and_nothing_written(
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    words: list[str],
    files: dict[str, str],
    message: str,
) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    before = sorted(shop.rglob("*"))
    assert vip5(monkeypatch, *words) == 2
    out, err = capsys.readouterr()
    assert message in err and len([line for line in err.splitlines() if "note: " not in line]) == 1 and not out
    assert sorted(shop.rglob("*")) == before


def test_a_dataset_is_not_replaced_in_silence(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert vip5(monkeypatch, *PREPARE) == 0
    assert vip5(monkeypatch, *PREPARE) == 2
    assert "out exists already: choose another folder, or replace it with --overwrite" in capsys.readouterr().err


def test_help_has_an_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for command in ("prepare", "amazon", "info"):
        assert vip5(monkeypatch, "data", command, "--help") == 0
        assert f"Example: vip5 data {command}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_run_again_gives_the_same(shop: Path) -> None:
    rows = "".join(f"u{u},i{(u * 7 + n * n) % 500},{n}\n" for u in range(20_000) for n in range(10))
    Path("buys.csv").write_text("customer,item,day\n" + rows)
    command = [sys.executable, "-m", "vip5.cli.main", *PREPARE]
    partial = shop / ".out.partial"
    for _ in range(5):  # until it is killed while it writes
        shutil.rmtree(shop / "out", ignore_errors=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (partial / "users.parquet").exists():
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if partial.exists():
            break
    assert partial.exists() and not (shop / "out").exists()
    for name in ("out", "undisturbed"):
        subprocess.run([*command[:5], name, *command[6:]], check=True, capture_output=True)
    assert not partial.exists()
    assert Dataset("out").hash == Dataset("undisturbed").hash
