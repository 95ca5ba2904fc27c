"""The scripts of benchmarks/: each can be imported, and imports only what there is, also inside its functions."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_it_imports_is_there(script, monkeypatch):
    monkeypatch.syspath_prepend(str(script.parent))  # as when it is run
    spec = importlib.util.spec_from_file_location(f"benchmarks_{script.stem}", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vip5":
            found = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(found, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), name.name


def test_there_are_scripts():
    assert len(SCRIPTS) > 10
