"""``edgekd gate``: judge a run by rules."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json
from edgekd.core.errors import UsageError

NAME = "gate"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run.")],
    rules: Annotated[
        Path | None, typer.Option(help="File with a [gate] table. [default: the run's recipe]")
    ] = None,
    baselines: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Earlier measurements, one file a device.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Judge nothing: keep this run as the baseline.")
    ] = False,
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
    from edgekd.pipeline import gate

    found = run_folder.read(run)
    if update:
        if baselines is None:
            raise UsageError("--update writes a baseline: say where with --baselines DIR")
        if rules or junit or markdown:
            raise UsageError("--update judges nothing: leave --rules, --junit and --markdown out")
        file = gate.keep(found, baselines)
        if json:
            console.result({"baseline": str(file)})
        else:
            print(f"baseline: {file}")
        return
    verdict = gate.judge(specs.gate_of(rules or run / "recipe.json"), found, baselines)
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
    again = [
        finding.artifact
        for finding in verdict.findings
        if finding.state != "passed" and finding.rule.startswith(("latency", "throughput"))
    ]
    if again:
        names = ", ".join(dict.fromkeys(again))
        console.note(f"before you change anything, measure again on a quiet machine: {names}")
    raise typer.Exit(console.STATUS[verdict.state])
