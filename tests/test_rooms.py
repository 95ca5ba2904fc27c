"""The house: which room may import which, how long files and functions may be, and that each class has its own name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vip5"
TESTS = Path(__file__).resolve().parent
# From the ground up: a room imports only rooms before it, and what stands outside of all.
ROOMS = (
    "data", "demo", "modalities", "items", "model", "prompts", "decoding", "baselines", "predict", "training",
    "evaluation", "audit", "search", "reproduce", "bench", "cli",
)  # fmt: skip
OUTSIDE = ("errors", "files", "lock", "runs", "space")
MOST_LINES, MOST_FUNCTION = 400, 60

FILES = sorted(SOURCE.rglob("*.py"))


def imports(file: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it, also where only types are checked."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return {name for name in found if name.split(".")[0] == "vip5"}


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_every_room_is_named():
    there = {path.name for path in SOURCE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert there == set(ROOMS)
    assert {path.stem for path in SOURCE.glob("*.py")} == {*OUTSIDE, "__init__", "__main__"}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_arrows_point_downward(file: Path):
    own = room_of(module_of(file))
    below = set(ROOMS[: ROOMS.index(own)]) if own in ROOMS else set()
    allowed = {"", *OUTSIDE, *below, own}
    if module_of(file) == "vip5.__main__":
        allowed.add("cli")
    wrong = {name for name in imports(file) if room_of(name) in ROOMS and room_of(name) not in allowed}
    assert not wrong


def test_no_circles():
    """Also within a room: modules can be put in an order in which each imports only those before it."""
    modules = {module_of(file): file for file in FILES}
    faces = {module_of(file) for file in FILES if file.name == "__init__.py"}  # they only hand names on
    arrows = {
        name: {to for to in imports(file) if to in modules and to != name and to not in faces}
        for name, file in modules.items()
    }
    while arrows:
        free = {name for name, needs in arrows.items() if not needs & arrows.keys()}
        assert free, f"these import each other in a circle: {sorted(arrows)}"
        arrows = {name: needs for name, needs in arrows.items() if name not in free}


@pytest.mark.parametrize("file", [*FILES, *sorted(TESTS.rglob("*.py"))], ids=lambda file: file.stem)
def test_files_are_read_in_one_sitting(file: Path):
    assert len(file.read_text("utf-8").splitlines()) <= MOST_LINES


def test_functions_are_seen_in_one_look():
    long = [
        f"{module_of(file)}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_FUNCTION
    ]
    assert not long


def test_no_two_classes_of_one_name():
    places = defaultdict(list)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module_of(file))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
