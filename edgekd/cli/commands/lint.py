"""``edgekd lint``: what TensorRT would say of an ONNX file, without a GPU."""

import enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli import console
from edgekd.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekd.lint.model import Graph, Version
    from edgekd.lint.run import Result

NAME = "lint"


class Format(enum.StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    sarif = "sarif"


def command(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL.onnx", help="ONNX files, anybody's.")
    ],
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
            help="Mend what does not change results of one file, write this, and judge it.",
        ),
    ] = None,
    dla: Annotated[
        bool, typer.Option("--dla", help="Check for the deep learning accelerator too.")
    ] = False,
) -> None:
    """Say what TensorRT would refuse in a file, or run slowly.

    0 no error, 1 errors, 2 a file cannot be read (the others are judged). Needs no GPU.
    The rules are in docs/lint.md.

    Example:
        edgekd lint int8/model.onnx --trt 10.3
    """
    from edgekd.lint import fix as fixes
    from edgekd.lint import run, sarif
    from edgekd.lint.model import Graph, load

    if fix is not None and len(models) > 1:
        raise UsageError(f"--fix writes one file, but {len(models)} models are named: name one")
    int8 = target is not None and _is_int8(target)
    trt = [*(trt or []), *_versions(platform)]
    versions = [run.parse(text) for text in trt] if trt else run.USUAL
    opened = partial(load, labelled_int8=int8, dla=dla)
    if fix is None:
        judged, unread = _judged(models, opened, versions)
    else:
        mended, done = fixes.fix(opened(models[0]))
        fixes.write(mended, models[0].parent, fix)
        for line in done:
            console.note(f"fixed {line}")
        graph = Graph(mended, fix.parent, labelled_int8=int8, dla=dla)
        judged, unread = [(run.lint(graph, versions), fix)], []
    if form is Format.text:
        for result, path in judged:
            _print(result, path)
    elif form is Format.sarif:
        console.result(sarif.sarif(judged, [str(error) for error, _ in unread]))
    else:
        trees = [_tree(result, path) for result, path in judged]
        trees += [{"model": str(path), "error": str(error)} for error, path in unread]
        console.result(trees if len(trees) > 1 else trees[0])
    if unread:
        raise UsageError("\n".join(str(error) for error, _ in unread))
    raise typer.Exit(1 if any(result.count("error") for result, _ in judged) else 0)


def _judged(
    models: list[Path], opened: "Callable[[Path], Graph]", versions: "Sequence[Version]"
) -> "tuple[list[tuple[Result, Path]], list[tuple[UsageError, Path]]]":
    """Judge every file that can be read, and return why the others cannot."""
    from edgekd.lint import run

    judged: list[tuple[Result, Path]] = []
    unread: list[tuple[UsageError, Path]] = []
    for model in models:
        try:
            judged.append((run.lint(opened(model), versions), model))
        except UsageError as error:
            unread.append((error, model))
    return judged, unread


def _tree(result: "Result", path: Path) -> dict[str, Any]:
    return {
        "model": str(path),
        "trt": result.versions,
        "notes": result.notes,
        "findings": [vars(finding) for finding in result.findings],
    }


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
    from edgekd.lint.rule import SEVERITIES
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
    errors, warnings, remarks = map(result.count, SEVERITIES)
    counts = ((errors, "error"), (warnings, "warning"), (remarks, "remark"))
    words = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)
    print(f"{path}: {words} for TensorRT {', '.join(result.versions)}")
