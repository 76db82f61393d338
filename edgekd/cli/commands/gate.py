"""``edgekd gate``: judge a run by rules."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

NAME = "gate"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run.")],
    rules: Annotated[
        Path | None, typer.Option(help="File with a [gate] table. [default: the run's recipe]")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML to write, for CI.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Markdown to write, for a pull request.")
    ] = None,
    json: Json = False,
) -> None:
    """Judge a run by rules: status 0, 1 or 3.

    0 passed, 1 failed, 3 inconclusive. Reads records only; needs no torch.

    Example: edgekd gate runs/digits/1 --rules release.toml
    """
    from edgekd.core import files, run_folder, specs
    from edgekd.gate import rules as gate

    found = run_folder.read(run)
    spec = specs.gate_of(rules or run / "recipe.json")
    verdict = gate.judge(spec, found)
    if junit is not None:
        from edgekd.gate import junit as junit_format

        files.write_text(junit, junit_format.junit(verdict))
    if markdown is not None:
        from edgekd.gate import markdown as markdown_format

        files.write_text(markdown, markdown_format.markdown(verdict))
    if json:
        console.result(verdict.model_dump(mode="json"))
    else:
        console.verdict(verdict)
    raise typer.Exit(console.STATUS[verdict.state])
