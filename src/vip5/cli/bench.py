"""`vip5 bench …`: speed, side by side with the peers, as a table or JSON."""

import importlib

import typer

bench_app = typer.Typer(name="bench", help="Measure speed beside the peers, on this machine.", no_args_is_help=True)

_MODULES = ("bench_data", "bench_train", "bench_decode", "bench_trie", "bench_prepare")
for _module in _MODULES:
    importlib.import_module(f"vip5.cli.{_module}").register(bench_app)


def register(app: typer.Typer) -> None:
    app.add_typer(bench_app)
