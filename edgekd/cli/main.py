"""The command line's root: the list of commands, and the exit status.

Each command is a file in ``edgekd/cli/commands``. It parses, delegates and prints; whatever is
heavy is imported inside the function, so that ``edgekd --help`` needs no torch.
"""

import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from edgekd import __version__
from edgekd.cli import completion, console
from edgekd.cli.commands import (
    calibration,
    compare,
    diff,
    doctor,
    evaluate,
    explain_int8,
    export,
    finetune,
    gate,
    init,
    landscape,
    lint,
    package,
    profile,
    prune,
    quantize,
    report,
    reproduce,
    run,
    sensitivity,
    verify,
)
from edgekd.cli.commands import list as list_command
from edgekd.core.errors import INTERNAL_FAULT, EdgekdError


def _help(command: Callable[..., None]) -> str:
    """Return the docstring, whose examples keep their lines: they are to be copied."""
    return (inspect.getdoc(command) or "").replace("\n\nExample", "\n\n\b\nExample")


app = typer.Typer(
    name="edgekd",
    help="Ship a trained CNN to an edge device: prune or quantise, distil, export, measure, gate.",
    epilog="Exit status: 0 passed, 1 failed or different, 2 your mistake, 3 inconclusive, "
    "4 environment or device missing, 5 export failed, 70 fault of edgekd, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    init, run, prune, quantize, finetune, calibration, export, lint, evaluate, diff, sensitivity,
    profile, explain_int8, landscape, gate, report, compare, verify, reproduce, package,
    list_command, doctor,
):  # fmt: skip
    app.command(module.NAME, help=_help(module.command))(completion.offer_names(module.command))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgekd {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Say more; -vv: everything."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what went wrong.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Set up the log on stderr."""
    console.set_up_log(verbosity=-1 if quiet else verbose)


def main() -> None:
    """Run the command line; the entry point of the ``edgekd`` script."""
    try:
        app()
    except EdgekdError as error:
        console.error(str(error))
        sys.exit(error.exit_status)
    except Exception:  # noqa: BLE001 - the root of the program: keep the traceback, end with 70
        traceback.print_exc()
        console.error("this is a fault of edgekd, not yours: please report the lines above")
        sys.exit(INTERNAL_FAULT)
