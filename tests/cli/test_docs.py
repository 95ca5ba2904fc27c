"""What the README and the pages of docs/ say can be typed: commands, options, settings, Python and files are there."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from vip5.baselines.registry import P5, baseline
from vip5.cli.main import app
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.model import Adapters
from vip5.training import RunConfig, load_config
from vip5.training.config import configure, merge, read_overrides
from vip5.training.p5 import p5_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md", *sorted(ROOT.glob("docs/*.md"))]
SCRIPTS = sorted(ROOT.glob("benchmarks/*.sh"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Written from stored files, whose commands are those of the version that measured.
RESULTS = re.compile(r"<!-- results:.*?<!-- /results -->", re.DOTALL)
SETTING = re.compile(r"(model|modalities|peft|codes|prompts|samples|optim|run)(\.\w+)+(=\S+)?")
FILES = (".py", ".toml", ".json", ".parquet", ".safetensors")
PLACEHOLDERS = ("…", "KEY=VALUE", "key=value")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def spans(page: Path) -> list[str]:
    """`What stands so` in a page, a line break in it as a space."""
    text = BLOCK.sub("", RESULTS.sub("", page.read_text("utf-8")))
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def typed(text: str) -> list[list[str]]:
    """The words after `vip5` of each command in lines of a shell."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.lstrip().startswith("#"):
            words = shlex.split(line, comments=True)
            starts = [n + 1 for n, word in enumerate(words) if word == "vip5"]
            for start in starts:
                rest = words[start:]
                found.append(rest[: rest.index("&&")] if "&&" in rest else rest)
    return found


def commands(page: Path, alone: bool) -> list[list[str]]:
    """Those that stand alone, in blocks; or those within sentences, which may be a part of one."""
    if alone:
        return [words for language in ("", "sh") for text in blocks(page, language) for words in typed(text)]
    return [shlex.split(span)[1:] for span in spans(page) if span.startswith("vip5 ")]


def check(words: list[str], whole: bool) -> None:
    """The command and its options are known, and so are its settings; `whole`: nothing is missing either."""
    command, path = typer.main.get_command(app), ["vip5"]
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest and not whole:
            return
        assert rest and rest[0] in command.commands, f"no command: vip5 {' '.join(words)}"
        path.append(rest[0])
        command = command.commands[rest.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    asked = [word for word in rest if re.match(r"--?[a-z]", word)]
    assert not set(asked) - known, f"no such option: vip5 {' '.join(words)}"
    said = [word for word in rest if not any(mark in word for mark in PLACEHOLDERS)]
    part = not whole or len(said) < len(rest)
    given = command.make_context(" ".join(path), said, resilient_parsing=part).params
    if given.get("overrides"):
        settings(path[1], given)


def settings(command: str, given: dict) -> None:
    """The settings on a command line are ones of its system."""
    if command in ("train", "data"):  # of vip5 data, codes alone takes settings
        file = ROOT / (given.get("config") or "none")
        config = file if file.is_file() else None
        load_config(given.get("recipe", "best"), config, given["overrides"], given.get("size"))
        return
    values = read_overrides(given["overrides"])
    if given["name"] == "vip5":
        configure(given["recipe"] or "best", values, "test")
    elif given["name"] == P5:
        p5_config(values)
    else:
        baseline(given["name"]).check(values)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_typed(page):
    for words in commands(page, alone=True):
        check(words, whole=True)
    for words in commands(page, alone=False):
        check(words, whole=False)


@pytest.mark.parametrize("module", sorted(ROOT.glob("src/vip5/cli/*.py")), ids=lambda module: module.stem)
def test_examples_of_the_help_can_be_typed(module):
    for line in re.findall(r"^ +(?:Example|[A-Z][^:\n]*): (.*\bvip5 .*)$", module.read_text("utf-8"), re.MULTILINE):
        for words in typed(line):
            check(words, whole=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_type_what_there_is(script):
    for words in typed(script.read_text("utf-8")):
        check(words, whole=True)


def test_what_is_not_there_is_found():
    assert len(commands(ROOT / "README.md", alone=True)) >= 15
    for wrong in ("serve runs/x", "train d --out r --preset nano", "train d --out r optim.speed=1", "rank runs/x"):
        with pytest.raises(Exception, match=r"no command|no such|No such|Missing"):
            check(wrong.split(), whole=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_known(page):
    """Every `part.key` and `part.key=value`, with the recipe that has all parts."""
    for span in spans(page):
        if not SETTING.fullmatch(span) or span.endswith(FILES):
            continue
        key, equals, _ = span.partition("=")
        try:
            load_config("paper", overrides=["model.backbone=x", span if equals else f"{key}=?"])
        except UserError as error:
            assert not equals and "no such setting" not in str(error), f"{span}: {error}"


def defaults(part: BaseModel, prefix: str = "") -> dict[str, object]:
    """Every setting by its dotted name."""
    found: dict[str, object] = {}
    for name in type(part).model_fields:
        value = getattr(part, name)
        found |= defaults(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: value}
    return found


def test_every_setting_stands_with_its_default():
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) +\|", page, re.MULTILINE))
    there = defaults(RunConfig()) | {"peft.reduction": Adapters().reduction}
    for name in there.keys() - {"recipe", "modalities"}:  # these two have sections of their own
        written = read_overrides([f"x={rows[name].strip('`')}"])["x"]
        assert written == there[name], name


SETTINGS = [
    (page, values)
    for page in PAGES
    for values in map(tomllib.loads, blocks(page, "toml"))
    if "prompt" not in values  # of prompts of one's own, another test knows
]


def within(part: object, whole: object) -> bool:
    if not isinstance(part, dict):
        return part == whole
    return isinstance(whole, dict) and all(within(value, whole.get(name)) for name, value in part.items())


@pytest.mark.parametrize(("page", "values"), SETTINGS, ids=lambda given: getattr(given, "name", ""))
def test_settings_files_are_read(page, values):
    assert within(values, configure("best", merge({}, values), page.name).model_dump(mode="json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_imports_what_there_is(page):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vip5"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_are_there(page):
    """Files of the source and of the repository; others' folders begin with other names."""
    rooms = {path.name for path in (ROOT / "src/vip5").iterdir() if path.is_dir()}
    for word in (word for span in spans(page) for word in span.split()):
        file = re.fullmatch(r"([\w-]+)/[\w./-]+\.(py|toml|sh|md|html)", word)
        if file and file[1] in {"src", "tests", "docs", "benchmarks", *rooms}:
            assert (ROOT / word).exists() or (ROOT / "src/vip5" / word).exists(), word


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_demo(Path("shop"), 40, 40)
    for ours, table in (("purchases", "interactions"), ("products", "items")):  # as the README calls them
        Path(f"{ours}.csv").write_bytes(Path(f"shop/{table}.csv").read_bytes())
    code = compile("\n".join(blocks(ROOT / page, "python")), page, "exec")
    exec(code, {"__name__": page})
    assert "P0" in capsys.readouterr().out
