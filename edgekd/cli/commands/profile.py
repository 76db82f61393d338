"""``edgekd profile``: measure latency."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console, tables
from edgekd.cli.options import Devices, Inventory, Json, Resume
from edgekd.core.errors import UsageError

if TYPE_CHECKING:  # `edgekd --help` need not wait for it
    from edgekd.pipeline.fleet import Job
    from edgekd.pipeline.profile import Profiled
    from edgekd.profile.layer_times import Row

NAME = "profile"
_TOP = 15  # layers that are shown
_WIDTH = 60


class Scenario(StrEnum):
    """What a deployment is like."""

    single = "single"
    multi = "multi"
    offline = "offline"


class Precision(StrEnum):
    """What an estimate is for."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="An .onnx file; for TensorRT a .plan, too."),
    ],
    out: Annotated[Path, typer.Option(help="Record to write (.json), or a folder for it.")],
    against: Annotated[
        Path | None, typer.Option(help="The reference, measured in turns with the model.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Images to measure with; the test images are classified on the device, too.",
        ),
    ] = None,
    device: Devices = None,
    inventory: Inventory = None,
    scenario: Annotated[
        Scenario,
        typer.Option(help="One inference at a time, several at once, or large batches."),
    ] = Scenario.single,
    streams: Annotated[int, typer.Option(min=1, help="Inferences at once.")] = 1,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Images at once. Repeatable. [default: 1]")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Of ONNX Runtime, for one inference; a GPU has its own.")
    ] = 1,
    blocks: Annotated[int, typer.Option(min=6, help="Turns that each model takes.")] = 20,
    runs: Annotated[int, typer.Option(min=1, help="Timed inferences in a turn.")] = 30,
    builds: Annotated[
        int, typer.Option(min=1, help="Engines to build of each file; the slowest counts.")
    ] = 1,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Measure twice: what does not come back is doubted.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time the model's layers, too, in a separate run.")
    ] = False,
    energy: Annotated[
        bool, typer.Option("--energy", help="Energy of an inference, too; status 3 without one.")
    ] = False,
    precision: Annotated[
        list[Precision] | None,
        typer.Option(help="Of estimates. Repeatable. [default: as the file says]"),
    ] = None,
    power_mode: Annotated[
        str | None, typer.Option(help="Of estimates. [default: the highest clocks of any]")
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RECORD",
            help="A measurement on such a board, to estimate better. Repeatable.",
        ),
    ] = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    r"""Measure latency in a clean process, here or on a board.

    With --against the two take turns, and the ratio gets an interval. A measurement that noise,
    heat, other programs or changed clocks have spoilt is inconclusive: status 3, with the reason.

    A kind of board that is no entry of the inventory gets an estimate. Several models, devices or
    batches make a table; its status is the one to act on first: 70, 2, 5, 4, 3, 0.

    Examples:
        edgekd profile student.onnx --against teacher.onnx --out profile
        edgekd profile int8.onnx --against fp16.onnx --data folder:flowers \
            --device line-3 --builds 3 --confirm --out int8.json
    """
    from edgekd.core import checking, specs
    from edgekd.core.errors import InconclusiveError
    from edgekd.pipeline import fleet, profile
    from edgekd.remote import inventory as places

    devices = places.chosen(device or ["host-cpu"], inventory)
    batches = tuple(dict.fromkeys(batch or [1]))
    wanted = {
        "device": devices[0],
        "batch": batches[0],
        "threads": threads,
        "blocks": blocks,
        "runs": runs,
        "scenario": scenario.value,
        "streams": streams,
        "builds": builds,
        "confirm": confirm,
        "energy": energy,
    }
    spec = checking.checked(specs.Profile, wanted, "profile")
    job = fleet.Job(
        models=tuple(models),
        devices=tuple(devices),
        batches=batches,
        spec=spec,
        against=against,
        source=data,
        inventory=inventory,
        precisions=tuple(each.value for each in precision or []),
        power_mode=power_mode,
        calibrate=tuple(calibrate or []),
    )
    if not job.is_one_measurement():
        _table(job, out, resume=resume, layers=layers, json=json)
        return
    job.check()
    found = profile.profile(
        models[0],
        against,
        spec,
        out,
        progress=console.progress(),
        fleet=inventory,
        source=data,
        layers=layers,
    )
    record = found.measurement
    if json:
        console.result(_json(found))
    else:
        console.measurement(record)
        _show(found)
    if record.doubts:
        raise InconclusiveError("\n  ".join(["inconclusive: measure again", *record.doubts]))


def _table(job: "Job", out: Path, *, resume: bool, layers: bool, json: bool) -> None:
    """Print an estimate, or the table of several cells."""
    from edgekd.pipeline import fleet
    from edgekd.profile.fleet import exit_status

    if job.is_one_estimate():
        guess = fleet.estimate_one(job, out)
        console.result(guess.model_dump(mode="json")) if json else tables.estimate(guess)
        return
    if layers:
        raise UsageError("--layers is for one measurement: profile that device and model alone")
    found = fleet.run(job, out, resume=resume, progress=console.progress())
    console.result(found.model_dump(mode="json")) if json else tables.fleet(found, out)
    if status := exit_status(found):
        raise typer.Exit(status)


def _json(found: "Profiled") -> dict[str, object]:
    """Return the measurement's fields, and what else was found beside them."""
    from dataclasses import asdict

    shown: dict[str, object] = found.measurement.model_dump(mode="json")
    if found.accuracies:
        shown["accuracies"] = [each.model_dump(mode="json") for each in found.accuracies]
    if found.drop_pp is not None:
        shown["drop_pp"] = found.drop_pp.model_dump(mode="json")
    if found.layers:
        shown["layers"] = [asdict(row) for row in found.layers]
    return shown


def _show(found: "Profiled") -> None:
    for each in found.accuracies:
        top1 = each.top1_percent
        print(
            f"{each.subject}: top-1 {top1.value:.2f} % [{top1.low:.2f}, {top1.high:.2f}] of "
            f"{each.images:,} images"
        )
    drop = found.drop_pp
    if drop is not None:
        print(f"top-1 drop {drop.value:.2f} pp [{drop.low:.2f}, {drop.high:.2f}], paired")
    if found.layers:
        print()
        console.table([_cells(row) for row in found.layers[:_TOP]])
        left = found.layers[_TOP:]
        if left:
            share = sum(row.share for row in left)
            console.note(
                f"and {len(left)} shorter layers, {share:.1%} of the time (--json has all)"
            )


def _cells(row: "Row") -> dict[str, str]:
    name = " + ".join(row.modules) or row.layer
    short = name if len(name) <= _WIDTH else f"{name[: _WIDTH - 3]}..."
    return {
        "ms": f"{row.ms:.4f} ms",
        "share": f"{row.share:.1%}",
        "precision": row.precision or "?",
        "summary": short,
    }
