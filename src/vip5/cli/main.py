"""The command `vip5`: one thin file per command; here they are put together and errors become one line."""

import importlib
import os
import sys

import typer
from rich.console import Console

from vip5.errors import UserError

# Threads that wait for each other must sleep, not spin: on two cores with anything else running, spinning made a
# training step ten times slower. OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    name="vip5",
    help="One multimodal foundation model that recommends, ranks and explains.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Importing torch takes a second; each command's module imports what is heavy inside its functions.
for _module in (
    "quickstart",
    "data",
    "model",
    "train",
    "extend",
    "baseline",
    "tune",
    "evaluate",
    "compare",
    "report",
    "recommend",
    "bench",
):
    importlib.import_module(f"vip5.cli.{_module}").register(app)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a fault of ours, 2 a fault the user can mend, 130 interrupted."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        try:
            app(standalone_mode=True)
        finally:
            sys.stdout.flush()  # here, and not at the end of Python, which could not say nothing about a gone reader
    except UserError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(2)
    except SystemExit as end:  # which typer makes of ctrl-C, without a word
        if end.code == 130:
            console.print("stopped", style="yellow")
        raise
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
