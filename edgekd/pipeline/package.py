"""A run's model as one archive, to be handed on: with its golden pairs, its records, its proof.

The same run gives the same bytes. Needs neither torch nor onnx.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edgekd.core import files, manifest, records, run_folder
from edgekd.core.errors import RecordError, UsageError, did_you_mean
from edgekd.core.manifest import Manifest
from edgekd.core.records import Artifact
from edgekd.core.run_folder import Run
from edgekd.pipeline import verify

GOLDEN = "golden.npz"
RECORDS = ("ladder.json", "recipe.json", "verdict.json")
_PROOF = Path(__file__).with_name("proof.py")
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # of the time that an archive can tell
_READABLE = 0o100644 << 16


@dataclass(frozen=True)
class Bundle:
    """An archive that was written."""

    file: Path
    sha256: str
    bytes: int
    target: str
    names: tuple[str, ...]  # of the files in it
    manifest_sha256: str


def package(run: Path, out: Path, target: str | None = None) -> Bundle:
    """Write the archive of one target.

    Args:
        run: the folder of a finished run.
        out: the archive; a file that is there is replaced.
        target: what was exported; None: there is only one.

    Raises:
        UsageError: no such target, or several and none was named, or no ``.zip``.
        RecordError: the run is not finished or not intact, or has no golden pairs.
    """
    if out.suffix != ".zip":
        raise UsageError(f"--out is '{out}'; expected a file that ends in .zip")
    _check(run)
    found = run_folder.read(run)
    name = _choose(found, target)
    if found.artifacts[name].golden_sha256 is None:
        raise RecordError(f"'{name}' has no golden pairs: export it again, on real images")
    kept = records.read(Manifest, run / manifest.FILE)
    content = {**_contents(run, kept, name), "README.md": _readme(found, name).encode()}
    content["verify.py"] = _PROOF.read_bytes()
    with files.replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(content):
            entry = zipfile.ZipInfo(file, _BEGINNING)
            entry.create_system, entry.external_attr = 3, _READABLE  # 3: Unix, wherever it is made
            archive.writestr(entry, content[file])
    return Bundle(
        file=out,
        sha256=files.sha256_of(out),
        bytes=out.stat().st_size,
        target=name,
        names=tuple(sorted(content)),
        manifest_sha256=hashlib.sha256(content[manifest.FILE]).hexdigest(),
    )


def _check(run: Path) -> None:
    found = verify.verify(run)
    if found.breaks:
        first = found.breaks[0]
        raise RecordError(
            f"'{run}' is not what it was when it ended: {first.file}: expected {first.expected}, "
            f"found {first.found}. See `edgekd verify {run}`"
        )
    if found.state != "intact":
        raise RecordError(f"'{run}' cannot be packaged: {found.notes[0]}")


def _choose(run: Run, target: str | None) -> str:
    names = run.students
    if target is None and len(names) == 1:
        return names[0]
    if target is None:
        raise UsageError(f"the run has several targets: name one of {', '.join(names)} by --target")
    if target not in names:
        raise UsageError(f"the run has no target '{target}'.{did_you_mean(target, names)}")
    return target


def _contents(run: Path, kept: Manifest, target: str) -> dict[str, bytes]:
    """Read the files of a target and the records that judge it, as the manifest says they are."""
    place = f"artifacts/{target}/"
    paths = {path.removeprefix(place): path for path in kept.files if path.startswith(place)}
    paths |= {path: path for path in RECORDS if path in kept.files}
    content = {name: (run / path).read_bytes() for name, path in paths.items()}
    for name, path in paths.items():
        if hashlib.sha256(content[name]).hexdigest() != kept.files[path].sha256:
            raise RecordError(f"'{run / path}' was changed while it was packaged: try again")
    return {**content, manifest.FILE: (run / manifest.FILE).read_bytes()}


def _readme(run: Run, name: str) -> str:
    artifact = run.artifacts[name]
    channels, height, width = artifact.input_shape
    colours = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    made_of = [c for c in run.checkpoints.values() if c.weights_sha256 in artifact.parents]
    classes = "\n".join(f"{number}. {text}" for number, text in enumerate(made_of[0].class_names))
    return _README.format(
        target=name,
        file=artifact.file,
        sha256=artifact.sha256,
        precision=(artifact.precision or "of mixed precision").upper(),
        opset=artifact.opset,
        channels=channels,
        height=height,
        width=width,
        colours=colours,
        batch=artifact.batch,
        mean=list(artifact.normalisation.mean),
        std=list(artifact.normalisation.std),
        count=artifact.classes,
        classes=classes,
        facts="\n".join(f"- {fact}" for fact in _facts(run, name, artifact)),
    )


def _facts(run: Run, name: str, artifact: Artifact) -> list[str]:
    """Say in sentences how good the model is, and where it may not be trusted."""
    facts = []
    for subject, what in ((name, "Top-1"), (run_folder.engine(name), "Top-1 of its engine")):
        if subject in run.accuracies:
            found = run.accuracies[subject]
            top1 = found.top1_percent
            facts.append(
                f"{what} {top1.value:.2f} % [{top1.low:.2f}, {top1.high:.2f}] on "
                f"{found.images} test images."
            )
    if run.verdict is not None:
        facts.append(f"Verdict of the run: {run.verdict.state}.")
        facts += [f"{f.state}: {f.message}" for f in run.verdict.findings if f.artifact == name]
    if artifact.calibration:
        facts.append(f"INT8 ranges: {artifact.calibration}.")
    if not artifact.accuracy_valid:
        facts.append("Calibrated on random data: its accuracy means nothing.")
    return facts + list(artifact.notes)


_README = """\
# {file}: {target}

SHA-256 {sha256}, {precision}, opset {opset}.

Check the bundle where it is to be used, with numpy and onnxruntime alone:

    python verify.py

It compares each file with `manifest.json`, which leads back to the teacher, and runs the model on
the golden pairs of images and logits in `golden.npz`. `edgekd package` printed the SHA-256 of the
whole archive and of `manifest.json`: compare these first.

## The images that it takes

- {height} x {width} pixels (height x width), {colours}, uint8 [N, {height}, {width}, {channels}]
- resized and cut as the images of training were: see `data` in `recipe.json`
- N = {batch}, or any number where the file leaves it free

The model takes them as float32 [N, {channels}, {height}, {width}]:

    mean = numpy.array({mean}, "float32").reshape(-1, 1, 1)
    std = numpy.array({std}, "float32").reshape(-1, 1, 1)
    inputs = (images.transpose(0, 3, 1, 2) / numpy.float32(255) - mean) / std

## What it answers

Logits [N, {count}]; the largest is the class, counted from 0:

{classes}

## How good it is

{facts}
"""
