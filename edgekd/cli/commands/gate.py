"""``edgekd gate``: judge a run by rules."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json
from edgekd.core.errors import EdgekdError, UsageError

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
    sarif: Annotated[Path | None, typer.Option(help="SARIF to write, for code scanning.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="In GitHub Actions: annotations, summary, output.")
    ] = False,
    json: Json = False,
) -> None:
    """Judge a run by rules: status 0, 1 or 3.

    0 passed, 1 failed, 3 inconclusive. Reads records only; needs no torch.

    Example:
        edgekd gate runs/digits/1 --rules release.toml
    """
    from edgekd.core import manifest, run_folder, specs
    from edgekd.gate import formats
    from edgekd.pipeline import gate

    if update:
        if baselines is None:
            raise UsageError("--update writes a baseline: say where with --baselines DIR")
        if rules or junit or markdown or sarif or github:
            raise UsageError(
                "--update judges nothing: leave --rules, --junit, --markdown, --sarif and "
                "--github out"
            )
        file = gate.keep(run_folder.read(run), baselines)
        if json:
            console.result({"baseline": str(file)})
        else:
            print(f"baseline: {file}")
        return
    written = rules or run / "recipe.json"
    told = formats.Formats(junit=junit, markdown=markdown, sarif=sarif, github=github)
    told.clear()
    try:
        found = run_folder.read(run)
        verdict = gate.judge(specs.gate_of(written), found, baselines)
    except EdgekdError as error:
        _annotate(told.refusal(str(error)))
        raise
    _annotate(told.write(verdict, written))
    if json:
        console.result(verdict.model_dump(mode="json"))
    else:
        console.verdict(verdict)
    again = [
        finding.artifact
        for finding in verdict.findings
        if finding.state != "passed"
        and finding.rule.startswith(("latency", "throughput", "energy"))
    ]
    if not (run / manifest.FILE).exists():
        console.note(f"the run is not finished, or not whole: it has no {manifest.FILE}")
    if again:
        names = ", ".join(dict.fromkeys(again))
        console.note(
            f"before you change anything, measure again on a quiet machine: {names}\n"
            f"edgekd run RECIPE --out {run} --resume --confirm"
        )
    raise typer.Exit(console.STATUS[verdict.state])


def _annotate(lines: list[str]) -> None:
    for line in lines:  # GitHub reads both streams, and stdout may be JSON
        print(line, file=sys.stderr)
