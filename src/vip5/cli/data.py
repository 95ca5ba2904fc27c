"""`vip5 data …`: from plain files to a dataset folder, and what is in it."""

import importlib

import typer

data_app = typer.Typer(name="data", help="Make, fill and look at dataset folders.", no_args_is_help=True)

for _module in (
    "data_prepare",
    "data_amazon",
    "data_movielens",
    "data_demo",
    "data_encode",
    "data_info",
    "data_codes",
    "data_audit",
):
    importlib.import_module(f"vip5.cli.{_module}").register(data_app)


def register(app: typer.Typer) -> None:
    app.add_typer(data_app)
