"""The manifest of a run: each file with its SHA-256 and what it was made from.

It lies in the run's folder as ``manifest.json`` and is written last. From any file it leads back
to the teacher and the recipe, and forward to all that stands on it. Needs neither torch nor onnx.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from edgekd.core import files, provenance, records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import DataIdentity, Part, Record
from edgekd.core.run_folder import LEDGER, Run

FILE = "manifest.json"
RECIPE = "recipe.json"
REPORT = "report.html"
_ROOTS = ("teacher", "initial")  # checkpoints that may be made from weights of elsewhere


def _inside(path: str) -> str:
    """Refuse a path that leads out of the run's folder."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path or "\\" in path:
        raise ValueError(f"'{path}' is no path inside a run's folder")
    return path


Inside = Annotated[str, AfterValidator(_inside)]


class Link(Part):
    """A file of a run."""

    sha256: str
    made_from: tuple[Inside, ...] = ()  # files of the run


class Manifest(Record):
    """All files of a finished run; its parents are weights that were not made in this run."""

    recipe: str  # as it was named on the command line
    device: str  # where the networks were trained: "cpu", "cuda:1"
    commands: tuple[tuple[str, ...], ...]  # that had a part in the run
    data: DataIdentity | None
    files: dict[Inside, Link]  # from the recipe to the verdict


@dataclass(frozen=True)
class Break:
    """A place where the chain does not hold."""

    file: str  # in the run's folder
    expected: str  # a SHA-256, or words
    found: str


@dataclass(frozen=True)
class Chain:
    """What the records of a run say of its files."""

    links: dict[str, Link]
    outside: tuple[str, ...]  # SHA-256 of weights that were not made in this run
    commands: tuple[tuple[str, ...], ...]  # that had a part in the run
    data: DataIdentity | None
    breaks: tuple[Break, ...]


@dataclass(frozen=True)
class _Made:
    """One record: the files that it describes, and the hashes that it was made from."""

    record: str
    kept: Record
    files: dict[str, str]
    is_root: bool = False  # may have parents outside


def seal(folder: Path, recipe: str, device: str, seed: int) -> Manifest:
    """Write the manifest of a run that is done.

    Args:
        folder: of the run.
        recipe: its name, for people.
        device: where the networks were trained.
        seed: of the run.

    Raises:
        RecordError: a record cannot be read.
    """
    chain = walk(run_folder.read(folder))
    manifest = Manifest(
        provenance=provenance.environment(seed),
        parents=chain.outside,
        recipe=recipe,
        device=device,
        commands=chain.commands,
        data=chain.data,
        files=chain.links,
    )
    records.write(manifest, folder / FILE)
    return manifest


def walk(run: Run) -> Chain:
    """Follow the records of a run from the recipe to the verdict.

    Files that no record describes are listed, too, but for hidden ones.
    """
    made = list(_made(run))
    by_hash: dict[str, list[_Made]] = {}
    for one in made:
        for sha256 in one.files.values():
            by_hash.setdefault(sha256, []).append(one)
    links = {RECIPE: Link(sha256=files.sha256_of(run.folder / RECIPE))}
    breaks: list[Break] = []
    outside: list[str] = []
    for one in made:
        # Weights that were read and written unchanged are no origin of their own.
        strangers = [
            parent
            for parent in one.kept.parents
            if all(source is one for source in by_hash.get(parent, ()))
        ]
        if one.is_root:
            outside += strangers
        elif strangers:
            breaks.append(Break(one.record, "parents of this run", f"parent {strangers[0]}"))
        sources = _sources(one, by_hash)
        if not sources and not one.is_root and not strangers:
            breaks.append(Break(one.record, "the SHA-256 of what it was made from", "none"))
        sources = sources or (RECIPE,)
        for path, sha256 in one.files.items():
            found = hash_of(run.folder / path)
            if found != sha256:
                breaks.append(Break(path, sha256, found))
            links[path] = Link(sha256=found, made_from=sources)
        links[one.record] = Link(
            sha256=hash_of(run.folder / one.record), made_from=tuple(one.files) or sources
        )
    breaks += _mismatches(run)
    for path in others(run.folder, links):
        sources = tuple(name for name in ("ladder.json", "verdict.json") if name in links)
        made_from = sources if path == REPORT else ()
        links[path] = Link(sha256=hash_of(run.folder / path), made_from=made_from)
    commands = tuple(dict.fromkeys(one.kept.provenance.command for one in made))
    return Chain(links, tuple(dict.fromkeys(outside)), commands, _data(run), tuple(breaks))


def check_records(run: Run) -> None:
    """Refuse a run of which a record is missing, was changed or was added since it was made.

    A finished run is held against its manifest, an unfinished one against its ledger. Weights,
    predictions and samples are held against their records by whoever reads them.

    Raises:
        RecordError: names the first such record.
    """
    source, kept = _kept(run.folder)
    for path, sha256 in kept.items():
        found = hash_of(run.folder / path)
        if found != sha256:
            is_missing = found == "missing"
            what = "is missing" if is_missing else f"was changed: its SHA-256 is {found[:12]}..."
            raise RecordError(
                f"'{run.folder / path}' {what}, but {source} says {sha256[:12]}...: `edgekd verify "
                f"{run.folder}` names every change, `edgekd run RECIPE --out {run.folder} "
                "--resume` makes it anew"
            )
    for made in _made(run) if source == FILE else ():
        if made.record not in kept:
            raise RecordError(
                f"'{run.folder / made.record}' was added after the run ended: {FILE} does not name "
                "it. Remove it"
            )


def dependents(links: Mapping[str, Link], file: str) -> list[str]:
    """Return all files that were made from one, directly or not, in the manifest's order."""
    reached = {file}
    grown = True
    while grown:
        more = {path for path, link in links.items() if reached.intersection(link.made_from)}
        grown = not more <= reached
        reached |= more
    return [path for path in links if path in reached and path != file]


def others(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the files of a run's folder that are not known, but for hidden ones and manifests."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return sorted(
        path for path in there - {*known, FILE} if not PurePosixPath(path).name.startswith(".")
    )


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or "missing"."""
    return files.sha256_of(path) if path.is_file() else "missing"


def _kept(folder: Path) -> tuple[str, dict[str, str]]:
    """Return who says what the records of a run are, and each record's SHA-256 by its path."""
    said: dict[str, str] = {}
    if (folder / FILE).exists():
        links = records.read(Manifest, folder / FILE).files
        # What was made from nothing is no record of the run: a log, an estimate, layers' times.
        said = {path: link.sha256 for path, link in links.items() if link.made_from}
        said |= {path: links[path].sha256 for path in (RECIPE,) if path in links}
        return FILE, _json(said)
    if (folder / LEDGER).exists():
        for step in records.read(records.Ledger, folder / LEDGER).steps:
            said |= step.outputs
    return LEDGER, _json(said)


def _json(hashes: Mapping[str, str]) -> dict[str, str]:
    return {path: sha256 for path, sha256 in hashes.items() if path.endswith(".json")}


def _made(run: Run) -> Iterator[_Made]:
    """Yield every record of a run in the order of the ladder."""
    for name, checkpoint in run.checkpoints.items():
        folder, is_root = f"checkpoints/{name}", name in _ROOTS
        hashes = {
            "model.safetensors": checkpoint.weights_sha256,
            "surgery.json": checkpoint.surgery_sha256,
            "quantisation.json": checkpoint.quantisation_sha256,
        }
        yield _Made(f"{folder}/checkpoint.json", checkpoint, _in(folder, hashes), is_root)
        if name in run.trainings:
            yield _Made(f"{folder}/training.json", run.trainings[name], {}, is_root)
    for name, artifact in run.artifacts.items():
        folder = f"artifacts/{name}"
        hashes = {artifact.file: artifact.sha256, "golden.npz": artifact.golden_sha256}
        yield _Made(f"{folder}/artifact.json", artifact, _in(folder, hashes))
    for name, built in run.engines.items():
        folder, hashes = f"artifacts/{name}", {built.file: built.parity.plan_sha256}
        yield _Made(f"{folder}/engine.json", built, _in(folder, hashes))
    for accuracy in run.accuracies.values():
        hashes = {accuracy.predictions_file: accuracy.predictions_sha256}
        yield _Made(f"accuracy/{accuracy.subject}.json", accuracy, _in("accuracy", hashes))
    if run.measurement is not None:
        hashes = {run.measurement.samples_file: run.measurement.samples_sha256}
        energy = run.measurement.energy
        if energy is not None and energy.readings_file is not None:
            hashes[energy.readings_file] = energy.readings_sha256
        yield _Made("profile/measurement.json", run.measurement, _in("profile", hashes))
    if run.ladder is not None:
        yield _Made("ladder.json", run.ladder, {})
    if run.verdict is not None:
        yield _Made("verdict.json", run.verdict, {})


def _in(folder: str, hashes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the files of a record by their paths in the run's folder."""
    for name in hashes:
        if PurePosixPath(name).name != name:
            raise RecordError(
                f"a record in '{folder}' names the file '{name}', which lies elsewhere"
            )
    return {f"{folder}/{name}": sha256 for name, sha256 in hashes.items() if sha256 is not None}


def _sources(one: _Made, by_hash: Mapping[str, list[_Made]]) -> tuple[str, ...]:
    """Return the records whose files a record was made from."""
    found = [source for parent in one.kept.parents for source in by_hash.get(parent, ())]
    return tuple(dict.fromkeys(source.record for source in found if source is not one))


def _mismatches(run: Run) -> Iterator[Break]:
    """Yield the accuracies that are not of the model or the images that they stand for."""
    hashes = {name: found.weights_sha256 for name, found in run.checkpoints.items()}
    hashes |= {name: found.sha256 for name, found in run.artifacts.items()}
    hashes |= {run_folder.engine(n): found.parity.plan_sha256 for n, found in run.engines.items()}
    data = _data(run)
    for name, accuracy in run.accuracies.items():
        path = f"accuracy/{name}.json"
        if accuracy.subject_sha256 != hashes.get(name):
            expected = f"the accuracy of {hashes.get(name, 'a model of this run')}"
            yield Break(path, expected, f"that of {accuracy.subject_sha256}")
        images = data.sha256.get(accuracy.split) if data is not None else None
        if images is not None and accuracy.images_sha256 != images:
            yield Break(path, f"images {images}", f"images {accuracy.images_sha256}")


def _data(run: Run) -> DataIdentity | None:
    known = [found.data for found in run.checkpoints.values() if found.data is not None]
    return known[-1] if known else None
