"""Every block of code in the README and the docs runs as it is printed, each page in a folder of its own.

The reader's own data and weights are small ones (conftest.py), trainings are shorter (SMALLER), and what a page takes
for granted is made first (BEFORE). What is not run at all stands in NOT_RUN, with the reason.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from vip5.cli.main import main
from vip5.training.config import configure, merge

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks/README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)

NOT_RUN = {  # the beginning of a command, or the language of a block: why
    "make": "makes the environment in which this test runs, and calls this test",
    "text": "a drawing",
}
SHOP = """
vip5 data prepare data/shop --interactions purchases.csv --items products.csv --reviews reviews.csv --images photos
"""
VECTORS = """
vip5 data encode data/shop --modality photo
vip5 data encode data/shop --modality text
"""
RUN = "vip5 train data/shop --out runs/shop\n"
BEFORE = {  # what a page takes for granted
    "audit.md": SHOP.replace("data/shop", "data/beauty")
    + "vip5 train data/beauty --out runs/beauty --recipe prompts modalities.photo=none modalities.text=none",
    "baselines.md": SHOP
    + RUN.replace("runs/shop", "runs/vip5")
    + "vip5 evaluate runs/vip5\nvip5 baseline peter data/shop --out runs/peter\n",
    "comparing.md": SHOP
    + "".join(
        f"vip5 baseline bpr-mf data/shop --out runs/{run}-{seed} seed={seed} epochs={epochs}\n"
        for run, epochs in (("photos", 2), ("text", 1))
        for seed in (0, 1)
    )
    + "vip5 evaluate runs/photos-1\nvip5 evaluate runs/text-1",
    "configuration.md": SHOP + VECTORS + (SHOP + VECTORS).replace("data/shop", "data/shop-today"),
    "evaluation.md": SHOP + RUN,
    "modalities.md": SHOP,
    "prompts.md": SHOP + VECTORS,
    "python.md": "vip5 data demo shop --users 40 --items 40",
    "speed.md": SHOP.replace("data/shop", "data/beauty"),
}
SMALLER = (  # a command that begins so: what is written in place of its words, or after them
    (r"vip5 train .*--recipe (paper|prompts)", "--size nano samples.choice=1 samples.candidates=8 optim.epochs=1"),
    (r"vip5 train", "optim.epochs=1 model.tokenizer_size=600"),
    (r"vip5 tune", "--trials 2"),
    (r"vip5 baseline (sasrec|peter)", "epochs=1"),
    (r"vip5 bench (train|decode)", "--size nano"),
    (r"vip5 bench decode", "--users 4"),
    (r"vip5 bench (data|train)", "--rounds 1"),
    (r"vip5 bench trie", "--items 2000 --rounds 2"),
    (r"vip5 bench prepare", "--interactions 20000"),
    (r"vip5 bench", "--quick --threads 1"),
    (r"torchrun", "--size nano samples.choice=1 samples.candidates=8 optim.epochs=1"),
)
LEAKY = 3  # what `vip5 data audit` ends with where it finds a leak, which it may in so small a shop


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    place: str  # page and line


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(found[1], found[2], f"{page.name}:{text.count(chr(10), 0, found.start()) + 2}")
        for found in FENCE.finditer(text)
    ]


def commands(text: str) -> list[list[str]]:
    """The commands of a shell's lines, each as its words; what they may hold here is comments, quotes, \\ and &&."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            found.append(words[:end])
            words = words[end + 1 :]
    return found


def smaller(words: list[str]) -> list[str]:
    """The same command with a smaller budget; of options and settings given twice the later one counts."""
    line = " ".join(words)
    added = [word for begin, more in SMALLER if re.match(begin, line) for word in more.split()]
    keys = {word.partition("=")[0] for word in added if "=" in word}
    return [word for word in words if word.partition("=")[0] not in keys] + added


class Reader:
    """Somebody who types in what stands in a page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.names: dict[str, object] = {"__name__": "page"}  # of Python, from block to block

    def take(self, block: Block) -> None:
        if block.language in NOT_RUN:
            return
        if block.language in ("sh", ""):
            self.shell(block.text, block.place)
        elif block.language == "python":
            exec(compile(block.text, block.place, "exec"), self.names)
        elif block.language == "toml":
            self.toml(block)
        else:
            pytest.fail(f"{block.place}: nothing here runs a block of {block.language!r}")

    def shell(self, text: str, place: str) -> None:
        for words in commands(text):
            if words[0] not in NOT_RUN:
                self.command(smaller(words), place)

    def command(self, words: list[str], place: str) -> None:
        words = [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        if words[0] == "torchrun":
            words[words.index("--nproc-per-node") + 1] = "2"
            subprocess.run([sys.executable, "-m", "torch.distributed.run", *words[1:]], check=True, timeout=300)
            return
        assert words[0] == "vip5", f"{place}: nothing here runs {words[0]!r}"
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", words)
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = self.capsys.readouterr()
        allowed = {0, LEAKY} if words[:3] == ["vip5", "data", "audit"] else {0}
        assert code in allowed, f"{place}: {' '.join(words)}\n{out}\n{err}"
        if words[-1] == "--json":
            json.loads(out)

    def toml(self, block: Block) -> None:
        """Settings are read by themselves; a first line `# name.toml` says what the reader calls the file."""
        values = tomllib.loads(block.text)
        if "prompt" not in values:
            configure("best", merge({}, values), block.place)
        if named := re.match(r"# (\w+\.toml)\n", block.text):
            Path(named[1]).write_text(block.text, "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_runs(page, belongings, tmp_path, monkeypatch, capsys):
    here = shutil.copytree(belongings, tmp_path / "here")
    monkeypatch.chdir(here)
    reader = Reader(monkeypatch, capsys)
    reader.shell(BEFORE.get(page.name, ""), f"what {page.name} takes for granted")
    for block in blocks(page):
        reader.take(block)


def test_what_is_not_run_is_short_and_there():
    every = [block for page in PAGES for block in blocks(page)]
    shell = [block.text for block in every if block.language in ("sh", "")]
    typed = {words[0] for text in shell for words in commands(text)}
    assert set(NOT_RUN) <= typed | {block.language for block in every} and len(every) > 30
