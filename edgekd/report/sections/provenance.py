"""Where the numbers come from: machine, versions, command, recipe, and the chain of hashes."""

import json
from collections.abc import Iterable

from edgekd.core import records, run_folder
from edgekd.core.run_folder import Run
from edgekd.report import words
from edgekd.report.blocks import Block, Cell, Code, Column, Folded, Note, Section, Table

_CHAIN_COLUMNS = (
    Column("Made"),
    Column("Kind"),
    Column("When (UTC)"),
    Column("SHA-256"),
    Column("Made from"),
)


def section(run: Run) -> Section:
    """Return the section about the run's origin."""
    found: list[Block] = []
    made = _all(run)
    if made:
        found += [_environment(run, [record for _, _, _, record in made]), _chain(made)]
    else:
        found.append(Note("Nothing was made in this run yet.", "quiet"))
    path = run.folder / "recipe.json"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        found.append(Folded("The recipe, with every default", (Code(text.strip()),)))
    return Section("provenance", "Origin", tuple(found))


def description(run: Run) -> str:
    """Return what the recipe calls the job; empty if it does not."""
    path = run.folder / "recipe.json"
    if not path.is_file():
        return ""
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # shown as it is; reading a recipe is not the report's task
        return ""
    return str(recipe.get("description", "")) if isinstance(recipe, dict) else ""


def _all(run: Run) -> list[tuple[str, str, str, records.Record]]:
    """Return name, kind, own hash and record of all that has a hash or parents."""
    found: list[tuple[str, str, str, records.Record]] = []
    for name, checkpoint in run.checkpoints.items():
        found.append((name, "weights", checkpoint.weights_sha256, checkpoint))
    for name, artifact in run.artifacts.items():
        found.append((name, f"model file ({artifact.target})", artifact.sha256, artifact))
    for name, built in run.engines.items():
        kind = f"engine ({built.parity.engine} on {built.parity.device})"
        found.append((run_folder.engine(name), kind, built.parity.plan_sha256, built))
    for name, accuracy in run.accuracies.items():
        found.append((f"accuracy of {name}", "predictions", accuracy.predictions_sha256, accuracy))
    if run.measurement:
        kind = "latency samples"
        found.append(("profile", kind, run.measurement.samples_sha256, run.measurement))
    if run.ladder:
        found.append(("ladder", "record", "", run.ladder))
    if run.verdict:
        found.append(("verdict", "record", "", run.verdict))
    return sorted(found, key=lambda item: item[3].provenance.made_at)


def _environment(run: Run, made: list[records.Record]) -> Table:
    first, last = made[0].provenance, made[-1].provenance
    versions: dict[str, str] = {}
    for record in made:
        versions |= record.provenance.versions
    facts = [
        ("Begun", _when(first)),
        ("Ended", _when(last)),
        ("Command", " ".join(first.command)),
        ("Computed on", words.listing(_unique(record.provenance.machine for record in made))),
        ("Versions", ", ".join(f"{name} {versions[name]}" for name in sorted(versions))),
        ("Seed", words.listing(_unique(_seed(record) for record in made if _seed(record)))),
        ("Images", _images(run)),
    ]
    if run.measurement:
        measured = run.measurement
        facts += [
            ("Measured on", f"{measured.device}: {measured.machine}"),
            ("Engine", measured.engine),
            ("Load by others", _load(measured)),
        ]
    rows = tuple((Cell(name), Cell(value)) for name, value in facts if value)
    columns = (Column("What"), Column("Value"))
    return Table("Environment of the run.", columns, rows, sortable=False)


def _chain(made: list[tuple[str, str, str, records.Record]]) -> Table:
    names = {sha256: name for name, _, sha256, _ in made if sha256}
    rows = []
    for name, kind, sha256, record in made:
        parents = ", ".join(_unique(names.get(p, words.short(p)) for p in record.parents))
        rows.append(
            (
                Cell(name),
                Cell(kind),
                Cell(_when(record.provenance), order=record.provenance.made_at.timestamp()),
                Cell(words.short(sha256), code=True, whole=sha256),
                Cell(parents or "nothing"),
            )
        )
    caption = "From the verdict back to the teacher: what each file was made from."
    return Table(caption, _CHAIN_COLUMNS, tuple(rows))


def _images(run: Run) -> str:
    identity = next((found.data for found in run.checkpoints.values() if found.data), None)
    if identity is None:
        return ""
    parts = [f"{count:,} {split}" for split, count in identity.images.items()]
    return f"{identity.source}: {', '.join(parts)}" if parts else identity.source


def _load(measured: records.Measurement) -> str:
    parts = {"processor": measured.foreign_load_ratio, "GPU": measured.gpu_load_ratio}
    told = [
        f"{words.share(ratio)} of the {part}" for part, ratio in parts.items() if ratio is not None
    ]
    return ", ".join(told) or "unknown"


def _seed(record: records.Record) -> str:
    return "" if record.provenance.seed is None else str(record.provenance.seed)


def _when(provenance: records.Provenance) -> str:
    return provenance.made_at.strftime("%Y-%m-%d %H:%M:%S")


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
