"""``edgekd lint``: what TensorRT would say of an ONNX file, without a GPU."""

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console
from edgekd.core.errors import UsageError

if TYPE_CHECKING:
    from edgekd.lint.run import Result

NAME = "lint"


class Format(enum.StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    sarif = "sarif"


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="ONNX file, anybody's.")],
    target: Annotated[
        str | None, typer.Option(help="Export target that it was made for; see list targets.")
    ] = None,
    trt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERSION",
            help="Version of TensorRT, 8.5 to 11.4; may be repeated. [default: those of "
            "JetPack 5, 6 and 7, and the newest]",
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="JetPack of the board, such as jp6.2, for its versions of TensorRT."),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Form of what is printed.")
    ] = Format.text,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.onnx",
            help="Mend what does not change results, write this file, and judge it.",
        ),
    ] = None,
    dla: Annotated[
        bool, typer.Option("--dla", help="Check for the deep learning accelerator too.")
    ] = False,
) -> None:
    """Say what TensorRT would refuse in a file, or run slowly.

    0 no error, 1 errors, 2 the file cannot be read. Needs no GPU. The rules are in docs/lint.md.

    Example: edgekd lint int8/model.onnx --trt 10.3
    """
    from edgekd.lint import fix as fixes
    from edgekd.lint import run, sarif
    from edgekd.lint.model import Graph, load

    int8 = target is not None and _is_int8(target)
    graph = load(model, labelled_int8=int8, dla=dla)
    trt = [*(trt or []), *_versions(platform)]
    versions = [run.parse(text) for text in trt] if trt else run.USUAL
    if fix is not None:
        mended, done = fixes.fix(graph)
        fixes.write(mended, model.parent, fix)
        for line in done:
            console.note(f"fixed {line}")
        graph = Graph(mended, fix.parent, labelled_int8=int8, dla=dla)
    result = run.lint(graph, versions)
    judged = fix or model
    if form is Format.text:
        _print(result, judged)
    elif form is Format.sarif:
        console.result(sarif.sarif(result, judged))
    else:
        findings = [vars(finding) for finding in result.findings]
        console.result(
            {"model": str(judged), "trt": result.versions, "notes": result.notes,
             "findings": findings}
        )  # fmt: skip
    raise typer.Exit(1 if result.count("error") else 0)


def _versions(platform: str | None) -> tuple[str, ...]:
    from edgekd.export.platform import Platform

    return Platform.read(platform).tensorrt if platform else ()


def _is_int8(name: str) -> bool:
    from edgekd.export.target import Target

    target = Target.read(name)
    if target.form == "onnxruntime":
        raise UsageError(
            f"target '{name}' is made for ONNX Runtime, and the rules are TensorRT's: "
            "choose a target for TensorRT, such as tensorrt-int8"
        )
    return target.precision == "int8"


def _print(result: "Result", path: Path) -> None:
    from edgekd.lint.run import every_rule

    fixes = {rule.id: rule.fix for rule in every_rule()}
    told: set[str] = set()
    for finding in result.findings:
        place = finding.node or finding.tensor
        place = f"{place}: " if place else ""
        some = "" if finding.trt == result.versions else f" (TensorRT {', '.join(finding.trt)})"
        print(f"{finding.severity:<8} {finding.rule} {place}{finding.message}{some}")
        if finding.rule not in told and finding.severity != "info":
            print(f"              {fixes[finding.rule]}")
        told.add(finding.rule)
    for note in result.notes:
        console.note(f"note: {note}")
    errors, warnings = result.count("error"), result.count("warning")
    counts = f"{errors} errors, {warnings} warnings, {result.count('info')} remarks"
    print(f"{path}: {counts} for TensorRT {', '.join(result.versions)}")
