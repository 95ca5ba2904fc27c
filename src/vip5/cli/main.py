"""The command `vip5`: one thin file per command; here they are put together and errors become one line."""

import contextlib
import errno
import importlib
import io
import os
import sys
from typing import NoReturn

import typer
from rich.console import Console

from vip5.cli.options import printable
from vip5.errors import UserError

# Threads that wait for each other must sleep, not spin: on two cores with anything else running, spinning made a
# training step ten times slower. OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Commands that keep what they have done.
GOING_ON = [["train"], ["baseline"], ["tune"], ["quickstart"], ["data", "encode"]]
GOES_ON = ": the same command goes on from here"

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "?" for a character that the console does not have
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        try:
            app(standalone_mode=True)
        finally:
            sys.stdout.flush()  # here, and not at the end of Python, which could not say nothing about a gone reader
    except UserError as error:
        _end(console, f"error: {printable(str(error))}")
    except SystemExit as end:  # which typer makes of ctrl-C, without a word
        if end.code == 130:
            goes_on = sys.argv[1:2] in GOING_ON or sys.argv[1:3] in GOING_ON
            console.print(f"stopped{GOES_ON if goes_on else ''}", style="yellow")
        raise
    except BrokenPipeError:  # the reader (head, less) has gone
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        _drop_output()
        _end(console, f"error: cannot write the output ({error.strerror}): make room, or write elsewhere")


def _end(console: Console, line: str) -> NoReturn:
    with contextlib.suppress(OSError):  # there is nowhere left to say it
        console.print(line, style="red")
    sys.exit(2)


def _drop_output() -> None:
    """What is still to be written has no place to go to, and Python would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
